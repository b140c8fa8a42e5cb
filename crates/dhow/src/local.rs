//! An engine for one module and one command, in a folder that goes with it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dhow_core::digest::Digest;
use dhow_core::ports::{Artifact, Blobs, Intake as _, Observe, Refusal};
use dhow_engine::{Config, Engine, World};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::cli::error::CommandError;

/// An engine that knows one module.
pub(crate) struct Local {
    pub(crate) engine: Engine,
    pub(crate) artifact: Artifact,
    /// Where the compiled code is.
    _folder: TempDir,
}

impl Local {
    /// Compiles the module at `path`.
    pub(crate) async fn start(
        path: &Path,
        observe: Arc<dyn Observe>,
        world: World,
    ) -> Result<Self, CommandError> {
        let unreadable =
            |error: io::Error| CommandError::file("the module", path.display(), &error);
        let digest = digest(File::open(path).map_err(unreadable)?).map_err(unreadable)?;
        let folder = tempfile::tempdir()
            .map_err(|error| CommandError::failure(format!("no temporary folder: {error}")))?;
        let mut config = Config::new(folder.path().join("code"), this_program()?);
        config.instances = 4;
        let blobs = Arc::new(OneBlob { path: path.to_owned(), digest });
        let engine = Engine::start(config, blobs, observe, world)
            .map_err(|error| CommandError::failure(error.to_string()))?;
        let artifact = engine.admit(&digest, &|_| ()).await.map_err(|refusal| {
            let Refusal { message, hint, .. } = refusal;
            CommandError::failure(format!("`{}` is not taken: {message}", path.display()))
                .hint(hint)
        })?;
        Ok(Self { engine, artifact, _folder: folder })
    }
}

/// The path of this very program, which compiles in a child.
pub(crate) fn this_program() -> Result<PathBuf, CommandError> {
    std::env::current_exe()
        .map_err(|error| CommandError::failure(format!("dhow can't find itself: {error}")))
}

fn digest(mut file: File) -> io::Result<Digest> {
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest::from_bytes(hasher.finalize().into())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

struct OneBlob {
    path: PathBuf,
    digest: Digest,
}

impl Blobs for OneBlob {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        match *digest == self.digest {
            true => File::open(&self.path),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
