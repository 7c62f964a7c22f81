//! What the server itself can do, by redis-benchmark, if it is on the PATH.

use std::process::Command;

use super::KEY;
use crate::options::Options;
use crate::table;

/// GETs per second by as many connections, one command at a time and 16 at a time.
pub(super) fn print(port: u16, clients: &[usize], options: &Options) {
    let requests = if options.quick { "20000" } else { "300000" };
    let mut rows = Vec::new();
    for clients in clients {
        for pipeline in ["1", "16"] {
            let (port, clients) = (port.to_string(), clients.to_string());
            let args = ["-p", &port, "-c", &clients, "-n", requests, "-P", pipeline, "--csv", "GET", KEY];
            let Ok(output) = Command::new("redis-benchmark").args(args).output() else {
                println!("\nThere is no redis-benchmark on the PATH: the server's own ceiling is not known.");
                return;
            };
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let Some(line) = text.lines().next_back() else { continue };
            let fields: Vec<&str> = line.split(',').map(|field| field.trim_matches('"')).collect();
            if let [_, per_second, _, _, p50, _, p99, ..] = fields[..] {
                let millis = |text: &str| text.parse::<f64>().map_or(String::new(), |millis| format!("{:.0}", millis * 1e3));
                rows.push(vec![clients, String::from(pipeline), String::from(per_second), millis(p50), millis(p99)]);
            }
        }
    }
    let head = ["connections", "commands at a time", "ops/s", "p50 us", "p99 us"];
    table::print("The server's ceiling, by redis-benchmark", &head, &rows);
}
