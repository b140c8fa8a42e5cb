//! Secrets in the hands of guests, from the client's command to the guest that reads them.

use std::io::Write as _;

use super::rig::{Server, text};

/// Keeps a secret with these keys.
fn keep(server: &Server, name: &str, values: &[(&str, &str)]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut args = vec!["secret".to_owned(), "create".to_owned(), name.to_owned()];
    for (key, value) in values {
        let path = folder.path().join(key);
        std::fs::File::create(&path)
            .and_then(|mut file| file.write_all(value.as_bytes()))
            .expect("room");
        args.extend(["--from-file".to_owned(), path.display().to_string()]);
    }
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let output = server.dhow(&args);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for (_, value) in values {
        assert!(!text(&output.stderr).contains(value) && !text(&output.stdout).contains(value));
    }
}

fn told(server: &Server, name: &str, asked: &str) -> String {
    let answer = server.post(&format!("/function/{name}"), asked.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

#[test]
fn a_secret_is_files_and_keys_to_who_is_granted_it_and_to_nobody_else() {
    let server = Server::start();
    let file = server.guest("http-given");
    let deploy =
        ["deploy", "given", file.to_str().expect("UTF-8"), "--secret", "token", "--secret", "db"];
    let refused = server.fails(&deploy);
    assert!(refused.contains("--secret") || refused.contains("spec.secrets[0]"), "{refused}");
    assert!(refused.contains("`token`") && refused.contains("`db`"), "{refused}");

    keep(&server, "token", &[("value", "hunter2")]);
    keep(&server, "db", &[("user", "ada"), ("pass", "wordpass")]);
    let said = text(&server.dhow(&deploy).stderr);
    assert!(said.contains("given: granted secret token"), "{said}");
    let described = server.ok(&["describe", "given"]);
    assert!(described.contains("secret db") && !described.contains("hunter2"), "{described}");

    let asked = "FILE /var/openfaas/secrets/token\nFILE /secrets/default/db/user\n\
                 LIST /var/openfaas/secrets\nLIST /secrets/default\nKEY token\nKEY db/pass\n\
                 KEY other\nKEYS\nWRITE /var/openfaas/secrets/token\nFILE /secrets/../etc/passwd\n\
                 ENV token";
    let answer = told(&server, "given", asked);
    let lines: Vec<_> = answer.lines().collect();
    assert_eq!(
        lines[..8],
        [
            "hunter2",
            "ada",
            "db token",
            "db token",
            "hunter2",
            "wordpass",
            "none",
            "db/pass db/user token token/value"
        ]
    );
    assert!(
        lines[8] != "written" && !lines[9].contains("root:") && lines[10].is_empty(),
        "{answer}"
    );

    // Another function of the same module is given nothing.
    server.deploy_as("plain", "http-given", &[]);
    let nothing = told(&server, "plain", "FILE /var/openfaas/secrets/token\nKEY token\nKEYS");
    assert!(!nothing.contains("hunter2") && nothing.ends_with("none\n\n"), "{nothing}");
    // Nothing of it is left when the calls are over.
    let left = server.path().join("data/given").join(server.pid().to_string());
    super::rig::wait_for(|| {
        std::fs::read_dir(&left).expect("a folder").next().is_none().then_some(())
    });
}

#[test]
fn what_is_rotated_is_seen_by_the_next_instance_and_what_is_gone_is_named() {
    let server = Server::start();
    keep(&server, "token", &[("value", "first")]);
    server.deploy_as("given", "http-given", &["--secret", "token"]);
    server.deploy_as("reused", "http-given", &["--secret", "token", "--reuse", "1000"]);
    for name in ["given", "reused"] {
        assert_eq!(told(&server, name, "KEY token"), "first\n");
    }
    keep(&server, "token", &[("value", "second")]);
    let both = "KEY token\nFILE /var/openfaas/secrets/token";
    assert_eq!(told(&server, "given", both), "second\nsecond\n");
    // An instance that is used again has what it was made with.
    assert_eq!(told(&server, "reused", both), "first\nfirst\n");

    server.ok(&["secret", "delete", "token"]);
    let answer = server.post("/function/given", b"KEY token");
    assert_eq!((answer.status, answer.reason()), (503, "not-ready"), "{}", answer.text());
    assert!(answer.text().contains("`token`"), "{}", answer.text());
}
