//! Limits and disks, as a child or a mount namespace may have them.

use std::process::Command;

use super::report::Doctor;

pub(super) fn open_files(name: &str) {
    let doctor = Doctor::new().under(&["prlimit", "--nofile=1024:1024"]);
    doctor.examine(&[]).names(name, &["1024 files", "15000 may be needed"]);
    let few = ["--loaded", "10", "--connections", "10"];
    let doctor = Doctor::new().under(&["prlimit", "--nofile=2000:2000"]);
    assert_eq!(doctor.examine(&few).state(name), "good");
}

pub(super) fn address_space(name: &str) {
    let doctor = Doctor::new().under(&["prlimit", "--as=68719476736"]);
    doctor.examine(&[]).names(name, &["64 GiB", "1000 instances"]);
    assert_eq!(doctor.examine(&["--instances", "7"]).state(name), "good");
}

pub(super) fn max_map_count(name: &str) {
    let doctor = Doctor::new();
    let file = doctor.file("count", "5000\n");
    let doctor = doctor.after(&format!("mount --bind {file} /proc/sys/vm/max_map_count"));
    doctor.examine(&[]).names(name, &["5000 mappings", "18000 may be needed"]);
    assert_eq!(doctor.examine(&["--loaded", "10", "--instances", "10"]).state(name), "good");
}

pub(super) fn cgroup_memory(name: &str) {
    let planted = |limit: &str| {
        let doctor = Doctor::new();
        let file = doctor.file("groups", "0::/planted/inner\n");
        doctor.after(&format!(
            "mount -t tmpfs tmpfs /sys/fs/cgroup\n\
             mkdir -p /sys/fs/cgroup/planted/inner\n\
             echo max > /sys/fs/cgroup/planted/inner/memory.max\n\
             echo {limit} > /sys/fs/cgroup/planted/memory.max\n\
             mount --bind {file} /proc/$$/cgroup"
        ))
    };
    // The limit of a group above counts.
    planted("67108864").examine(&[]).names(name, &["planted/memory.max", "64 MiB"]);
    assert_eq!(planted("1073741824").examine(&[]).state(name), "good");
}

pub(super) fn cores(name: &str) {
    let doctor = Doctor::new().under(&["taskset", "--cpu-list", "0"]);
    doctor.examine(&[]).names(name, &["one core"]);
}

/// A doctor whose data folder is a disk of its own.
fn on_disk(options: &str, more: &str) -> Doctor {
    let doctor = Doctor::new();
    std::fs::create_dir(doctor.data()).unwrap();
    let data = doctor.data().display().to_string();
    doctor.after(&format!("mount -t tmpfs -o {options} tmpfs {data}\ncd {data}\n{more}\ncd /"))
}

pub(super) fn disk_full(name: &str) {
    on_disk("size=6m", "").examine(&[]).names(name, &["data has 6 MiB left"]);
    on_disk("size=1g,nr_inodes=3", "touch a b").examine(&[]).names(name, &["no inodes left"]);
    assert_eq!(on_disk("size=1g", "").examine(&[]).state(name), "good");
}

pub(super) fn disk_read_only(name: &str) {
    let report = on_disk("ro", "").examine(&[]);
    report.names(name, &["mounted read-only"]);
    assert_eq!(report.state("disk-slow"), "skipped", "nothing can be written there");
}

pub(super) fn disk_slow(name: &str) {
    let doctor = Doctor::new();
    // A disk whose every sync takes 300 ms.
    let source = doctor.file(
        "slow.c",
        "#include <unistd.h>\nint fdatasync(int fd) { usleep(300000); return 0; }\n",
    );
    let library = doctor.path().join("slow.so");
    let mut cc = Command::new("cc");
    let cc = cc.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
    assert!(cc.status().expect("this test needs a C compiler").success());
    let doctor = doctor.with("LD_PRELOAD", library.to_str().unwrap());
    doctor.examine(&[]).names(name, &["until it is on the disk"]);
}
