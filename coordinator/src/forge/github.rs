//! GitHub's webhooks: signature, then JSON to a typed event.
//!
//! Source: docs.github.com/en/webhooks, "Validating webhook deliveries" and "Webhook events and
//! payloads" (API version 2022-11-28).

use pipelines::name::RepositoryName;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Forge;
use crate::git::is_hash;

/// Longest branch name, login and other text taken from a payload, in bytes.
const TEXT: usize = 1024;

/// What a webhook says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// The webhook was just set up.
    Ping,
    /// Commits came to a branch.
    Push {
        /// The repository, as the coordinator calls it.
        repository: RepositoryName,
        /// Full git reference.
        reference: String,
        /// The new head, in hex.
        commit: String,
        /// The head before, in hex; none of a new branch.
        before: Option<String>,
        /// Who pushed.
        login: String,
    },
    /// A pull request was opened, or its commits or its branch changed.
    PullRequest {
        /// The repository that it is to be merged into, as the coordinator calls it.
        repository: RepositoryName,
        /// Its number.
        number: u64,
        /// Its head, in hex.
        commit: String,
        /// The branch that it is to be merged into, without `refs/heads/`.
        branch: String,
        /// The head of that branch, in hex.
        base: String,
        /// Who opened or changed it.
        login: String,
    },
    /// Nothing that starts a run.
    Ignored {
        /// Why not.
        reason: String,
    },
}

/// Why a webhook is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The signature is another's, or of another body.
    #[error("the signature is wrong: give the webhook the same secret as the coordinator")]
    Signature,
    /// The body is no such event.
    #[error("the payload cannot be read: {0}")]
    Payload(String),
    /// The repository is not one of the forge's.
    #[error("repository '{0}' is not listed under this forge in the coordinator's configuration")]
    UnknownRepository(String),
}

#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    reference: String,
    after: String,
    #[serde(default)]
    before: String,
    #[serde(default)]
    deleted: bool,
    repository: Repository,
    pusher: Option<Pusher>,
}

#[derive(Deserialize)]
struct PullRequestEvent {
    action: String,
    /// What an edit changed.
    #[serde(default)]
    changes: Changes,
    number: u64,
    pull_request: PullRequest,
    repository: Repository,
    sender: Option<Sender>,
}

#[derive(Default, Deserialize)]
struct Changes {
    base: Option<serde::de::IgnoredAny>,
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
struct Sender {
    login: Option<String>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
}

#[derive(Deserialize)]
struct Pusher {
    name: Option<String>,
}

/// Reads a webhook: `signature` is the header `X-Hub-Signature-256`, `event` is `X-GitHub-Event`,
/// `body` is as it came.
pub fn read(forge: &Forge, signature: &str, event: &str, body: &[u8]) -> Result<Hook, Error> {
    let signature = signature.strip_prefix("sha256=").and_then(bytes).ok_or(Error::Signature)?;
    if !forge.signed(body, &signature) {
        return Err(Error::Signature);
    }
    match event {
        "ping" => Ok(Hook::Ping),
        "push" => push(forge, body),
        "pull_request" => pull_request(forge, body),
        other => Ok(ignored(format!(
            "events of kind {:?} start nothing",
            other.chars().take(64).collect::<String>()
        ))),
    }
}

fn push(forge: &Forge, body: &[u8]) -> Result<Hook, Error> {
    let push: Push = parsed(body)?;
    let repository = known(forge, push.repository)?;
    let kinds = [("branch", "refs/heads/"), ("tag", "refs/tags/")];
    let named = |(kind, prefix)| Some((kind, push.reference.strip_prefix(prefix)?));
    let Some((kind, name)) = kinds.into_iter().find_map(named) else {
        return Ok(ignored(format!("{} is neither branch nor tag", cut(push.reference))));
    };
    if push.deleted {
        return Ok(ignored(format!("{kind} {} was deleted", cut(name.to_owned()))));
    }
    if push.reference.len() > TEXT {
        return Err(Error::Payload("the reference is too long".to_owned()));
    }
    let after = commit(&push.after, "after")?;
    let before = push.before.to_ascii_lowercase();
    let is_commit = is_hash(&before) && before.bytes().any(|digit| digit != b'0');
    let login = push.pusher.and_then(|pusher| pusher.name).unwrap_or_else(|| "unknown".to_owned());
    Ok(Hook::Push {
        repository,
        reference: push.reference,
        commit: after,
        before: is_commit.then_some(before),
        login: cut(login),
    })
}

fn pull_request(forge: &Forge, body: &[u8]) -> Result<Hook, Error> {
    let event: PullRequestEvent = parsed(body)?;
    let repository = known(forge, event.repository)?;
    let is_about_commits = match event.action.as_str() {
        "opened" | "reopened" | "synchronize" => true,
        "edited" => event.changes.base.is_some(),
        _ => false,
    };
    let number = event.number;
    if !is_about_commits {
        let reason = format!("{} changes no commit of pull request {number}", cut(event.action));
        return Ok(ignored(reason));
    }
    let PullRequest { head, base } = event.pull_request;
    if base.branch.len() > TEXT {
        return Err(Error::Payload("the branch is too long".to_owned()));
    }
    let login = event.sender.and_then(|sender| sender.login);
    Ok(Hook::PullRequest {
        repository,
        number,
        commit: commit(&head.sha, "pull_request.head.sha")?,
        branch: base.branch,
        base: commit(&base.sha, "pull_request.base.sha")?,
        login: cut(login.unwrap_or_else(|| "unknown".to_owned())),
    })
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Payload(error.to_string()))
}

fn known(forge: &Forge, repository: Repository) -> Result<RepositoryName, Error> {
    let known = forge.repository(&repository.full_name).cloned();
    known.ok_or_else(|| Error::UnknownRepository(cut(repository.full_name)))
}

