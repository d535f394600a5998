//! When a job waits, and how it ends before a probe passes.

use std::time::Instant;

use pipelines::outcome::{Exit, Outcome};
use pipelines::probe::Check;

use crate::host::*;
use crate::server::{Server, free_port};
use crate::{probe, problem, waiting};

fn never() -> Check {
    Check::Tcp { address: format!("127.0.0.1:{}", free_port()) }
}

#[tokio::test]
async fn a_job_waits_when_its_script_has_succeeded_and_not_before() {
    let host = Host::new();
    let attempt = host.attempt_with(&["exit 3"], |job| job.wait = vec![probe(never(), 60)]);
    let (attempt, verdict) = finish(spawn(&attempt, &[]).await).await;
    assert_eq!(verdict.outcome, Outcome::Failed { exit: Exit::Code(3) });
    assert!(!output(&attempt).contains("wait:"));
    let attempt = host.attempt_with(&["echo > a"], |job| {
        job.wait = vec![probe(never(), 1)];
        job.artifacts = vec!["a".into()];
        job.outputs = vec!["b".into()];
    });
    let (attempt, verdict) = finish(spawn(&attempt, &[]).await).await;
    assert!(problem(&verdict).starts_with("tcp 127.0.0.1:"));
    assert!(output(&attempt).contains("$ echo > a\n"));
    assert_eq!(verdict.artifacts, []);
}

#[tokio::test]
async fn a_cancel_ends_a_probe_at_once() {
    let host = Host::new();
    // It accepts and says nothing, so the try itself is under way.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for check in [never(), Check::Ssh { address }] {
        let mut slow = probe(check, 3600);
        slow.interval_s = 3600;
        let mut handle = spawn(&waiting(&host, vec![slow]), &[]).await;
        until_output(&mut handle, "wait: ").await;
        let asked = Instant::now();
        handle.cancel();
        let (_, verdict) = finish(handle).await;
        assert_eq!(verdict.outcome, Outcome::Cancelled);
        assert!(asked.elapsed().as_secs() < 5, "{:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn the_jobs_time_limit_ends_a_probe() {
    let host = Host::new();
    let attempt = host.attempt_with(&[], |job| {
        job.task = pipelines::plan::Task::Wait;
        job.wait = vec![probe(never(), 3600)];
        job.timeout_s = 1;
    });
    let (_, verdict) = finish(spawn(&attempt, &[]).await).await;
    assert_eq!(verdict.outcome, Outcome::TimedOut);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_told_as_such() {
    let host = Host::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (_, verdict) = crate::wait_for(&host, Check::Ssh { address: address.clone() }, 1).await;
    let expected = format!("ssh {address} did not answer within 1s: no answer (1 try)");
    assert_eq!(problem(&verdict), expected);
}

#[tokio::test]
async fn what_was_seen_is_masked() {
    let host = Host::new();
    let server = Server::start("SSH-1.0-correct horse\n", None).await;
    let probes = vec![probe(Check::Ssh { address: server.address() }, 1)];
    let attempt = waiting(&host, probes);
    let (attempt, verdict) = finish(spawn(&attempt, &["correct horse"]).await).await;
    assert!(problem(&verdict).contains("SSH-1.0-"), "{}", problem(&verdict));
    assert!(!problem(&verdict).contains("horse"), "{}", problem(&verdict));
    assert!(!output(&attempt).contains("horse"));
}
