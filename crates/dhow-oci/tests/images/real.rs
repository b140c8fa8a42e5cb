//! Images that other programs wrote.

use std::fs;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use dhow_oci::archive::Archive;
use dhow_oci::image::budget::Budget;
use dhow_oci::image::classify::Format;
use dhow_oci::image::pack::{Shape, Words, pack};
use dhow_oci::layout::Layout;

use crate::{MODULE, only_module, pulled, refused, run};

/// Runs a program of the field.
fn tool(program: &str, arguments: &[&str], folder: &Path) {
    let done = Command::new(program).args(arguments).current_dir(folder).output();
    let done = done.unwrap_or_else(|error| {
        panic!("`{program}` can't be run ({error}); install the package of this name")
    });
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {arguments:?}: {said}");
}

/// A layout by umoci: three layers, the second without one file and one folder of the first.
fn by_umoci(folder: &Path) {
    let umoci = |arguments: &[&str]| tool("umoci", arguments, folder);
    umoci(&["init", "--layout", "image"]);
    umoci(&["new", "--image", "image:app"]);
    umoci(&["unpack", "--rootless", "--image", "image:app", "bundle"]);
    let root = folder.join("bundle/rootfs");
    fs::create_dir_all(root.join("app/old")).unwrap();
    fs::write(root.join("app/old/old.wasm"), MODULE).unwrap();
    fs::write(root.join("app/data"), "data").unwrap();
    umoci(&["repack", "--image", "image:app", "--refresh-bundle", "bundle"]);
    fs::remove_dir_all(root.join("app/old")).unwrap();
    fs::write(root.join("app/hello.wasm"), MODULE).unwrap();
    std::os::unix::fs::symlink("../app/hello.wasm", root.join("start")).unwrap();
    fs::hard_link(root.join("app/hello.wasm"), root.join("app/same.wasm")).unwrap();
    umoci(&["repack", "--image", "image:app", "bundle"]);
    umoci(&[
        "config",
        "--image",
        "image:app",
        "--config.entrypoint",
        "/start",
        "--config.cmd",
        "one",
        "--config.env",
        "A=b",
        "--config.workingdir",
        "/app",
        "--config.label",
        "l=m",
    ]);
}

#[tokio::test]
async fn a_layout_by_umoci_with_layers_links_and_whiteouts() {
    let folder = tempfile::tempdir().unwrap();
    by_umoci(folder.path());
    let layout = Layout::new(folder.path().join("image"), Some("app".to_owned()));
    let (pulled, _staging) = pulled(&layout).await.unwrap();
    assert_eq!(pulled.format, Format::Image);
    assert_eq!(only_module(&pulled).1, MODULE);
    assert_eq!(run(&pulled).args, ["one"]);
    assert!(run(&pulled).env.contains(&("A".to_owned(), "b".to_owned())));
    assert_eq!(run(&pulled).working_dir.as_deref(), Some("/app"));
    assert_eq!(pulled.labels["l"], "m");

    let config = ["config", "--image", "image:app", "--config.entrypoint", "/app/old/old.wasm"];
    tool("umoci", &config, folder.path());
    assert_eq!(refused(&layout).await, "no-entry");
}

#[tokio::test]
async fn skopeo_carries_it_into_every_archive_and_compression() {
    let folder = tempfile::tempdir().unwrap();
    by_umoci(folder.path());
    let at = |name: &str| folder.path().join(name);
    let zstd = ["--dest-compress", "--dest-compress-format", "zstd"];
    for (from, to, more) in [
        ("oci:image:app", "docker-archive:docker.tar:registry.example/app:v1", &[][..]),
        ("oci:image:app", "oci-archive:oci.tar:app", &[]),
        // An archive has its layers plain, so they are compressed anew.
        ("docker-archive:docker.tar", "oci:zstd:app", &zstd),
    ] {
        let arguments = [&["--insecure-policy", "copy"], more, &[from, to]].concat();
        tool("skopeo", &arguments, folder.path());
    }
    let begins = |layout: &str, magic: &[u8]| {
        let mut blobs = fs::read_dir(at(layout).join("blobs/sha256")).unwrap();
        blobs.any(|blob| fs::read(blob.unwrap().path()).unwrap().starts_with(magic))
    };
    assert!(begins("image", &[0x1f, 0x8b]) && begins("zstd", &[0x28, 0xb5, 0x2f, 0xfd]));
    tool("gzip", &["-k", "docker.tar"], folder.path());
    for (archive, name) in [
        ("docker.tar", Some("registry.example/app:v1")),
        ("docker.tar.gz", None),
        ("oci.tar", Some("app")),
        ("oci.tar", None),
    ] {
        let name = name.map(str::to_owned);
        let scratch = tempfile::tempdir().unwrap();
        let source = Archive::open(at(archive), name, scratch.path(), &Budget::default()).await;
        let (found, _staging) = pulled(&source.unwrap()).await.unwrap();
        assert_eq!(
            (only_module(&found).1, &run(&found).args[..]),
            (MODULE.to_vec(), &["one".to_owned()][..])
        );
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "the scratch is left");
    }
    let (pulled, _staging) = pulled(&Layout::new(at("zstd"), None)).await.unwrap();
    assert_eq!(only_module(&pulled).1, MODULE);
    let other = Some("other:v1".to_owned());
    let missing = Archive::open(at("docker.tar"), other, folder.path(), &Budget::default()).await;
    assert_eq!(missing.unwrap_err().reason(), "not-found");
    let none = Archive::open(at("image/index.json"), None, folder.path(), &Budget::default()).await;
    assert_eq!(none.unwrap_err().reason(), "bad-layer");
}

#[tokio::test]
async fn a_scratch_image_by_buildah() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("app.wasm"), MODULE).unwrap();
    let text = "FROM scratch\nCOPY app.wasm /app.wasm\nENTRYPOINT /app.wasm\n";
    fs::write(at("Containerfile"), text).unwrap();
    let (root, runroot) = (at("storage"), at("run"));
    let storage = ["--root", &root, "--runroot", &runroot, "--storage-driver", "vfs"];
    let build = ["build", "--isolation", "chroot", "--platform", "wasi/wasm", "-t", "app", "."];
    tool("buildah", &[&storage[..], &build].concat(), folder.path());
    let push = ["push", "app", "oci:image:app"];
    tool("buildah", &[&storage[..], &push].concat(), folder.path());
    let (pulled, _staging) = pulled(&Layout::new(at("image"), None)).await.unwrap();
    assert_eq!(only_module(&pulled), ("app.wasm", MODULE.to_vec()));
    assert_eq!(pulled.warnings.len(), 1, "the shell form is worth a word");
}

#[tokio::test]
async fn skopeo_reads_what_is_packed() {
    let folder = tempfile::tempdir().unwrap();
    let words = Words { name: "hello.wasm".to_owned(), ..Words::default() };
    for (name, shape) in
        [("artifact", Shape::WasmArtifact(Default::default())), ("scratch", Shape::Scratch)]
    {
        let packed = pack(Bytes::from_static(MODULE), &shape, &words).unwrap();
        packed.write_layout(&folder.path().join(name), "v1").unwrap();
        let (from, to) = (format!("oci:{name}:v1"), format!("oci:{name}-copy:v1"));
        tool(
            "skopeo",
            &["--insecure-policy", "copy", "--preserve-digests", &from, &to],
            folder.path(),
        );
        let copy = Layout::new(folder.path().join(format!("{name}-copy")), None);
        let (pulled, _staging) = pulled(&copy).await.unwrap();
        assert_eq!(only_module(&pulled), ("hello.wasm", MODULE.to_vec()));
    }
}
