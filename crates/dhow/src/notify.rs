//! What the service manager that started dhow is told, where one did: systemd's protocol of
//! `NOTIFY_SOCKET`. Without one, nothing is told.

use std::net::SocketAddr;

use sd_notify::NotifyState;

/// All that was deployed is in force and is served.
pub(crate) fn ready(gateway: SocketAddr) {
    let status = format!("functions are called at http://{gateway}");
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The signal to end has come; calls in flight may go on for so long.
pub(crate) fn stopping(drain: std::time::Duration) {
    let drain = u32::try_from(drain.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("calls in flight end"),
        NotifyState::ExtendTimeoutUsec(drain),
    ]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager can't be told");
    }
}
