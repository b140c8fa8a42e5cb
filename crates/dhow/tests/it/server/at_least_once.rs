//! Every call that was acknowledged runs, under its name, whatever becomes of the server meanwhile.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::asynchronous::{accepted, show};
use super::rig::{Server, wait_for};
use super::sink::Sink;

/// Calls that are to be acknowledged, and times that the server is killed meanwhile.
const CALLS: usize = 2500;
const KILLS: u32 = 12;

/// Sends calls to whatever server there is, until enough were acknowledged and the kills are over.
/// Some bodies are large enough to be files of their own.
fn send_until(
    gateway: &RwLock<String>,
    callback: &str,
    numbers: &AtomicUsize,
    acknowledged: &Mutex<HashMap<String, Vec<u8>>>,
    is_over: &AtomicBool,
) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into();
    while !is_over.load(SeqCst) || acknowledged.lock().len() < CALLS {
        let number = numbers.fetch_add(1, SeqCst);
        let mut body = format!("call {number};").into_bytes();
        if number.is_multiple_of(50) {
            body.resize(100_000, b'x');
        }
        let url = format!("{}/async-function/echo", gateway.read());
        let sent = agent.post(&url).header("x-callback-url", callback).send(&body[..]);
        // A server that is being killed answers nothing, and has promised nothing.
        match sent {
            Ok(answer) if answer.status() == 202 => {
                let call = answer.headers()["x-call-id"].to_str().unwrap().to_owned();
                acknowledged.lock().insert(call, body);
            }
            Ok(answer) => panic!("{}: {:?}", answer.status(), answer.headers()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[test]
fn no_acknowledged_call_is_lost_when_the_server_is_killed_again_and_again() {
    let sink = Sink::start();
    let address = sink.address();
    let options = ["--egress-allow", &address, "--queue-places", "8", "--callback-places", "8"];
    let mut server = Server::with(&options);
    server.deploy("echo", &[]);
    let gateway = RwLock::new(server.gateway.clone());
    let (numbers, acknowledged) = (AtomicUsize::new(0), Mutex::new(HashMap::new()));
    let is_over = AtomicBool::new(false);
    let callback = sink.url("/hook");
    let server = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| send_until(&gateway, &callback, &numbers, &acknowledged, &is_over));
        }
        for _ in 0..KILLS {
            std::thread::sleep(Duration::from_millis(fastrand::u64(100..900)));
            let folder = server.kill();
            server = Server::in_folder(folder, &options);
            server.gateway.clone_into(&mut gateway.write());
        }
        is_over.store(true, SeqCst);
        server
    });
    let acknowledged = acknowledged.into_inner();
    assert!(acknowledged.len() >= CALLS);
    wait_for_long(|| {
        let done = sink.counts();
        acknowledged.keys().all(|call| done.contains_key(call)).then_some(())
    });
    for (call, body) in &acknowledged {
        let got = sink.take(call).unwrap();
        assert!(got.body == *body, "call {call} came back with another body");
    }
    wait_for(|| server.ok(&["calls", "list", "-o", "name"]).is_empty().then_some(()));
    let counts = sink.counts();
    let (again, extra): (Vec<_>, Vec<_>) =
        counts.iter().partition(|(call, _)| acknowledged.contains_key(*call));
    let again = again.iter().filter(|(_, count)| **count > 1).count();
    // What was kept when the server went before it could say so runs as well.
    assert!(extra.len() <= 4 * KILLS as usize, "{} calls that nobody made", extra.len());
    assert!(again < acknowledged.len() / 2, "{again} calls were delivered more than once");
}

/// Asks again for five minutes: the calls of a slow machine.
fn wait_for_long(mut ask: impl FnMut() -> Option<()>) {
    for _ in 0..3000 {
        if ask().is_some() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("some acknowledged calls never came back");
}

#[test]
fn a_full_disk_refuses_asynchronous_calls_and_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("data");
    std::fs::create_dir(&disk).unwrap();
    let run = |program: &str, args: &[&str]| {
        let done = std::process::Command::new(program).args(args).status();
        done.unwrap_or_else(|error| panic!("{program}: {error}")).success()
    };
    let place = disk.to_str().unwrap().to_owned();
    assert!(
        run("mount", &["-t", "tmpfs", "-o", "size=24m", "tmpfs", &place]),
        "this test mounts a small disk, for which it must be root"
    );
    struct Unmount(String);
    impl Drop for Unmount {
        fn drop(&mut self) {
            drop(std::process::Command::new("umount").args(["-l", &self.0]).status());
        }
    }
    let _unmount = Unmount(place);
    let server = Server::in_folder(folder, &[]);
    server.deploy("echo", &[]);
    let keep = [("x-dhow-keep-result", "5m")];
    let send = |body: &[u8]| server.call("POST", "/async-function/echo", &keep, body);
    let mut kept = vec![accepted(&send(b"before"))];
    let ballast = disk.join("ballast");
    std::fs::write(&ballast, vec![1; 64 << 20]).unwrap_err();
    // What the file has room for is taken; then it must grow and can't.
    let refused = (0..2000).find_map(|_| {
        let answer = send(&[b'y'; 60_000]);
        if answer.status == 202 {
            kept.push(accepted(&answer));
            return None;
        }
        Some(answer)
    });
    let refused = refused.expect("the disk is full");
    assert_eq!((refused.status, refused.reason()), (507, "storage-full"));
    // A body that is a file of its own, too.
    let refused = send(&[b'z'; 200_000]);
    assert_eq!((refused.status, refused.reason()), (507, "storage-full"));
    assert_eq!(server.post("/function/echo", b"now").text(), "now");
    std::fs::remove_file(&ballast).unwrap();
    kept.push(accepted(&send(b"after")));
    for call in &kept {
        wait_for(|| (show(&server, call)["state"] == "done").then_some(()));
    }
    assert_eq!(server.ok(&["calls", "show", &kept[0], "--result"]), "before");
}
