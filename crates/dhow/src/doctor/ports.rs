//! The ports that `dhow up` listens on.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use dhow_store::folder::DataFolder;
use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::{FDTarget, all_processes};

use super::Subject;
use super::finding::{Finding, Look};
use super::server::Server;

/// A process that holds a port.
struct Holder {
    pid: i32,
    name: String,
}

/// Ports that somebody else has.
pub(super) fn taken(subject: &Subject<'_>) -> Look {
    let findings = addresses(subject)
        .filter(|(_, address)| refusal(*address) == Some(io::ErrorKind::AddrInUse))
        .filter_map(|(option, address)| {
            let holder = holder(address);
            if is_ours(subject, option, address, holder.as_ref()) {
                return None;
            }
            Some(match holder {
                Some(Holder { pid, name }) => Finding::new(
                    format!("{address} ({option}) is held by process {pid}, {name}"),
                    format!("end that process, `kill {pid}`, or choose another port with {option}"),
                ),
                None => Finding::new(
                    format!(
                        "{address} ({option}) is held by a process that can't be seen from here"
                    ),
                    format!("`ss -ltnp` as root shows it; or choose another port with {option}"),
                ),
            })
        })
        .collect();
    Look::of(findings, || format!("{} are free, or held by this dhow", shown(subject)))
}

/// Addresses that this machine or this user can't listen on.
pub(super) fn refused(subject: &Subject<'_>) -> Look {
    let findings = addresses(subject)
        .filter_map(|(option, address)| match refusal(address)? {
            io::ErrorKind::AddrInUse => None,
            io::ErrorKind::PermissionDenied => Some(Finding::new(
                format!("{address} ({option}): this user may not listen on ports below 1024"),
                format!(
                    "choose a higher port with {option}, or give the service CAP_NET_BIND_SERVICE"
                ),
            )),
            io::ErrorKind::AddrNotAvailable => Some(Finding::new(
                format!("{address} ({option}) is not an address of this machine"),
                format!("`ip address` lists them; choose one with {option}"),
            )),
            other => Some(Finding::new(
                format!("{address} ({option}) can't be listened on: {other}"),
                format!("choose another address with {option}"),
            )),
        })
        .collect();
    Look::of(findings, || format!("{} can be listened on", shown(subject)))
}

fn addresses(subject: &Subject<'_>) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    let args = subject.args;
    [("--listen", args.listen), ("--admin", args.admin), ("--metrics", args.metrics)].into_iter()
}

fn shown(subject: &Subject<'_>) -> String {
    let shown: Vec<String> = addresses(subject).map(|(_, address)| address.to_string()).collect();
    shown.join(", ")
}

/// Why `address` can't be listened on now.
fn refusal(address: SocketAddr) -> Option<io::ErrorKind> {
    TcpListener::bind(address).err().map(|error| error.kind())
}

/// Whether the dhow that is expected there has the port: the one that owns the data folder, or the
/// one that answers.
fn is_ours(
    subject: &Subject<'_>,
    option: &str,
    address: SocketAddr,
    holder: Option<&Holder>,
) -> bool {
    let owner = subject.data().and_then(|data| DataFolder::owner(data).ok().flatten());
    if let (Some(holder), Some(owner)) = (holder, owner) {
        return u32::try_from(holder.pid).is_ok_and(|pid| Some(pid) == owner);
    }
    let Server::There(there) = subject.server() else { return false };
    let is_at = |url: &str| url.split_once("://").is_some_and(|(_, at)| at == address.to_string());
    match option {
        "--listen" => is_at(&there.gateway),
        "--admin" => is_at(&subject.settings.server),
        _ => false,
    }
}

/// Who listens on `address`, as far as the system tells this user.
fn holder(address: SocketAddr) -> Option<Holder> {
    let four = procfs::net::tcp().unwrap_or_default();
    let six = procfs::net::tcp6().unwrap_or_default();
    let listener = four.iter().chain(&six).find(|entry| has(entry, address))?;
    for process in all_processes().ok()?.flatten() {
        let Ok(descriptors) = process.fd() else { continue };
        let holds = |target| matches!(target, FDTarget::Socket(inode) if inode == listener.inode);
        if descriptors.flatten().any(|descriptor| holds(descriptor.target)) {
            let name = process.stat().map_or_else(|_| "unknown".to_owned(), |stat| stat.comm);
            return Some(Holder { pid: process.pid(), name });
        }
    }
    None
}

fn has(entry: &TcpNetEntry, address: SocketAddr) -> bool {
    let local = entry.local_address;
    let any = |ip: IpAddr| ip.is_unspecified();
    entry.state == TcpState::Listen
        && local.port() == address.port()
        && (local.ip() == address.ip() || any(local.ip()) || any(address.ip()))
}
