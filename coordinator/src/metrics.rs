//! Metrics for Prometheus: what happens is counted where it happens, what is so now is looked up when
//! somebody asks.
//!
//! Every label has few values: partitions, outcomes, states, routes.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use coordinator_core::change::Change;
use coordinator_core::core::counts::Counts;
use coordinator_core::event::Wall;
use pipelines::name::PartitionName;
use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry,
    TextEncoder,
};

use crate::feed::progress::Progress;
use crate::store::journal::Seq;

/// Upper ends of the classes of commits, in seconds: a sync of a good disk takes 150 µs.
const COMMITS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0];

/// What is counted.
pub struct Metrics {
    registry: Registry,
    commits: Histogram,
    runs: IntCounterVec,
    attempts: IntCounterVec,
    requests: IntCounterVec,
    received: IntCounterVec,
    /// Those that are told to others, by their names.
    feeds: Vec<(String, Progress)>,
}

/// What is so when somebody asks.
#[derive(Debug)]
pub struct Now<'a> {
    /// When.
    pub time: Wall,
    /// What there is to do.
    pub counts: &'a Counts,
    /// All partitions of the configuration: one without a job or an agent shows 0.
    pub partitions: Vec<&'a PartitionName>,
    /// The journal's last batch.
    pub last: Seq,
    /// Bytes of logs that agents have sent since the start.
    pub log_bytes: u64,
}

impl Metrics {
    /// Nothing was counted yet. How far each of the feeds was told is shown under its name.
    pub fn new(feeds: Vec<(String, Progress)>) -> Metrics {
        let registry = Registry::new();
        let commits = HistogramOpts::new(
            "garrison_commit_duration_seconds",
            "How long it took to make a batch of changes durable and visible.",
        );
        let commits = Histogram::with_opts(commits.buckets(COMMITS.to_vec()));
        Metrics {
            commits: added(&registry, commits),
            runs: counters(
                &registry,
                "garrison_runs_finished_total",
                "Runs that ended since the start.",
                &["outcome"],
            ),
            attempts: counters(
                &registry,
                "garrison_attempts_finished_total",
                "Attempts that ended since the start.",
                &["outcome"],
            ),
            requests: counters(
                &registry,
                "garrison_http_requests_total",
                "HTTP requests that were answered since the start.",
                &["method", "path", "status"],
            ),
            received: counters(
                &registry,
                "garrison_events_received_total",
                "Events of others' streams that were read since the start.",
                &["stream", "outcome"],
            ),
            registry,
            feeds,
        }
    }

    /// A batch was committed within this time.
    pub fn committed(&self, took: Duration, changes: &[Change]) {
        self.commits.observe(took.as_secs_f64());
        for change in changes {
            match change {
                Change::Run(run) if run.is_final() => {
                    self.runs.with_label_values(&[run.status()]).inc();
                }
                Change::Attempt(attempt) => {
                    if let Some(outcome) = attempt.outcome() {
                        self.attempts.with_label_values(&[outcome.kind()]).inc();
                    }
                }
                _ => {}
            }
        }
    }

    /// An event of a stream was read, with this outcome.
    pub fn received(&self, stream: &str, outcome: &str) {
        self.received.with_label_values(&[stream, outcome]).inc();
    }

    /// All of it, in Prometheus' text format.
    pub fn text(&self, now: &Now<'_>) -> String {
        let registry = Registry::new();
        let counts = now.counts;
        let gauge = |name, help, value| added(&registry, Gauge::new(name, help)).set(value);
        gauge("garrison_runs_active", "Runs that are not over.", counts.runs as f64);
        gauge(
            "garrison_journal_last_batch",
            "Number of the journal's last batch.",
            now.last.0 as f64,
        );
        let queued: usize = counts.queued.values().sum();
        let jobs = gauges(&registry, "garrison_jobs", "Jobs that are not over.", &["state"]);
        let open: usize = counts.gates.values().sum();
        let states = [
            ("waiting", counts.waiting),
            ("queued", queued),
            ("active", counts.active),
            ("open", open),
        ];
        for (state, count) in states {
            jobs.with_label_values(&[state]).set(count as f64);
        }
        partitions(&registry, now);
        self.feeds(&registry, now);
        let bytes = IntCounter::new(
            "garrison_log_received_bytes_total",
            "Bytes of logs that agents sent since the start.",
        );
        added(&registry, bytes).inc_by(now.log_bytes);
        let families = [self.registry.gather(), registry.gather()].concat();
        TextEncoder::new().encode_to_string(&families).expect("each family has metrics")
    }

    /// The feed of that name, if it is configured.
    pub fn feed(&self, name: &str) -> Option<&Progress> {
        self.feeds.iter().find(|(feed, _)| feed == name).map(|(_, progress)| progress)
    }

    fn feeds(&self, registry: &Registry, now: &Now<'_>) {
        let name = "garrison_feed_lag_batches";
        let batches =
            gauges(registry, name, "Batches that were not told to others yet.", &["feed"]);
        let name = "garrison_feed_lag_seconds";
        let help = "For how long the first of them has waited.";
        let seconds = gauges(registry, name, help, &["feed"]);
        for (feed, progress) in &self.feeds {
            let (behind, waited) = progress.lag(now.last, now.time);
            batches.with_label_values(&[feed]).set(behind as f64);
            seconds.with_label_values(&[feed]).set(waited.as_secs_f64());
        }
    }
}

fn partitions(registry: &Registry, now: &Now<'_>) {
    let name = "garrison_jobs_queued";
    let help = "Jobs that wait for an agent with room.";
    let queued = gauges(registry, name, help, &["partition"]);
    let name = "garrison_gates_open";
    let gates = gauges(registry, name, "Gates that wait for people.", &["partition"]);
    let name = "garrison_agents";
    let agents = gauges(registry, name, "Agents that may connect.", &["partition", "state"]);
    let Counts { queued: jobs, gates: open, agents: known, .. } = now.counts;
    let others = jobs.keys().chain(open.keys()).chain(known.keys());
    for partition in now.partitions.iter().copied().chain(others) {
        let name = partition.as_str();
        let waiting = jobs.get(partition).copied().unwrap_or_default();
        queued.with_label_values(&[name]).set(waiting as f64);
        let open = open.get(partition).copied().unwrap_or_default();
        gates.with_label_values(&[name]).set(open as f64);
        let counts = known.get(partition).copied().unwrap_or_default();
        agents.with_label_values(&[name, "connected"]).set(counts.connected as f64);
        agents.with_label_values(&[name, "away"]).set(counts.away as f64);
    }
}

/// Counts a request once it is answered, by its route, not its path.
pub async fn count(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = match *request.method() {
        Method::GET | Method::HEAD => "GET",
        Method::POST => "POST",
        _ => "other",
    };
    let response = next.run(request).await;
    let path = route.as_ref().map_or("other", MatchedPath::as_str);
    metrics.requests.with_label_values(&[method, path, response.status().as_str()]).inc();
    response
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    added(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    added(registry, GaugeVec::new(Opts::new(name, help), labels))
}

fn added<T: Collector + Clone + 'static>(
    registry: &Registry,
    metric: Result<T, prometheus::Error>,
) -> T {
    let metric = metric.expect("names and labels are valid");
    registry.register(Box::new(metric.clone())).expect("each name is registered once");
    metric
}
