//! The server's pulls: credentials from secrets and from Docker's files, modules into the store.

use std::any::Any;
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use dhow_core::digest::Digest;
use dhow_core::function::ImageSource;
use dhow_core::name::Label;
use dhow_core::ports::{
    BoxFuture, Images, Pulled, Refusal, Secrets, SecretsError, Transfer, UploadError, Uploads,
};
use dhow_core::secret::{DOCKER_CONFIG_JSON, DOCKER_CONFIG_KEY, SecretName};
use dhow_oci::credentials::{Credential, DockerConfig, Keychain};
use dhow_oci::image::budget::Budget;
use dhow_oci::image::error::PullError;
use dhow_oci::image::incoming::Hear;
use dhow_oci::image::platform;
use dhow_oci::image::pull::{Ask, pull};
use dhow_oci::image::pulled;
use dhow_oci::reference::Reference;
use dhow_oci::registry::Registry;
use futures_util::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use super::places::Places;
use super::staging::{Left, Staging, make_private};
use super::{module_of, refusal, warnings};

/// Images that are pulled at once; each may need its whole budget of the disk.
const AT_ONCE: usize = 4;
/// Of them for one namespace.
const AT_ONCE_EACH: usize = 3;
/// How long a pull waits for others, of the same image or of all places.
const WAIT_FOR: Duration = Duration::from_secs(120);
/// How long, and of how many images, it is known what a digest led to: from the request that tells
/// of the pull to the one that deploys.
const KNOWN_FOR: Duration = Duration::from_secs(600);
const MOST_KNOWN: usize = 64;
/// Why a pull ends that the next may go on with.
const PASSING: [&str; 5] =
    ["registry-unreachable", "rate-limited", "registry-refused", "bad-registry", "timeout"];
/// Bytes of a module that are read at once.
const CHUNK: usize = 256 << 10;

/// Pulls into one data folder.
pub struct ServerImages {
    registry: Registry,
    own: Own,
    secrets: Arc<dyn Secrets>,
    uploads: Arc<dyn Uploads>,
    staging: Staging,
    /// The most bytes of a module.
    most: u64,
    places: Places,
    known: parking_lot::Mutex<VecDeque<Known>>,
}

/// The server's own credentials, and whom they serve.
#[derive(Debug)]
pub struct Own {
    /// Those of the files that this process' user has.
    pub keychain: Option<Keychain>,
    /// The namespaces whose pulls may be made with them. Whoever may deploy there can have what
    /// they open.
    pub namespaces: Vec<Label>,
}

impl Own {
    fn serve(&self, namespace: &Label) -> Option<&Keychain> {
        self.keychain.as_ref().filter(|_| self.namespaces.contains(namespace))
    }
}

struct Known {
    since: Instant,
    namespace: Label,
    /// The command that was asked for.
    command: Vec<String>,
    pulled: Pulled,
}

