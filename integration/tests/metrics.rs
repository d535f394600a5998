//! `/metrics`: in Prometheus' text format, true, and for those who may see everything.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use integration::{World, ok};

const PIPELINE: &str = "on: { manual: {} }\npartitions: [fra]\njobs:\n  one:\n    process: {}\n    \
                        run: echo hello\n  two:\n    needs: [one]\n    process: {}\n    run: 'false'\n";

/// Samples, by their name with its labels.
type Samples = BTreeMap<String, f64>;

/// Asks with this token; gives status, content type and text.
fn ask(world: &World, token: Option<&str>) -> (u16, String, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .into();
    let mut request = agent.get(format!("{}/metrics", ok(world.site.url())));
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut response = request.call().unwrap();
    let kind = response.headers().get("content-type").unwrap().to_str().unwrap().to_owned();
    (response.status().as_u16(), kind, response.body_mut().read_to_string().unwrap())
}

fn token(world: &World, more: &[&str]) -> String {
    let said = world.garrison(&[&["tokens", "create", "prometheus"], more].concat());
    assert_eq!(said.code, 0, "{said:?}");
    said.out.trim().to_owned()
}

/// Reads the text format: every sample has a number, and stands under the help and type of its
/// family, each of which comes once.
/// <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>
fn parse(text: &str) -> Samples {
    let (mut samples, mut families) = (Samples::new(), BTreeSet::new());
    let (mut helped, mut family, mut kind) = (String::new(), String::new(), String::new());
    for line in text.lines() {
        let word = |line: &str, n| line.split(' ').nth(n).unwrap().to_owned();
        if line.starts_with("# HELP ") {
            helped = word(line, 2);
            assert!(line.len() > "# HELP ".len() + helped.len() + 5, "{line}");
        } else if line.starts_with("# TYPE ") {
            (family, kind) = (word(line, 2), word(line, 3));
            assert_eq!(helped, family, "a family without help");
            assert!(families.insert(family.clone()), "{family} comes twice");
            assert_eq!(kind == "counter", family.ends_with("_total"), "{family}");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let bare = name.split('{').next().unwrap();
            let suffixes: &[&str] =
                if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(suffixes.iter().any(|it| bare == format!("{family}{it}")), "{line}");
            assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{line}");
        }
    }
    samples
}

#[test]
fn what_is_so_and_what_happened_can_be_scraped() {
    let mut world = World::start(&["fra", "muc"], PIPELINE);
    // A server that is not there: what is to be published waits.
    world.site.configure("\n[nats]\nurls = [\"nats://127.0.0.1:9\"]\n");
    ok(world.site.stop_coordinator());
    ok(world.site.start_coordinator());
    let run = world.trigger();
    assert_eq!(world.finished(run)["status"], "failed");
    world.run_when(run, "have its log", |it| it["jobs"][0]["attempts"][0]["log_complete"] == true);
    ok(world.site.kill_agent("muc", "mgmt01"));
    let token = token(&world, &[]);
    let scrape = |world: &World| {
        let (status, kind, text) = ask(world, Some(&token));
        assert_eq!((status, kind.as_str()), (200, "text/plain; version=0.0.4"), "{text}");
        parse(&text)
    };
    let gone = |world: &World, partition: &str| {
        let away = format!("garrison_agents{{partition=\"{partition}\",state=\"away\"}}");
        let gone = || Some(scrape(world)).filter(|it| it[&away] == 1.0);
        ok(garrison::site::wait("an agent to be away", gone))
    };
    let samples = gone(&world, "muc");
    for (name, value) in [
        ("garrison_runs_active", 0.0),
        ("garrison_runs_finished_total{outcome=\"failed\"}", 1.0),
        ("garrison_attempts_finished_total{outcome=\"succeeded\"}", 1.0),
        ("garrison_attempts_finished_total{outcome=\"failed\"}", 1.0),
        ("garrison_jobs{state=\"queued\"}", 0.0),
        ("garrison_jobs_queued{partition=\"muc\"}", 0.0),
        ("garrison_agents{partition=\"fra\",state=\"connected\"}", 1.0),
        ("garrison_agents{partition=\"muc\",state=\"connected\"}", 0.0),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name} in {samples:#?}");
    }
    let some = [
        "garrison_commit_duration_seconds_count",
        "garrison_commit_duration_seconds_sum",
        "garrison_commit_duration_seconds_bucket{le=\"+Inf\"}",
        "garrison_journal_last_batch",
        "garrison_log_received_bytes_total",
        "garrison_feed_lag_batches{feed=\"events\"}",
        "garrison_feed_lag_seconds{feed=\"events\"}",
        "garrison_http_requests_total{method=\"GET\",path=\"/api/v1/runs/{id}\",status=\"200\"}",
    ];
    for name in some {
        assert!(samples.get(name).is_some_and(|value| *value > 0.0), "{name} in {samples:#?}");
    }
    assert!(!samples.keys().any(|name| name.contains("statuses")), "{samples:#?}");

    // A run whose agent is away waits, and is counted.
    ok(world.site.kill_agent("fra", "mgmt01"));
    gone(&world, "fra");
    world.trigger();
    let queued = scrape(&world);
    assert_eq!(queued["garrison_jobs_queued{partition=\"fra\"}"], 1.0, "{queued:#?}");
    assert_eq!(queued["garrison_jobs{state=\"waiting\"}"], 1.0, "{queued:#?}");
    assert_eq!(queued["garrison_runs_active"], 1.0);
    let last = "garrison_journal_last_batch";
    assert!(queued[last] > samples[last]);
}

#[test]
fn only_who_may_see_everything_may_see_metrics() {
    let world = World::without_agents(&["fra"], PIPELINE);
    let (status, _, text) = ask(&world, None);
    assert!(status == 401 && text.contains("needs a token"), "{status} {text}");
    let token = token(&world, &["--partition", "fra"]);
    let (status, _, text) = ask(&world, Some(&token));
    assert!(status == 403 && text.contains("view in all partitions"), "{status} {text}");
}
