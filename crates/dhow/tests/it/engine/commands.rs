//! Programs under each `io`.

use dhow_core::abi::Io;
use dhow_core::outcome::Reason;

use super::rig::Rig;

#[tokio::test]
async fn stdio_gives_the_body_and_answers_with_the_output() {
    let rig = Rig::new();
    let echo = rig.target("echo", |_| ());
    let body: Vec<u8> = (0..3_000_000u32).map(|i| (i * 7 % 251) as u8).collect();
    let answer = rig.post(&echo, "/", body.clone()).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.body == body, "the echo differs");
    assert!(rig.outcome().await.failure.is_none());
}

#[tokio::test]
async fn stdio_says_the_request_in_variables() {
    let rig = Rig::new();
    let env = rig.target("env", |template| {
        template.args = vec!["one".into(), "two words".into()];
        template.env = vec![("GREETING".into(), "hi".into())];
    });
    let text = rig.get(&env, "/a/b?c=d").await.unwrap().text();
    for line in [
        "argv[0]=guest.wasm",
        "argv[1]=one",
        "argv[2]=two words",
        "GREETING=hi",
        "Http_Method=GET",
        "Http_Path=/a/b",
        "Http_Query=c=d",
        "Http_Host=test",
        "Http_ContentLength=0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
    }
    assert!(!text.contains("PATH="), "the host's environment shows:\n{text}");
}

#[tokio::test]
async fn stdio_answers_a_bad_exit_with_the_guests_output() {
    let rig = Rig::new();
    let exit = rig.target("exit", |_| ());
    let failure = rig.post(&exit, "/", "7").await.unwrap_err();
    assert_eq!(failure.reason, Reason::GuestExit);
    assert_eq!(failure.body.as_deref(), Some(&b"leaving with 7\n"[..]));
    assert_eq!(rig.outcome().await.status, 500);
    let lines = rig.heard.lines.lock();
    assert!(lines.iter().any(|(_, _, line)| line == "err 7"), "{lines:?}");
}

#[tokio::test]
async fn stdio_runs_a_component() {
    let rig = Rig::new();
    let command = rig.target("p2-command", |template| template.args = vec!["x".into()]);
    let answer = rig.post(&command, "/", "to be copied").await.unwrap();
    assert!(answer.text().ends_with("to be copied"), "{}", answer.text());
}

#[tokio::test]
async fn keeper_answers_to_the_byte() {
    let rig = Rig::new();
    let keeper = |template: &mut dhow_core::function::Template| template.io = Io::Keeper;
    let sort = rig.target("sort", keeper);
    let body = r#"{"args":["1111","2345","8","99","11234","12312","1231231","-10000"]}"#;
    let answer = rig.post(&sort, "/", body).await.unwrap();
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(
        answer.text(),
        "{\"status\": 0, \"output\": [\n  \"-10000 8 99 1111 2345 11234 12312 1231231 \"\n]}"
    );

    let trap = rig.target("trap", keeper);
    let answer = rig.post(&trap, "/", r#"{"args":["unreachable"]}"#).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.text().starts_with("{\"status\": 1, \"error\": \""), "{}", answer.text());
    assert_eq!(rig.outcome().await.failure.unwrap().reason, Reason::Trap);
}

#[tokio::test]
async fn cgi_takes_its_head_from_the_output_and_streams_the_rest() {
    let rig = Rig::new();
    let cgi = rig.target("cgi", |template| template.io = Io::Cgi);
    let answer = rig.post(&cgi, "/p/a%20b?status=404&x=y", "the body").await.unwrap();
    assert_eq!(answer.status, 404);
    assert_eq!(answer.headers["x-guest"], "cgi");
    let text = answer.text();
    for line in [
        "GATEWAY_INTERFACE=CGI/1.1",
        "REQUEST_METHOD=POST",
        "QUERY_STRING=status=404&x=y",
        "PATH_INFO=/p/a b",
        "X_RAW_PATH_INFO=/p/a%20b",
        "CONTENT_LENGTH=8",
        "SERVER_NAME=test",
        "SERVER_PORT=80",
        "REMOTE_ADDR=127.0.0.1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
    }
    assert!(text.ends_with("\nthe body"), "{text}");

    let failure = rig.get(&cgi, "/?raw").await.unwrap_err();
    assert_eq!(failure.reason, Reason::BadResponse);
}

#[tokio::test]
async fn cgi_redirects_and_cuts_after_a_bad_end() {
    let rig = Rig::new();
    let cgi = rig.target("cgi", |template| template.io = Io::Cgi);
    let answer = rig.get(&cgi, "/?location=/there").await.unwrap();
    assert_eq!((answer.status, &answer.headers["location"]), (302, &"/there".parse().unwrap()));
}

#[tokio::test]
async fn a_header_takes_no_other_variables_place() {
    let rig = Rig::new();
    let cgi = rig.target("cgi", |template| {
        template.io = Io::Cgi;
        template.env = vec![("HTTP_X_OWN".to_owned(), "operator".to_owned())];
    });
    let request = http::Request::get("/")
        .header("host", "test")
        .header("proxy", "http://stranger.example")
        .header("x_forwarded_for", "6.6.6.6")
        .header("x-forwarded-for", "192.0.2.1")
        .header("x-own", "caller")
        .body(super::rig::full(""))
        .unwrap();
    let text = rig.send(&cgi, request).await.unwrap().text();
    let of = |name: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(of("HTTP_PROXY"), Vec::<String>::new());
    assert_eq!(of("HTTP_X_FORWARDED_FOR"), ["192.0.2.1"]);
    assert_eq!(of("HTTP_X_OWN"), ["operator"]);
}
