//! The faults that are looked for. This is the one list of them: `dhow doctor` runs it,
//! `dhow doctor --list` prints it, and `docs/doctor.md` is made of it.

use super::finding::Level::{Fault, Notice};
use super::finding::Remedy::{Explained, Fixed};
use super::finding::{Check, Level, Look, Remedy};
use super::{
    Subject, cache, certificates, clock, disk, folder, machine, ports, registry, server, toolchains,
};

/// Every check, in the order in which they are done: what others depend on comes first.
pub(super) const CHECKS: &[Check] = &[
    row(
        "port-taken",
        Fault,
        "the ports of --listen, --admin and --metrics",
        "one is listened on by a process that is not the dhow of this data folder",
        Explained("end the process, which is named, or choose another port"),
        ports::taken,
    ),
    row(
        "port-refused",
        Fault,
        "the addresses of --listen, --admin and --metrics",
        "the system does not let this user listen there, or the address is not this machine's",
        Explained("choose another address, or give the service CAP_NET_BIND_SERVICE"),
        ports::refused,
    ),
    row(
        "open-files",
        Fault,
        "the limit of open files",
        "it is below --loaded and --connections together and 1000 more",
        Explained("raise LimitNOFILE, --ulimit or limits.conf, or lower those options"),
        machine::open_files,
    ),
    row(
        "address-space",
        Fault,
        "the limit of address space",
        "it is below what the places of --instances reserve, 8 GiB each",
        Explained("lift the limit, or run with fewer --instances: how many is said"),
        machine::address_space,
    ),
    row(
        "max-map-count",
        Fault,
        "the kernel's limit of mappings of a process, vm.max_map_count",
        "it is below 3 for each of --loaded, 4 for each of --instances and 2000 more",
        Explained("sysctl -w vm.max_map_count=N: N is said"),
        machine::max_map_count,
    ),
    row(
        "cgroup-memory",
        Notice,
        "the memory limit of the control groups that this process is in",
        "it is below 512 MiB",
        Explained("raise MemoryMax or --memory"),
        machine::cgroup_memory,
    ),
    row(
        "cores",
        Notice,
        "the cores that this process may use",
        "it is one",
        Explained("raise CPUQuota, AllowedCPUs or --cpus"),
        machine::cores,
    ),
    row(
        "server-away",
        Fault,
        "the server that --server, DHOW_SERVER or the file of settings names",
        "it does not answer within 3 s, or not as a dhow",
        Explained("start it, or name another"),
        server::away,
    ),
    row(
        "server-version",
        Notice,
        "the server's version",
        "it is not this program's",
        Explained("use one version on both sides"),
        server::version,
    ),
    row(
        "clock-skew",
        Fault,
        "this machine's clock",
        "it is more than 5 s apart from the server's, as its answer's Date says",
        Explained("timedatectl set-ntp true"),
        clock::skew,
    ),
    row(
        "clock-future",
        Notice,
        "the times of the files in the data folder",
        "one is more than 60 s in the future: the clock was set back",
        Explained("timedatectl set-ntp true"),
        clock::future,
    ),
    row(
        "disk-full",
        Fault,
        "the room on the disk of the data folder",
        "less than 256 MiB or no inode is left",
        Explained("make room: the command that shows what takes it is said"),
        disk::full,
    ),
    row(
        "disk-read-only",
        Fault,
        "the disk of the data folder",
        "it is mounted read-only",
        Explained("mount it for writing again: the command is said"),
        disk::read_only,
    ),
    row(
        "disk-slow",
        Notice,
        "writes to the disk of the data folder",
        "the middle one of five writes of 4 KiB takes more than 100 ms until it is on the disk",
        Explained("use a local disk, or end what else writes there"),
        disk::slow,
    ),
    row(
        "data-unusable",
        Fault,
        "the data folder",
        "it is a file, or can't be listed",
        Explained("move the file away, run as the folder's owner, or name another folder"),
        folder::unusable,
    ),
    row(
        "data-rights",
        Fault,
        "the modes of the data folder and of what is in it",
        "others may write to the folder, or reach anything in it",
        Fixed("takes those rights from group and others"),
        folder::rights,
    ),
    row(
        "data-owner",
        Fault,
        "whose the data folder and what is in it are",
        "something belongs to another user than this one",
        Explained("run as that user, or give all of it to one: both commands are said"),
        folder::owner,
    ),
    row(
        "data-in-use",
        Fault,
        "the lock of the data folder",
        "a process has it, and no dhow answers at the server's address",
        Explained("name its address, or end the process, which is named"),
        folder::in_use,
    ),
    row(
        "cache-damaged",
        Fault,
        "the compiled code: each entry's seal, length and sum",
        "they do not fit: the code was cut, changed or never finished",
        Fixed("removes the entries; they are compiled again when they are called"),
        cache::damaged,
    ),
    row(
        "cache-foreign",
        Fault,
        "the names and owners of the files of compiled code",
        "one is of another dhow, engine or CPU, another user's, or no code",
        Fixed("removes the files"),
        cache::foreign,
    ),
    row(
        "registry-unreachable",
        Fault,
        "the registries that --registry names or that credentials are kept for",
        "one does not answer as a registry within 10 s, or its certificate is not trusted",
        Explained("what the registry's error asks for"),
        registry::unreachable,
    ),
    row(
        "registry-credentials",
        Fault,
        "the credentials that are kept for those registries",
        "they can't be read, or the registry refuses them",
        Explained("dhow login REGISTRY"),
        registry::credentials,
    ),
    row(
        "certificate-unreadable",
        Fault,
        "the files that --tls-cert and --certificate name",
        "no certificate in PEM can be read of one",
        Explained("the command that has to show one is said"),
        certificates::unreadable,
    ),
    row(
        "certificate-expired",
        Fault,
        "the time in which each of their certificates holds",
        "it has ended, or has not begun",
        Explained("renew it"),
        certificates::expired,
    ),
    row(
        "certificate-ending",
        Notice,
        "the end of that time",
        "it is less than 14 days away",
        Explained("renew it"),
        certificates::ending,
    ),
    row(
        "toolchain-c",
        Notice,
        "wasi-sdk, or clang, wasm-ld and the C library for WASI",
        "one is not there, or clang does not know WebAssembly",
        Explained("apt install: the packages are said"),
        toolchains::c,
    ),
    row(
        "toolchain-go",
        Notice,
        "Go",
        "it is not there, or older than 1.21",
        Explained("install Go"),
        toolchains::go,
    ),
    row(
        "toolchain-rust",
        Notice,
        "cargo and the target wasm32-wasip2",
        "one is not there",
        Explained("rustup target add wasm32-wasip2"),
        toolchains::rust,
    ),
    row(
        "toolchain-js",
        Notice,
        "Node and npm",
        "one is not there, or Node is older than 18",
        Explained("install Node"),
        toolchains::js,
    ),
    row(
        "toolchain-python",
        Notice,
        "python3 and its environments",
        "one is not there",
        Explained("apt install python3 python3-venv"),
        toolchains::python,
    ),
];

