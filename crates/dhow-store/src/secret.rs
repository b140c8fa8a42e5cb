//! The admin secret: made once, kept in a file of the data folder that its owner alone can read.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use dhow_disk::durable::{self, System};

use crate::folder::{DataFolder, OpenError};

/// The file's name inside the data folder.
const FILE: &str = "admin-secret";
/// The fewest characters that are taken for a secret, where somebody wrote one of their own.
const LEAST: usize = 32;
/// The most bytes of the file.
const MOST: u64 = 1024;

/// The admin secret of a data folder.
pub struct AdminSecret {
    /// The secret, without the end of its line.
    pub text: String,
    /// Where a person finds it.
    pub path: PathBuf,
}

/// Reads the admin secret of `folder`; where there is none, `fresh` becomes it, durably.
///
/// # Errors
/// When the file can't be read or made, or holds too little to be a secret.
pub fn admin_secret(
    folder: &DataFolder,
    fresh: impl FnOnce() -> io::Result<String>,
) -> Result<AdminSecret, OpenError> {
    let path = folder.path().join(FILE);
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = fresh().and_then(|text| write(folder.path(), &path, &text).map(|()| text));
            made.map_err(|error| OpenError::from_io(&path, error))?
        }
        Err(error) => return Err(OpenError::from_io(&path, error)),
    };
    let text = text.trim().to_owned();
    if text.len() < LEAST || text.contains(char::is_whitespace) {
        let detail = format!("it is not one word of at least {LEAST} characters");
        return Err(OpenError::Secret { path, detail });
    }
    Ok(AdminSecret { text, path })
}

fn read(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    // It may have been copied here with a wider mode.
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text)?;
    Ok(text)
}

/// In one step: a half written secret would lock everybody out.
fn write(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".admin-secret-").tempfile_in(folder)?;
    writeln!(file, "{text}")?;
    durable::keep(&System, file, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn it_is_made_once_and_is_its_owners_alone() {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(parent.path()).unwrap();
        let first = admin_secret(&folder, || Ok(SECRET.to_owned())).unwrap();
        assert_eq!(first.text, SECRET);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&first.path), 0o600);
        fs::set_permissions(&first.path, fs::Permissions::from_mode(0o644)).unwrap();
        let second = admin_secret(&folder, || panic!("there is one")).unwrap();
        assert_eq!((second.text.as_str(), mode(&second.path)), (SECRET, 0o600));
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(parent.path()).unwrap();
        for text in ["", "short", "two words that are longer than the least"] {
            fs::write(parent.path().join(FILE), text).unwrap();
            let refused = admin_secret(&folder, || panic!("there is one"));
            assert!(matches!(refused, Err(OpenError::Secret { .. })), "{text:?}");
        }
    }
}
