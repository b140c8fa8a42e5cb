//! The files: `audit.log`, rotated to `audit.log.1`, `.2` …; the higher, the older.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use super::{Config, Record};

/// The files, for their only writer.
pub(super) struct Files {
    config: Config,
    /// `None` after a failure: it is opened, and mended, again.
    open: Option<Open>,
}

struct Open {
    file: File,
    size: u64,
}

impl Files {
    pub(super) fn open(config: Config) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&config.folder)?;
        let open = Some(Open::at(&config)?);
        Ok(Self { config, open })
    }

    /// Appends a line, durably.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::at(&self.config)?,
        };
        if open.size > 0 && open.size + length > self.config.file {
            drop(open);
            self.rotate()?;
            open = Open::at(&self.config)?;
        }
        open.file.write_all(line)?;
        open.file.sync_data()?;
        open.size += length;
        self.open = Some(open);
        Ok(())
    }

    /// Makes the file in use the newest of the old ones; the oldest goes.
    fn rotate(&self) -> io::Result<()> {
        for index in (0..self.config.old_files).rev() {
            match fs::rename(path(&self.config, index), path(&self.config, index + 1)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && index > 0 => {}
                renamed => renamed?,
            }
        }
        if self.config.old_files == 0 {
            fs::remove_file(path(&self.config, 0))?;
        }
        Ok(())
    }
}

impl Open {
    fn at(config: &Config) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let path = path(config, 0);
        let mut file = options.create(true).read(true).append(true).mode(0o600).open(path)?;
        // The file's name is as durable as what is in it.
        File::open(&config.folder)?.sync_all()?;
        let mut size = file.metadata()?.len();
        if size > 0 {
            let mut last = [0];
            file.read_exact_at(&mut last, size - 1)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                size += 1;
            }
        }
        Ok(Self { file, size })
    }
}

/// The newest `most` records of those from `since_ms` on, oldest first.
pub(super) fn read(config: &Config, most: usize, since_ms: Option<u64>) -> io::Result<Vec<Record>> {
    // Opened from the newest to the oldest, the way they wander: one that is rotated meanwhile is
    // met twice rather than never.
    let mut files = Vec::new();
    for index in 0..=config.old_files {
        match File::open(path(config, index)) {
            Ok(file) => files.push(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let mut records = VecDeque::new();
    for file in files.into_iter().rev() {
        for line in BufReader::new(file).split(b'\n') {
            let record = Record::decode(&line?);
            let wanted = |record: &Record| since_ms.is_none_or(|since| record.time_ms >= since);
            if let Some(record) = record.filter(wanted)
                && most > 0
            {
                if records.len() == most {
                    records.pop_front();
                }
                records.push_back(record);
            }
        }
    }
    Ok(records.into())
}

fn path(config: &Config, index: u32) -> PathBuf {
    match index {
        0 => config.folder.join("audit.log"),
        index => config.folder.join(format!("audit.log.{index}")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Who;
    use super::*;

    fn line(number: u64) -> Vec<u8> {
        let record = Record {
            time_ms: number,
            who: Who::Unknown,
            peer: None,
            action: "x".to_owned(),
            object: String::new(),
            detail: None,
            status: 200,
            reason: None,
            unrecorded: 0,
        };
        record.encode()
    }

    fn times(config: &Config) -> Vec<u64> {
        let records = read(config, 1000, None).unwrap();
        records.into_iter().map(|record| record.time_ms).collect()
    }

    #[test]
    fn the_log_stays_within_its_budget_and_the_oldest_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let three = 3 * line(1).len() as u64;
        let config = Config { folder: folder.path().join("a"), file: three, old_files: 2 };
        let mut files = Files::open(config.clone()).unwrap();
        for number in 1..=20 {
            files.append(&line(number)).unwrap();
        }
        assert_eq!(times(&config), (13..=20).collect::<Vec<_>>());
        let kept = fs::read_dir(&config.folder).unwrap().map(|file| file.unwrap());
        let sizes: Vec<_> = kept.map(|file| file.metadata().unwrap().len()).collect();
        assert_eq!(sizes.len(), 3);
        assert!(sizes.iter().all(|size| *size <= three), "{sizes:?}");
    }

    #[test]
    fn half_a_record_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::new(folder.path().to_owned());
        fs::write(folder.path().join("audit.log"), [line(1), line(2)[..9].to_vec()].concat())
            .unwrap();
        let mut files = Files::open(config.clone()).unwrap();
        files.append(&line(3)).unwrap();
        assert_eq!(times(&config), [1, 3]);
    }

    #[test]
    fn nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::new(folder.path().join("audit"));
        drop(Files::open(config.clone()).unwrap());
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(config.folder.clone()), 0o700);
        assert_eq!(mode(path(&config, 0)), 0o600);
    }
}
