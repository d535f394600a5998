//! Payloads of GitLab.
//!
//! Source: docs.gitlab.com/user/project/integrations/webhook_events, "Push events", "Tag events" and
//! "Merge request events" (18.0).

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::payload::{self, commit, known, login, parsed, short};
use super::{Error, Forge, Hook};
use crate::git::MERGE_REQUESTS;

#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    reference: String,
    before: String,
    after: String,
    project: Project,
    user_username: Option<String>,
}

#[derive(Deserialize)]
struct MergeRequestEvent {
    /// The one that it is to be merged into.
    project: Project,
    object_attributes: MergeRequest,
    #[serde(default)]
    changes: Option<Changes>,
    user: Option<User>,
}

#[derive(Deserialize)]
struct MergeRequest {
    iid: u64,
    /// Left out where nobody did anything, as when it is found that it cannot be merged.
    action: Option<String>,
    /// Its head before an update that changed it.
    oldrev: Option<IgnoredAny>,
    target_branch: String,
    last_commit: Commit,
}

#[derive(Deserialize)]
struct Changes {
    target_branch: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Commit {
    id: String,
}

#[derive(Deserialize)]
struct Project {
    path_with_namespace: String,
}

#[derive(Deserialize)]
struct User {
    username: Option<String>,
}

pub(super) fn read(forge: &Forge, event: &str, body: &[u8]) -> Result<Hook, Error> {
    match event {
        "Push Hook" | "Tag Push Hook" => push(forge, body),
        "Merge Request Hook" => merge_request(forge, body),
        other => Ok(payload::unwanted(other)),
    }
}

fn push(forge: &Forge, body: &[u8]) -> Result<Hook, Error> {
    let Push { reference, before, after, project, user_username } = parsed(body)?;
    let repository = known(forge, &project.path_with_namespace)?;
    payload::Push { repository, reference, before, after, login: user_username }.hook()
}

fn merge_request(forge: &Forge, body: &[u8]) -> Result<Hook, Error> {
    let event: MergeRequestEvent = parsed(body)?;
    let repository = known(forge, &event.project.path_with_namespace)?;
    let MergeRequest { iid: number, action, oldrev, target_branch, last_commit } =
        event.object_attributes;
    let has_other_branch = event.changes.is_some_and(|it| it.target_branch.is_some());
    let is_about_commits = match action.as_deref() {
        Some("open" | "reopen") => true,
        Some("update") => oldrev.is_some() || has_other_branch,
        _ => false,
    };
    if !is_about_commits {
        let action = action.as_deref().unwrap_or("a check of GitLab's own");
        return Ok(payload::unchanged(action, number));
    }
    Ok(Hook::PullRequest {
        repository,
        number,
        reference: format!("{MERGE_REQUESTS}{number}/head"),
        commit: commit(&last_commit.id, "object_attributes.last_commit.id")?,
        branch: short(target_branch, "branch")?,
        // It is in no payload.
        base: None,
        login: login(event.user.and_then(|user| user.username)),
    })
}
