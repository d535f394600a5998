//! The agent's loop with real directories and runners, and the test in the coordinator's place.
//!
//! What these tests sleep is part of a lease, or longer than one: it passes by the real clock, and no condition says so.

use std::time::Duration;

use ::agent::clock::boot_time;
use ::agent::content::{Contents, Links};
use ::agent::host::{self, Settings};
use ::agent::runner::handle::Launcher;
use ::agent::upload::Uploader;
use agent_core::Event;
use agent_core::lease::BootTime;
use pipelines::order::Order;
use pipelines::outcome::{Outcome, Progress, Verdict};
use pipelines::plan::OnLost;
use proto::v1::{self, agent_message};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::host::*;

/// An agent's process, as far as it matters here; dropped as a crash would end it.
pub(crate) struct Agent {
    pub(crate) handle: host::Handle,
    acknowledge: watch::Sender<Option<BootTime>>,
    outbox: mpsc::Receiver<v1::AgentMessage>,
    _links: Links,
    _parts: JoinSet<()>,
}

impl Agent {
    /// Starts on the attempts of `on`; its link comes up before it does anything else.
    pub(crate) async fn start(on: &Host, acknowledged: Option<BootTime>) -> Agent {
        Agent::start_with(launcher(), on, acknowledged).await
    }

    /// The same with other runners.
    pub(crate) async fn start_with(
        launcher: Launcher,
        on: &Host,
        acknowledged: Option<BootTime>,
    ) -> Agent {
        let policy = on.root().join("../policy.toml");
        std::fs::write(&policy, "[process]\nallow = true\n").unwrap();
        let (uploader, uploads) = Uploader::new();
        let (handle, inbox) = host::channel();
        let mut parts = JoinSet::new();
        parts.spawn(uploader.run(handle.clone()));
        let (contents, links) =
            Contents::open(&on.root().join("../content"), ::agent::content::BYTES).unwrap();
        let (acknowledge, acknowledged) = watch::channel(acknowledged);
        let settings = Settings {
            attempts: on.root().to_owned(),
            policy: Some(policy),
            partition: "fra-equ01".parse().unwrap(),
            contents,
            launcher,
            log_quota: ::agent::spool::Quota::default(),
            cache: ::agent::cache::Cache {
                folder: on.root().join("../cache"),
                bytes: ::agent::cache::BYTES,
            },
            acknowledged,
            hello: v1::Hello::default(),
        };
        let host = host::Host::open(settings, (handle.clone(), inbox), uploads).await.unwrap();
        let (sender, outbox) = mpsc::channel(16);
        handle.linked(sender).await;
        parts.spawn(host.run(CancellationToken::new()));
        Agent { handle, acknowledge, outbox, _links: links, _parts: parts }
    }

    pub(crate) async fn order(&self, order: &Order) {
        let (attempt, order) = (order.attempt, order.to_bytes());
        self.handle.event(Event::OrderReceived { attempt, order, refusal: None }).await;
    }

    /// The next word of an attempt's progress, also from a hello.
    pub(crate) async fn progress(&mut self) -> Progress {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.outbox.recv()).await;
            let state = match message.expect("a message").expect("a link").kind {
                Some(agent_message::Kind::State(state)) => Some(state),
                Some(agent_message::Kind::Hello(hello)) => hello.attempts.first().cloned(),
                _ => None,
            };
            if let Some(state) = state {
                return proto::convert::progress(&state).unwrap().1;
            }
        }
    }

    pub(crate) async fn verdict(&mut self) -> Verdict {
        loop {
            if let Progress::Finished(verdict) = self.progress().await {
                return *verdict;
            }
        }
    }
}

/// A job that waits for a source that never comes, under a lease of two seconds.
fn waiting() -> Order {
    let mut order = order(1, &["touch ran"]);
    order.job.on_lost = OnLost::Retry { after_s: 2 };
    order.source = Some("0".repeat(64));
    order
}

/// A host whose attempts have a folder of their own.
pub(crate) fn nested() -> Host {
    Host::within("attempts")
}

