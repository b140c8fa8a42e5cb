use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::super::rig::{Server, call, wait_for};
use super::api::{Api, manifest, module, path, weights};

/// Changes of each of the two functions.
const CHANGES: u64 = 100;
/// Calls that have to be under way between two changes, at least.
const BETWEEN: usize = 5;

/// Calls `url` until it is told to stop; every answer has to be one of `answers`.
fn press(url: &str, keep_alive: bool, answers: &[String], stop: &AtomicBool, done: &AtomicUsize) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .into();
    while !stop.load(Relaxed) {
        let (status, text) = if keep_alive {
            let mut answer = agent.post(url).send("echoed").unwrap();
            let text = answer.body_mut().read_to_string().unwrap();
            (answer.status().as_u16(), text)
        } else {
            let answer = call(url, "POST", &[], b"echoed");
            (answer.status, answer.text())
        };
        assert_eq!(status, 200, "{url}: {text}");
        assert!(answers.contains(&text), "{url} answered {text:?}");
        done.fetch_add(1, Relaxed);
    }
}

/// What one function's revisions answer, and its code.
struct Versions {
    name: &'static str,
    path: &'static str,
    digests: Vec<String>,
    answers: Vec<String>,
}

impl Versions {
    /// Deploys, rolls back, splits and clears, and sees each of them in force at once.
    fn change(&self, server: &Server, api: &Api, done: &AtomicUsize) {
        let says = || server.post(self.path, b"echoed").text();
        // The module of each revision, by its number from 1. The first is deployed.
        let mut modules = vec![0];
        for round in 0..CHANGES {
            let seen = done.load(Relaxed);
            wait_for(|| (done.load(Relaxed) >= seen + BETWEEN).then_some(()));
            let last = modules.len() as u64;
            match round % 5 {
                _ if last < 2 => self.deploy(api, round, &mut modules),
                0 | 1 => self.deploy(api, round, &mut modules),
                2 => {
                    let to = last - 1;
                    let body = serde_json::json!({"to": to});
                    api.ok("POST", &path(self.name, "/rollback"), &body);
                    assert_eq!(says(), self.answers[modules[to as usize - 1]], "round {round}");
                    continue;
                }
                3 => {
                    let shares = [(last, 3), (last - 1, 1)];
                    let shares =
                        weights(shares.iter().map(|(revision, weight)| (revision, weight)));
                    api.ok("PUT", &path(self.name, "/traffic"), &shares);
                    continue;
                }
                _ => {
                    api.ok("DELETE", &path(self.name, "/traffic"), &serde_json::Value::Null);
                    // The rollback of two rounds before holds.
                    assert_eq!(says(), self.answers[modules[last as usize - 2]], "round {round}");
                    continue;
                }
            }
            assert_eq!(says(), self.answers[*modules.last().unwrap()], "round {round}");
        }
    }

    fn deploy(&self, api: &Api, mark: u64, modules: &mut Vec<usize>) {
        let next = modules.len() % self.digests.len();
        let mut said = manifest(self.name, &self.digests[next], mark, &[]);
        if self.name == "handler" {
            said["spec"]["reuse"] = serde_json::json!({"calls": 20});
        }
        api.ok("PUT", &path(self.name, ""), &said);
        modules.push(next);
    }
}

#[test]
fn no_call_fails_while_revisions_come_and_go() {
    let server = Server::start();
    let api = Api::new(&server.admin);
    let answers = ["v0", "v1", "v2"].map(|says| format!("{says}\n")).to_vec();
    let command = Versions {
        name: "command",
        path: "/function/command",
        digests: answers.iter().map(|says| api.upload(module(says.trim()).as_bytes())).collect(),
        answers,
    };
    let handler = Versions {
        name: "handler",
        path: "/function/handler/echo",
        digests: ["http-lean", "http-kit"]
            .map(|guest| api.upload(dhow_testkit::guest(guest)))
            .to_vec(),
        answers: vec!["Hello, world!\n".to_owned(), "echoed".to_owned()],
    };
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    for versions in [&command, &handler] {
        versions.deploy(&api, u64::MAX, &mut Vec::new());
    }
    std::thread::scope(|scope| {
        let mut clients = Vec::new();
        for versions in [&command, &handler] {
            for keep_alive in [true, true, false] {
                let url = format!("{}{}", server.gateway, versions.path);
                let (stop, done) = (&stop, &done);
                clients.push(
                    scope.spawn(move || press(&url, keep_alive, &versions.answers, stop, done)),
                );
            }
        }
        let changers = [&command, &handler].map(|versions| {
            let (server, done) = (&server, &done);
            scope.spawn(move || versions.change(server, &Api::new(&server.admin), done))
        });
        let changed: Vec<_> =
            changers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        stop.store(true, Relaxed);
        for ended in clients.into_iter().map(std::thread::ScopedJoinHandle::join).chain(changed) {
            ended.unwrap();
        }
    });
    let done = done.load(Relaxed);
    assert!(done as u64 >= CHANGES * BETWEEN as u64, "{done} calls are no load");
}
