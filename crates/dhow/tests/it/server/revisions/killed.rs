//! `kill -9` at any moment: what was acknowledged is there, what was refused is not.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::rig::{Server, call, up};
use super::api::{Api, manifest, module, path, weights};
use super::model::{Function, KEPT, Model, Operation, Said};

/// How often the server is killed, unless `DHOW_KILLS` says otherwise.
const KILLS: u64 = 200;
/// Clients that change functions at once, each its own.
const CLIENTS: usize = 3;
/// Functions of each.
const FUNCTIONS: usize = 2;

/// Somebody who changes functions, and knows what they have to be.
struct Client {
    index: usize,
    rng: Rng,
    model: Model,
    /// What they may be as well: the change under way when the server died.
    in_doubt: Option<Model>,
    acknowledged: u64,
    refused: u64,
}

impl Client {
    fn new(index: usize, rng: Rng) -> Self {
        let model = Model::default();
        Self { index, rng, model, in_doubt: None, acknowledged: 0, refused: 0 }
    }

    fn name(&self, function: usize) -> String {
        format!("c{}-{function}", self.index)
    }

    fn route(&self) -> String {
        format!("/c{}", self.index)
    }

    /// Changes functions until the server is gone.
    fn work(&mut self, admin: &str, digests: &[String]) {
        let api = Api::new(admin);
        loop {
            let function = self.rng.usize(..FUNCTIONS);
            let name = self.name(function);
            let operation = self.choose(&name);
            let next = self.model.apply(&name, &operation);
            let (method, path, body) = self.request(&name, &operation, digests);
            match api.send(method, &path, &body) {
                Err(_) => return self.in_doubt = next,
                Ok((status, answer)) => {
                    let accepted = (200..300).contains(&status);
                    assert_eq!(accepted, next.is_some(), "{operation:?}: {status} {answer}");
                    assert!(accepted || (400..500).contains(&status), "{status} {answer}");
                    match next {
                        Some(next) => {
                            self.model = next;
                            self.acknowledged += 1;
                        }
                        None => self.refused += 1,
                    }
                }
            }
        }
    }

    fn choose(&mut self, name: &str) -> Operation {
        let rng = &mut self.rng;
        let function = self.model.functions.get(name);
        let known: Vec<u64> =
            function.map(|one| one.revisions.keys().copied().collect()).unwrap_or_default();
        // Sometimes one that is not there, or no longer.
        let revision = |rng: &mut Rng| match known.len() {
            0 => rng.u64(..5),
            _ if rng.u8(..8) == 0 => known[0] + rng.u64(..9) - 1,
            count => known[rng.usize(..count)],
        };
        match rng.u8(..16) {
            0 => Operation::Delete,
            1 => Operation::Clear,
            2..=4 => {
                let to = if rng.bool() { Some(revision(rng)) } else { None };
                Operation::RollBack { to }
            }
            5..=7 => {
                let count = rng.usize(1..4);
                let share = |_| (revision(rng), rng.u32(..10));
                Operation::Split((0..count).map(share).collect::<BTreeMap<_, _>>())
            }
            8 if let Some(function) = function => {
                // The same again, but perhaps for the route.
                let said = function.revisions[&function.current];
                Operation::Deploy { said, has_route: rng.bool() }
            }
            _ => {
                let said = Said { module: rng.usize(..MODULES), mark: rng.u64(..) };
                Operation::Deploy { said, has_route: rng.u8(..3) == 0 }
            }
        }
    }

    fn request(
        &self,
        name: &str,
        operation: &Operation,
        digests: &[String],
    ) -> (&'static str, String, Value) {
        let route = self.route();
        match operation {
            Operation::Deploy { said, has_route } => {
                let routes = if *has_route { &[route.as_str()][..] } else { &[] };
                let body = manifest(name, &digests[said.module], said.mark, routes);
                ("PUT", path(name, ""), body)
            }
            Operation::RollBack { to } => ("POST", path(name, "/rollback"), json!({"to": to})),
            Operation::Split(shares) => ("PUT", path(name, "/traffic"), weights(shares)),
            Operation::Clear => ("DELETE", path(name, "/traffic"), Value::Null),
            Operation::Delete => ("DELETE", path(name, ""), Value::Null),
        }
    }

