//! GitHub's webhooks: what they start, what they do not, and what they survive.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use garrison::site::forge::{Webhook, pull_request_payload, push_payload};
use integration::{World, ok};
use serde_json::{Value, json};

const PIPELINE: &str = "on: { push: { branches: [main] } }\npartitions: [fra]\njobs:\n  \
                        one:\n    process: {}\n    run: cat greeting; echo $GARRISON_COMMIT\n";

fn runs(world: &World) -> Vec<Value> {
    let runs = world.garrison(&["runs", "-o", "json"]).json();
    runs.as_array().cloned().unwrap_or_else(|| panic!("{runs}"))
}

/// A commit, and the webhook that tells of it.
fn pushed(world: &World) -> (String, Webhook) {
    let commit = ok(world.site.commit(&[("greeting", "hello\n")]));
    let payload = push_payload("refs/heads/main", &commit);
    let webhook = ok(world.site.webhook("push", &payload));
    (commit, webhook)
}

/// Waits for the end of what a trigger started.
fn run_of(world: &World, trigger: u64) -> Value {
    let path = format!("/api/v1/triggers/{trigger}");
    let trigger: Value = ok(ok(world.site.client()).get(&path));
    let run = trigger["runs"][0].as_u64();
    world.finished(run.unwrap_or_else(|| panic!("{trigger:#}\n{}", world.logs())))
}

#[test]
fn a_push_runs_what_asked_for_it_at_that_commit() {
    let world = World::start(&["fra"], PIPELINE);
    let pushed = ok(world.site.push(&[("greeting", "hello\n")]));
    // The branch has moved on when the run starts.
    ok(world.site.commit(&[("greeting", "too late\n")]));
    let detail = run_of(&world, pushed.trigger);
    assert_eq!(detail["status"], "succeeded", "{detail:#}");
    assert_eq!(detail["commit"], pushed.commit);
    assert_eq!(detail["actor"], "ada (github)");
    let log = world.log(1, 0);
    assert!(log.contains(&format!("hello\n{}\n", pushed.commit)), "{log}");
}

