//! GitLab, Gitea and Forgejo: their webhooks start runs, and their commits get statuses. The forges are
//! servers of this test that speak as is documented; GitHub has `hooks.rs` and `statuses.rs`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use coordinator::signing::Key;
use hmac::{Hmac, KeyInit, Mac};
use integration::receiver::{Heard, Receiver};
use integration::{World, ok};
use serde_json::{Value, json};
use sha2::Sha256;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const SIGNING: &str = "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=";
const TOKEN: &str = "glpat_opensesame";

/// Forges by their names in the configuration, their kinds and their secrets.
const FORGES: [(&str, &str, &str); 4] = [
    ("lab", "gitlab", SECRET),
    ("signing", "gitlab", SIGNING),
    ("tea", "gitea", SECRET),
    ("berg", "forgejo", SECRET),
];

const PIPELINE: &str = r#"
on: { push: { branches: [main] }, pull_request: { paths: ["roles/**"] } }
partitions: [fra]
jobs: { one: { process: {}, run: cat greeting } }
"#;

/// A site with all of the forges, and the server that has their APIs.
fn begin() -> (World, Receiver) {
    let mut world = World::start(&["fra"], PIPELINE);
    let receiver = Receiver::start(&world.dir.path().join("forges"), None);
    let file = |name: &str, text: &str| {
        let path = world.dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        path
    };
    let token = file("token", TOKEN);
    let tables = FORGES.map(|(name, kind, secret)| {
        let api = if kind == "gitlab" { "v4" } else { "v1" };
        format!(
            "\n[[forges]]\nname = '{name}'\nkind = '{kind}'\nsecret_file = {:?}\n\
             repositories = [{{ name = 'infra', full_name = 'acme/infra' }}]\n\
             statuses = {{ token_file = {token:?}, url = '{}/api/{api}/', ca_file = {:?} }}\n",
            file(name, secret),
            receiver.url(),
            receiver.ca_file(),
        )
    });
    world.site.configure(&tables.concat());
    ok(world.site.stop_coordinator());
    ok(world.site.start_coordinator());
    (world, receiver)
}

/// Headers that a forge writes.
type Headers = Vec<(&'static str, String)>;

/// Headers of a delivery by the forge of that name.
fn headers(name: &str, event: &str, delivery: &str, body: &[u8]) -> Headers {
    let hmac = || {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(body);
        let bytes = mac.finalize().into_bytes();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let delivery = delivery.to_owned();
    let signed = match name {
        "lab" => vec![("x-gitlab-token", SECRET.to_owned()), ("idempotency-key", delivery)],
        "signing" => vec![
            ("webhook-signature", Key::read(SIGNING).unwrap().sign(&delivery, now, body)),
            ("webhook-timestamp", now.to_string()),
            ("webhook-id", delivery),
        ],
        "tea" => vec![("x-gitea-signature", hmac()), ("x-gitea-delivery", delivery)],
        "berg" => vec![("x-forgejo-signature", hmac()), ("x-forgejo-delivery", delivery)],
        other => panic!("{other}"),
    };
    let event = match name {
        "tea" => ("x-gitea-event", event.to_owned()),
        "berg" => ("x-forgejo-event", event.to_owned()),
        _ => ("x-gitlab-event", event.to_owned()),
    };
    [signed, vec![event]].concat()
}

fn deliver(world: &World, kind: &str, name: &str, headers: &Headers, body: &[u8]) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .into();
    let url = format!("{}/hooks/{kind}/{name}", ok(world.site.url()));
    let mut request = agent.post(url).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let mut response = request.send(body).unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// A push of a commit to `main`, as the forge tells it.
fn push(kind: &str, commit: &str) -> (&'static str, Value) {
    let mut payload =
        json!({ "ref": "refs/heads/main", "before": "0".repeat(40), "after": commit });
    let (event, more) = if kind == "gitlab" {
        let project = json!({ "path_with_namespace": "acme/infra" });
        ("Push Hook", json!({ "project": project, "user_username": "ada" }))
    } else {
        let repository = json!({ "full_name": "acme/infra" });
        ("push", json!({ "repository": repository, "pusher": { "login": "ada" } }))
    };
    payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    (event, payload)
}

fn run_of(world: &World, hook: &Value) -> Value {
    let path = format!("/api/v1/triggers/{}", hook["trigger"]);
    let trigger: Value = ok(ok(world.site.client()).get(&path));
    let run = trigger["runs"][0].as_u64();
    world.finished(run.unwrap_or_else(|| panic!("{trigger:#}\n{}", world.logs())))
}

/// States that the API took of a commit.
fn states<'a>(heard: &'a [Heard], commit: &str) -> Vec<&'a str> {
    let own = heard.iter().filter(|it| it.path.ends_with(commit) && it.answer == 201);
    own.map(|it| it.body["state"].as_str().unwrap()).collect()
}

