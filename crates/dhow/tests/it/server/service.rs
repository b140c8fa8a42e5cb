//! dhow as a service: what the service manager is told, and the unit for systemd.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::rig::{DHOW, text, up, wait_for};

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/systemd/dhow.service");

#[test]
fn the_service_manager_hears_when_dhow_is_ready_and_when_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let hear = || {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).expect("a notification within a minute");
        text(&buffer[..length])
    };
    let mut process = up(folder.path(), &["--drain-timeout", "7s"])
        .env("NOTIFY_SOCKET", &path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let ready = hear();
    assert!(ready.lines().any(|line| line == "READY=1"), "{ready}");
    let status = ready.lines().find_map(|line| line.strip_prefix("STATUS=")).unwrap();
    // It is told once functions can be called, not before.
    let gateway = status.split(' ').find(|word| word.starts_with("http://")).unwrap();
    assert_eq!(super::rig::call(&format!("{gateway}/readyz"), "GET", &[], b"").status, 200);

    let pid = process.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    let stopping = hear();
    for said in ["STOPPING=1", "EXTEND_TIMEOUT_USEC=7000000"] {
        assert!(stopping.lines().any(|line| line == said), "{stopping}");
    }
    assert!(wait_for(|| process.try_wait().unwrap()).success());
}

/// The unit, with the dhow that is tested in the place of the installed one.
fn unit(folder: &Path) -> String {
    let unit = std::fs::read_to_string(UNIT).unwrap();
    assert!(unit.contains("ExecStart=/usr/local/bin/dhow up\n"));
    let path = folder.join("dhow.service");
    std::fs::write(&path, unit.replace("/usr/local/bin/dhow", DHOW)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let analyze = |args: &[&str]| {
        let output = Command::new("systemd-analyze").args(args).output();
        let output = output.expect("this test needs systemd-analyze of systemd");
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    };
    let unit = unit(folder.path());
    let (fine, said) = analyze(&["verify", "--man=no", &unit]);
    assert!(fine && said.is_empty(), "{said}");
    // Ten times the exposure of 0 (none) to 10 (all); a plain unit has 96.
    let (fine, said) = analyze(&["security", "--offline=true", "--threshold=20", &unit]);
    assert!(fine, "{said}");
    // What would be found, were something wrong.
    let broken = std::fs::read_to_string(&unit).unwrap().replace("Type=notify", "Typo=notify");
    std::fs::write(&unit, broken).unwrap();
    let (_, said) = analyze(&["verify", "--man=no", &unit]);
    assert!(said.contains("Typo"), "{said}");
}

#[test]
fn the_program_links_the_c_library_alone() {
    let output = Command::new("readelf").args(["--dynamic", "--wide", DHOW]).output();
    let output = output.expect("this test needs readelf of binutils");
    let text = text(&output.stdout);
    let needed = text.lines().filter(|line| line.contains("(NEEDED)"));
    let mut needed: Vec<_> = needed
        .filter_map(|line| line.split(['[', ']']).nth(1))
        // The loader itself, where something asks it for thread-local storage.
        .filter(|library| !library.starts_with("ld-linux"))
        .collect();
    needed.sort_unstable();
    assert_eq!(needed, ["libc.so.6", "libgcc_s.so.1", "libm.so.6"]);
}