#[test]
fn a_tag_runs_what_asked_for_it_at_what_it_stands_for() {
    let world =
        World::start(&["fra"], &PIPELINE.replace("push: { branches: [main] }", "tag: ['v*']"));
    let commit = ok(world.site.commit(&[("greeting", "hello\n")]));
    ok(world.site.git(&["tag", "--annotate", "--message=one", "v1"]));
    // Of an annotated tag GitHub names the tag's own object.
    let object = ok(world.site.git(&["rev-parse", "v1"]));
    assert_ne!(object, commit);
    let tell = |reference: &str| {
        let webhook = ok(world.site.webhook("push", &push_payload(reference, &object)));
        let (status, text) = ok(world.site.deliver(&webhook));
        assert_eq!(status, 202, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()["trigger"].as_u64().unwrap()
    };
    let detail = run_of(&world, tell("refs/tags/v1"));
    assert_eq!((&detail["status"], &detail["commit"]), (&"succeeded".into(), &commit.into()));
    let path = format!("/api/v1/triggers/{}", tell("refs/tags/1"));
    let other: Value = ok(ok(world.site.client()).get(&path));
    assert_eq!((&other["status"], &other["runs"]), (&"resolved".into(), &json!([])), "{other:#}");
}

const PLANNED: &str = r#"
on: { push: { branches: [main] }, pull_request: { paths: ["roles/**"] } }
partitions: [fra]
lock: site
jobs:
  check: { process: {}, run: touch done, when: 'event == "pull_request"' }
  deploy: { process: {}, run: touch done, needs: [{ job: check, optional: true }], secrets: [TOKEN] }
  verify: { gate: {}, needs: [deploy] }
"#;

/// Commits files where only the request of this number names them, as a fork's are.
fn requested(world: &World, number: u64, files: &[(&str, &str)]) -> String {
    let commit = ok(world.site.commit(files));
    ok(world.site.git(&["update-ref", &format!("refs/pull/{number}/head"), &commit]));
    ok(world.site.git(&["reset", "--quiet", "--hard", "HEAD~1"]));
    commit
}

#[test]
fn a_pull_request_is_planned_and_nothing_of_it_is_done() {
    let world = World::start(&["fra"], PLANNED);
    let tell = |number: u64, head: &str, base: &str| {
        let payload = pull_request_payload(number, head, base);
        let (status, text) =
            ok(world.site.deliver(&ok(world.site.webhook("pull_request", &payload))));
        assert_eq!(status, 202, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()["trigger"].as_u64().unwrap()
    };
    let requested = |number, files| requested(&world, number, files);
    let about_roles = requested(7, &[("roles/sonic", "4.3.0")]);
    let about_docs = requested(8, &[("docs/sonic", "4.3.0")]);
    let broken = requested(
        9,
        &[("roles/frr", "10"), (".garrison/deploy.yaml", &format!("{PLANNED}  x: 5\n"))],
    );
    // What came to the branch since then is no part of them.
    let base = ok(world.site.commit(&[("roles/leaf", "1")]));

    let plan = run_of(&world, tell(7, &about_roles, &base));
    let said = [&plan["status"], &plan["commit"], &plan["reference"], &plan["actor"]];
    assert_eq!(said, ["planned", &about_roles, "refs/pull/7/head", "eve (github)"], "{plan:#}");
    let jobs: Vec<_> = plan["jobs"].as_array().unwrap().iter().collect();
    let (names, states): (Vec<_>, Vec<_>) = jobs
        .iter()
        .map(|it| (it["name"].as_str().unwrap(), it["status"].as_str().unwrap()))
        .unzip();
    assert_eq!((names, states), (vec!["check", "deploy", "verify"], vec!["planned"; 3]));
    assert!(jobs.iter().all(|job| job["attempts"] == json!([])), "{plan:#}");

    let path = format!("/api/v1/triggers/{}", tell(8, &about_docs, &base));
    let other: Value = ok(ok(world.site.client()).get(&path));
    assert_eq!((&other["status"], &other["runs"]), (&"resolved".into(), &json!([])), "{other:#}");

    let wrong = run_of(&world, tell(9, &broken, &base));
    assert_eq!(wrong["status"], "invalid", "{wrong:#}");

    let id = plan["id"].to_string();
    for (asked, words) in
        [("retry", "is the plan of a pull request"), ("cancel", "has ended already")]
    {
        let said = world.garrison(&[asked, &id]);
        assert!(said.err.contains(words), "{said:?}");
    }
    let shown = world.garrison(&["show", &id]).out;
    assert!(shown.contains("planned"), "{shown}");
    let words = format!("{id}.2 verify: would wait for 1 approval by somebody who may edit");
    assert!(shown.contains(&words), "{shown}");
    assert_eq!(world.garrison(&["gates"]).out, "no gate waits for anybody\n");
    let log = world.garrison(&["logs", &format!("{id}.1")]);
    assert!(log.err.contains("1.1 has no log yet"), "{log:?}");
}

#[test]
fn what_is_not_from_the_forge_is_refused() {
    let world = World::without_agents(&["fra"], PIPELINE);
    let (commit, good) = pushed(&world);
    let tell = |webhook: &Webhook| ok(world.site.deliver(webhook));
    let refused = |webhook: Webhook, status: u16, words: &str| {
        let (found, text) = tell(&webhook);
        assert!(
            found == status && text.contains(words),
            "{found} {text}, expected {status} {words}"
        );
    };
    let forged =
        |signature: &str| Webhook { signature: Some(signature.to_owned()), ..good.clone() };
    refused(forged(&format!("sha256={}", "0".repeat(64))), 401, "signature is wrong");
    refused(forged("sha1=00"), 401, "signature is wrong");
    refused(Webhook { body: b"{}".to_vec(), ..good.clone() }, 401, "signature is wrong");
    refused(Webhook { signature: None, ..good.clone() }, 400, "x-hub-signature-256");
    refused(Webhook { delivery: String::new(), ..good.clone() }, 400, "no delivery's id");
    refused(Webhook { forge: "gitea".to_owned(), ..good.clone() }, 404, "no such forge");
    refused(Webhook { body: vec![b' '; (8 << 20) + 1], ..good.clone() }, 413, "larger than 8 MiB");
    let mut payload = push_payload("refs/heads/main", &commit);
    payload["repository"]["full_name"] = json!("evil/infra");
    refused(ok(world.site.webhook("push", &payload)), 422, "'evil/infra' is not listed");
    refused(ok(world.site.webhook("push", &json!({ "zen": true }))), 400, "cannot be read");
    assert_eq!(runs(&world), Vec::<Value>::new());
}

#[test]
fn what_starts_nothing_is_answered_with_the_reason() {
    let world = World::without_agents(&["fra"], PIPELINE);
    let commit = ok(world.site.commit(&[]));
    let mut deleted = push_payload("refs/heads/old", &"0".repeat(40));
    deleted["deleted"] = json!(true);
    for (event, payload, message) in [
        ("ping", json!({ "zen": "Keep it logically awesome." }), "pong"),
        ("push", push_payload("refs/notes/x", &commit), "refs/notes/x is neither branch nor tag"),
        ("push", deleted, "ignored: branch old was deleted"),
        ("issues", json!({}), "ignored: events of kind \\\"issues\\\" start nothing"),
    ] {
        let webhook = ok(world.site.webhook(event, &payload));
        let (status, text) = ok(world.site.deliver(&webhook));
        assert!(status == 200 && text.contains(message), "{status} {text}");
    }
    assert_eq!(runs(&world), Vec::<Value>::new());
}

#[test]
fn a_delivery_acts_once_however_often_it_comes() {
    let mut world = World::start(&["fra"], PIPELINE);
    let (_, webhook) = pushed(&world);
    let deliver = |world: &World| {
        let (status, text) = ok(world.site.deliver(&webhook));
        let hook: Value = serde_json::from_str(&text).unwrap();
        (status, hook["trigger"].as_u64().unwrap())
    };
    let answers: Vec<(u16, u64)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| deliver(&world))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|(status, _)| *status == 202).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|(_, trigger)| *trigger == answers[0].1), "{answers:?}");
    run_of(&world, answers[0].1);
    ok(world.site.kill_coordinator());
    ok(world.site.start_coordinator());
    assert_eq!(deliver(&world), (200, answers[0].1));
    assert_eq!(runs(&world).len(), 1);
    // The same push under another delivery is another trigger, as when somebody asks for it anew.
    let again = Webhook { delivery: "another".to_owned(), ..webhook.clone() };
    assert_eq!(ok(world.site.deliver(&again)).0, 202);
}

