//! How fast a job starts, without and with events to NATS.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use garrison::client::Client;
use garrison::exit::Failure;
use garrison::site::{Site, wait};
use integration::nats::Nats;
use integration::ok;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{figure, is_done, percentile, say, site, trigger};

const RUNS: usize = 300;

/// The first are not counted: source and mirror are in place then.
const FIRST: usize = 5;

/// In which order the sites take turns: each comes behind each other as often as the rest.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0], [1, 0, 2], [0, 2, 1]];

/// How long a site takes to tell of a run that is over, and to be idle again.
const TOLD: Duration = Duration::from_millis(60);

/// Trigger answered → the job's program speaks; by commit, as a program triggers that knows what it
/// wants, on a site that trusts its webhooks. Three sites take turns: two alike, which tell how much is
/// chance, and one that publishes events.
pub(super) fn run() {
    let dir = tempfile::tempdir().unwrap();
    let mut nats = Nats::new(dir.path(), "");
    nats.start();
    let site = |name: &str, nats| Dispatched::begin(&dir.path().join(name), nats);
    let sites = [site("one", None), site("other", None), site("telling", Some(&nats))];
    let mut turns: [Vec<f64>; 3] = Default::default();
    for run in 0..FIRST + RUNS {
        for site in ORDERS[run % ORDERS.len()] {
            let latency = sites[site].once();
            if run >= FIRST {
                turns[site].push(latency);
            }
        }
    }
    let [one, other, telling] = &turns;
    let (alone, told) = (sorted(one.clone()), sorted(telling.clone()));
    figure("dispatch", "p50_ms", "ms", percentile(&alone, 0.50), &alone);
    figure("dispatch", "p99_ms", "ms", percentile(&alone, 0.99), &alone);
    for (metric, part) in [("p50_with_nats_ms", 0.50), ("p99_with_nats_ms", 0.99)] {
        let peer = Some(("without NATS", percentile(&alone, part)));
        say("dispatch", metric, "ms", percentile(&told, part), &told, peer);
    }
    for (metric, site) in [("by_chance_ms", other), ("by_nats_ms", telling)] {
        let later = sorted(site.iter().zip(one).map(|(site, one)| site - one).collect());
        figure("dispatch", metric, "ms", percentile(&later, 0.50), &later);
    }
}

fn sorted(mut figures: Vec<f64>) -> Vec<f64> {
    figures.sort_by(f64::total_cmp);
    figures
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
        // What is told of it is not to be in the way of the next one, which is another site's.
        sleep(TOLD);
        latency
    }
}