fn assert_never_started(verdict: &Verdict, why: &str) {
    let Outcome::Lost { reason, may_run: false } = &verdict.outcome else { panic!("{verdict:?}") };
    assert!(reason.starts_with(why) && reason.ends_with("; nothing of the job was started"));
    assert_eq!(verdict.started_us, None);
}

#[tokio::test]
async fn what_waits_for_its_source_when_its_lease_ends_is_lost_and_never_starts() {
    let host = nested();
    let mut agent = Agent::start(&host, Some(boot_time())).await;
    agent.order(&waiting()).await;
    assert_eq!(agent.progress().await, Progress::Accepted);
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        agent.acknowledge.send_replace(Some(boot_time()));
    }
    let renewed = boot_time().0;
    let verdict = agent.verdict().await;
    assert!(boot_time().0 - renewed >= 1_900_000);
    assert_never_started(&verdict, "the agent was without the coordinator for 2s");
}

#[tokio::test]
async fn an_agent_that_comes_back_too_late_starts_nothing_even_if_it_is_welcome() {
    let host = nested();
    let mut agent = Agent::start(&host, Some(boot_time())).await;
    agent.order(&waiting()).await;
    assert_eq!(agent.progress().await, Progress::Accepted);
    drop(agent);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let mut agent = Agent::start(&host, Some(boot_time())).await;
    let verdict = agent.verdict().await;
    assert_never_started(&verdict, "the agent was without the coordinator for 2s");
}

#[tokio::test]
async fn an_order_from_before_a_reboot_starts_nothing_if_it_has_a_lease() {
    let host = nested();
    // Without a base, as when the boot in which it was given is another one.
    host.create(&waiting());
    let mut agent = Agent::start(&host, Some(boot_time())).await;
    assert_never_started(&agent.verdict().await, "the host rebooted");
}

#[tokio::test]
async fn a_runner_that_an_earlier_agent_spawned_is_followed_even_if_it_shows_late() {
    let host = nested();
    let order = Order { source: Some("0".repeat(64)), ..order(1, &["sleep 1000"]) };
    let attempt = host.create(&order);
    let mut agent = Agent::start(&host, Some(boot_time())).await;
    assert_eq!(agent.progress().await, Progress::Accepted);
    let runner = spawn(&attempt, &[]).await;
    until("a runner with the lock", || attempt.state().unwrap().started.is_some()).await;
    agent.handle.event(Event::CancelReceived { attempt: order.attempt }).await;
    assert_eq!(agent.verdict().await.outcome, Outcome::Cancelled);
    assert_eq!(finish(runner).await.1.outcome, Outcome::Cancelled);
}

#[tokio::test]
async fn a_runner_is_renewed_by_the_agent_that_finds_it() {
    let host = nested();
    let mut order = order(1, &["while [ ! -e go ]; do sleep 0.01; done"]);
    order.job.on_lost = OnLost::Fail { after_s: 2 };
    let mut agent = Agent::start(&host, Some(boot_time())).await;
    agent.order(&order).await;
    while !matches!(agent.progress().await, Progress::Running { .. }) {}
    drop(agent);
    let mut agent = Agent::start(&host, None).await;
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        agent.acknowledge.send_replace(Some(boot_time()));
    }
    let attempt = ::agent::attempt::Attempt::all(host.root()).unwrap().remove(0);
    std::fs::write(attempt.work().join("go"), "").unwrap();
    assert_eq!(agent.verdict().await.outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn an_agent_takes_work_after_a_reboot_that_cost_it_an_attempt() {
    let host = nested();
    let attempt = host.create(&order(1, &["sleep 1000"]));
    let started =
        ::agent::attempt::state::Record::Started { at_us: 1, boot_id: "another".to_owned() };
    attempt.state_writer(&attempt.lock().unwrap().unwrap()).unwrap().append(&started).unwrap();
    let mut agent = Agent::start(&host, Some(boot_time())).await;
    let verdict = agent.verdict().await;
    assert_eq!(verdict.outcome.to_string(), "lost: host rebooted while the job ran");
    assert!(!verdict.outcome.may_run());
    agent.order(&order(2, &["echo again"])).await;
    assert_eq!(agent.verdict().await.outcome, Outcome::Succeeded);
}
