//! A registry that breaks off, lies, sends away or wears out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dhow_core::plan::egress::EgressRule;
use dhow_oci::credentials::Credential;
use dhow_oci::registry::{Content, Registry, RegistryConfig};
use dhow_testkit::registry::Daemon;

use crate::server::{
    Answer, Answering, Asked, Server, broken, meeting, stalling, status, unstated, whole, with,
};
use crate::{config, descriptor, digest, noise, pull, session};

/// The part of `body` that a request asks for.
fn part(asked: &Asked, body: &Bytes) -> (usize, Answer) {
    let from = asked.header("range").strip_prefix("bytes=").and_then(|r| r.strip_suffix('-'));
    match from.and_then(|from| from.parse().ok()) {
        None => (0, whole(200, body.clone())),
        Some(from) => {
            let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
            (from, with(whole(206, body.slice(from..)), "content-range", &range))
        }
    }
}

/// Pulls `body` as a blob from a server that answers as said; what came, and the server.
async fn pull_from(
    body: &Bytes,
    answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
) -> (Result<Bytes, &'static str>, Server) {
    let server = Server::start(answer).await;
    let folder = tempfile::tempdir().unwrap();
    let session = session(config(), &server.image());
    let pulled = pull(&session, &descriptor("application/wasm", body), folder.path()).await;
    if pulled.is_err() {
        let named = folder.path().join(digest(body).hex());
        assert!(!named.exists(), "nothing that is not whole has a name");
    }
    (pulled.map_err(|error| error.reason()), server)
}

#[tokio::test]
async fn a_broken_download_is_gone_on_with() {
    let body = noise(200_000, 1);
    let served = body.clone();
    let (pulled, server) = pull_from(&body, move |asked| match part(asked, &served) {
        (from, _) if from < 150_000 => {
            let rest = served.slice(from..);
            let answer = broken(if from == 0 { 200 } else { 206 }, &rest, 50_000);
            let range = format!("bytes {from}-{}/{}", served.len() - 1, served.len());
            with(answer, "content-range", &range)
        }
        (_, answer) => answer,
    })
    .await;
    assert_eq!(pulled, Ok(body));
    let ranges: Vec<_> =
        server.asked().iter().map(|asked| asked.header("range").to_owned()).collect();
    assert_eq!(ranges, ["", "bytes=50000-", "bytes=100000-", "bytes=150000-"]);
}

#[tokio::test]
async fn a_download_that_another_process_began_is_gone_on_with() {
    let body = noise(200_000, 20);
    let folder = tempfile::tempdir().unwrap();
    let blob = descriptor("application/wasm", &body);
    let served = body.clone();
    let server = Server::start(move |_| broken(200, &served, 50_000)).await;
    let mut once = config();
    once.limits.retries = 0;
    let first = session(once, &server.image());
    assert!(pull(&first, &blob, folder.path()).await.is_err());

    let partial = folder.path().join(format!(".partial-{}", blob.digest.hex()));
    for (wrong, ranges) in [(false, vec!["bytes=50000-"]), (true, vec!["bytes=60000-", ""])] {
        if wrong {
            std::fs::write(&partial, noise(60_000, 21)).unwrap();
        }
        let served = body.clone();
        let server = Server::start(move |asked| part(asked, &served).1).await;
        let second = session(config(), &server.image());
        assert_eq!(pull(&second, &blob, folder.path()).await.unwrap(), body);
        let asked = server.asked();
        assert_eq!(asked.iter().map(|asked| asked.header("range")).collect::<Vec<_>>(), ranges);
    }
}

