//! Records for tests.

use std::sync::Arc;

use coordinator_core::actor::{Actor, Grant, Role, Scope};
use coordinator_core::agent::{Agent, AgentKey, Link};
use coordinator_core::attempt::{self, Attempt};
use coordinator_core::audit::Audit;
use coordinator_core::change::Change;
use coordinator_core::event::Wall;
use coordinator_core::job::{self, Approval, Job};
use coordinator_core::lock::{Holder, Lock, LockKey};
use coordinator_core::run::{self, Run};
use coordinator_core::schedule::{Fired, ScheduleKey, Scheduled};
use coordinator_core::secret::{self, Sealed, Secret, SecretKey};
use coordinator_core::subscriber::{Subscriber, SubscriberKey};
use coordinator_core::token::{ApiToken, JoinToken, TokenHash};
use coordinator_core::trigger::{self, Cause, Trigger, TriggerId};
use pipelines::event::Subscription;
use pipelines::gate::{Asks, Gate, Triggerer};
use pipelines::id::RunId;
use pipelines::input::Inputs;
use pipelines::name::PartitionName;
use pipelines::outcome::{LogEnd, Outcome, Verdict};
use pipelines::output::Outputs;
use pipelines::plan::{self, Plan, Task};
use pipelines::schedule::{Missed, Schedule};
use uuid::Uuid;

/// A day, in µs.
pub(crate) const DAY: u64 = 24 * 3600 * 1_000_000;

pub(crate) fn trigger(id: u64, at: Wall, state: trigger::State) -> Trigger {
    Trigger {
        id: TriggerId(id),
        key: format!("key {id}"),
        actor: Actor::LocalAdmin,
        at,
        repository: "metal".parse().unwrap(),
        reference: "refs/heads/main".to_owned(),
        cause: Cause::Push { commit: "c0ffee".to_owned(), before: None },
        state,
    }
}

pub(crate) fn run(id: u64, pipeline: &str, state: run::State) -> Run {
    Run {
        id: RunId(id),
        trigger: TriggerId(id),
        actor: Actor::LocalAdmin,
        repository: "metal".parse().unwrap(),
        reference: "refs/heads/main".to_owned(),
        commit: "c0ffee".to_owned(),
        pipeline: pipeline.parse().unwrap(),
        file: format!("{pipeline}.yaml"),
        source: None,
        created: Wall(id),
        cancelled_by: None,
        group: None,
        superseded_by: None,
        override_window: None,
        waves: Vec::new(),
        step: None,
        state,
    }
}

pub(crate) fn finished() -> run::State {
    run::State::Finished { at: Wall(9), outcome: run::Outcome::Succeeded }
}

/// A plan with a job of the same script in each of these partitions.
pub(crate) fn plan(partitions: &[&str], script: &str) -> Arc<Plan> {
    let job = |partition: &&str| {
        let (name, partition) = ("deploy".parse().unwrap(), partition.parse().unwrap());
        plan::Job::new(name, partition, Task::Process, vec![script.to_owned()])
    };
    let jobs = partitions.iter().map(job).collect();
    Arc::new(Plan {
        inputs: Inputs::new(),
        pipeline: "deploy".parse().unwrap(),
        file: "deploy.yaml".to_owned(),
        lock: None,
        windows: Vec::new(),
        concurrency: None,
        inventories: Vec::new(),
        rollouts: Vec::new(),
        jobs,
    })
}

/// A plan with a gate in `fra` that two admins must approve.
pub(crate) fn gated() -> Arc<Plan> {
    let asks = Asks::Approval { count: 2, triggerer: Triggerer::Refused };
    let gate = Gate { role: Role::Admin, message: "lets all of it through".to_owned(), asks };
    let mut plan = Arc::unwrap_or_clone(plan(&["fra"], "true"));
    plan.jobs[0] = plan::Job { task: Task::Gate(gate), run: Vec::new(), ..plan.jobs[0].clone() };
    Arc::new(plan)
}

/// The gate of a run with [`gated`], open, with so many approvals.
pub(crate) fn open_gate(run: u64, approvals: usize) -> Job {
    let approval = Approval { by: Actor::LocalAdmin, at: Wall(2), comment: None };
    Job {
        id: RunId(run).job(0),
        attempts: 0,
        tried: 0,
        artifacts: Vec::new(),
        outputs: Outputs::new(),
        state: job::State::Open { since: Wall(1), approvals: vec![approval; approvals] },
    }
}

pub(crate) fn agent(partition: &str, name: &str) -> Agent {
    Agent {
        key: AgentKey { partition: partition.parse().unwrap(), name: name.parse().unwrap() },
        enrolled: Wall(1),
        fingerprint: "ab".repeat(32),
        revoked: false,
        cordoned_by: None,
        upgrade: None,
        about: None,
        link: Link::Down { since: Wall(1) },
    }
}

