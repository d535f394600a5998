//! The link of an agent comes back → the program of the job that waited for it speaks.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use garrison::exit::Failure;
use garrison::site::wait;
use integration::network::Namespace;
use integration::ok;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{figure, is_done, percentile, site_behind, trigger};

/// How the link breaks and comes back.
type Cut = (&'static str, fn(&Namespace), fn(&Namespace));

const CUTS: [Cut; 2] = [
    ("after_link_down_s", Namespace::down, Namespace::up),
    ("after_packets_vanished_s", Namespace::vanish, Namespace::mend),
];

/// From cuts that TCP outlives to such that both sides have long given up.
const LENGTHS_S: [u64; 5] = [3, 7, 11, 17, 31];

pub(super) fn run() {
    let namespace = Namespace::new();
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    ok(mkfifo(&fifo, Mode::S_IRWXU).map_err(Failure::internal));
    let jobs = format!("  only: {{ process: {{}}, run: 'echo > {}' }}\n", fifo.display());
    let site = site_behind(dir.path(), &jobs, 4, Some(&namespace));
    let client = ok(site.client());
    for (metric, cut, mend) in CUTS {
        let mut times = Vec::new();
        for length in LENGTHS_S {
            cut(&namespace);
            trigger(&client, "main");
            sleep(Duration::from_secs(length));
            mend(&namespace);
            let back = Instant::now();
            fs::read(&fifo).unwrap();
            times.push(back.elapsed().as_secs_f64());
            ok(wait("the run's end", || is_done(&client).then_some(())));
        }
        times.sort_by(f64::total_cmp);
        figure("pickup", metric, "s", percentile(&times, 0.5), &times);
    }
}
