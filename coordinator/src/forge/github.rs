//! Payloads of GitHub, whose form those of Gitea and Forgejo have too.
//!
//! Sources: docs.github.com/en/webhooks, "Webhook events and payloads" (API version 2022-11-28);
//! `modules/structs/hook.go` of Gitea (1.22) and of Forgejo (7), which call what GitHub calls
//! `synchronize` `synchronized`, tell a changed branch as `changes.ref`, and have the login of who
//! pushes as `pusher.login`.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::payload::{self, commit, known, login, parsed, short};
use super::{Error, Forge, Hook};
use crate::git::PULL_REQUESTS;

#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    reference: String,
    after: String,
    #[serde(default)]
    before: String,
    repository: Repository,
    pusher: Option<Person>,
}

#[derive(Deserialize)]
struct PullRequestEvent {
    action: String,
    /// What an edit changed.
    #[serde(default)]
    changes: Option<Changes>,
    number: u64,
    pull_request: PullRequest,
    repository: Repository,
    sender: Option<Person>,
}

#[derive(Deserialize)]
struct Changes {
    base: Option<IgnoredAny>,
    #[serde(rename = "ref")]
    reference: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct PullRequest {
    head: Head,
    base: Head,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "ref")]
    branch: String,
    sha: String,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
}

/// Of GitHub's pushes it is the name that is the login.
#[derive(Deserialize)]
struct Person {
    login: Option<String>,
    name: Option<String>,
}

pub(super) fn read(forge: &Forge, event: &str, body: &[u8]) -> Result<Hook, Error> {
    match event {
        "ping" => Ok(Hook::Ping),
        "push" => push(forge, body),
        "pull_request" => pull_request(forge, body),
        other => Ok(payload::unwanted(other)),
    }
}

fn push(forge: &Forge, body: &[u8]) -> Result<Hook, Error> {
    let Push { reference, after, before, repository, pusher } = parsed(body)?;
    let repository = known(forge, &repository.full_name)?;
    let login = pusher.and_then(|it| it.login.or(it.name));
    payload::Push { repository, reference, before, after, login }.hook()
}

fn pull_request(forge: &Forge, body: &[u8]) -> Result<Hook, Error> {
    let event: PullRequestEvent = parsed(body)?;
    let repository = known(forge, &event.repository.full_name)?;
    let is_about_commits = match event.action.as_str() {
        "opened" | "reopened" | "synchronize" | "synchronized" => true,
        "edited" => event.changes.is_some_and(|it| it.base.is_some() || it.reference.is_some()),
        _ => false,
    };
    let number = event.number;
    if !is_about_commits {
        return Ok(payload::unchanged(&event.action, number));
    }
    let PullRequest { head, base } = event.pull_request;
    Ok(Hook::PullRequest {
        repository,
        number,
        reference: format!("{PULL_REQUESTS}{number}/head"),
        commit: commit(&head.sha, "pull_request.head.sha")?,
        branch: short(base.branch, "branch")?,
        base: Some(commit(&base.sha, "pull_request.base.sha")?),
        login: login(event.sender.and_then(|sender| sender.login)),
    })
}
