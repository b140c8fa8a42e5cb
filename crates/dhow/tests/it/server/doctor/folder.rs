//! The data folder and the compiled code in it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::super::rig::Server;
use super::report::Doctor;

fn with_data() -> Doctor {
    let doctor = Doctor::new();
    fs::create_dir(doctor.data()).unwrap();
    fs::set_permissions(doctor.data(), Permissions::from_mode(0o700)).unwrap();
    doctor
}

pub(super) fn clock_future(name: &str) {
    let doctor = with_data();
    let inner = doctor.data().join("blobs");
    fs::create_dir(&inner).unwrap();
    let file = File::create(inner.join("late")).unwrap();
    assert_eq!(doctor.examine(&[]).state(name), "good");
    file.set_modified(SystemTime::now() + Duration::from_secs(7200)).unwrap();
    doctor.examine(&[]).names(name, &["late was written 7", "in the future"]);
}

pub(super) fn data_unusable(name: &str) {
    let doctor = Doctor::new();
    assert_eq!(doctor.examine(&[]).state(name), "skipped", "it is made at the first start");
    fs::write(doctor.data(), "a file").unwrap();
    doctor.examine(&[]).names(name, &["data is not a folder"]);
}

pub(super) fn data_rights(name: &str) {
    let doctor = with_data();
    let catalog = doctor.data().join("catalog.redb");
    fs::write(&catalog, "").unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    mode(&catalog, 0o644);
    mode(&doctor.data(), 0o777);
    doctor.examine(&[]).names(name, &["data has mode 777", "catalog.redb has mode 644"]);
    doctor.examine(&["--fix"]).fixes(name);
    let now = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((now(&catalog), now(&doctor.data())), (0o600, 0o755));
    assert_eq!(doctor.examine(&[]).state(name), "good");
}

pub(super) fn data_owner(name: &str) {
    let doctor = with_data();
    let file = doctor.data().join("catalog.redb");
    fs::write(&file, "").unwrap();
    std::os::unix::fs::chown(&file, Some(65534), None)
        .expect("this test gives a file away as root");
    let report = doctor.examine(&["--fix"]);
    report.names(name, &["catalog.redb belongs to user 65534"]);
}

pub(super) fn data_in_use(name: &str) {
    let doctor = with_data();
    let lock = File::create(doctor.data().join("lock")).unwrap();
    assert_eq!(doctor.examine(&[]).state(name), "good");
    lock.lock().unwrap();
    fs::write(doctor.data().join("lock"), format!("{:10}\n", std::process::id())).unwrap();
    let me = format!("process {} has", std::process::id());
    doctor.examine(&[]).names(name, &[&me]);

    let server = Server::start();
    let doctor = Doctor::new().with("DHOW_SERVER", &server.admin);
    let data = server.path().join("data");
    assert_eq!(doctor.examine(&["--data", data.to_str().unwrap()]).state(name), "good");
}

/// The folder of a server that has compiled a function, and the file of its code.
fn compiled() -> (Doctor, PathBuf) {
    let server = Server::start();
    server.deploy("hello", &[]);
    let doctor = Doctor::in_folder(server.kill());
    let code = fs::read_dir(doctor.data().join("code")).unwrap().map(|file| file.unwrap().path());
    let is_code = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "cwasm");
    let code = code.into_iter().find(is_code).unwrap();
    (doctor, code)
}

pub(super) fn cache_damaged(name: &str) {
    let (doctor, code) = compiled();
    let report = doctor.examine(&[]);
    for name in [name, "cache-foreign", "data-rights", "data-owner", "clock-future"] {
        assert_eq!(report.state(name), "good", "what a server left: {report:?}");
    }
    let mut bytes = fs::read(&code).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&code, bytes).unwrap();
    doctor.examine(&[]).names(name, &["the code has another sum"]);
    assert!(code.exists(), "it was removed unasked");
    doctor.examine(&["--fix"]).fixes(name);
    assert!(!code.exists() && !code.with_extension("seal").exists());
    assert_eq!(doctor.examine(&[]).state(name), "good");
}

pub(super) fn cache_foreign(name: &str) {
    let (doctor, code) = compiled();
    let file = |name: &str| code.with_file_name(name);
    fs::write(file("notes.txt"), "").unwrap();
    let module = code.file_name().unwrap().to_str().unwrap().split('-').next().unwrap();
    let other = file(&format!("{module}-{}.cwasm", "0".repeat(32)));
    fs::write(&other, "code of another CPU").unwrap();
    doctor.examine(&[]).names(name, &["notes.txt: it is no compiled code", "for another CPU"]);
    doctor.examine(&["--fix"]).fixes(name);
    assert!(!other.exists() && !file("notes.txt").exists());
    assert!(code.exists(), "what is sound stays");
    assert_eq!(doctor.examine(&[]).state(name), "good");
}
