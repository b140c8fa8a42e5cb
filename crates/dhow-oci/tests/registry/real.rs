//! Against a real registry, with skopeo as an independent client.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use dhow_oci::credentials::Credential;
use dhow_oci::image::descriptor::Descriptor;
use dhow_oci::image::incoming::Incoming;
use dhow_oci::registry::{Content, Registry, RegistryConfig, Session};
use serde_json::json;

use crate::{config, descriptor, digest, noise, pull, session};
use dhow_testkit::registry::{Daemon, run};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const LAYER: &str = "application/wasm";

/// An artifact: manifest, configuration, layers.
struct Artifact {
    manifest: Bytes,
    blobs: Vec<(Descriptor, Bytes)>,
}

fn artifact(layers: &[Bytes]) -> Artifact {
    let configuration = Bytes::from_static(br#"{"architecture":"wasm","os":"wasip1"}"#);
    let mut blobs = vec![(descriptor(CONFIG, &configuration), configuration)];
    blobs.extend(layers.iter().map(|layer| (descriptor(LAYER, layer), layer.clone())));
    let named: Vec<&Descriptor> = blobs.iter().map(|(blob, _)| blob).collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": named[0], "layers": named[1..],
    });
    Artifact { manifest: manifest.to_string().into(), blobs }
}

async fn push(session: &Session, artifact: &Artifact) {
    for (blob, bytes) in &artifact.blobs {
        let content = Content::Bytes(bytes.clone());
        session.push_blob(blob.digest, blob.size, &content, &|_| {}).await.unwrap();
    }
    let pushed = session.push_manifest(MANIFEST, artifact.manifest.clone()).await.unwrap();
    assert_eq!(pushed, digest(&artifact.manifest));
}

async fn pull_all(session: &Session, artifact: &Artifact) {
    let manifest = session.manifest().await.unwrap();
    assert_eq!(manifest.bytes, artifact.manifest);
    assert_eq!(manifest.digest, digest(&artifact.manifest));
    assert_eq!(manifest.media_type, MANIFEST);
    let folder = tempfile::tempdir().unwrap();
    let pulls = artifact.blobs.iter().map(|(blob, _)| pull(session, blob, folder.path()));
    let pulled = futures_util::future::try_join_all(pulls).await.unwrap();
    for ((_, bytes), pulled) in artifact.blobs.iter().zip(pulled) {
        assert_eq!(*bytes, pulled);
    }
}

fn skopeo(arguments: &[&str]) -> String {
    run("skopeo", "skopeo", &[&["--insecure-policy"], arguments].concat())
}

/// Writes the artifact as an oci-layout folder, by the specification of the layout.
fn layout(artifact: &Artifact, folder: &Path) {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let root = descriptor(MANIFEST, &artifact.manifest);
    for (blob, bytes) in artifact.blobs.iter().chain([&(root.clone(), artifact.manifest.clone())]) {
        std::fs::write(blobs.join(blob.digest.hex()), bytes).unwrap();
    }
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    let index = json!({"schemaVersion": 2, "manifests": [root]});
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
}

#[tokio::test]
async fn what_is_pushed_is_pulled_byte_for_byte_by_us_and_by_skopeo() {
    let daemon = Daemon::plain();
    let image = format!("{}/team/hello:v1", daemon.host());
    let ours = artifact(&[noise(300_000, 1), noise(10, 2), Bytes::new()]);
    push(&session(config(), &image), &ours).await;
    pull_all(&session(config(), &image), &ours).await;
    let pinned = format!("{}/team/hello@{}", daemon.host(), digest(&ours.manifest));
    pull_all(&session(config(), &pinned), &ours).await;

    let folder = tempfile::tempdir().unwrap();
    let to = format!("dir:{}", folder.path().display());
    skopeo(&["copy", "--src-tls-verify=false", &format!("docker://{image}"), &to]);
    assert_eq!(std::fs::read(folder.path().join("manifest.json")).unwrap(), ours.manifest);
    for (blob, bytes) in &ours.blobs {
        assert_eq!(std::fs::read(folder.path().join(blob.digest.hex())).unwrap(), *bytes);
    }
}

