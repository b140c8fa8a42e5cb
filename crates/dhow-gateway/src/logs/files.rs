//! The files that lines are kept in: `NAMESPACE/NAME.log`, rotated to `.1`, `.2` …, all together
//! within a budget. Knows no thread and no clock but the files' own.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use dhow_core::name::FunctionName;

use super::line::LogLine;
use super::{Config, Query};

/// Files that are kept open.
const OPEN: usize = 256;

/// The files, for their only writer.
pub(super) struct Files {
    config: Config,
    open: HashMap<FunctionName, Open>,
    /// Bytes of all files.
    total: u64,
}

struct Open {
    file: File,
    size: u64,
}

/// A file as it was found.
struct Found {
    path: PathBuf,
    /// 0 is in use; the higher, the older.
    index: u32,
    length: u64,
    modified: SystemTime,
}

impl Files {
    /// Makes the folder, and counts what is in it.
    pub(super) fn open(config: Config) -> io::Result<Self> {
        make_folder(&config.folder)?;
        let total = found(&config.folder)?.iter().map(|file| file.length).sum();
        Ok(Self { config, open: HashMap::new(), total })
    }

    /// Keeps a line. Of one that fails, at most a part is kept, which readers skip.
    pub(super) fn append(&mut self, function: &FunctionName, line: &LogLine) -> io::Result<()> {
        let bytes = line.encode()?;
        let length = bytes.len() as u64;
        if self.total + length > self.config.total {
            self.make_room(length)?;
        }
        let size = self.file(function)?.size;
        // Half of the budget, so that the file in use never has to go for its own sake.
        let most = self.config.file.min(self.config.total / 2);
        if size > 0 && size + length > most {
            self.rotate(function)?;
        }
        let open = self.file(function)?;
        if let Err(error) = open.file.write_all(&bytes) {
            // It is mended when it is opened again.
            self.open.remove(function);
            return Err(error);
        }
        open.size += length;
        self.total += length;
        Ok(())
    }