#[tokio::test]
async fn a_server_that_knows_no_ranges_is_read_anew() {
    let body = noise(100_000, 2);
    let (served, tries) = (body.clone(), AtomicUsize::new(0));
    let (pulled, server) = pull_from(&body, move |asked| {
        match (tries.fetch_add(1, Ordering::Relaxed), asked.header("range")) {
            (0, _) => broken(200, &served, 40_000),
            (1, "bytes=40000-") => status(416),
            _ => whole(200, served.clone()),
        }
    })
    .await;
    assert_eq!(pulled, Ok(body));
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn another_part_than_the_one_asked_for_is_refused() {
    let body = noise(100_000, 3);
    let served = body.clone();
    let (pulled, _server) = pull_from(&body, move |asked| match asked.header("range") {
        "" => broken(200, &served, 40_000),
        _ => with(whole(206, served.slice(10..)), "content-range", "bytes 10-99999/100000"),
    })
    .await;
    assert_eq!(pulled, Err("bad-registry"));
}

#[tokio::test]
async fn bytes_that_are_not_the_ones_asked_for_are_refused() {
    let body = noise(10_000, 4);
    let other = noise(10_000, 5);
    let answers: [(&str, Answering); 5] = [
        ("wrong-digest", Box::new(move || whole(200, other.clone()))),
        ("wrong-size", Box::new(|| whole(200, noise(9_999, 4)))),
        ("wrong-size", Box::new(|| whole(200, noise(10_001, 4)))),
        ("wrong-size", Box::new(|| unstated(200, noise(9_999, 4), false))),
        ("wrong-size", Box::new(|| unstated(200, noise(4_096, 4), true))),
    ];
    for (reason, answer) in answers {
        let (pulled, server) = pull_from(&body, move |_| answer()).await;
        assert_eq!(pulled, Err(reason));
        assert_eq!(server.asked().len(), 1, "{reason} is not tried again");
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
    for (first, tries) in [(429, 3), (503, 3), (500, 3), (400, 1), (403, 1), (404, 1), (410, 1)] {
        let body = noise(100, 6);
        let (served, asked) = (body.clone(), AtomicUsize::new(0));
        let (pulled, server) =
            pull_from(&body, move |_| match asked.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => with(status(first), "retry-after", "0"),
                _ => whole(200, served.clone()),
            })
            .await;
        assert_eq!(server.asked().len(), tries, "{first}");
        assert_eq!(pulled.is_ok(), tries == 3, "{first}: {pulled:?}");
    }
}

#[tokio::test]
async fn tries_and_waits_come_to_an_end() {
    let (pulled, server) = pull_from(&noise(100, 7), |_| status(503)).await;
    assert_eq!((pulled, server.asked().len()), (Err("registry-refused"), 6));
    // An hour is longer than anybody waits.
    let long = |_: &Asked| with(status(429), "retry-after", "3600");
    let (pulled, server) = pull_from(&noise(100, 7), long).await;
    assert_eq!((pulled, server.asked().len()), (Err("rate-limited"), 1));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left() {
    let body = noise(1_000, 8);
    let served = body.clone();
    let server = Server::start(move |_| stalling(200, &served, 500)).await;
    let folder = tempfile::tempdir().unwrap();
    let blob = descriptor("application/wasm", &body);
    let mut impatient = config();
    impatient.limits.stall = Duration::from_millis(100);
    impatient.limits.retries = 0;
    let error = pull(&session(impatient, &server.image()), &blob, folder.path()).await;
    let error = error.unwrap_err();
    assert_eq!(error.reason(), "timeout");
    assert!(error.to_string().contains("longer than 0.1 s"), "{error}");

    let mut short = config();
    short.limits.total = Duration::from_millis(200);
    let error = pull(&session(short, &server.image()), &blob, folder.path()).await.unwrap_err();
    assert!(error.to_string().contains("longer than 0.2 s"), "{error}");
}

#[tokio::test]
async fn redirects_end_and_take_no_credentials_along() {
    let body = noise(100, 9);
    let (pulled, server) = pull_from(&body, |_| with(status(302), "location", "/again")).await;
    assert_eq!((pulled, server.asked().len()), (Err("redirect"), 6));

    let served = body.clone();
    let elsewhere = Server::start(move |_| whole(200, served.clone())).await;
    let to = format!("http://me:swordfish@{}/data?sig=secret", elsewhere.host());
    let server = Server::start(move |asked| match asked.header("authorization") {
        "" => with(status(401), "www-authenticate", "Basic realm=x"),
        _ => with(status(307), "location", &to),
    })
    .await;
    let login = Credential::Basic { username: "me".to_owned(), password: "hunter2".into() };
    let registry = Registry::try_new(config()).unwrap();
    let session = registry.session(&server.image().parse().unwrap(), Some(login)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let blob = descriptor("application/wasm", &body);
    assert_eq!(pull(&session, &blob, folder.path()).await.unwrap(), body);
    let there = &elsewhere.asked()[0];
    assert_eq!((there.path.as_str(), there.query.as_str()), ("/data", "sig=secret"));
    assert_eq!(there.header("authorization"), "");
}

#[tokio::test]
async fn whom_a_registry_sends_us_to_is_not_told_who_we_are() {
    let body = noise(100, 22);
    let blob = descriptor("application/wasm", &body);
    let secrets = [
        Credential::Basic { username: "me".to_owned(), password: "hunter2".into() },
        Credential::IdentityToken("hunter2".into()),
        Credential::RegistryToken("hunter2".into()),
    ];
    for (credential, scheme) in secrets.into_iter().flat_map(|secret| {
        ["Basic realm=x", "Bearer realm=\"http://HOST/token\",service=s"]
            .map(|scheme| (secret.clone(), scheme))
    }) {
        let thief = Server::start(move |asked| match asked.path.as_str() {
            "/token" => whole(200, r#"{"token": "t"}"#),
            _ => {
                let challenge = scheme.replace("HOST", asked.header("host"));
                with(status(401), "www-authenticate", &challenge)
            }
        })
        .await;
        let there = format!("http://{}/data", thief.host());
        let server = Server::start(move |asked| match asked.method.as_str() {
            "HEAD" => status(404),
            "POST" => with(status(202), "location", &there),
            _ => with(status(307), "location", &there),
        })
        .await;
        let registry = Registry::try_new(config()).unwrap();
        let image = server.image().parse().unwrap();
        let session = registry.session(&image, Some(credential)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(pull(&session, &blob, folder.path()).await.unwrap_err().reason(), "redirect");
        let manifest = session.manifest().await.unwrap_err();
        assert_eq!(manifest.reason(), "redirect");
        assert!(manifest.to_string().contains(&thief.host()), "{manifest}");
        let content = Content::Bytes(body.clone());
        let pushed = session.push_blob(digest(&body), 100, &content, &|_| {}).await;
        assert_eq!(pushed.unwrap_err().reason(), "redirect");
        assert_eq!(thief.asked().len(), 3);
        for asked in thief.asked() {
            assert_ne!(asked.path, "/token");
            assert_eq!(asked.header("authorization"), "");
            assert!(!asked.query.contains("hunter2"), "{}", asked.query);
        }
    }
}

#[tokio::test]
async fn a_registry_sends_nobody_to_an_address_that_is_closed() {
    let body = noise(100, 23);
    let blob = descriptor("application/wasm", &body);
    let served = body.clone();
    let elsewhere = Server::start(move |asked| match asked.path.as_str() {
        "/token" => whole(200, r#"{"token": "t"}"#),
        _ => whole(200, served.clone()),
    })
    .await;
    // The registry is asked for by address, so a name of the same machine is another host.
    let port = elsewhere.host().rsplit_once(':').unwrap().1.to_owned();
    let there = format!("http://localhost:{port}");
    let realm = format!("Bearer realm=\"{there}/token\"");
    let redirects = {
        let there = there.clone();
        Server::start(move |_| with(status(307), "location", &format!("{there}/data"))).await
    };
    let asks = Server::start(move |asked| match asked.header("authorization") {
        "" => with(status(401), "www-authenticate", &realm),
        _ => whole(200, "{}"),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let closed = || RegistryConfig { egress: Some(EgressRule::default()), ..config() };
    let error = pull(&session(closed(), &redirects.image()), &blob, folder.path()).await;
    let error = error.unwrap_err();
    assert_eq!(error.reason(), "redirect");
    assert!(error.to_string().contains("this machine's own"), "{error}");
    let error = session(closed(), &asks.image()).manifest().await.unwrap_err();
    assert_eq!(error.reason(), "redirect");
    assert_eq!(elsewhere.asked().len(), 0);

    let mut named = closed();
    named.insecure.insert(format!("localhost:{port}"));
    let allowed = ["127.0.0.0/8", "::1/128"].map(|address| address.parse().unwrap()).to_vec();
    let allowed = EgressRule { allowed, ..EgressRule::default() };
    for open in [config(), named, RegistryConfig { egress: Some(allowed), ..config() }] {
        let pulled = pull(&session(open.clone(), &redirects.image()), &blob, folder.path()).await;
        assert_eq!(pulled.unwrap(), body);
        session(open, &asks.image()).manifest().await.unwrap();
    }
}

#[tokio::test]
async fn whoever_a_registry_refers_to_is_trusted_by_its_own_name() {
    // A registry that speaks TLS stands for a token server that does.
    let (tokens, authority) = Daemon::with_tls();
    let realm = format!("Bearer realm=\"https://{}/token\"", tokens.host());
    let server = Server::start(move |_| with(status(401), "www-authenticate", &realm)).await;
    let reason = async |config: RegistryConfig| {
        session(config, &server.image()).manifest().await.unwrap_err().reason()
    };
    assert_eq!(reason(config()).await, "untrusted-certificate");
    let mut insecure = config();
    insecure.insecure.insert(tokens.host());
    assert_eq!(reason(insecure).await, "not-found", "it has no such page");
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join(tokens.host());
    std::fs::create_dir(&own).unwrap();
    std::fs::copy(authority, own.join("ca.crt")).unwrap();
    let trusting = RegistryConfig { host_certificates: vec![folder.path().to_owned()], ..config() };
    assert_eq!(reason(trusting).await, "not-found");
}

#[tokio::test]
async fn an_absurd_manifest_is_refused_before_it_costs_more_than_its_budget() {
    let answers: [(&str, Answering); 4] = [
        ("too-large", Box::new(|| unstated(200, Bytes::from_static(&[b' '; 4096]), true))),
        ("too-large", Box::new(|| whole(200, vec![b' '; (4 << 20) + 1]))),
        ("too-large", Box::new(|| with(whole(200, "{}"), "x-long", &"x".repeat(100_000)))),
        (
            "wrong-digest",
            Box::new(|| {
                let other = digest(b"other").to_string();
                with(whole(200, "{}"), "docker-content-digest", &other)
            }),
        ),
    ];
    for (reason, answer) in answers {
        let server = Server::start(move |_| answer()).await;
        let error = session(config(), &server.image()).manifest().await.unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        assert_eq!(server.asked().len(), 1);
    }
    let server = Server::start(|_| whole(200, "{}")).await;
    let pinned = format!("{}/x@{}", server.host(), digest(b"[]"));
    let error = session(config(), &pinned).manifest().await.unwrap_err();
    assert_eq!(error.reason(), "wrong-digest");
}

#[tokio::test]
async fn as_many_blobs_come_at_once_as_is_said_and_no_more() {
    let bodies: Vec<Bytes> = (0..8).map(|seed| noise(100, 100 + seed)).collect();
    let served = bodies.clone();
    let (current, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, pair) = (most.clone(), Arc::new(tokio::sync::Barrier::new(2)));
    let server = Server::start(move |asked| {
        seen.fetch_max(current.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let body = served.iter().find(|body| asked.path.ends_with(&digest(body).hex())).unwrap();
        let current = current.clone();
        meeting(body, pair.clone(), move || {
            current.fetch_sub(1, Ordering::Relaxed);
        })
    })
    .await;
    let mut two = config();
    two.limits.parallel = 2;
    let session = session(two, &server.image());
    let folder = tempfile::tempdir().unwrap();
    let blobs: Vec<_> = bodies.iter().map(|body| descriptor("application/wasm", body)).collect();
    let pulls = blobs.iter().map(|blob| pull(&session, blob, folder.path()));
    assert_eq!(futures_util::future::try_join_all(pulls).await.unwrap(), bodies);
    assert_eq!(most.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_broken_upload_is_gone_on_with() {
    let body = noise(100_000, 14);
    let (held, tries) = (parking_lot::Mutex::new(Vec::<u8>::new()), AtomicUsize::new(0));
    let server = Server::start(move |asked| {
        let mut held = held.lock();
        let place = |answer| with(answer, "location", "/upload/1?state=s");
        match asked.method.as_str() {
            "HEAD" => status(404),
            "POST" => place(status(202)),
            "PATCH" => {
                let from = held.len();
                let last = from + asked.body.len() - 1;
                assert_eq!(asked.header("content-range"), format!("{from}-{last}"));
                // The second piece arrives in half, and the answer is lost.
                let second = tries.fetch_add(1, Ordering::Relaxed) == 1;
                let kept = if second { asked.body.len() / 2 } else { asked.body.len() };
                held.extend_from_slice(&asked.body[..kept]);
                if second { status(502) } else { place(status(202)) }
            }
            "GET" => place(with(status(204), "range", &format!("0-{}", held.len() - 1))),
            "PUT" if asked.query.ends_with(&digest(&held).hex()) => status(201),
            _ => status(400),
        }
    })
    .await;
    let mut pieces = config();
    pieces.limits.chunk = 40_000;
    let content = Content::Bytes(body.clone());
    let session = session(pieces, &server.image());
    session.push_blob(digest(&body), 100_000, &content, &|_| {}).await.unwrap();
    let methods: Vec<_> = server.asked().iter().map(|asked| asked.method.clone()).collect();
    assert_eq!(methods, ["HEAD", "POST", "PATCH", "PATCH", "GET", "PATCH", "PUT"]);
}