const fn row(
    name: &'static str,
    level: Level,
    about: &'static str,
    found: &'static str,
    remedy: Remedy,
    look: fn(&Subject<'_>) -> Look,
) -> Check {
    Check { name, level, about, found, remedy, look }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_is_this_table() {
        let mut expected = String::from(
            "| name | level | looks at | wrong when | what then |\n|---|---|---|---|---|\n",
        );
        for check in CHECKS {
            let level = match check.level {
                Fault => "fault",
                Notice => "notice",
            };
            let remedy = match check.remedy {
                Fixed(what) => format!("`--fix` {what}"),
                Explained(what) => what.to_owned(),
            };
            let Check { name, about, found, .. } = check;
            expected.push_str(&format!("| `{name}` | {level} | {about} | {found} | {remedy} |\n"));
        }
        let page = include_str!("../../../../docs/doctor.md");
        assert!(page.contains(&expected), "docs/doctor.md has to have this:\n{expected}");
    }

    #[test]
    fn names_are_stable_words_and_stand_once() {
        for (nth, check) in CHECKS.iter().enumerate() {
            let is_word = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(check.name.chars().all(is_word), "{}", check.name);
            assert!(CHECKS[..nth].iter().all(|other| other.name != check.name), "{}", check.name);
        }
    }
}
