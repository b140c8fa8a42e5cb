//! The disk that holds the data folder.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{StatVfs, StatVfsMountFlags, statvfs};

use super::finding::{Finding, Look};
use super::{Subject, unseen};

/// Room below which deploys and asynchronous calls are soon refused, bytes.
const LEAST_ROOM: u64 = 256 << 20;
/// Writes that are tried, and the longest that the middle one of them may take.
const WRITES: usize = 5;
const SLOW: Duration = Duration::from_millis(100);

/// How much room there is.
pub(super) fn full(subject: &Subject<'_>) -> Look {
    let (folder, disk) = match disk(subject) {
        Ok(disk) => disk,
        Err(why) => return why,
    };
    let room = disk.f_bavail.saturating_mul(disk.f_frsize);
    let at = folder.display();
    let finding = if room < LEAST_ROOM {
        Some(Finding::new(
            format!("the disk of {at} has {} MiB left: deploys will be refused", room >> 20),
            format!("make room; `du -xh --max-depth=2 {at} | sort -h` shows what takes it"),
        ))
    } else if disk.f_files > 0 && disk.f_favail == 0 {
        Some(Finding::new(
            format!("the disk of {at} has no inodes left: no file can be made"),
            "remove small files; `df -i` shows each disk's inodes",
        ))
    } else {
        None
    };
    Look::single(finding, || format!("{} MiB are left at {at}", room >> 20))
}

/// Whether it can be written.
pub(super) fn read_only(subject: &Subject<'_>) -> Look {
    let (folder, disk) = match disk(subject) {
        Ok(disk) => disk,
        Err(why) => return why,
    };
    let at = folder.display();
    let finding = disk.f_flag.contains(StatVfsMountFlags::RDONLY).then(|| {
        Finding::new(
            format!("the disk of {at} is mounted read-only"),
            format!(
                "`mount -o remount,rw $(findmnt -no TARGET -T {at})`; `dmesg` tells whether an error \
                 made it so; or name another folder with --data"
            ),
        )
    });
    Look::single(finding, || format!("{at} can be written"))
}

/// How long a write takes until it is on the disk.
pub(super) fn slow(subject: &Subject<'_>) -> Look {
    let folder = match disk(subject) {
        Ok((folder, _)) => folder,
        Err(why) => return why,
    };
    let at = folder.display();
    let middle = match synced_write(folder) {
        Ok(middle) => middle,
        Err(error) => return unseen(format_args!("no file can be made in {at}: {error}")),
    };
    let finding = (middle > SLOW).then(|| {
        Finding::new(
            format!("a write at {at} takes {} ms until it is on the disk", middle.as_millis()),
            "every deploy and asynchronous call waits for it: put the data folder on a local disk \
             (--data), not on a network's, or see what else writes there (`iotop`)",
        )
    });
    Look::single(finding, || format!("a write at {at} is on the disk in {} µs", middle.as_micros()))
}

/// The data folder or the nearest folder above it that is there, and its disk.
fn disk<'a>(subject: &'a Subject<'_>) -> Result<(&'a Path, StatVfs), Look> {
    let Some(data) = &subject.args.data else { return Err(unseen("no data folder is named")) };
    let folder = data.ancestors().find(|folder| folder.is_dir());
    let folder = folder.ok_or_else(|| unseen("there is no folder above the data folder"))?;
    statvfs(folder)
        .map(|disk| (folder, disk))
        .map_err(|error| unseen(format_args!("{}: {error}", folder.display())))
}

/// The middle one of a few writes, each with its sync. The file has no name and goes with the
/// process.
fn synced_write(folder: &Path) -> io::Result<Duration> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut times = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let began = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    times.sort();
    Ok(times[WRITES / 2])
}