impl ServerImages {
    /// Pulls through `staging`, which is made, private to this user.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub fn open(
        registry: Registry,
        own: Own,
        secrets: Arc<dyn Secrets>,
        uploads: Arc<dyn Uploads>,
        staging: PathBuf,
        most: u64,
    ) -> io::Result<Self> {
        Ok(Self {
            registry,
            own,
            secrets,
            uploads,
            staging: Staging::open(staging, Left::default())?,
            most,
            places: Places::new(AT_ONCE, AT_ONCE_EACH),
            known: parking_lot::Mutex::default(),
        })
    }

    /// Removes what broke off too long before `now` to be gone on with.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn collect(&self, now: SystemTime) -> io::Result<()> {
        self.staging.tidy(now)
    }

    async fn pull(
        &self,
        namespace: &Label,
        image: &ImageSource,
        progress: &(dyn Fn(Transfer) + Send + Sync),
    ) -> Result<Pulled, Refusal> {
        let reference: Reference = image.reference.parse().map_err(|error| Refusal {
            reason: "bad-reference",
            message: format!("`{}` names no image: {error}", image.reference),
            hint: "write HOST/PATH:TAG or HOST/PATH@sha256:DIGEST".to_owned(),
        })?;
        if let Some(pulled) = self.known(namespace, &reference, image) {
            return Ok(pulled);
        }
        let shown = reference.to_string();
        let refused = |error: PullError| refusal(&shown, &error);
        let credential = self.credential(namespace, image, &reference).await?;
        let folder = self.staging.of(namespace, &reference);
        let hold = tokio::time::timeout(WAIT_FOR, self.hold(namespace, &folder))
            .await
            .map_err(|_| busy(&shown))?;
        // What others left makes room, before there is more.
        self.staging
            .tidy(SystemTime::now())
            .map_err(|error| refused(disk("what broke off can't be removed", error)))?;
        make_private(&folder).map_err(|error| refused(disk("a folder can't be made", error)))?;
        let session = self
            .registry
            .session(&reference, credential)
            .map_err(|error| refused(PullError::Registry(error)))?;
        let ask = self.ask(folder.clone(), image, Arc::clone(&hold));
        let pulled = match heard(&session, ask, progress).await.map_err(refused) {
            Ok(found) => self.keep(&reference, image, found).await,
            Err(refusal) => Err(refusal),
        };
        // What broke off on its way is there for the next pull. What was looked at is not needed
        // any more, and a full disk needs the room.
        let is_over =
            pulled.as_ref().err().is_none_or(|refusal| !PASSING.contains(&refusal.reason));
        let removed = if is_over {
            fs::remove_dir_all(&folder)
        } else {
            // Where nothing has come, nothing waits for the next pull.
            fs::remove_dir(&folder).or_else(|error| match error.kind() {
                io::ErrorKind::DirectoryNotEmpty => Ok(()),
                _ => Err(error),
            })
        };
        if let Err(error) = removed {
            // Whether the module is held does not depend on it, and age removes it later.
            tracing::warn!(%error, folder = %folder.display(), "what was pulled can't be removed");
        }
        let pulled = pulled.map_err(|refusal| self.advised(namespace, refusal))?;
        self.remember(namespace, image, &pulled);
        Ok(pulled)
    }

    /// The turn of the folder and a place. When a client leaves, they are free once the work in the
    /// folder has ended, too.
    async fn hold(&self, namespace: &Label, folder: &Path) -> Arc<dyn Any + Send + Sync> {
        let turn = self.staging.turn(folder).await;
        Arc::new((turn, self.places.take(namespace).await))
    }

    /// Says what to do where the server's own credentials were not tried.
    fn advised(&self, namespace: &Label, refusal: Refusal) -> Refusal {
        let is_served = self.own.serve(namespace).is_some() || self.own.keychain.is_none();
        if refusal.reason != "login-required" || is_served {
            return refusal;
        }
        let hint = format!(
            "make a pull secret with `dhow secret create NAME --docker-config FILE`; the server's own \
             credentials serve `{namespace}` only with --registry-credentials-for {namespace}"
        );
        Refusal { hint, ..refusal }
    }

    fn ask(&self, staging: PathBuf, image: &ImageSource, hold: Arc<dyn Any + Send + Sync>) -> Ask {
        Ask {
            staging,
            budget: Budget { module: self.most, ..Budget::default() },
            command: image.command.clone(),
            machine: platform::machine().to_owned(),
            hear: Arc::new(|_, _| {}),
            hold,
        }
    }

    /// Takes the module into the store.
    async fn keep(
        &self,
        reference: &Reference,
        image: &ImageSource,
        found: pulled::Pulled,
    ) -> Result<Pulled, Refusal> {
        let shown = reference.to_string();
        let (module, run) = module_of(&found).map_err(|error| refusal(&shown, &error))?;
        let blob = self.store(&module.file.path).await.map_err(|error| unkept(&shown, &error))?;
        if blob != module.file.digest {
            let (expected, found) = (module.file.digest, blob);
            let what = "the module, as it was stored,".to_owned();
            return Err(refusal(&shown, &PullError::WrongDigest { what, expected, found }));
        }
        let pinned = reference.pinned(found.index.unwrap_or(found.manifest));
        let command = match run.words.is_empty() {
            true => image.command.clone(),
            false => vec![run.program.clone()],
        };
        Ok(Pulled {
            image: ImageSource { reference: pinned.to_string(), command, ..image.clone() },
            format: found.format.name(),
            blob,
            program: module.name.clone(),
            words: run.words.clone(),
            args: run.args.clone(),
            env: run.env.clone(),
            warnings: warnings(&found, run),
        })
    }

    async fn store(&self, path: &Path) -> Result<Digest, UploadError> {
        let file = tokio::fs::File::open(path).await.map_err(UploadError::Io)?;
        let chunks = stream::try_unfold(file, |mut file| async move {
            let mut chunk = vec![0; CHUNK];
            let read = file.read(&mut chunk).await?;
            chunk.truncate(read);
            Ok::<_, io::Error>((read > 0).then(|| (Frame::data(Bytes::from(chunk)), file)))
        });
        self.uploads.put(Box::pin(StreamBody::new(chunks.boxed())), self.most).await
    }

    /// The credential of the first pull secret that has one, else of the server's own files, where
    /// they serve the namespace.
    async fn credential(
        &self,
        namespace: &Label,
        image: &ImageSource,
        reference: &Reference,
    ) -> Result<Option<Credential>, Refusal> {
        for name in &image.pull_secrets {
            let name = SecretName { namespace: namespace.clone(), name: name.clone() };
            let config = self.pull_secret(name).await?;
            if let Some(found) = config.credential(reference.host(), reference.path()) {
                return Ok(Some(found.clone()));
            }
        }
        let Some(keychain) = self.own.serve(namespace) else { return Ok(None) };
        keychain.credential(reference).await.map_err(|error| Refusal {
            reason: "bad-credentials",
            message: format!("the server's credentials for {reference} can't be read: {error}"),
            hint: "mend the file that is named, on the server's machine".to_owned(),
        })
    }

    async fn pull_secret(&self, name: SecretName) -> Result<DockerConfig, Refusal> {
        let shown = format!("the pull secret `{}`", name.name);
        let bad = |reason: &'static str, why: String| Refusal {
            reason,
            message: format!("{shown} {why}"),
            hint: "make one with `dhow secret create NAME --docker-config FILE`".to_owned(),
        };
        let secret = self.secrets.get(name).await.map_err(|error| match error {
            SecretsError::NotFound(_) => bad("not-found", "is not there".to_owned()),
            error => bad("internal", format!("can't be read: {error}")),
        })?;
        let bytes = secret.values.get(DOCKER_CONFIG_KEY).ok_or_else(|| {
            bad("bad-credentials", format!("is not of the type {DOCKER_CONFIG_JSON}"))
        })?;
        DockerConfig::parse(bytes).map_err(|error| bad("bad-credentials", error.to_string()))
    }

    /// What was pulled a moment ago with the same words, if its module is still held.
    fn known(
        &self,
        namespace: &Label,
        reference: &Reference,
        image: &ImageSource,
    ) -> Option<Pulled> {
        reference.digest()?;
        let pinned = reference.to_string();
        let known = self.known.lock();
        let found = known.iter().find(|known| {
            known.since.elapsed() < KNOWN_FOR
                && known.namespace == *namespace
                && known.pulled.image.reference == pinned
                && known.pulled.image.pull_secrets == image.pull_secrets
                && known.command == image.command
        })?;
        self.uploads.claim(&found.pulled.blob).ok()?;
        Some(found.pulled.clone())
    }

    fn remember(&self, namespace: &Label, asked: &ImageSource, pulled: &Pulled) {
        let mut known = self.known.lock();
        known.retain(|one| {
            let is_this = one.pulled.image == pulled.image && one.command == asked.command;
            one.since.elapsed() < KNOWN_FOR && !is_this
        });
        if known.len() == MOST_KNOWN {
            known.pop_front();
        }
        let (namespace, command) = (namespace.clone(), asked.command.clone());
        let since = Instant::now();
        known.push_back(Known { since, namespace, command, pulled: pulled.clone() });
    }
}