fn commit(text: &str, key: &str) -> Result<String, Error> {
    let commit = text.to_ascii_lowercase();
    if is_hash(&commit) { Ok(commit) } else { Err(Error::Payload(format!("'{key}' is no commit"))) }
}

fn ignored(reason: String) -> Hook {
    Hook::Ignored { reason }
}

fn cut(text: String) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT / 4).collect()
}

/// The bytes that hex digits stand for.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let pair = |&[high, low]: &[u8; 2]| Some((digit(high)? * 16 + digit(low)?) as u8);
    if rest.is_empty() { pairs.iter().map(pair).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forge::tests::forge;

    /// The example of GitHub's documentation.
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const SIGNATURE: &str =
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn the_documented_signature_is_right_and_every_other_wrong() {
        let forge = forge(SECRET);
        assert_eq!(read(&forge, SIGNATURE, "ping", BODY), Ok(Hook::Ping));
        let other = SIGNATURE.replace("757", "758");
        for (signature, body) in [
            (other.as_str(), BODY),
            (SIGNATURE, b"Hello, World?"),
            (&SIGNATURE[7..], BODY),
            (&SIGNATURE[..SIGNATURE.len() - 2], BODY),
            ("sha256=", BODY),
            ("sha256=zz", BODY),
        ] {
            assert_eq!(read(&forge, signature, "ping", body), Err(Error::Signature), "{signature}");
        }
    }

    fn push_of(json: &serde_json::Value) -> Result<Hook, Error> {
        push(&forge(SECRET), json.to_string().as_bytes())
    }

    #[test]
    fn a_pull_request_is_taken_when_its_commits_change() {
        let (head, base) = ("a".repeat(40), "b".repeat(40));
        let payload = |action: &str| {
            serde_json::json!({
                "action": action, "number": 7,
                "pull_request": {
                    "head": { "ref": "topic", "sha": head, "repo": { "full_name": "evil/infra" } },
                    "base": { "ref": "main", "sha": base },
                },
                "repository": { "full_name": "acme/infra" }, "sender": { "login": "eve" },
            })
        };
        let read =
            |json: &serde_json::Value| pull_request(&forge(SECRET), json.to_string().as_bytes());
        let taken = Hook::PullRequest {
            repository: "infra".parse().unwrap(),
            number: 7,
            commit: head.clone(),
            branch: "main".to_owned(),
            base: base.clone(),
            login: "eve".to_owned(),
        };
        for action in ["opened", "reopened", "synchronize"] {
            assert_eq!(read(&payload(action)), Ok(taken.clone()), "{action}");
        }
        let mut edited = payload("edited");
        let reason = "edited changes no commit of pull request 7".to_owned();
        assert_eq!(read(&edited), Ok(Hook::Ignored { reason }));
        edited["changes"] = serde_json::json!({ "base": { "ref": { "from": "old" } } });
        assert_eq!(read(&edited), Ok(taken));
        assert!(matches!(read(&payload("labeled")), Ok(Hook::Ignored { .. })));
        let mut bad = payload("opened");
        bad["pull_request"]["head"]["sha"] = "--upload-pack=x".into();
        let words = "'pull_request.head.sha' is no commit".to_owned();
        assert_eq!(read(&bad), Err(Error::Payload(words)));
        bad["repository"]["full_name"] = "evil/infra".into();
        assert_eq!(read(&bad), Err(Error::UnknownRepository("evil/infra".to_owned())));
    }

    #[test]
    fn pushes_to_branches_are_taken_and_others_ignored_with_a_reason() {
        let after = "a".repeat(40);
        let payload = |reference: &str, deleted: bool, name: &str| {
            serde_json::json!({
                "ref": reference, "after": after, "before": "b".repeat(40), "deleted": deleted,
                "repository": { "full_name": name }, "pusher": { "name": "ada" }, "more": [1],
            })
        };
        let repository: RepositoryName = "infra".parse().unwrap();
        let (reference, login) = ("refs/heads/main".to_owned(), "ada".to_owned());
        let expected = |before| {
            let (repository, reference) = (repository.clone(), reference.clone());
            Hook::Push {
                repository,
                reference,
                commit: after.clone(),
                before,
                login: login.clone(),
            }
        };
        let mut first = payload("refs/heads/main", false, "Acme/infra");
        assert_eq!(push_of(&first), Ok(expected(Some("b".repeat(40)))));
        for none in ["0".repeat(40), "--output=x".to_owned()] {
            first["before"] = none.into();
            assert_eq!(push_of(&first), Ok(expected(None)));
        }
        let reason = "branch main was deleted".to_owned();
        let ignored = push_of(&payload("refs/heads/main", true, "acme/infra"));
        assert_eq!(ignored, Ok(Hook::Ignored { reason }));
        let tag = push_of(&payload("refs/tags/v1", false, "acme/infra"));
        assert!(matches!(tag, Ok(Hook::Push { reference, .. }) if reference == "refs/tags/v1"));
        let reason = "refs/notes/x is neither branch nor tag".to_owned();
        let ignored = push_of(&payload("refs/notes/x", false, "acme/infra"));
        assert_eq!(ignored, Ok(Hook::Ignored { reason }));
        let unknown = push_of(&payload("refs/heads/main", false, "evil/infra"));
        assert_eq!(unknown, Err(Error::UnknownRepository("evil/infra".to_owned())));
        assert!(matches!(push_of(&serde_json::json!({})), Err(Error::Payload(_))));
        let mut bad = payload("refs/heads/main", false, "acme/infra");
        bad["after"] = "--upload-pack=x".into();
        assert!(matches!(push_of(&bad), Err(Error::Payload(_))));
    }
}
