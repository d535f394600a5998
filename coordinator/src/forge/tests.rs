use axum::http::{HeaderMap, HeaderName};
use serde_json::{Value, json};

use super::*;

/// The example of GitHub's documentation.
const SECRET: &str = "It's a Secret to Everybody";
const BODY: &[u8] = b"Hello, World!";
const SIGNATURE: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

/// A GitLab's signing token, and when a webhook under it is read, in seconds since 1970.
const TOKEN: &str = "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=";
const TIME: u64 = 1_763_712_345;

const KINDS: [ForgeKind; 4] =
    [ForgeKind::Github, ForgeKind::Gitlab, ForgeKind::Gitea, ForgeKind::Forgejo];

fn config(kind: ForgeKind, secret_file: PathBuf) -> config::Forge {
    config::Forge {
        name: "own".parse().unwrap(),
        kind,
        secret_file,
        repositories: vec![config::ForgeRepository {
            name: "infra".parse().unwrap(),
            full_name: "acme/infra".into(),
        }],
        statuses: None,
    }
}

/// A forge with the repository `infra`, called `acme/infra` there.
fn forge(kind: ForgeKind, secret: &str) -> Forge {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), secret).unwrap();
    let forges = Forges::load(&[config(kind, file.path().to_owned())]).unwrap();
    forges.0.into_iter().next().unwrap()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pairs = pairs.iter();
    pairs.map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

