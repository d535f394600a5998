//! Benchmarks of the whole system with real processes: one JSON line a figure on standard output.
//!
//! `make bench NAME=dispatch` runs one of them, `make bench` all.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

mod compile;
mod dispatch;
mod idle;
mod pickup;
mod queue;
mod restart;
mod ssh;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use garrison::client::Client;
use garrison::site::{OPEN_POLICY, Site};
use integration::network::Namespace;
use integration::{ok, program};
use serde_json::{Value, json};

/// A benchmark's name, and what it does.
const BENCHES: [(&str, fn()); 8] = [
    ("dispatch", dispatch::run),
    ("throughput", throughput),
    ("idle", idle::run),
    ("compile", compile::run),
    ("pickup", pickup::run),
    ("queue", queue::run),
    ("restart", restart::run),
    ("ssh", ssh::run),
];

fn main() {
    coordinator::tls::install_provider();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let known = |name: &String| BENCHES.iter().any(|(known, _)| known == name);
    if let Some(unknown) = arguments.iter().find(|name| !known(name)) {
        panic!("there is no benchmark '{unknown}'");
    }
    for (name, bench) in BENCHES {
        if arguments.is_empty() || arguments.iter().any(|wanted| wanted == name) {
            bench();
        }
    }
}

/// No-op process jobs per second, from trigger to the last verdict.
fn throughput() {
    const JOBS: usize = 1000;
    let mut rates = Vec::new();
    for _ in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let jobs: String =
            (0..JOBS).map(|n| format!("  j{n}: {{ process: {{}}, run: 'true' }}\n")).collect();
        let site = site(dir.path(), &jobs, 8);
        let client = ok(site.client());
        let start = Instant::now();
        trigger(&client, "main");
        while !is_done(&client) {
            std::thread::sleep(Duration::from_millis(5));
        }
        rates.push(JOBS as f64 / start.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    figure("throughput", "jobs_per_s", "1/s", percentile(&rates, 0.5), &rates);
}

/// A site with one agent whose pipeline has these jobs.
fn site(dir: &Path, jobs: &str, capacity: u32) -> Site {
    site_behind(dir, jobs, capacity, None)
}

/// [`site`] whose agent may live in a namespace.
fn site_behind(dir: &Path, jobs: &str, capacity: u32, namespace: Option<&Namespace>) -> Site {
    let pipeline = format!("on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n{jobs}");
    let mut site = ok(Site::new(&dir.join("site"), &program(), &["fra"]));
    let inventory = "partition: fra\ndevices: {}\n";
    let files = [(".garrison/bench.yaml", pipeline.as_str()), ("partitions/fra.yaml", inventory)];
    ok(site.commit(&files));
    site.set_max_age(3600);
    if let Some(namespace) = namespace {
        site.set_address(namespace.address());
        site.start_agents_by(&namespace.enter());
    }
    ok(site.start_coordinator());
    ok(site.add_agent("fra", "mgmt01", capacity, OPEN_POLICY));
    site
}

fn trigger(client: &Client, reference: &str) {
    let request = json!({ "repository": "infra", "pipeline": "bench", "reference": reference });
    let _: Value = ok(client.post("/api/v1/triggers", &request));
}

/// Whether the newest run has ended.
fn is_done(client: &Client) -> bool {
    let runs: Value = ok(client.get("/api/v1/runs?limit=1"));
    !runs[0]["finished_us"].is_null()
}

fn rss_mb(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn percentile(sorted: &[f64], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

fn figure(bench: &str, metric: &str, unit: &str, ours: f64, sorted: &[f64]) {
    say(bench, metric, unit, ours, sorted, None);
}

/// The middle of `sorted`, of which less is better, beside what another program takes.
fn compared(bench: &str, metric: &str, unit: &str, sorted: &[f64], name: &str, peer: f64) {
    say(bench, metric, unit, percentile(sorted, 0.5), sorted, Some((name, peer)));
}

#[allow(clippy::print_stdout, reason = "figures go to standard output")]
fn say(
    bench: &str,
    metric: &str,
    unit: &str,
    ours: f64,
    sorted: &[f64],
    peer: Option<(&str, f64)>,
) {
    let figure = json!({
        "bench": bench, "metric": metric, "unit": unit, "ours": ours,
        "peer": peer.map(|(_, peer)| peer), "peer_name": peer.map(|(name, _)| name),
        "ratio": peer.map(|(_, peer)| peer / ours), "n": sorted.len(),
        "min": sorted[0], "median": percentile(sorted, 0.5), "max": sorted[sorted.len() - 1],
    });
    println!("{figure}");
}
