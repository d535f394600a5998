//! What the language promises, seen in scripts: variants, texts that are filled in, conditions, and
//! what a push changed.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use garrison::site::forge::push_payload;
use integration::{World, ok};
use serde_json::{Value, json};

const CHANGES: &str = r#"
on: { push: { branches: [main], paths: ["roles/**"] } }
partitions: [fra]
jobs:
  sonic: { process: {}, run: echo sonic, when: 'changed("roles/sonic/")' }
  frr: { process: {}, run: echo frr, when: 'changed("roles/frr/")' }
"#;

/// The runs that a push from one commit to another started.
fn runs_of_push(world: &World, before: &str, commit: &str) -> Vec<Value> {
    let mut payload = push_payload("refs/heads/main", commit);
    payload["before"] = json!(before);
    let webhook = ok(world.site.webhook("push", &payload));
    let (status, text) = ok(world.site.deliver(&webhook));
    assert_eq!(status, 202, "{text}");
    let trigger = serde_json::from_str::<Value>(&text).unwrap()["trigger"].as_u64().unwrap();
    let path = format!("/api/v1/triggers/{trigger}");
    let trigger: Value = ok(ok(world.site.client()).get(&path));
    assert_eq!(trigger["status"], "resolved", "{trigger:#}");
    let runs = trigger["runs"].as_array().unwrap();
    runs.iter().map(|run| world.finished(run.as_u64().unwrap())).collect()
}

fn names(run: &Value) -> Vec<&str> {
    run["jobs"].as_array().unwrap().iter().map(|job| job["name"].as_str().unwrap()).collect()
}

#[test]
fn a_push_runs_what_its_files_concern() {
    let world = World::start(&["fra"], CHANGES);
    let first = ok(world.site.commit(&[("roles/frr/a", "1"), ("README", "1")]));
    let second = ok(world.site.commit(&[("roles/sonic/a", "1")]));
    let third = ok(world.site.commit(&[("README", "2")]));

    let runs = runs_of_push(&world, &first, &second);
    assert_eq!(runs.iter().map(names).collect::<Vec<_>>(), [["sonic"]]);
    assert_eq!(runs_of_push(&world, &second, &third), Vec::<Value>::new());
    // Of a new branch, and of a commit that is not there any more, everything may have changed.
    for before in ["0".repeat(40), "d".repeat(40)] {
        let runs = runs_of_push(&world, &before, &third);
        assert_eq!(runs.iter().map(names).collect::<Vec<_>>(), [["sonic", "frr"]]);
    }
}

const VARIANTS: &str = r#"
on: { manual: {} }
inputs:
  os: { type: text, default: 4.3.0 }
  note: { type: text, default: "$(date) `id` \"quoted\"" }
  broken: { type: bool, default: false }
partitions: [fra]
variables: { TARGET: "{{ partition }}-{{ inputs.os }}", NOTE: "note: {{ inputs.note }}" }
templates:
  shell: { process: {}, timeout: 1m }
jobs:
  build:
    extends: shell
    matrix: { platform: [vs, broadcom], exclude: [{ platform: broadcom }], include: [{ platform: x86 }] }
    run: echo "{{ matrix.platform }} $MATRIX_PLATFORM for $TARGET, {{ inputs.os }}"
  deploy:
    extends: shell
    needs: [build]
    run: ["echo \"[$NOTE]\"", "{% if inputs.broken %}exit 3{% else %}true{% endif %}"]
    environment: { name: "{{ partition }}/switches", url: "https://status.example.com/{{ partition }}" }
  undo: { extends: shell, needs: [deploy], run: echo undone, when: failure() }
  report: { extends: shell, needs: [deploy, undo], run: echo reported, when: always() }
  never: { extends: shell, run: echo never, when: 'inputs.os == "4.2.1"' }
"#;

fn statuses(run: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let jobs = run["jobs"].as_array().unwrap().iter();
    jobs.map(|job| (text(&job["name"]), text(&job["status"]))).collect()
}

#[test]
fn variants_texts_and_conditions_reach_the_scripts() {
    let world = World::start(&["fra"], VARIANTS);
    let trigger = ["trigger", "deploy", "--repository", "infra", "--follow"];
    assert_eq!(world.garrison(&trigger).code, 0);
    let good = world.finished(1);
    assert_eq!(good["status"], "succeeded", "{good:#}");
    let status = |run: &Value, job: &str| {
        statuses(run).into_iter().filter(|(name, _)| name == job).map(|it| it.1).collect::<Vec<_>>()
    };
    assert_eq!(status(&good, "build"), ["succeeded", "succeeded"]);
    assert_eq!(status(&good, "undo"), ["unneeded"]);
    assert_eq!(status(&good, "report"), ["succeeded"]);
    assert_eq!(status(&good, "never"), Vec::<String>::new());
    assert_eq!(good["jobs"][0]["matrix"], json!({ "platform": "vs" }));
    assert!(world.log(1, 0).contains("vs vs for fra-4.3.0, 4.3.0\n"), "{}", world.log(1, 0));
    assert!(world.log(1, 1).contains("x86 x86 for fra-4.3.0, 4.3.0\n"), "{}", world.log(1, 1));
    let log = world.log(1, 2);
    assert!(log.contains("[note: $(date) `id` \"quoted\"]\n"), "{log}");
    let environment = json!({ "name": "fra/switches", "url": "https://status.example.com/fra" });
    assert_eq!(good["jobs"][2]["environment"], environment);
    let shown = world.garrison(&["show", "1"]).out;
    for words in ["build (platform=vs)", "build (platform=x86)", "unneeded"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }

    assert_eq!(world.garrison(&[&trigger[..], &["--input", "broken=true"]].concat()).code, 1);
    let bad = world.finished(2);
    assert_eq!(bad["status"], "failed", "{bad:#}");
    for (job, is) in [("deploy", "failed"), ("undo", "succeeded"), ("report", "succeeded")] {
        assert_eq!(status(&bad, job), [is], "{bad:#}");
    }

    // What was chosen does not become code.
    let said = world.garrison(&[&trigger[..], &["--input", "os=1;id"]].concat());
    let words = "holds ';', which the shell would take as code";
    assert!(said.code == 1 && said.out.contains(words), "{said:?}");
}
