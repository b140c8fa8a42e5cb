//! The Grafana board of `deploy/grafana`, each of its queries asked of a real Prometheus that
//! scrapes a real server.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::rig::{Server, call, wait_for};

const BOARD: &str = include_str!("../../../../../deploy/grafana/dhow.json");

/// A Prometheus that runs.
struct Prometheus {
    process: Child,
    address: String,
    _folder: TempDir,
}

impl Prometheus {
    fn scraping(metrics: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let target = metrics.strip_prefix("http://").unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s}}\n\
             scrape_configs: [{{job_name: dhow, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus; `./x test` installs it");
        Self { process, address: format!("http://{address}"), _folder: folder }
    }

    /// What a query has now: each series' labels. `None` until the server answers.
    fn ask(&self, query: &str) -> Option<Vec<Value>> {
        std::net::TcpStream::connect(self.address.strip_prefix("http://").unwrap()).ok()?;
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let url = format!("{}/api/v1/query?query={encoded}", self.address);
        let answer = call(&url, "GET", &[], b"");
        assert!(matches!(answer.status, 200 | 503), "{query}: {}", answer.text());
        // It says so in plain text while it starts.
        let ready = (answer.status == 200).then(|| answer.json())?;
        let result = ready["data"]["result"].as_array().cloned()?;
        Some(result.into_iter().map(|series| series["metric"].clone()).collect())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Each panel's title, query and legend.
fn targets(board: &Value) -> Vec<(String, String, String)> {
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.into_iter().map(move |target| {
            let of = |key: &str| target[key].as_str().unwrap().to_owned();
            (title.to_owned(), of("expr"), of("legendFormat"))
        })
    });
    targets.collect()
}

/// What Grafana puts in place of variables.
fn filled(query: &str) -> String {
    let query = query.replace("$__rate_interval", "1m").replace("$namespace", ".*");
    query.replace("$function", ".*")
}

#[test]
fn every_query_of_the_board_has_an_answer_with_the_labels_of_its_legend() {
    // Nobody takes its spans, so that those that are lost are counted.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::with(&["--otlp", &format!("http://{nobody}")]);
    server.deploy("hello", &[]);
    server.deploy("trap", &[]);
    let prometheus = Prometheus::scraping(&server.metrics);
    let board: Value = serde_json::from_str(BOARD).unwrap();
    let targets = targets(&board);
    assert!(targets.len() >= 15, "{targets:?}");
    for (title, query, legend) in &targets {
        let query = filled(query);
        assert!(!query.contains('$'), "{title} has a variable that nobody fills: {query}");
        let series = wait_for(|| {
            // Rates need two scrapes between which something happened.
            server.get("/function/hello");
            server.post("/function/trap", b"div0");
            server.get("/function/nobody");
            prometheus.ask(&query).filter(|series| !series.is_empty())
        });
        for label in legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
            let has = |one: &Value| one[label].as_str().is_some_and(|value| !value.is_empty());
            assert!(series.iter().all(has), "{title} shows `{label}`, which is not in {series:?}");
        }
    }
    for variable in board["templating"]["list"].as_array().unwrap() {
        let Some(query) = variable["query"]["query"].as_str() else { continue };
        let (selector, label) = query
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')')?.rsplit_once(", "))
            .unwrap_or_else(|| panic!("{query}"));
        let series = wait_for(|| prometheus.ask(&filled(selector)).filter(|it| !it.is_empty()));
        assert!(series.iter().all(|one| one[label].is_string()), "{query}");
    }
}