#[test]
fn a_webhook_that_was_answered_outlives_the_coordinator() {
    let mut world = World::start(&["fra"], PIPELINE);
    for _ in 0..3 {
        let (commit, webhook) = pushed(&world);
        let (status, text) = ok(world.site.deliver(&webhook));
        ok(world.site.kill_coordinator());
        assert_eq!(status, 202, "{text}");
        let hook: Value = serde_json::from_str(&text).unwrap();
        ok(world.site.start_coordinator());
        let detail = run_of(&world, hook["trigger"].as_u64().unwrap());
        assert_eq!(detail["status"], "succeeded", "{detail:#}");
        assert_eq!(detail["commit"], commit.as_str());
    }
    assert_eq!(runs(&world).len(), 3);
}

#[test]
fn a_secret_that_everybody_may_read_keeps_the_coordinator_from_starting() {
    use std::os::unix::fs::PermissionsExt;
    let mut world = World::without_agents(&["fra"], PIPELINE);
    ok(world.site.stop_coordinator());
    let secret = world.site.secret_file();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let config = world.dir.path().join("coordinator.toml");
    let said = world.garrison(&["coordinator", "--config", &config.to_string_lossy()]);
    assert_ne!(said.code, 0);
    assert!(said.err.contains("chmod o-rwx"), "{said:?}");
    assert!(!said.err.contains(std::fs::read_to_string(secret).unwrap().trim()));
}