#[test]
fn a_push_at_each_forge_starts_one_run_and_gets_its_verdict() {
    let (world, receiver) = begin();
    // Their APIs fail before they work.
    receiver.will_say(&[500, 429]);
    for (name, kind, _) in FORGES {
        let commit = ok(world.site.commit(&[("greeting", name)]));
        let (event, payload) = push(kind, &commit);
        let body = payload.to_string().into_bytes();
        let good = headers(name, event, "delivery-1", &body);

        let forged = [&body[..], b" "].concat();
        if name != "lab" {
            let (status, said) = deliver(&world, kind, name, &good, &forged);
            assert_eq!(status, 401, "{name}: {said}");
        }
        for index in 0..good.len() {
            let mut cut = good.clone();
            let (missing, _) = cut.remove(index);
            let (status, said) = deliver(&world, kind, name, &cut, &body);
            assert!(status == 400 && said.to_string().contains(missing), "{status} {said}");
            let mut other = good.clone();
            other[index].1 = "another".to_owned();
            // What a GitLab's token does not seal and an event that is none are no lies.
            let is_sealed = !matches!(
                missing,
                "x-gitlab-event"
                    | "x-gitea-event"
                    | "x-forgejo-event"
                    | "idempotency-key"
                    | "x-gitea-delivery"
                    | "x-forgejo-delivery"
            );
            if is_sealed {
                assert_eq!(deliver(&world, kind, name, &other, &body).0, 401, "{name} {missing}");
            }
        }
        let wrong = if kind == "gitea" { "forgejo" } else { "gitea" };
        assert_eq!(deliver(&world, wrong, name, &good, &body).0, 404);

        let (status, first) = deliver(&world, kind, name, &good, &body);
        assert_eq!(status, 202, "{name}: {first}");
        let again = headers(name, event, "delivery-1", &body);
        let (status, second) = deliver(&world, kind, name, &again, &body);
        assert_eq!((status, &second["trigger"]), (200, &first["trigger"]), "{name}");
        let run = run_of(&world, &first);
        assert_eq!(run["status"], "succeeded", "{run:#}");
        assert_eq!(
            (&run["commit"], &run["actor"]),
            (&json!(commit), &json!(format!("ada ({name})")))
        );

        let heard = receiver.heard(|it| states(it, &commit).last() == Some(&"success"));
        let last = heard.last().unwrap();
        if kind == "gitlab" {
            assert_eq!(last.path, format!("/api/v4/projects/acme%2Finfra/statuses/{commit}"));
            assert_eq!(last.headers["private-token"], TOKEN);
            assert_eq!(
                (&last.body["name"], &last.body["ref"]),
                (&json!("garrison/deploy"), &json!("main"))
            );
            assert!(states(&heard, &commit)[..].ends_with(&["success"]), "{heard:#?}");
        } else {
            assert_eq!(last.path, format!("/api/v1/repos/acme/infra/statuses/{commit}"));
            assert_eq!(last.headers["authorization"], format!("token {TOKEN}"));
            assert_eq!(last.body["context"], "garrison/deploy");
        }
        let words = last.body["description"].as_str().unwrap();
        assert!(words.starts_with("Succeeded in "), "{words}");
    }
    assert_eq!(world.garrison(&["runs", "-o", "json"]).json().as_array().unwrap().len(), 4);
    let logs = world.logs();
    assert!(logs.contains("the status waits") && !logs.contains("given up"), "{logs}");
    for secret in [TOKEN, SECRET, SIGNING] {
        assert!(!logs.contains(secret), "{logs}");
    }
}

#[test]
fn a_merge_request_of_gitlab_is_planned_against_its_branch_as_it_is() {
    let (world, receiver) = begin();
    let requested = |number: u64, file: &str| {
        let commit = ok(world.site.commit(&[(file, "4.3.0")]));
        let head = format!("refs/merge-requests/{number}/head");
        ok(world.site.git(&["update-ref", &head, &commit]));
        ok(world.site.git(&["reset", "--quiet", "--hard", "HEAD~1"]));
        commit
    };
    let (roles, docs) = (requested(7, "roles/sonic"), requested(8, "docs/sonic"));
    // What came to the branch since then is no part of them, and nobody told of it.
    ok(world.site.commit(&[("roles/leaf", "1")]));
    let tell = |number: u64, commit: &str| {
        let payload = json!({
            "object_kind": "merge_request",
            "user": { "username": "eve" },
            "project": { "path_with_namespace": "acme/infra" },
            "object_attributes": {
                "iid": number, "action": "open", "target_branch": "main",
                "last_commit": { "id": commit },
            },
        });
        let body = payload.to_string().into_bytes();
        let headers = headers("signing", "Merge Request Hook", &number.to_string(), &body);
        let (status, said) = deliver(&world, "gitlab", "signing", &headers, &body);
        assert_eq!(status, 202, "{said}");
        said
    };
    let plan = run_of(&world, &tell(7, &roles));
    let said = [&plan["status"], &plan["commit"], &plan["reference"], &plan["actor"]];
    let expected = ["planned", &roles, "refs/merge-requests/7/head", "eve (signing)"];
    assert_eq!(said, expected, "{plan:#}");
    let path = format!("/api/v1/triggers/{}", tell(8, &docs)["trigger"]);
    let other: Value = ok(ok(world.site.client()).get(&path));
    assert_eq!((&other["status"], &other["runs"]), (&json!("resolved"), &json!([])), "{other:#}");

    let heard = receiver.heard(|it| states(it, &roles).last() == Some(&"success"));
    let last = heard.last().unwrap();
    assert_eq!(last.body["name"], "garrison/deploy/plan");
    assert_eq!(last.body.get("ref"), None);
}

#[test]
fn a_test_from_a_forges_page_starts_nothing() {
    let (world, _receiver) = begin();
    let commit = ok(world.site.commit(&[]));
    for (name, kind) in [("tea", "gitea"), ("berg", "forgejo")] {
        let (event, mut payload) = push(kind, &commit);
        payload["before"] = json!(commit);
        let body = payload.to_string().into_bytes();
        let headers = headers(name, event, "1", &body);
        let (status, said) = deliver(&world, kind, name, &headers, &body);
        assert_eq!((status, &said["message"]), (200, &json!("pong")));
    }
    assert_eq!(world.garrison(&["runs", "-o", "json"]).json(), json!([]));
}
