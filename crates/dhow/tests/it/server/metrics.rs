//! The metrics port.

use super::rig::{Server, wait_for};

#[test]
fn calls_are_counted_by_outcome_and_strangers_add_no_series() {
    let server = Server::start();
    server.deploy("hello", &[]);
    server.deploy("trap", &[]);
    for _ in 0..3 {
        server.get("/function/hello");
    }
    server.post("/function/trap", b"div0");
    let count = |function: &str, outcome: &str| {
        let line = format!(
            "dhow_invocations_total{{function=\"{function}\",namespace=\"default\",outcome=\"{outcome}\"}}"
        );
        wait_for(|| server.metric(&line))
    };
    assert_eq!(count("hello", "ok"), 3.0);
    assert_eq!(count("trap", "trap"), 1.0);
    assert_eq!(server.metric("dhow_loaded_functions"), Some(2.0));
    assert_eq!(server.metric("dhow_code_cache_total{result=\"miss\"}"), Some(2.0));
    assert!(server.metric("dhow_cold_start_seconds_count{phase=\"load\"}").unwrap() >= 2.0);
    let before = series(&server);
    for n in 0..50 {
        server.get(&format!("/function/stranger-{n}"));
        server.get(&format!("/path/{n}"));
    }
    assert_eq!(server.metric("dhow_requests_refused_total{reason=\"not-found\"}"), Some(100.0));
    assert!(series(&server) <= before + 1, "strangers made series");
    server.ok(&["delete", "trap"]);
    assert!(
        server
            .metric(
                "dhow_invocations_total{function=\"trap\",namespace=\"default\",outcome=\"trap\"}"
            )
            .is_none()
    );
}

fn series(server: &Server) -> usize {
    let text = super::rig::call(&format!("{}/metrics", server.metrics), "GET", &[], b"").text();
    text.lines().filter(|line| !line.starts_with('#')).count()
}

#[test]
fn a_strangers_page_learns_nothing_from_metrics() {
    let server = Server::start();
    let url = format!("{}/metrics", server.metrics);
    let origin = [("origin", "http://stranger.example")];
    assert_eq!(super::rig::call(&url, "GET", &origin, b"").status, 403);
    let host = [("host", "stranger.example")];
    assert_eq!(super::rig::call(&url, "GET", &host, b"").status, 403);
    assert_eq!(super::rig::call(&url, "GET", &[], b"").status, 200);
}
