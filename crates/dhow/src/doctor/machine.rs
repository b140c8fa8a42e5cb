//! Limits that the machine, or whoever started this process, sets.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use procfs::process::Process;
use rustix::process::{Resource, getrlimit};

use super::finding::{Finding, Look};
use super::{Subject, unseen};

/// Descriptors for logs, stores and connections of the admin port.
const OTHER_FILES: u64 = 1000;
/// Address space that a slot reserves, and the spaces of the two kinds of engine.
const SLOT: u64 = (4 << 30) + (64 << 20);
const ENGINES: u64 = 2;
/// User address space of common 64-bit machines is 128 TiB; some is left for everything else.
const MOST_ADDRESS_SPACE: u64 = 120 << 40;
/// Mappings of a loaded function and of an instance, measured and rounded up; of all else.
const MAPS_PER_FUNCTION: u64 = 3;
const MAPS_PER_INSTANCE: u64 = 4;
const OTHER_MAPS: u64 = 2000;
/// Memory below which a compilation of a larger module ends the server or itself.
const LEAST_MEMORY: u64 = 512 << 20;

/// What the first version of control groups says where there is no limit, and more.
const UNLIMITED: u64 = 1 << 60;

const MAX_MAP_COUNT: &str = "/proc/sys/vm/max_map_count";
const CGROUPS: &str = "/sys/fs/cgroup";

/// The limit of open files.
pub(super) fn open_files(subject: &Subject<'_>) -> Look {
    let needed =
        count(subject.args.loaded.get()) + count(subject.args.connections.get()) + OTHER_FILES;
    // dhow raises the soft limit to the hard one by itself.
    let limit = getrlimit(Resource::Nofile).maximum;
    let finding = limit.filter(|limit| *limit < needed).map(|limit| {
        Finding::new(
            format!(
                "{limit} files may be open at once, and {needed} may be needed: one for each \
                 loaded function and each connection"
            ),
            format!(
                "raise the limit: LimitNOFILE={needed} in a systemd unit, --ulimit nofile={needed} \
                 of a container, /etc/security/limits.conf for logins; or lower --loaded and \
                 --connections"
            ),
        )
    });
    Look::single(finding, || match limit {
        Some(limit) => format!("{limit} may be open, {needed} are needed at most"),
        None => "any number may be open".to_owned(),
    })
}

/// The limit of address space.
pub(super) fn address_space(subject: &Subject<'_>) -> Look {
    let needed = u64::from(subject.args.instances) * SLOT * ENGINES;
    let limit = getrlimit(Resource::As).current;
    let most = limit.unwrap_or(u64::MAX).min(MOST_ADDRESS_SPACE);
    let finding = (most < needed).then(|| {
        let fitting = most / SLOT / ENGINES;
        let (needed, most) = (gib(needed), gib(most));
        Finding::new(
            format!(
                "{most} GiB of address space may be had, and {needed} GiB are reserved (not used) \
                 for {} instances",
                subject.args.instances
            ),
            format!(
                "lift the limit: `ulimit -v unlimited`, LimitAS=infinity in a systemd unit; or run \
                 with at most --instances {fitting}"
            ),
        )
    });
    Look::single(finding, || format!("{} GiB can be reserved", gib(needed)))
}

/// The kernel's limit of mappings.
pub(super) fn max_map_count(subject: &Subject<'_>) -> Look {
    let limit = match number(Path::new(MAX_MAP_COUNT)) {
        Some(limit) => limit,
        None => return unseen(format_args!("{MAX_MAP_COUNT} can't be read")),
    };
    let loaded = count(subject.args.loaded.get());
    let needed = loaded * MAPS_PER_FUNCTION
        + u64::from(subject.args.instances) * MAPS_PER_INSTANCE
        + OTHER_MAPS;
    let finding = (limit < needed).then(|| {
        Finding::new(
            format!("a process may have {limit} mappings, and {needed} may be needed"),
            format!(
                "`sysctl -w vm.max_map_count={needed}`, and the same line in /etc/sysctl.d; or lower \
                 --loaded and --instances"
            ),
        )
    });
    Look::single(finding, || format!("{limit} may be had, {needed} are needed at most"))
}

/// The limit of memory of the control group.
pub(super) fn cgroup_memory(_: &Subject<'_>) -> Look {
    let Some((limit, file)) = memory_limit() else {
        return Look::Good("no control group limits it".to_owned());
    };
    let finding = (limit < LEAST_MEMORY).then(|| {
        Finding::new(
            format!(
                "{} limits memory to {} MiB: compiling a larger module may be ended by the kernel",
                file.display(),
                limit >> 20
            ),
            format!(
                "allow at least {} MiB: MemoryMax= in a systemd unit, --memory of a container",
                LEAST_MEMORY >> 20
            ),
        )
    });
    Look::single(finding, || format!("{} MiB by {}", limit >> 20, file.display()))
}

/// The cores that this process may use.
pub(super) fn cores(_: &Subject<'_>) -> Look {
    let cores = match available_parallelism() {
        Ok(cores) => cores.get(),
        Err(error) => return unseen(format_args!("the system does not tell: {error}")),
    };
    let finding = (cores == 1).then(|| {
        Finding::new(
            "one core may be used: while a module compiles, calls are slower",
            "allow more: CPUQuota= and AllowedCPUs= in a systemd unit, --cpus of a container, \
             `taskset -p`",
        )
    });
    Look::single(finding, || format!("{cores} may be used"))
}

/// The tightest limit of the control groups that this process is in, and the file that says so.
fn memory_limit() -> Option<(u64, PathBuf)> {
    let groups = Process::myself().and_then(|process| process.cgroups()).ok()?;
    let files = groups.0.iter().flat_map(|group| {
        let (root, file) = match group.controllers.iter().any(|one| one == "memory") {
            true => (Path::new(CGROUPS).join("memory"), "memory.limit_in_bytes"),
            false => (PathBuf::from(CGROUPS), "memory.max"),
        };
        let path = group.pathname.trim_start_matches('/').to_owned();
        let ancestors: Vec<PathBuf> =
            Path::new(&path).ancestors().map(|at| root.join(at).join(file)).collect();
        ancestors
    });
    let limits = files.filter_map(|file| Some((number(&file)?, file)));
    limits.filter(|(limit, _)| *limit < UNLIMITED).min()
}

/// The number in a file of one number. What says `max` is none.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn count(number: usize) -> u64 {
    number as u64
}

fn gib(bytes: u64) -> u64 {
    bytes >> 30
}
