//! A coordinator that starts again with 100,000 finished runs in its store.

use std::sync::Arc;
use std::time::Instant;

use coordinator::store::{Options, Store};
use coordinator_core::actor::Actor;
use coordinator_core::change::Change;
use coordinator_core::event::Wall;
use coordinator_core::job::{self, Job};
use coordinator_core::run::{self, Run};
use coordinator_core::trigger::TriggerId;
use garrison::site::Site;
use integration::{ok, program};
use pipelines::id::RunId;
use pipelines::input::Inputs;
use pipelines::outcome::Outcome;
use pipelines::plan::{self, Plan, Task};

use super::{figure, percentile, rss_mb};

const RUNS: u64 = 100_000;

pub(super) fn run() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = ok(Site::new(dir.path(), &program(), &["fra"]));
    ok(site.commit(&[("README", "nothing here\n")]));
    fill(&site);
    // Keys and certificates are made by the first start.
    ok(site.start_coordinator());
    let mut times = Vec::new();
    for _ in 0..5 {
        ok(site.kill_coordinator());
        let begun = Instant::now();
        ok(site.start_coordinator());
        times.push(begun.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    figure("restart", "serving_s", "s", percentile(&times, 0.5), &times);
    let rss = rss_mb(site.coordinator_pid().unwrap());
    figure("restart", "coordinator_rss_mb", "MB", rss, &[rss]);
}

fn fill(site: &Site) {
    let (mut store, _) = Store::open(&site.data(), Options::default(), Wall(0)).unwrap();
    let plan = plan();
    for first in (1..=RUNS).step_by(100) {
        let changes: Vec<Change> =
            (first..first + 100).flat_map(|id| finished(id, &plan)).collect();
        store.commit(Wall(first), &[], &changes).unwrap();
    }
    store.close().unwrap();
}

fn finished(id: u64, plan: &Arc<Plan>) -> [Change; 3] {
    let run = Run {
        id: RunId(id),
        trigger: TriggerId(id),
        actor: Actor::LocalAdmin,
        repository: "infra".parse().unwrap(),
        reference: "refs/heads/main".to_owned(),
        commit: "c0ffee".to_owned(),
        pipeline: plan.pipeline.clone(),
        file: plan.file.clone(),
        source: None,
        created: Wall(id),
        cancelled_by: None,
        group: None,
        superseded_by: None,
        override_window: None,
        waves: Vec::new(),
        step: None,
        state: run::State::Finished { at: Wall(id), outcome: run::Outcome::Succeeded },
    };
    let job = Job {
        id: RunId(id).job(0),
        attempts: 1,
        tried: 1,
        artifacts: Vec::new(),
        outputs: Default::default(),
        state: job::State::Finished { outcome: Outcome::Succeeded },
    };
    [Change::Plan(RunId(id), Arc::clone(plan)), Change::Run(run), Change::Job(job)]
}

fn plan() -> Arc<Plan> {
    let job = plan::Job::new(
        "only".parse().unwrap(),
        "fra".parse().unwrap(),
        Task::Process,
        vec!["true".to_owned()],
    );
    Arc::new(Plan {
        pipeline: "bench".parse().unwrap(),
        file: ".garrison/bench.yaml".to_owned(),
        inputs: Inputs::new(),
        lock: None,
        windows: Vec::new(),
        concurrency: None,
        inventories: Vec::new(),
        rollouts: Vec::new(),
        jobs: vec![job],
    })
}