impl Images for ServerImages {
    fn pull<'a>(
        &'a self,
        namespace: &'a Label,
        image: &'a ImageSource,
        progress: &'a (dyn Fn(Transfer) + Send + Sync),
    ) -> BoxFuture<'a, Result<Pulled, Refusal>> {
        Box::pin(self.pull(namespace, image, progress))
    }
}

/// Pulls as asked; `progress` hears of it on this task.
async fn heard(
    source: &dyn dhow_oci::source::Source,
    ask: Ask,
    progress: &(dyn Fn(Transfer) + Send + Sync),
) -> Result<pulled::Pulled, PullError> {
    let (tell, mut told) = mpsc::unbounded_channel();
    // Nobody listens once the pull has ended.
    let hear: Arc<Hear> = Arc::new(move |blob, received| {
        let _over = tell.send(Transfer { blob: blob.digest, received, size: blob.size });
    });
    let ask = Ask { hear, ..ask };
    let mut pulling = std::pin::pin!(pull(source, &ask));
    loop {
        tokio::select! {
            done = &mut pulling => {
                while let Ok(transfer) = told.try_recv() {
                    progress(transfer);
                }
                return done;
            }
            Some(transfer) = told.recv() => progress(transfer),
        }
    }
}

fn busy(shown: &str) -> Refusal {
    Refusal {
        reason: "busy",
        message: format!(
            "{shown} waited {} s for other pulls, of the same image or of all places",
            WAIT_FOR.as_secs()
        ),
        hint: "try again when they have ended".to_owned(),
    }
}

fn disk(doing: &str, error: io::Error) -> PullError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => PullError::Full,
        _ => PullError::Io { doing: doing.to_owned(), error },
    }
}

fn unkept(shown: &str, error: &UploadError) -> Refusal {
    let (reason, hint) = match error {
        UploadError::TooLarge { .. } => ("too-large", "strip the module, or build it optimised"),
        UploadError::Full | UploadError::OverBudget { .. } => {
            ("storage-full", "free disk space, or delete functions and old revisions")
        }
        UploadError::Body(_) | UploadError::Io(_) => ("internal", "the server's own log says more"),
    };
    let message = format!("the module of {shown} is not taken: {error}");
    Refusal { reason, message, hint: hint.to_owned() }
}
