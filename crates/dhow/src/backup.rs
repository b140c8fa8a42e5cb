//! `dhow backup`: a copy of everything that a dhow keeps, in one file that appears when it is
//! whole.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use dhow_core::quantity::print_bytes;
use dhow_queue::embedded;
use dhow_store::backup::archive::{self, Archive};
use dhow_store::backup::{Check, copy};
use tempfile::NamedTempFile;

use crate::cli::client::Client;
use crate::cli::error::CommandError;
use crate::cli::output::Output;
use crate::cli::settings::Settings;

/// Standard input or output in place of a file.
pub(crate) const STANDARD: &str = "-";

/// Of what, and where to.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write; `-` is standard output
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// Copy this data folder, which no dhow uses now, in place of a running dhow's
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Writes the copy.
///
/// # Errors
/// When the server or the folder can't be read, or the file not be written. A file that was there
/// is left as it was.
pub fn run(args: &Args, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    let archive = if args.file.as_os_str() == STANDARD {
        if output.data_is_terminal() {
            return Err(CommandError::usage("a backup is not written to a terminal")
                .hint("name a file, or send standard output somewhere"));
        }
        write(args, settings, &mut Printed(output))?
    } else {
        let unwritable = |error: io::Error| {
            CommandError::failure(format!("`{}` can't be written: {error}", args.file.display()))
        };
        let folder = args.file.parent().filter(|folder| !folder.as_os_str().is_empty());
        // Open to its owner alone: what is kept may be secret.
        let mut file =
            NamedTempFile::new_in(folder.unwrap_or_else(|| Path::new("."))).map_err(unwritable)?;
        let archive = write(args, settings, file.as_file_mut())?;
        file.as_file().sync_all().map_err(unwritable)?;
        file.persist(&args.file).map_err(|error| unwritable(error.error))?;
        archive
    };
    let size = archive.files.values().map(|sum| sum.size).sum();
    output.note(format_args!("{} files, {} before compression", archive.files.len(), about(size)));
    Ok(())
}

/// How the files of stores are looked through that the archive does not know itself.
pub(crate) const CHECKS: [Check; 1] = [Check {
    file: embedded::FILE,
    look: |copy, named| embedded::check(copy, named).map_err(|error| error.to_string()),
}];

fn write(args: &Args, settings: &Settings, to: &mut dyn Write) -> Result<Archive, CommandError> {
    if let Some(folder) = &args.data {
        let copied = copy::folder(folder, to, now_ms(), &CHECKS);
        return copied.map_err(|error| {
            let error = CommandError::failure(error.to_string());
            error.hint("without --data, `dhow backup` asks the dhow that runs")
        });
    }
    let answer = Client::new(settings).backup()?;
    let passed = Passed { from: answer, to };
    archive::read(BufReader::new(passed), |_, _| Ok(())).map_err(|error| {
        CommandError::failure(format!("the backup did not come whole: {error}"))
            .hint("nothing was kept of it; the server's own log tells why")
    })
}

/// Hands on what is read through it.
struct Passed<'a, R> {
    from: R,
    to: &'a mut dyn Write,
}

impl<R: Read> Read for Passed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.to.write_all(&buffer[..read])?;
        Ok(read)
    }
}

struct Printed<'a>(&'a mut Output);

impl Write for Printed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.data(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A size that a person reads at a glance.
fn about(bytes: u64) -> String {
    let grain = [30, 20, 10, 0].into_iter().find(|grain| bytes >> grain >= 10).unwrap_or(0);
    print_bytes(bytes >> grain << grain)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The archive to read: a file, or standard input.
pub(crate) fn open(file: &Path) -> Result<Box<dyn io::BufRead>, CommandError> {
    if file.as_os_str() == STANDARD {
        return Ok(Box::new(io::stdin().lock()));
    }
    let opened = File::open(file);
    let opened = opened.map_err(|e| CommandError::file("the backup", file.display(), &e))?;
    Ok(Box::new(BufReader::new(opened)))
}
