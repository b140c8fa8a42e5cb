//! Certificates and toolchains.

use std::process::Command;

use super::report::Doctor;

/// A certificate of its own that ends in so many days.
fn certificate(doctor: &Doctor, days: &str) -> String {
    let file = |name: &str| doctor.path().join(name).display().to_string();
    let (key, request, certificate) = (file("key.pem"), file("request.pem"), file("cert.pem"));
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).output();
        let output = output.expect("this test needs openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let new = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=dhow.test"];
    openssl(&[&new[..], &["-keyout", &key, "-out", &request]].concat());
    let sign = ["x509", "-req", "-in", &request, "-signkey", &key, "-days", days];
    openssl(&[&sign[..], &["-out", &certificate]].concat());
    certificate
}

pub(super) fn certificate_unreadable(name: &str) {
    let doctor = Doctor::new();
    let text = doctor.file("text.pem", "just text");
    doctor.examine(&["--certificate", &text]).names(name, &["text.pem: none is in it"]);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken = doctor.file("broken.pem", broken);
    let report = doctor.examine(&["--certificate", &broken, "--certificate", "/nowhere.pem"]);
    report.names(name, &["broken.pem", "/nowhere.pem"]);
}

pub(super) fn certificate_expired(name: &str) {
    let doctor = Doctor::new();
    let expired = certificate(&doctor, "-1");
    doctor.examine(&["--certificate", &expired]).names(name, &["cert.pem ended a day ago"]);
    // The server's own, as its setting names it.
    let doctor = doctor.with("DHOW_UP_TLS_CERT", &expired);
    doctor.examine(&[]).names(name, &["cert.pem ended a day ago"]);
    let doctor = Doctor::new();
    let good = certificate(&doctor, "300");
    let report = doctor.examine(&["--certificate", &good]);
    for name in [name, "certificate-unreadable", "certificate-ending"] {
        assert_eq!(report.state(name), "good", "{report:?}");
    }
}

pub(super) fn certificate_ending(name: &str) {
    let doctor = Doctor::new();
    let ending = certificate(&doctor, "3");
    let report = doctor.examine(&["--certificate", &ending]);
    report.names(name, &["cert.pem ends in"]);
    assert_eq!(report.state("certificate-expired"), "good", "{report:?}");
}

/// A machine on which nothing is installed.
fn bare() -> Doctor {
    let doctor = Doctor::new();
    let nothing = doctor.path().display().to_string();
    doctor.with("PATH", &nothing)
}

pub(super) fn toolchain_c(name: &str) {
    bare().examine(&[]).names(name, &["no clang"]);
}

pub(super) fn toolchain_go(name: &str) {
    bare().examine(&[]).names(name, &["no Go"]);
}

pub(super) fn toolchain_rust(name: &str) {
    bare().examine(&[]).names(name, &["no cargo"]);
}

pub(super) fn toolchain_js(name: &str) {
    bare().examine(&[]).names(name, &["no Node"]);
}

pub(super) fn toolchain_python(name: &str) {
    bare().examine(&[]).names(name, &["no python3"]);
}