    /// Holds what the server has against what it has to have.
    fn verify(&mut self, server: &Server, api: &Api, digests: &[String], call_them: bool) {
        let mut found = BTreeMap::new();
        for one in api.ok("GET", "functions", &Value::Null)["items"].as_array().unwrap() {
            let name = one["name"].as_str().unwrap();
            if name.starts_with(&format!("c{}-", self.index)) {
                let revisions = api.ok("GET", &path(name, "/revisions"), &Value::Null);
                found.insert(name.to_owned(), seen(one, &revisions, digests));
            }
        }
        let doubt = self.in_doubt.take();
        if let Some(doubt) = doubt.filter(|doubt| doubt.functions == found) {
            self.model = doubt;
        }
        assert_eq!(found, self.model.functions, "client {}", self.index);
        for (name, function) in self.model.functions.iter().filter(|_| call_them) {
            let answer = call(&format!("{}/function/{name}", server.gateway), "GET", &[], b"");
            let may: Vec<_> = function.may_answer().into_iter().map(answer_of).collect();
            let said = answer.text();
            assert!(answer.status == 200 && may.contains(&said), "{name} says {said:?}: {may:?}");
        }
    }
}

/// Modules that are deployed.
const MODULES: usize = 3;

fn answer_of(module: usize) -> String {
    format!("m{module}\n")
}

/// A function as the server tells it.
fn seen(one: &Value, revisions: &Value, digests: &[String]) -> Function {
    let items = revisions["items"].as_array().unwrap();
    let number = |item: &Value| item["revision"].as_u64().unwrap();
    let current: Vec<u64> = items.iter().filter(|i| i["current"] == true).map(number).collect();
    assert_eq!(current, [number(one)], "{one}");
    let said = |item: &Value| {
        let digest = item["digest"].as_str().unwrap();
        let module = digests.iter().position(|known| known == digest).unwrap();
        let mark = item["spec"]["env"][0]["value"].as_str().unwrap();
        (number(item), Said { module, mark: mark.parse().unwrap() })
    };
    let weight = |item: &Value| Some((number(item), item["weight"].as_u64()? as u32));
    Function {
        current: current[0],
        revisions: items.iter().map(said).collect(),
        weights: items.iter().filter_map(weight).collect(),
        rolled_back_from: one["rolled_back"]["from"].as_u64(),
        has_route: !one["routes"].as_array().unwrap().is_empty(),
    }
}

fn keep() -> [String; 2] {
    ["--keep-revisions".to_owned(), KEPT.to_string()]
}

/// Starts a server and ends it before it is well awake.
fn kill_while_starting(folder: &TempDir, after: Duration) {
    let keep = keep();
    let mut begun = up(folder.path(), &keep.each_ref().map(String::as_str));
    let mut process = begun.stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    process.kill().unwrap();
    process.wait().unwrap();
}

fn number(variable: &str) -> Option<u64> {
    let said = std::env::var_os(variable)?;
    Some(said.to_str().unwrap().parse().unwrap_or_else(|error| panic!("{variable}: {error}")))
}

#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let seed = number("DHOW_SEED").unwrap_or_else(|| fastrand::u64(..));
    // Shown when the test fails.
    println!("DHOW_SEED={seed} begins with the same choices");
    let mut rng = Rng::with_seed(seed);
    let mut clients: Vec<_> =
        (0..CLIENTS).map(|index| Client::new(index, Rng::with_seed(rng.u64(..)))).collect();
    let keep = keep();
    let keep = keep.each_ref().map(String::as_str);
    let server = Server::with(&keep);
    let api = Api::new(&server.admin);
    let digests: Vec<_> =
        (0..MODULES).map(|index| api.upload(module(answer_of(index).trim()).as_bytes())).collect();
    let mut folder = server.kill();

    for kill in 0..number("DHOW_KILLS").unwrap_or(KILLS) {
        if rng.u8(..8) == 0 {
            kill_while_starting(&folder, Duration::from_millis(rng.u64(..150)));
            continue;
        }
        let server = Server::in_folder(folder, &keep);
        let api = Api::new(&server.admin);
        let call_them = rng.u8(..4) == 0;
        for client in &mut clients {
            client.verify(&server, &api, &digests, call_them);
        }
        let admin = server.admin.clone();
        folder = std::thread::scope(|scope| {
            let working: Vec<_> = clients
                .iter_mut()
                .map(|client| scope.spawn(|| client.work(&admin, &digests)))
                .collect();
            std::thread::sleep(Duration::from_micros(rng.u64(..120_000)));
            let folder = server.kill();
            for ended in working {
                ended.join().unwrap_or_else(|_| panic!("before kill {kill}"));
            }
            folder
        });
    }

    let server = Server::in_folder(folder, &keep);
    let api = Api::new(&server.admin);
    for client in &mut clients {
        client.verify(&server, &api, &digests, true);
        assert!(client.acknowledged > 0 && client.refused > 0, "nothing was tried");
    }
}