/// All that a run leaves behind: run, plan, job, attempt.
pub(crate) fn whole_run(id: u64, partition: &str, is_active: bool) -> Vec<Change> {
    let job = RunId(id).job(0);
    let verdict = Verdict {
        outcome: Outcome::Succeeded,
        started_us: Some(2),
        finished_us: 3,
        log: LogEnd { length: 0, sha256: String::new() },
        artifacts: Vec::new(),
        outputs: Outputs::new(),
        recap: None,
    };
    let (run_state, job_state, attempt_state) = if is_active {
        let running = attempt::State::Running { started_us: 2 };
        (run::State::Active, job::State::Active, running)
    } else {
        let outcome = Outcome::Succeeded;
        let ended = attempt::State::Finished { at: Wall(3), verdict };
        (finished(), job::State::Finished { outcome }, ended)
    };
    let attempt = Attempt {
        id: job.attempt(1),
        agent: agent(partition, "mgmt01").key,
        instance: Uuid::nil(),
        assigned: Wall(1),
        cancelled_by: None,
        state: attempt_state,
    };
    vec![
        Change::Plan(RunId(id), plan(&[partition], "true")),
        Change::Run(run(id, "deploy", run_state)),
        Change::Job(Job {
            id: job,
            attempts: 1,
            tried: 1,
            state: job_state,
            artifacts: Vec::new(),
            outputs: Outputs::new(),
        }),
        Change::Attempt(attempt),
    ]
}

/// One record of every kind.
pub(crate) fn one_of_each() -> Vec<Change> {
    let grant = Grant { role: Role::Admin, partitions: Scope::All };
    let mut changes = whole_run(1, "fra-equ01", true);
    changes.extend([
        Change::Trigger(trigger(1, Wall(10), trigger::State::Pending)),
        Change::Agent(agent("fra-equ01", "mgmt01")),
        Change::ApiToken(ApiToken {
            name: "ci".parse().unwrap(),
            hash: TokenHash("aa".to_owned()),
            grant,
            created_by: Actor::LocalAdmin,
            created: Wall(1),
            expires: Wall(2),
            revoked: false,
        }),
        Change::JoinToken(JoinToken {
            hash: TokenHash("bb".to_owned()),
            agent: agent("fra-equ01", "mgmt01").key,
            created_by: Actor::LocalAdmin,
            expires: Wall(2),
            used_by: None,
        }),
        Change::Lock(Lock {
            key: LockKey { partition: partition("fra-equ01"), name: "site".parse().unwrap() },
            holder: Some(Holder::Run(RunId(1))),
            device: None,
            failed: None,
            last: None,
            since: Wall(1),
            in_doubt: Some(RunId(1).job(0).attempt(1)),
        }),
        Change::Secret(Secret {
            key: SecretKey {
                name: "TOKEN".parse().unwrap(),
                scope: secret::Scope::Partition { partition: partition("fra-equ01") },
            },
            version: 1,
            sealed: Some(Sealed { key: "k".into(), nonce: "n".into(), bytes: "b".into() }),
            by: Actor::LocalAdmin,
            at: Wall(1),
        }),
        Change::Schedule(Scheduled {
            key: ScheduleKey {
                repository: "metal".parse().unwrap(),
                file: "deploy.yaml".to_owned(),
                schedule: Schedule {
                    cron: "30 2 * * 2".to_owned(),
                    timezone: "Europe/Berlin".to_owned(),
                    inputs: [("check".to_owned(), "true".to_owned())].into(),
                    missed: Missed::Skip,
                },
            },
            pipeline: "deploy".parse().unwrap(),
            partitions: vec![partition("fra-equ01")],
            reference: "refs/heads/main".to_owned(),
            commit: "c0ffee".to_owned(),
            next: Some(Wall(20)),
            last: Some(Fired { due: Wall(10), trigger: TriggerId(1) }),
        }),
        Change::Subscriber(Subscriber {
            key: SubscriberKey {
                repository: "metal".parse().unwrap(),
                file: "power.yaml".to_owned(),
            },
            pipeline: "power".parse().unwrap(),
            partitions: vec![partition("fra-equ01")],
            reference: "refs/heads/main".to_owned(),
            commit: "c0ffee".to_owned(),
            subscriptions: vec![Subscription {
                topic: "machine.*".to_owned(),
                partitions: vec!["fra-*".to_owned()],
                when: Some("event.data.on == true".to_owned()),
                inputs: [("machine".to_owned(), "{{ event.data.machine }}".to_owned())].into(),
                max_age_s: 600,
            }],
        }),
        Change::Audit(Audit {
            number: 1,
            at: Wall(1),
            actor: Actor::LocalAdmin,
            text: "declared agent fra-equ01/mgmt01 lost".to_owned(),
        }),
    ]);
    changes
}

pub(crate) fn partition(name: &str) -> PartitionName {
    name.parse().unwrap()
}