#[tokio::test]
async fn what_skopeo_pushes_we_pull() {
    let daemon = Daemon::plain();
    let image = format!("{}/from/skopeo:v2", daemon.host());
    let theirs = artifact(&[noise(100_000, 3), noise(200_000, 4)]);
    let folder = tempfile::tempdir().unwrap();
    layout(&theirs, folder.path());
    let from = format!("oci:{}", folder.path().display());
    skopeo(&["copy", "--dest-tls-verify=false", &from, &format!("docker://{image}")]);
    pull_all(&session(config(), &image), &theirs).await;
}

#[tokio::test]
async fn a_large_blob_goes_out_in_pieces_and_one_that_is_there_not_at_all() {
    let daemon = Daemon::plain();
    let mut config = config();
    config.limits.chunk = 64 << 10;
    let image = format!("{}/pieces:v1", daemon.host());
    let session = session(config, &image);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blob");
    let bytes = noise(300_001, 5);
    std::fs::write(&file, &bytes).unwrap();
    let blob = descriptor(LAYER, &bytes);
    let steps = AtomicU64::new(0);
    for wanted in [5, 1] {
        steps.store(0, Ordering::Relaxed);
        let hear = |_| {
            steps.fetch_add(1, Ordering::Relaxed);
        };
        let content = Content::File(file.clone());
        session.push_blob(blob.digest, blob.size, &content, &hear).await.unwrap();
        let heard = steps.load(Ordering::Relaxed);
        assert!(if wanted == 1 { heard == 1 } else { heard > wanted }, "{heard}");
    }
    assert_eq!(pull(&session, &blob, folder.path()).await.unwrap(), bytes);

    // What is not what its digest says is refused by the registry.
    let other = digest(b"other");
    let content = Content::Bytes(bytes.slice(..100));
    let error = session.push_blob(other, 100, &content, &|_| {}).await.unwrap_err();
    assert_eq!(error.reason(), "registry-refused", "{error}");
    assert!(error.to_string().contains("DIGEST_INVALID"), "{error}");
}

fn login() -> Option<Credential> {
    Some(Credential::Basic { username: "me".to_owned(), password: "hunter2".into() })
}

