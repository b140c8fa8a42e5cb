//! `dhow restore`: a data folder out of a backup, whole or not at all.

use std::path::PathBuf;

use dhow_store::backup::restore::{self, RestoreError};

use crate::backup;
use crate::cli::error::CommandError;
use crate::cli::output::Output;
use crate::up;

/// Of what, and where to.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The backup; `-` is standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// The data folder [default: $XDG_DATA_HOME/dhow]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Put it in the place of what the folder holds, which is moved aside
    #[arg(long)]
    replace: bool,
}

/// Restores.
///
/// # Errors
/// When the backup is not whole, or the folder is in use or holds something. Then nothing was
/// changed.
pub fn run(args: &Args, output: &mut Output) -> Result<(), CommandError> {
    let folder = up::data_folder(args.data.as_deref())?;
    let from = backup::open(&args.file)?;
    let restored =
        restore::restore(from, folder, args.replace, &backup::CHECKS).map_err(|error| {
            let hint = match &error {
                RestoreError::Open(_) => "",
                RestoreError::Occupied { .. } => {
                    "--replace moves that aside; or name another folder with --data"
                }
                RestoreError::Replaced(_) => "remove it, or move it away, and restore again",
                _ => "nothing was changed",
            };
            CommandError::failure(error.to_string()).hint(hint)
        })?;
    let blobs = restored.archive.files.len();
    let head = &restored.archive.head;
    output.note(format_args!(
        "{}: {blobs} files, of a backup that dhow {} made",
        folder.display(),
        head.dhow
    ));
    if let Some(replaced) = &restored.replaced {
        let replaced = replaced.display();
        output.note(format_args!("what was there is in {replaced}; remove it when all is well"));
    }
    Ok(())
}