fn opened(forge: &Forge, pairs: &[(&'static str, &str)], body: &[u8]) -> Result<Hook, Error> {
    let headers = headers(pairs);
    forge.open(&forge.envelope(&headers)?, body, Wall(TIME * 1_000_000))
}

/// What a payload says that has the right seal.
fn said(kind: ForgeKind, event: &str, payload: &Value) -> Result<Hook, Error> {
    let (forge, body) = (forge(kind, SECRET), payload.to_string());
    match kind {
        ForgeKind::Github | ForgeKind::Gitea | ForgeKind::Forgejo => {
            github::read(&forge, event, body.as_bytes())
        }
        ForgeKind::Gitlab => gitlab::read(&forge, event, body.as_bytes()),
    }
}

fn infra() -> RepositoryName {
    "infra".parse().unwrap()
}

#[test]
fn a_secret_must_be_long() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let load = |kind, text: &str| {
        std::fs::write(file.path(), text).unwrap();
        Forges::load(&[config(kind, file.path().to_owned())])
    };
    for kind in KINDS {
        let loaded = load(kind, "0123456789abcdef\n").unwrap();
        assert!(loaded.find(kind.name(), "own").is_some());
        assert!(loaded.find("bitbucket", "own").is_none() && loaded.find("own", "own").is_none());
        assert!(!format!("{loaded:?}").contains("0123456789abcdef"));
        assert!(matches!(load(kind, "short\n"), Err(Unusable::Short(_))));
        assert!(matches!(load(kind, ""), Err(Unusable::Secret { .. })));
    }
    let signing = load(ForgeKind::Gitlab, TOKEN).unwrap();
    assert!(!format!("{signing:?}").contains("116"), "{signing:?}");
    assert!(matches!(load(ForgeKind::Gitlab, &TOKEN[..30]), Err(Unusable::Token(_))));
}

#[test]
fn a_body_under_the_secret_is_believed_and_every_other_is_not() {
    let own = |kind| match kind {
        ForgeKind::Github => ["x-hub-signature-256", "x-github-event", "x-github-delivery"],
        ForgeKind::Gitea => ["x-gitea-signature", "x-gitea-event", "x-gitea-delivery"],
        ForgeKind::Forgejo => ["x-forgejo-signature", "x-forgejo-event", "x-forgejo-delivery"],
        ForgeKind::Gitlab => panic!("it signs otherwise"),
    };
    for kind in [ForgeKind::Github, ForgeKind::Gitea, ForgeKind::Forgejo] {
        let (forge, [seal, event, delivery]) = (forge(kind, SECRET), own(kind));
        let prefix = if kind == ForgeKind::Github { "sha256=" } else { "" };
        let read = |signature: &str, body: &[u8]| {
            opened(&forge, &[(seal, signature), (event, "ping"), (delivery, "1")], body)
        };
        let right = format!("{prefix}{SIGNATURE}");
        assert_eq!(read(&right, BODY), Ok(Hook::Ping), "{kind:?}");
        let other = right.replace("757", "758");
        for (signature, body) in [
            (other.as_str(), BODY),
            (&right, b"Hello, World?"),
            (&right[1..], BODY),
            (&right[..right.len() - 2], BODY),
            (prefix, BODY),
            ("sha256=zz", BODY),
            ("", BODY),
        ] {
            assert_eq!(read(signature, body), Err(Error::Signature), "{kind:?} {signature}");
        }
        let missing = opened(&forge, &[(seal, &right), (delivery, "1")], BODY).unwrap_err();
        let words = format!("the header {event} is missing: is this {}?", kind.title());
        assert_eq!(missing.to_string(), words);
        let long = "1".repeat(129);
        for id in ["", &long] {
            let read = opened(&forge, &[(seal, &right), (event, "ping"), (delivery, id)], BODY);
            assert_eq!(read, Err(Error::Delivery(delivery)));
        }
    }
}

#[test]
fn a_gitlab_shows_the_secret_itself() {
    let forge = forge(ForgeKind::Gitlab, SECRET);
    let read = |token: &str| {
        let event = ("x-gitlab-event", "Issue Hook");
        opened(&forge, &[("x-gitlab-token", token), event, ("idempotency-key", "1")], BODY)
    };
    assert!(matches!(read(SECRET), Ok(Hook::Ignored { .. })));
    for wrong in ["", "It", "It's a Secret to Everybodz", "It's a Secret to Everybody!"] {
        assert_eq!(read(wrong), Err(Error::Signature), "{wrong}");
    }
    let none = opened(&forge, &[("x-gitlab-event", "x"), ("idempotency-key", "1")], BODY);
    assert!(matches!(none, Err(Error::Header { name: "x-gitlab-token", .. })), "{none:?}");
    let old = [("x-gitlab-event", "x"), ("x-gitlab-token", SECRET), ("x-gitlab-webhook-uuid", "1")];
    let old = opened(&forge, &old, BODY);
    assert!(matches!(old, Err(Error::Header { name: "idempotency-key", .. })), "{old:?}");
}

#[test]
fn a_gitlab_with_a_signing_token_seals_delivery_and_time_too() {
    let forge = forge(ForgeKind::Gitlab, TOKEN);
    let key = Key::read(TOKEN).unwrap();
    let read = |id: &str, timestamp: u64, signature: &str, body: &[u8]| {
        let timestamp = timestamp.to_string();
        let pairs = [
            ("x-gitlab-event", "Issue Hook"),
            ("x-gitlab-token", TOKEN),
            ("idempotency-key", "1"),
            ("webhook-id", id),
            ("webhook-timestamp", &timestamp),
            ("webhook-signature", signature),
        ];
        opened(&forge, &pairs, body)
    };
    let right = key.sign("1", TIME, BODY);
    assert!(matches!(read("1", TIME, &right, BODY), Ok(Hook::Ignored { .. })));
    let old = key.sign("1", TIME - 301, BODY);
    for (id, time, signature, body) in [
        ("2", TIME, right.as_str(), BODY),
        ("1", TIME + 1, &right, BODY),
        ("1", TIME, &right, b"Hello, World?"),
        ("1", TIME, "v1,", BODY),
        ("1", TIME - 301, &old, BODY),
    ] {
        assert_eq!(read(id, time, signature, body), Err(Error::Signature), "{id} {time}");
    }
    // The token that comes along is no seal, nor is the key of it that nobody signed.
    let pairs = [("x-gitlab-event", "x"), ("x-gitlab-token", TOKEN), ("idempotency-key", "1")];
    let unsigned = opened(&forge, &pairs, BODY);
    assert!(matches!(unsigned, Err(Error::Header { name: "webhook-id", .. })), "{unsigned:?}");
    let headers = headers(&[
        ("x-gitlab-event", "x"),
        ("idempotency-key", "1"),
        ("webhook-id", "2"),
        ("webhook-timestamp", "3"),
        ("webhook-signature", "v1,"),
    ]);
    assert_eq!(forge.envelope(&headers).unwrap().delivery, "2");
}

/// A push as each of them tells it, with the event that it is.
fn push(kind: ForgeKind, reference: &str, before: &str, after: &str) -> (&'static str, Value) {
    let mut payload = json!({ "ref": reference, "before": before, "after": after, "more": [1] });
    let (more, event) = match kind {
        ForgeKind::Github => (
            json!({
                "repository": { "full_name": "Acme/infra" },
                "pusher": { "name": "ada", "email": "ada@example.org" },
            }),
            "push",
        ),
        ForgeKind::Gitea | ForgeKind::Forgejo => (
            json!({
                "repository": { "id": 1, "name": "infra", "full_name": "acme/infra" },
                "pusher": { "id": 1, "login": "ada", "full_name": "Ada Lovelace", "username": "ada" },
            }),
            "push",
        ),
        ForgeKind::Gitlab => (
            json!({
                "object_kind": "push",
                "project": { "id": 1, "name": "Infra", "path_with_namespace": "acme/infra" },
                "repository": { "name": "Infra", "url": "git@gitlab.example.org:acme/infra.git" },
                "user_name": "Ada Lovelace",
                "user_username": "ada",
            }),
            if reference.starts_with("refs/tags/") { "Tag Push Hook" } else { "Push Hook" },
        ),
    };
    payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    (event, payload)
}

#[test]
fn pushes_to_branches_and_tags_are_taken_and_others_ignored_with_a_reason() {
    let (one, two, none) = ("a".repeat(40), "b".repeat(40), "0".repeat(40));
    for kind in KINDS {
        let read = |reference: &str, before: &str, after: &str| {
            let (event, payload) = push(kind, reference, before, after);
            said(kind, event, &payload)
        };
        let taken = |reference: &str, before: Option<&String>| {
            let (commit, before) = (two.clone(), before.cloned());
            let (reference, login) = (reference.to_owned(), "ada".to_owned());
            Ok(Hook::Push { repository: infra(), reference, commit, before, login })
        };
        let ignored = |reason: &str| Ok(Hook::Ignored { reason: reason.to_owned() });
        for reference in ["refs/heads/main", "refs/tags/v1"] {
            assert_eq!(read(reference, &one, &two), taken(reference, Some(&one)), "{kind:?}");
            assert_eq!(read(reference, &none, &two), taken(reference, None), "{kind:?}");
            assert_eq!(read(reference, "--output=x", &two), taken(reference, None), "{kind:?}");
        }
        assert_eq!(read("refs/heads/main", &one, &none), ignored("branch main was deleted"));
        assert_eq!(read("refs/tags/v1", &one, &none), ignored("tag v1 was deleted"));
        let words = "refs/notes/x is neither branch nor tag";
        assert_eq!(read("refs/notes/x", &one, &two), ignored(words));
        // A test from the page where the webhook is set up.
        assert_eq!(read("refs/heads/main", &two, &two), Ok(Hook::Ping), "{kind:?}");
        let bad = read("refs/heads/main", &one, "--upload-pack=x");
        assert_eq!(bad, Err(Error::Payload("'after' is no commit".to_owned())));
        let long = format!("refs/heads/{}", "x".repeat(1024));
        let words = "the reference is too long".to_owned();
        assert_eq!(read(&long, &one, &two), Err(Error::Payload(words)));
        let (event, _) = push(kind, "refs/heads/main", &one, &two);
        assert!(matches!(said(kind, event, &json!({})), Err(Error::Payload(_))));
        let words = "events of kind \"issues\" start nothing";
        assert_eq!(said(kind, "issues", &json!({})), ignored(words));
    }
}

#[test]
fn a_repository_that_is_not_listed_is_refused() {
    let commit = "a".repeat(40);
    for kind in KINDS {
        let (event, payload) = push(kind, "refs/heads/main", "", &commit);
        let payload = payload.to_string().replace("cme/infra", "vil/infra");
        let said = said(kind, event, &serde_json::from_str(&payload).unwrap());
        assert!(matches!(said, Err(Error::UnknownRepository(_))), "{said:?}");
    }
}

#[test]
fn a_pull_request_is_taken_when_its_commits_change() {
    let (head, base) = ("a".repeat(40), "b".repeat(40));
    for (kind, synchronize) in [
        (ForgeKind::Github, "synchronize"),
        (ForgeKind::Gitea, "synchronized"),
        (ForgeKind::Forgejo, "synchronized"),
    ] {
        let payload = |action: &str| {
            json!({
                "action": action, "number": 7,
                "pull_request": {
                    "head": { "ref": "topic", "sha": head, "repo": { "full_name": "evil/infra" } },
                    "base": { "ref": "main", "sha": base },
                },
                "repository": { "full_name": "acme/infra" }, "sender": { "login": "eve" },
            })
        };
        let read = |json: &Value| said(kind, "pull_request", json);
        let taken = Hook::PullRequest {
            repository: infra(),
            number: 7,
            reference: "refs/pull/7/head".to_owned(),
            commit: head.clone(),
            branch: "main".to_owned(),
            base: Some(base.clone()),
            login: "eve".to_owned(),
        };
        for action in ["opened", "reopened", synchronize] {
            assert_eq!(read(&payload(action)), Ok(taken.clone()), "{kind:?} {action}");
        }
        let mut edited = payload("edited");
        let reason = "edited changes no commit of pull request 7".to_owned();
        assert_eq!(read(&edited), Ok(Hook::Ignored { reason }));
        let changed = if kind == ForgeKind::Github { "base" } else { "ref" };
        edited["changes"] = json!({ changed: { "from": "old" } });
        assert_eq!(read(&edited), Ok(taken), "{kind:?}");
        assert!(matches!(read(&payload("labeled")), Ok(Hook::Ignored { .. })));
        let mut bad = payload("opened");
        bad["pull_request"]["head"]["sha"] = "--upload-pack=x".into();
        let words = "'pull_request.head.sha' is no commit".to_owned();
        assert_eq!(read(&bad), Err(Error::Payload(words)));
        bad["repository"]["full_name"] = "evil/infra".into();
        assert_eq!(read(&bad), Err(Error::UnknownRepository("evil/infra".to_owned())));
    }
}

#[test]
fn a_merge_request_of_gitlab_is_taken_when_its_commits_change() {
    let head = "a".repeat(40);
    let payload = |action: &str| {
        json!({
            "object_kind": "merge_request",
            "user": { "name": "Eve", "username": "eve" },
            "project": { "path_with_namespace": "acme/infra" },
            "object_attributes": {
                "iid": 7, "action": action, "source_branch": "topic", "target_branch": "main",
                "last_commit": { "id": head },
                "source": { "path_with_namespace": "evil/infra" },
                "target": { "path_with_namespace": "acme/infra" },
            },
            "changes": {},
        })
    };
    let read = |json: &Value| said(ForgeKind::Gitlab, "Merge Request Hook", json);
    let taken = Hook::PullRequest {
        repository: infra(),
        number: 7,
        reference: "refs/merge-requests/7/head".to_owned(),
        commit: head.clone(),
        branch: "main".to_owned(),
        base: None,
        login: "eve".to_owned(),
    };
    for action in ["open", "reopen"] {
        assert_eq!(read(&payload(action)), Ok(taken.clone()), "{action}");
    }
    let mut update = payload("update");
    let reason = "update changes no commit of pull request 7".to_owned();
    assert_eq!(read(&update), Ok(Hook::Ignored { reason }));
    update["object_attributes"]["oldrev"] = "b".repeat(40).into();
    assert_eq!(read(&update), Ok(taken.clone()));
    let mut moved = payload("update");
    moved["changes"]["target_branch"] = json!({ "previous": "old", "current": "main" });
    assert_eq!(read(&moved), Ok(taken));
    for action in ["close", "merge", "approved"] {
        assert!(matches!(read(&payload(action)), Ok(Hook::Ignored { .. })), "{action}");
    }
    let mut unasked = payload("open");
    unasked["object_attributes"].as_object_mut().unwrap().remove("action");
    assert!(matches!(read(&unasked), Ok(Hook::Ignored { .. })));
    let mut bad = payload("open");
    bad["object_attributes"]["last_commit"]["id"] = "main".into();
    assert!(matches!(read(&bad), Err(Error::Payload(_))));
}
