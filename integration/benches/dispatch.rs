//! How fast a job starts, without and with events to NATS.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use garrison::client::Client;
use garrison::exit::Failure;
use garrison::site::{Site, wait};
use integration::nats::Nats;
use integration::ok;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use super::{figure, is_done, percentile, say, site, trigger};

const RUNS: usize = 200;

/// The first are not counted: source and mirror are in place then.
const FIRST: usize = 5;

/// Trigger answered → the job's program speaks; by commit, as a program triggers that knows what it
/// wants, on a site that trusts its webhooks. Two sites take turns, one of which publishes events.
pub(super) fn run() {
    let dir = tempfile::tempdir().unwrap();
    let without = Dispatched::begin(&dir.path().join("without"), None);
    let mut nats = Nats::new(dir.path(), "");
    nats.start();
    let with = Dispatched::begin(&dir.path().join("with"), Some(&nats));
    let (mut alone, mut told) = (Vec::with_capacity(RUNS), Vec::with_capacity(RUNS));
    for run in 0..FIRST + RUNS {
        // Each begins as often as the other.
        let turns = if run % 2 == 0 { [false, true] } else { [true, false] };
        for tells in turns {
            let (site, latencies) = if tells { (&with, &mut told) } else { (&without, &mut alone) };
            let latency = site.once();
            if run >= FIRST {
                latencies.push(latency);
            }
        }
    }
    alone.sort_by(f64::total_cmp);
    told.sort_by(f64::total_cmp);
    figure("dispatch", "p50_ms", "ms", percentile(&alone, 0.50), &alone);
    figure("dispatch", "p99_ms", "ms", percentile(&alone, 0.99), &alone);
    for (metric, part) in [("p50_with_nats_ms", 0.50), ("p99_with_nats_ms", 0.99)] {
        let peer = Some(("without NATS", percentile(&alone, part)));
        say("dispatch", metric, "ms", percentile(&told, part), &told, peer);
    }
}

/// A site whose only job writes into a pipe.
struct Dispatched {
    fifo: PathBuf,
    client: Client,
    commit: String,
    _site: Site,
}

impl Dispatched {
    fn begin(dir: &Path, nats: Option<&Nats>) -> Dispatched {
        fs::create_dir(dir).unwrap();
        let fifo = dir.join("fifo");
        ok(mkfifo(&fifo, Mode::S_IRWXU).map_err(Failure::internal));
        // The shell's own first act, without another program.
        let jobs = format!("  only: {{ process: {{}}, run: 'echo > {}' }}\n", fifo.display());
        let mut site = site(dir, &jobs, 4);
        if let Some(nats) = nats {
            site.configure(&format!("\n[nats]\nurls = [\"nats://{}\"]\n", nats.address()));
            ok(site.stop_coordinator());
            ok(site.start_coordinator());
        }
        let client = ok(site.client());
        let commit = ok(site.git(&["rev-parse", "HEAD"]));
        Dispatched { fifo, client, commit, _site: site }
    }

    /// A run; gives how long it took to its job's first word, in ms.
    fn once(&self) -> f64 {
        trigger(&self.client, &self.commit);
        let answered = Instant::now();
        fs::read(&self.fifo).unwrap();
        let latency = answered.elapsed().as_secs_f64() * 1000.0;
        ok(wait("the run's end", || is_done(&self.client).then_some(())));
        // What is told of it is not to be in the way of the next one, which may be another site's.
        let told = || {
            let status: Value = ok(self.client.get("/api/v1/status"));
            let events = &status["events"];
            (events.is_null() || events["behind"] == 0).then_some(())
        };
        ok(wait("all to be told", told));
        latency
    }
}
