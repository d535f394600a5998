//! TCP, and SSH servers of which no key is known.

use pipelines::outcome::Outcome;
use pipelines::probe::Check;

use crate::host::*;
use crate::server::{Server, free_port};
use crate::{missed, passes, probe, problem, waiting};

#[tokio::test]
async fn a_port_is_waited_for_until_it_accepts() {
    let (host, port) = (Host::new(), free_port());
    let address = format!("127.0.0.1:{port}");
    let attempt = waiting(&host, vec![probe(Check::Tcp { address: address.clone() }, 60)]);
    let mut handle = spawn(&attempt, &[]).await;
    until_output(&mut handle, "connection refused").await;
    let _server = Server::on(port, "", None).await;
    let (attempt, verdict) = finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    let output = output(&attempt);
    let end = output.lines().last().unwrap();
    assert!(end.starts_with(&format!("wait: tcp {address} passed after ")), "{output}");
}

#[tokio::test]
async fn a_port_that_never_accepts_fails_the_job_with_what_was_seen() {
    let (host, address) = (Host::new(), format!("127.0.0.1:{}", free_port()));
    let probes = vec![probe(Check::Tcp { address: address.clone() }, 2)];
    let (attempt, verdict) = finish(spawn(&waiting(&host, probes), &[]).await).await;
    let said = problem(&verdict);
    // What stays as it is, is said once.
    assert_eq!(output(&attempt).matches("connection refused").count(), 1);
    let expected = format!("tcp {address} did not answer within 2s: connection refused (2 tries)");
    assert_eq!(said, expected);
    assert_eq!(verdict.outcome.to_string(), format!("failed: {expected}"));
}

#[tokio::test]
async fn an_ssh_server_is_known_by_its_version() {
    let host = Host::new();
    let ssh = |server: &Server| Check::Ssh { address: server.address() };
    passes(&host, ssh(&Server::start("SSH-2.0-OpenSSH_9.2\r\n", None).await)).await;
    passes(&host, ssh(&Server::start("Authorised use only\nSSH-2.0-x\n", None).await)).await;
    let old = missed(&host, ssh(&Server::start("SSH-1.5-old\n", None).await)).await;
    assert!(old.contains("did not answer within 1s: it speaks SSH-1.5-old ("), "{old}");
    let silent = missed(&host, ssh(&Server::start("", None).await)).await;
    assert!(silent.contains("closed before an SSH server said its version"), "{silent}");
}

#[tokio::test]
async fn probes_are_tried_one_after_the_other() {
    let (host, port) = (Host::new(), free_port());
    let server = Server::start("", None).await;
    let check = |port: u16| Check::Tcp { address: format!("127.0.0.1:{port}") };
    let probes = vec![probe(check(port), 60), probe(check(server.port), 60)];
    let mut handle = spawn(&waiting(&host, probes), &[]).await;
    until_output(&mut handle, "connection refused").await;
    assert!(!output(handle.attempt()).contains(&server.address()));
    let _late = Server::on(port, "", None).await;
    let (attempt, verdict) = finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    assert!(output(&attempt).contains(&format!("wait: tcp {} passed", server.address())));
}
