//! Waiting jobs: what one decision costs, and what one of them weighs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use coordinator_core::actor::Actor;
use coordinator_core::agent::{About, AgentKey, SessionId};
use coordinator_core::change::Snapshot;
use coordinator_core::core::Core;
use coordinator_core::event::{Ask, Effect, Event, RequestId, Resolution, ToAgent, Wall};
use coordinator_core::token::TokenHash;
use coordinator_core::trigger::{Cause, TriggerId};
use pipelines::id::AttemptId;
use pipelines::input::Inputs;
use pipelines::outcome::{LogEnd, Outcome, Progress, Verdict};
use pipelines::output::Outputs;
use pipelines::plan::{Job, Plan, Task};
use uuid::Uuid;

use super::{figure, percentile, rss_mb};

/// Most jobs of one run.
const RUN: usize = 10_000;

const NOW: Wall = Wall(1);

pub(super) fn run() {
    for waiting in [100, 1_000_000] {
        let before = rss_mb(std::process::id());
        let mut world = World::new(waiting);
        if waiting > 100 {
            let bytes = (rss_mb(std::process::id()) - before) * 1_048_576.0 / waiting as f64;
            figure("queue", "bytes_per_job", "B", bytes, &[bytes]);
        }
        world.connect();
        let mut times: Vec<f64> = (0..90)
            .map(|_| {
                let begun = Instant::now();
                world.decide();
                begun.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let metric = format!("decision_us_{waiting}");
        figure("queue", &metric, "us", percentile(&times, 0.5), &times);
    }
}

/// A core with waiting jobs, and an agent that takes one at a time.
struct World {
    core: Core,
    agent: AgentKey,
    current: Option<AttemptId>,
}

impl World {
    fn new(waiting: usize) -> World {
        let (core, _) = Core::load(Snapshot::default(), NOW);
        let agent = AgentKey { partition: "fra".parse().unwrap(), name: "mgmt01".parse().unwrap() };
        let mut world = World { core, agent, current: None };
        let whole = plan(RUN.min(waiting));
        for trigger in 1..=(waiting / RUN.min(waiting)) as u64 {
            world.trigger(trigger, &whole);
        }
        world
    }

    fn happens(&mut self, event: &Event) {
        let mut effects = self.core.handle(event, NOW).effects;
        effects.extend(self.core.schedule(NOW).effects);
        for effect in effects {
            if let Effect::Send { message: ToAgent::Order(order), .. } = effect {
                self.current = Some(order.attempt);
            }
        }
    }

    fn ask(&mut self, ask: Ask) {
        self.happens(&Event::Asked { request: RequestId(1), actor: Actor::LocalAdmin, ask });
    }

    fn trigger(&mut self, number: u64, plan: &Arc<Plan>) {
        self.ask(Ask::Trigger {
            key: number.to_string(),
            repository: "infra".parse().unwrap(),
            reference: "refs/heads/main".to_owned(),
            cause: Cause::Manual {
                pipeline: plan.pipeline.clone(),
                inputs: Inputs::new(),
                limit: Vec::new(),
            },
        });
        let resolution = Resolution {
            commit: "c0ffee".to_owned(),
            pipeline: plan.pipeline.clone(),
            file: plan.file.clone(),
            source: None,
            plan: Ok(Arc::clone(plan)),
        };
        let resolution = Ok(vec![resolution]);
        self.happens(&Event::Resolved { trigger: TriggerId(number), resolution });
    }

    fn connect(&mut self) {
        let hash = TokenHash("hash".to_owned());
        let agent = self.agent.clone();
        self.ask(Ask::CreateJoinToken { hash: hash.clone(), agent, expires: Wall(9) });
        self.ask(Ask::Enrol { hash, fingerprint: "key".to_owned() });
        self.happens(&Event::AgentConnected {
            agent: self.agent.clone(),
            fingerprint: "key".to_owned(),
            session: SessionId(1),
            about: About {
                upgrade: None,
                instance: Uuid::nil(),
                version: String::new(),
                boot_id: String::new(),
                sent_us: 0,
                capacity: 1,
                labels: BTreeMap::new(),
            },
            attempts: Vec::new(),
        });
    }

    /// The agent's attempt ends, and it gets the next job.
    fn decide(&mut self) {
        let attempt = self.current.take().expect("a job is with the agent");
        let verdict = Verdict {
            outcome: Outcome::Succeeded,
            started_us: Some(1),
            finished_us: 1,
            log: LogEnd { length: 0, sha256: String::new() },
            artifacts: Vec::new(),
            outputs: Outputs::new(),
            recap: None,
        };
        self.happens(&Event::AttemptReported {
            agent: self.agent.clone(),
            session: SessionId(1),
            attempt,
            progress: Progress::Finished(Box::new(verdict)),
        });
    }
}

fn plan(jobs: usize) -> Arc<Plan> {
    let job = |number| {
        let (name, partition) = (format!("j{number}").parse().unwrap(), "fra".parse().unwrap());
        Job::new(name, partition, Task::Process, vec!["true".to_owned()])
    };
    Arc::new(Plan {
        pipeline: "bench".parse().unwrap(),
        file: ".garrison/bench.yaml".to_owned(),
        inputs: Inputs::new(),
        lock: None,
        windows: Vec::new(),
        concurrency: None,
        inventories: Vec::new(),
        rollouts: Vec::new(),
        jobs: (0..jobs).map(job).collect(),
    })
}