#[tokio::test]
async fn a_private_registry_is_pulled_from_twice_alike() {
    let daemon = Daemon::with_password();
    let image = format!("{}/private:v1", daemon.host());
    let registry = Registry::try_new(config()).unwrap();
    let session = |who| registry.session(&image.parse().unwrap(), who).unwrap();
    let ours = artifact(&[noise(50_000, 6)]);
    push(&session(login()), &ours).await;
    for _ in 0..2 {
        pull_all(&session(login()), &ours).await;
    }
    session(login()).check().await.unwrap();

    let unknown = session(None).manifest().await.unwrap_err();
    assert_eq!(unknown.reason(), "login-required");
    assert!(unknown.hint().contains(&format!("dhow login {}", daemon.host())), "{unknown}");
    let wrong = Credential::Basic { username: "me".to_owned(), password: "swordfish".into() };
    for error in [
        session(Some(wrong.clone())).check().await.unwrap_err(),
        session(Some(wrong)).manifest().await.unwrap_err(),
    ] {
        assert_eq!(error.reason(), "login-required");
        let told = format!("{error} {error:?} {}", error.hint());
        assert!(told.contains("did not accept") && !told.contains("swordfish"), "{told}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_so() {
    let daemon = Daemon::plain();
    let image = format!("{}/absent:v1", daemon.host());
    let error = session(config(), &image).manifest().await.unwrap_err();
    assert_eq!(error.reason(), "not-found");
    assert!(error.to_string().contains("absent:v1 (MANIFEST_UNKNOWN)"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let blob = descriptor(LAYER, b"absent");
    let error = pull(&session(config(), &image), &blob, folder.path()).await.unwrap_err();
    assert_eq!(error.reason(), "not-found");
}

#[tokio::test]
async fn a_certificate_is_trusted_as_far_as_it_is_said() {
    let (daemon, authority) = Daemon::with_tls();
    let image = format!("{}/secure:v1", daemon.host());
    let ours = artifact(&[noise(1000, 7)]);
    let trusting = || RegistryConfig { certificates: vec![authority.clone()], ..config() };
    push(&session(trusting(), &image), &ours).await;
    pull_all(&session(trusting(), &image), &ours).await;

    let error = session(config(), &image).manifest().await.unwrap_err();
    assert_eq!(error.reason(), "untrusted-certificate", "{error}");

    let insecure = [daemon.host()].into();
    pull_all(&session(RegistryConfig { insecure, ..config() }, &image), &ours).await;

    let folder = tempfile::tempdir().unwrap();
    let of_host = folder.path().join(daemon.host());
    std::fs::create_dir(&of_host).unwrap();
    std::fs::copy(&authority, of_host.join("ca.crt")).unwrap();
    let host_certificates = vec![folder.path().to_owned()];
    pull_all(&session(RegistryConfig { host_certificates, ..config() }, &image), &ours).await;

    let absent = RegistryConfig { certificates: vec![folder.path().join("no.pem")], ..config() };
    assert_eq!(Registry::try_new(absent).unwrap_err().reason(), "bad-setting");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_killed_in_the_middle_of_a_pull_is_gone_on_with() {
    let mut daemon = Daemon::plain();
    let image = format!("{}/killed:v1", daemon.host());
    let mut config = config();
    config.limits.retries = 100;
    config.limits.longest_wait = std::time::Duration::from_millis(100);
    let session = session(config, &image);
    let bytes = noise(64 << 20, 8);
    let blob = descriptor(LAYER, &bytes);
    let content = Content::Bytes(bytes.clone());
    session.push_blob(blob.digest, blob.size, &content, &|_| {}).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let (begun, has_begun) = std::sync::mpsc::sync_channel(1);
    let (killed, was_killed) = std::sync::mpsc::sync_channel::<()>(1);
    let was_killed = parking_lot::Mutex::new(was_killed);
    let restarts = Arc::new(AtomicU64::new(0));
    let counted = restarts.clone();
    let stopped = AtomicBool::new(false);
    let hear = move |_: &Descriptor, received: u64| {
        if received == 0 {
            counted.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // Once: stops taking bytes until the registry is gone.
        if !stopped.swap(true, Ordering::Relaxed) {
            begun.send(()).unwrap();
            let waited = was_killed.lock().recv();
            waited.expect("the registry was killed");
        }
    };
    let mut into = Incoming::create(&blob, folder.path(), Arc::new(hear)).await.unwrap();
    let killer = std::thread::spawn(move || {
        has_begun.recv().unwrap();
        daemon.kill();
        killed.send(()).unwrap();
        daemon.resume();
        daemon
    });
    session.pull_blob(&blob, &mut into).await.unwrap();
    let path = into.finish().await.unwrap();
    assert!(std::fs::read(path).unwrap() == bytes);
    assert_eq!(restarts.load(Ordering::Relaxed), 1, "it went on where it was");
    drop(killer.join().unwrap());
}

#[tokio::test]
async fn a_registry_that_is_away_is_told_so() {
    let mut daemon = Daemon::plain();
    daemon.kill();
    let mut config = config();
    config.limits.retries = 1;
    let image = format!("{}/x:v1", daemon.host());
    let error = session(config, &image).manifest().await.unwrap_err();
    assert_eq!(error.reason(), "registry-unreachable", "{error}");
    assert!(error.to_string().contains(&daemon.host()), "{error}");
}
