//! wrk, and what it says.

use std::process::Command;

use serde::{Deserialize, Serialize};

/// One run of wrk.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) requests: f64,
    pub(crate) per_second: f64,
    /// Microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Loads `url` over so many connections for so long.
///
/// # Errors
/// Also when a single request failed: what fails quickly would look fast.
pub(crate) fn run(url: &str, connections: usize, seconds: u64) -> Result<Load, String> {
    let output = Command::new("wrk")
        .args(["-t1", "--latency", &format!("-c{connections}"), &format!("-d{seconds}s"), url])
        .output()
        .map_err(|error| format!("wrk can't be run: {error}"))?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(text: &str) -> Result<Load, String> {
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("requests failed:\n{text}"));
    }
    let line = |name: &str| text.lines().map(str::trim).find_map(|line| line.strip_prefix(name));
    let time = |name: &str| line(name).and_then(|rest| micros(rest.trim()));
    let requests = text.lines().find(|line| line.contains("requests in"));
    let requests = requests.and_then(|line| line.split_whitespace().next()?.parse().ok());
    let per_second = line("Requests/sec:").and_then(|rest| rest.trim().parse().ok());
    let load = || {
        Some(Load {
            requests: requests?,
            per_second: per_second?,
            p50: time("50%")?,
            p99: time("99%")?,
        })
    };
    load().ok_or_else(|| format!("wrk says something else:\n{text}"))
}

/// `61.00us`, `4.50ms` and `1.20s` in microseconds.
fn micros(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    units
        .iter()
        .find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAYS: &str = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 16 connections\n  \
        Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency   381.83us\n  \
        Latency Distribution\n     50%  287.00us\n     75%  500.00us\n     90%    1.20ms\n     \
        99%    4.50ms\n  40123 requests in 1.10s, 5.24MB read\nRequests/sec:  36475.45\n";

    #[test]
    fn reads_what_wrk_writes() {
        let load = parse(SAYS).unwrap();
        let expected = Load { requests: 40123.0, per_second: 36475.45, p50: 287.0, p99: 4500.0 };
        assert_eq!(load, expected);
    }

    #[test]
    fn a_failed_request_fails_the_run() {
        let failed = format!("{SAYS}  Non-2xx or 3xx responses: 3\n");
        assert!(parse(&failed).is_err());
        assert!(parse("nothing").is_err());
    }
}
