//! Web servers and certificates.

use std::path::Path;

use agent::attempt::Attempt;
use pipelines::outcome::Outcome;
use pipelines::probe::{Check, Http, Status, Tls};

use crate::host::*;
use crate::server::{Server, free_port, http, tls};
use crate::{missed, passes, probe, problem, waiting};

fn ask(url: String) -> Http {
    Http { url, status: vec![Status::Code(200)], body: None, ca: None }
}

/// A TLS server that proves to be `localhost`, and a check of it.
async fn localhost(dir: &Path, valid_days: i64) -> (Server, Tls) {
    let config = tls(dir, &["localhost"], valid_days);
    let server = Server::start(&http("200 OK", "ready\n"), Some(config)).await;
    let check = Tls {
        address: format!("localhost:{}", server.port),
        server_name: None,
        issuer: None,
        valid_for_s: None,
        ca: Some("files/ca.pem".into()),
    };
    (server, check)
}

/// An attempt that waits, with the authority of `dir` among its files.
fn with_authority(host: &Host, dir: &Path, check: Check) -> Attempt {
    let attempt = waiting(host, vec![probe(check, 1)]);
    std::fs::create_dir_all(attempt.work().join("files")).unwrap();
    std::fs::copy(dir.join("ca.pem"), attempt.work().join("files/ca.pem")).unwrap();
    attempt
}

async fn outcome(attempt: &Attempt) -> String {
    finish(spawn(attempt, &[]).await).await.1.outcome.to_string()
}

#[tokio::test]
async fn a_web_server_answers_with_a_status_and_a_body() {
    let host = Host::new();
    let server = Server::start(&http("200 OK", "Prometheus is Ready.\n"), None).await;
    let url = format!("http://{}/-/ready", server.address());
    passes(&host, Check::Http(ask(url.clone()))).await;
    let body = Some(r"\bReady\b".to_owned());
    let status = vec![Status::Class(2)];
    passes(&host, Check::Http(Http { status, body, ..ask(url.clone()) })).await;
    let body = Some("^ready".to_owned());
    let said = missed(&host, Check::Http(Http { body, ..ask(url.clone()) })).await;
    assert_eq!(
        said,
        format!(
            "http {url} did not pass within 1s: the body does not match `^ready`: \
             Prometheus is Ready. (1 try)"
        )
    );
    let unready = Server::start(&http("503 Service Unavailable", ""), None).await;
    let said = missed(&host, Check::Http(ask(format!("http://{}/", unready.address())))).await;
    assert!(said.contains("within 1s: status 503 Service Unavailable ("), "{said}");
    let none = format!("http://127.0.0.1:{}/", free_port());
    let said = missed(&host, Check::Http(ask(none))).await;
    assert!(said.contains(": connection refused ("), "{said}");
    let other = Server::start("SSH-2.0-x\n", None).await;
    let said = missed(&host, Check::Http(ask(format!("http://{}/", other.address())))).await;
    assert!(said.contains("did not pass within 1s: "), "{said}");
}

#[tokio::test]
async fn a_certificate_is_verified_against_a_file_of_the_commit() {
    let (host, dir) = (Host::new(), tempfile::tempdir().unwrap());
    let (server, check) = localhost(dir.path(), 60).await;
    let attempt = with_authority(&host, dir.path(), Check::Tls(check.clone()));
    assert_eq!(outcome(&attempt).await, Outcome::Succeeded.to_string());
    let url = format!("https://localhost:{}/", server.port);
    let https = Http { ca: check.ca.clone(), body: Some("ready".into()), ..ask(url) };
    let attempt = with_authority(&host, dir.path(), Check::Http(https.clone()));
    assert_eq!(outcome(&attempt).await, Outcome::Succeeded.to_string());

    // By nobody that this host trusts.
    for check in
        [Check::Tls(Tls { ca: None, ..check.clone() }), Check::Http(Http { ca: None, ..https })]
    {
        let said = outcome(&waiting(&host, vec![probe(check, 1)])).await;
        let is_told = said.contains("UnknownIssuer") || said.contains("install ca-certificates");
        assert!(is_told, "{said}");
    }
    // For another name.
    let named = Tls { server_name: Some("api.example.com".into()), ..check };
    let said = outcome(&with_authority(&host, dir.path(), Check::Tls(named))).await;
    assert!(said.contains("not valid for name \"api.example.com\""), "{said}");
}

#[tokio::test]
async fn a_certificate_says_who_issued_it_and_for_how_long() {
    let (host, dir) = (Host::new(), tempfile::tempdir().unwrap());
    let (_server, check) = localhost(dir.path(), 60).await;
    let days = |days: u32| Some(days * 24 * 60 * 60);
    let issuer = Some("metal test".to_owned());
    let good = Tls { issuer, valid_for_s: days(30), ..check.clone() };
    let said = outcome(&with_authority(&host, dir.path(), Check::Tls(good))).await;
    assert_eq!(said, "succeeded");
    let short = Tls { valid_for_s: days(90), ..check.clone() };
    let said = outcome(&with_authority(&host, dir.path(), Check::Tls(short))).await;
    assert!(said.contains("the certificate is valid for 60 days more"), "{said}");
    let other = Tls { issuer: Some("Let's Encrypt".into()), ..check };
    let said = outcome(&with_authority(&host, dir.path(), Check::Tls(other))).await;
    let issued = "was issued by `CN=metal test CA`, not by `Let's Encrypt`";
    assert!(said.contains(issued), "{said}");
    let (_server, expired) = localhost(dir.path(), -1).await;
    let said = outcome(&with_authority(&host, dir.path(), Check::Tls(expired))).await;
    assert!(said.contains("xpired"), "{said}");
}

#[tokio::test]
async fn authorities_that_cannot_be_used_fail_the_job_at_once() {
    let (host, dir) = (Host::new(), tempfile::tempdir().unwrap());
    let (_server, check) = localhost(dir.path(), 60).await;
    let started = std::time::Instant::now();
    let mut slow = probe(Check::Tls(check), 3600);
    slow.interval_s = 3600;
    for (content, words) in [
        (None, "cannot be tried: the authorities of files/ca.pem cannot be used: No such file"),
        (Some("no PEM"), "cannot be used: it holds no certificate"),
    ] {
        let attempt = waiting(&host, vec![slow.clone()]);
        if let Some(content) = content {
            std::fs::create_dir_all(attempt.work().join("files")).unwrap();
            std::fs::write(attempt.work().join("files/ca.pem"), content).unwrap();
        }
        let (_, verdict) = finish(spawn(&attempt, &[]).await).await;
        assert!(problem(&verdict).contains(words), "{}", problem(&verdict));
    }
    // What a script put there leads nowhere else.
    let attempt = waiting(&host, vec![slow]);
    std::fs::create_dir_all(attempt.work()).unwrap();
    std::os::unix::fs::symlink(dir.path(), attempt.work().join("files")).unwrap();
    let (_, verdict) = finish(spawn(&attempt, &[]).await).await;
    assert!(problem(&verdict).ends_with("it is not in the working directory"));
    assert!(started.elapsed() < PATIENCE);
}