    /// Removes what is kept of a function.
    pub(super) fn remove(&mut self, function: &FunctionName) -> io::Result<()> {
        self.open.remove(function);
        for index in 0..=self.config.old_files {
            let path = path(&self.config.folder, function, index);
            match fs::metadata(&path) {
                Ok(metadata) => {
                    fs::remove_file(&path)?;
                    self.total = self.total.saturating_sub(metadata.len());
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn file(&mut self, function: &FunctionName) -> io::Result<&mut Open> {
        if self.open.len() >= OPEN && !self.open.contains_key(function) {
            self.open.clear();
        }
        match self.open.entry(function.clone()) {
            std::collections::hash_map::Entry::Occupied(open) => Ok(open.into_mut()),
            std::collections::hash_map::Entry::Vacant(place) => {
                Ok(place.insert(Open::at(&path(&self.config.folder, function, 0))?))
            }
        }
    }

    /// Makes the file in use the newest of the old ones.
    fn rotate(&mut self, function: &FunctionName) -> io::Result<()> {
        self.open.remove(function);
        let folder = &self.config.folder;
        let oldest = path(folder, function, self.config.old_files);
        match fs::metadata(&oldest) {
            Ok(metadata) => {
                fs::remove_file(&oldest)?;
                self.total = self.total.saturating_sub(metadata.len());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        for index in (0..self.config.old_files).rev() {
            let renamed =
                fs::rename(path(folder, function, index), path(folder, function, index + 1));
            match renamed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes room for `length` bytes: removes the oldest rotated files, and where these are not
    /// enough the files in use that were quiet for longest. An eighth of the budget more than
    /// must be, since every file is looked at.
    fn make_room(&mut self, length: u64) -> io::Result<()> {
        let mut files = found(&self.config.folder)?;
        self.total = files.iter().map(|file| file.length).sum();
        files.sort_by_key(|file| (file.index == 0, file.modified, Reverse(file.index)));
        for file in files {
            if self.total + length <= self.config.total - self.config.total / 8 {
                break;
            }
            if file.index == 0 {
                self.open.clear();
            }
            fs::remove_file(&file.path)?;
            self.total -= file.length;
        }
        Ok(())
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        let mut options = OpenOptions::new();
        let mut file = options.create(true).read(true).append(true).mode(0o600).open(path)?;
        let size = file.metadata()?.len();
        if size == 0 {
            return Ok(Self { file, size });
        }
        let mut last = [0];
        file.read_exact_at(&mut last, size - 1)?;
        if last == *b"\n" {
            return Ok(Self { file, size });
        }
        // A full disk or a crash left half a line, which must not spoil the next one.
        file.write_all(b"\n")?;
        Ok(Self { file, size: size + 1 })
    }
}

/// The lines that are kept of a function, oldest first.
pub(super) fn read(
    config: &Config,
    function: &FunctionName,
    query: &Query,
) -> io::Result<Vec<LogLine>> {
    let mut most = query.tail.unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    for file in opened(config, function)? {
        if most == 0 {
            break;
        }
        let lines = matching(file, query, most)?;
        most -= lines.len();
        parts.push(lines);
    }
    Ok(parts.into_iter().rev().flatten().collect())
}

/// A function's files, newest first. They are opened before any is read, in the order in which
/// they wander, so that one that is rotated meanwhile is met twice rather than never.
fn opened(config: &Config, function: &FunctionName) -> io::Result<Vec<File>> {
    let mut met = HashSet::new();
    let mut files = Vec::new();
    for index in 0..=config.old_files {
        match File::open(path(&config.folder, function, index)) {
            Ok(file) => {
                let metadata = file.metadata()?;
                if met.insert((metadata.dev(), metadata.ino())) {
                    files.push(file);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// The newest lines of a file that are asked for, at most so many, oldest first.
fn matching(file: File, query: &Query, most: usize) -> io::Result<VecDeque<LogLine>> {
    let mut lines = VecDeque::new();
    for line in BufReader::new(file).split(b'\n') {
        // Half a line, of a crash or of one that is being written, is none.
        let Some(line) = LogLine::decode(&line?) else { continue };
        let wanted = query.since_ms.is_none_or(|since| line.time_ms >= since)
            && query.call.is_none_or(|call| line.call == call);
        if wanted {
            if lines.len() == most {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    }
    Ok(lines)
}

/// Every log of every function. What else is in the folder is not ours, and stays.
fn found(folder: &Path) -> io::Result<Vec<Found>> {
    let mut files = Vec::new();
    for namespace in fs::read_dir(folder)? {
        let namespace = namespace?;
        if !namespace.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(namespace.path())? {
            let file = file?;
            let Some(index) = index(&file.path()) else { continue };
            let metadata = file.metadata()?;
            files.push(Found {
                path: file.path(),
                index,
                length: metadata.len(),
                modified: metadata.modified()?,
            });
        }
    }
    Ok(files)
}

fn path(folder: &Path, function: &FunctionName, index: u32) -> PathBuf {
    let name = match index {
        0 => format!("{}.log", function.name),
        index => format!("{}.log.{index}", function.name),
    };
    folder.join(function.namespace.as_str()).join(name)
}

/// The index in a path that [`path`] made. A function's name has no dot.
fn index(path: &Path) -> Option<u32> {
    match path.file_name()?.to_str()?.split_once('.')?.1 {
        "log" => Some(0),
        rest => rest.strip_prefix("log.")?.parse().ok(),
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use dhow_core::call::CallId;
    use dhow_core::ports::Stream;

    use super::*;

    fn line(number: u64) -> LogLine {
        LogLine {
            time_ms: number,
            call: CallId(u128::from(number)),
            revision: 1,
            stream: Stream::Stdout,
            line: "some text to fill the file".to_owned(),
        }
    }

    fn config(folder: &tempfile::TempDir, file: u64, total: u64) -> Config {
        Config { file, total, ..Config::new(folder.path().join("logs")) }
    }

    fn name(text: &str) -> FunctionName {
        FunctionName::parse(text).unwrap()
    }

    fn size(config: &Config) -> u64 {
        found(&config.folder).unwrap().iter().map(|file| file.length).sum()
    }

    #[test]
    fn files_are_rotated_and_the_newest_lines_stay() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder, 2000, 1 << 20);
        let mut files = Files::open(config.clone()).unwrap();
        for number in 1..=500 {
            files.append(&name("f"), &line(number)).unwrap();
        }
        let mut kept = found(&config.folder).unwrap();
        kept.sort_by_key(|file| file.index);
        assert_eq!(kept.iter().map(|file| file.index).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert!(kept.iter().all(|file| file.length <= 2000));
        assert_eq!(files.total, size(&config));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert!(kept.iter().all(|file| mode(&file.path) == 0o600));
        assert_eq!(mode(&config.folder), 0o700);
        assert_eq!(mode(&config.folder.join("default")), 0o700);

        let read = |query| read(&config, &name("f"), &query).unwrap();
        let all: Vec<_> = read(Query::default()).iter().map(|line| line.time_ms).collect();
        assert_eq!(all, (501 - all.len() as u64..=500).collect::<Vec<_>>());
        // Over more than one file.
        let tail = read(Query { tail: Some(20), ..Query::default() });
        assert_eq!((tail.len(), tail[0].time_ms), (20, 481));
        assert_eq!(read(Query { since_ms: Some(490), ..Query::default() }).len(), 11);
        assert_eq!(read(Query { call: Some(CallId(495)), ..Query::default() }), [line(495)]);
        assert!(read(Query { tail: Some(0), ..Query::default() }).is_empty());

        files.remove(&name("f")).unwrap();
        assert_eq!((files.total, size(&config)), (0, 0));
    }

    #[test]
    fn the_budget_holds_at_every_line_for_busy_and_for_many_functions() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder, 1000, 5000);
        let mut files = Files::open(config.clone()).unwrap();
        fs::write(config.folder.join("not-ours"), "x").unwrap();
        for number in 1..=300 {
            let function = name(["a", "b"][number as usize % 2]);
            files.append(&function, &line(number)).unwrap();
            assert!(size(&config) <= 5000);
        }
        // None of these is ever rotated.
        for number in 1..=100 {
            files.append(&name(&format!("f{number}")), &line(number)).unwrap();
            assert!(size(&config) <= 5000);
        }
        assert_eq!(read(&config, &name("f100"), &Query::default()).unwrap(), [line(100)]);
        // What was there before counts too.
        drop(files);
        assert_eq!(Files::open(config.clone()).unwrap().total, size(&config));
    }

    #[test]
    fn half_a_line_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder, 1000, 5000);
        let path = path(&config.folder, &name("f"), 0);
        Files::open(config.clone()).unwrap().append(&name("f"), &line(1)).unwrap();
        let mut half = fs::read(&path).unwrap();
        half.extend(b"{\"time\":\"20");
        fs::write(&path, half).unwrap();
        Files::open(config.clone()).unwrap().append(&name("f"), &line(2)).unwrap();
        assert_eq!(read(&config, &name("f"), &Query::default()).unwrap(), [line(1), line(2)]);
    }
}
