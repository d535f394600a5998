//! Payloads that GitHub really sent, as the npm package `@octokit/webhooks-examples` (MIT) keeps them:
//! each is read, or ignored for a stated reason.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use axum::http::{HeaderMap, HeaderName};
use coordinator::config;
use coordinator::driver;
use coordinator::forge::{Forge, Forges, Hook};
use hmac::{Hmac, KeyInit, Mac};
use integration::packages;
use serde_json::Value;
use sha2::Sha256;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// All examples of github.com and Enterprise Server, with their events' names.
fn examples() -> Vec<(String, Value)> {
    let package = packages::npm("@octokit/webhooks-examples", "7.6.1");
    let mut examples = Vec::new();
    for folder in fs::read_dir(package).unwrap().flatten() {
        let Ok(text) = fs::read_to_string(folder.path().join("index.json")) else { continue };
        let events: Vec<Value> = serde_json::from_str(&text).unwrap();
        for event in &events {
            let name = event["name"].as_str().unwrap();
            let payloads = event["examples"].as_array().unwrap();
            examples.extend(payloads.iter().map(|it| (name.to_owned(), it.clone())));
        }
    }
    examples
}

/// A forge with these repositories.
fn forge(full_names: &BTreeSet<&str>) -> Forges {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), SECRET).unwrap();
    let repositories: Vec<String> =
        full_names.iter().map(|it| format!("{{ name = 'infra', full_name = '{it}' }}")).collect();
    let text = format!(
        "name = 'github'\nkind = 'github'\nsecret_file = {:?}\nrepositories = [{}]\n",
        file.path(),
        repositories.join(", ")
    );
    let config: config::Forge = toml::from_str(&text).unwrap();
    Forges::load(&[config]).unwrap()
}

/// What the reader makes of a payload with its right signature.
fn read(forge: &Forge, event: &str, payload: &Value) -> Result<Hook, coordinator::forge::Error> {
    let body = payload.to_string().into_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(&body);
    let signature: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = format!("sha256={signature}");
    let pairs = [
        ("x-hub-signature-256", signature.as_str()),
        ("x-github-event", event),
        ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
    ];
    let pairs = pairs.map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
    let headers: HeaderMap = pairs.into_iter().collect();
    forge.open(&forge.envelope(&headers)?, &body, driver::now())
}

#[test]
fn what_github_really_sent_is_read_or_ignored_for_a_reason() {
    let examples = examples();
    assert!(examples.len() > 300, "{}", examples.len());
    let full_name =
        |payload: &'_ Value| payload["repository"]["full_name"].as_str().map(str::to_owned);
    let names: BTreeSet<String> = examples.iter().filter_map(|(_, it)| full_name(it)).collect();
    let forges = forge(&names.iter().map(String::as_str).collect());
    let forge = forges.find("github", "github").unwrap();
    let mut counts: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for (event, payload) in &examples {
        let said = read(forge, event, payload);
        let said = said.unwrap_or_else(|error| panic!("{event}: {error}: {payload:#}"));
        let what = match (event.as_str(), said) {
            ("ping", Hook::Ping) => "pong".to_owned(),
            ("push", Hook::Push { reference, commit, login, .. }) => {
                assert_eq!(
                    (payload["ref"].as_str(), payload["after"].as_str()),
                    (Some(&*reference), Some(&*commit))
                );
                assert_eq!(payload["pusher"]["name"], login.as_str());
                "pushed".to_owned()
            }
            ("pull_request", Hook::PullRequest { number, commit, base, login, .. }) => {
                let request = &payload["pull_request"];
                assert_eq!(
                    (&request["number"], &request["head"]["sha"]),
                    (&number.into(), &commit.into())
                );
                assert_eq!(
                    (&request["base"]["sha"], &payload["sender"]["login"]),
                    (&base.into(), &login.into())
                );
                format!("{} is planned", payload["action"].as_str().unwrap())
            }
            (_, Hook::Ignored { reason }) => {
                assert!(!reason.is_empty());
                "ignored".to_owned()
            }
            (event, other) => panic!("{event}: {other:?}"),
        };
        let event = ["ping", "push", "pull_request"].into_iter().find(|it| it == event);
        *counts.entry((event.unwrap_or("other"), what)).or_default() += 1;
    }
    let at_least = |event: &'static str, what: &str| {
        assert!(
            counts.get(&(event, what.to_owned())).is_some_and(|count| *count > 0),
            "{counts:#?}"
        );
    };
    for (event, what) in [
        ("ping", "pong"),
        ("push", "pushed"),
        ("push", "ignored"),
        ("pull_request", "opened is planned"),
        ("pull_request", "synchronize is planned"),
        ("pull_request", "ignored"),
        ("other", "ignored"),
    ] {
        at_least(event, what);
    }
}

#[test]
fn a_repository_that_is_not_listed_is_the_only_mistake() {
    let forges = forge(&BTreeSet::new());
    let forge = forges.find("github", "github").unwrap();
    for (event, payload) in examples() {
        match read(forge, &event, &payload) {
            Ok(Hook::Ping | Hook::Ignored { .. }) => {}
            Err(coordinator::forge::Error::UnknownRepository(_)) => {}
            other => panic!("{event}: {other:?}"),
        }
    }
}
