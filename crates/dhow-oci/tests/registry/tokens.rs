//! Token servers: what they are asked, how long what they give is shown, and what is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use dhow_oci::credentials::{Credential, DockerConfig};
use dhow_oci::registry::{Registry, Session};

use crate::server::{Answer, Answering, Asked, Server, status, unstated, whole, with};
use crate::{config, digest, session};

/// A registry that wants a token `t1`, `t2`, … of its own token server, which makes one per request
/// by `give`. `valid` says which tokens are taken.
async fn registry(
    give: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
    valid: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> Server {
    let given = AtomicUsize::new(0);
    Server::start(move |asked| {
        if asked.path == "/token" {
            return give(asked, given.fetch_add(1, Ordering::Relaxed) + 1);
        }
        match asked.header("authorization").strip_prefix("Bearer ") {
            Some(token) if valid(token) => whole(200, "{}"),
            _ => {
                let realm = format!("http://{}/token", asked.header("host"));
                let wanted = format!(
                    r#"Bearer realm="{realm}",service="test",scope="repository:team/x:pull""#
                );
                with(status(401), "www-authenticate", &wanted)
            }
        }
    })
    .await
}

fn token(number: usize, seconds: u64) -> Answer {
    whole(200, format!(r#"{{"token": "t{number}", "expires_in": {seconds}}}"#))
}

fn session_of(server: &Server, credential: Credential) -> Session {
    let registry = Registry::try_new(config()).unwrap();
    registry.session(&server.image().parse().unwrap(), Some(credential)).unwrap()
}

fn login() -> Credential {
    Credential::Basic { username: "me".to_owned(), password: "hunter2".into() }
}

fn tokens(server: &Server) -> Vec<Asked> {
    server.asked().into_iter().filter(|asked| asked.path == "/token").collect()
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_shown_until_it_expires() {
    let server = registry(|_, number| token(number, 300), |_| true).await;
    let anonymous = session(config(), &server.image());
    for _ in 0..3 {
        anonymous.manifest().await.unwrap();
    }
    let asked = tokens(&server);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].query, "service=test&scope=repository%3Ateam%2Fx%3Apull");
    assert_eq!(asked[0].header("authorization"), "");

    // One that is over at once is fetched for each request, and serves it.
    let server = registry(|_, number| token(number, 1), |_| true).await;
    let session = session_of(&server, login());
    for _ in 0..2 {
        session.manifest().await.unwrap();
    }
    let asked = tokens(&server);
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].header("authorization"), "Basic bWU6aHVudGVyMg==");
    assert!(asked[0].query.ends_with("&account=me"), "{}", asked[0].query);
}

#[tokio::test]
async fn a_token_that_is_not_taken_any_more_is_replaced() {
    let now = Arc::new(AtomicUsize::new(1));
    let valid = now.clone();
    let server = registry(
        |_, number| token(number, 300),
        move |token| token == format!("t{}", valid.load(Ordering::Relaxed)),
    )
    .await;
    let session = session_of(&server, login());
    session.manifest().await.unwrap();
    now.store(2, Ordering::Relaxed);
    session.manifest().await.unwrap();
    assert_eq!(tokens(&server).len(), 2);
    // A registry that takes none is not asked for ever.
    now.store(0, Ordering::Relaxed);
    let error = session.manifest().await.unwrap_err();
    assert_eq!(error.reason(), "login-required");
    assert_eq!(tokens(&server).len(), 3);
}

#[tokio::test]
async fn many_requests_at_once_share_one_token() {
    let server = registry(|_, number| token(number, 300), |_| true).await;
    let session = session_of(&server, login());
    let all = (0..8).map(|_| session.manifest());
    futures_util::future::try_join_all(all).await.unwrap();
    assert_eq!(tokens(&server).len(), 1);
}

#[tokio::test]
async fn an_identity_token_is_exchanged_and_a_registry_token_shown() {
    let give = |asked: &Asked, number| match std::str::from_utf8(&asked.body).unwrap() {
        "grant_type=refresh_token&client_id=dhow&refresh_token=i%2Fd&service=test\
         &scope=repository%3Ateam%2Fx%3Apull" => {
            whole(200, format!(r#"{{"access_token": "t{number}"}}"#))
        }
        _ => status(400),
    };
    let server = registry(give, |token| matches!(token, "t1" | "registry-token")).await;
    session_of(&server, Credential::IdentityToken("i/d".into())).manifest().await.unwrap();
    assert_eq!(tokens(&server)[0].method, "POST");
    let wrong = session_of(&server, Credential::IdentityToken("other".into()));
    assert_eq!(wrong.manifest().await.unwrap_err().reason(), "login-required");

    let asked = tokens(&server).len();
    let direct = Credential::RegistryToken("registry-token".into());
    session_of(&server, direct).manifest().await.unwrap();
    assert_eq!(tokens(&server).len(), asked);
}

#[tokio::test]
async fn a_token_servers_nonsense_is_refused_and_no_secret_is_told() {
    let long = format!(r#"{{"token": "{}"}}"#, "hunter2".repeat(10_000));
    let answers: [(&str, Answering); 6] = [
        ("too-large", Box::new(move || whole(200, long.clone()))),
        ("too-large", Box::new(|| unstated(200, Bytes::from_static(&[b' '; 4096]), true))),
        ("bad-registry", Box::new(|| whole(200, r#"{"token": "hunter2\n"}"#))),
        ("bad-registry", Box::new(|| whole(200, "hunter2"))),
        ("bad-registry", Box::new(|| whole(200, "{}"))),
        ("login-required", Box::new(|| whole(401, "hunter2"))),
    ];
    for (reason, answer) in answers {
        let server = registry(move |_, _| answer(), |_| true).await;
        let error = session_of(&server, login()).manifest().await.unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        let told = format!("{error} {error:?} {}", error.hint());
        assert!(!told.contains("hunter2") && !told.contains("bWU6"), "{told}");
    }
}

#[tokio::test]
async fn a_pull_secret_serves_in_both_its_forms() {
    let give = |asked: &Asked, number| match asked.header("authorization") {
        "Basic bWU6aHVudGVyMg==" => token(number, 300),
        _ => status(401),
    };
    let server = registry(give, |_| true).await;
    for entry in [r#"{"auth": "bWU6aHVudGVyMg=="}"#, r#"{"username": "me", "password": "hunter2"}"#]
    {
        let secret = format!(r#"{{"auths": {{"{}": {entry}}}}}"#, server.host());
        let secret = DockerConfig::parse(secret.as_bytes()).unwrap();
        let found = secret.credential(&server.host(), "team/x").unwrap();
        let manifest = session_of(&server, found.clone()).manifest().await.unwrap();
        assert_eq!(manifest.digest, digest(b"{}"));
    }
}
