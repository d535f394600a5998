//! Gates: jobs that wait for people, whoever asks, whoever is killed meanwhile.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use integration::{Said, World, ok, program};
use serde_json::{Value, json};

/// Two admins must approve before anything is deployed.
fn pipeline(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "on: {{ manual: {{}} }}\npartitions: [fra, muc]\nlock: site\njobs:\n  \
         check: {{ process: {{}}, run: 'true' }}\n  \
         approve:\n    needs: [check]\n    \
         gate: {{ role: admin, count: 2, message: \"OPS-12: {{{{ plan.summary }}}}\" }}\n  \
         deploy:\n    needs: [approve]\n    process: {{}}\n    \
         run: echo $GARRISON_PARTITION >> {dir}/deployed\n"
    )
}

/// Somebody does something by hand before the rest goes on.
const BY_HAND: &str = "on: { manual: {} }\npartitions: [fra]\njobs:\n  \
                       console: { gate: { acknowledge: loaded on console fw01 } }\n  \
                       boot: { needs: [console], process: {}, run: 'true' }\n";

/// Two stages, of which the first is well if a file is there; somebody may waive that.
fn stages(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n  \
         spines: {{ process: {{}}, run: test -e {dir}/well }}\n  \
         go-on:\n    needs: [spines]\n    \
         gate: {{ role: admin, waives: true, message: \"spines failed; it {{{{ plan.summary }}}}\" }}\n  \
         leaves:\n    needs: [go-on]\n    process: {{}}\n    run: echo leaves >> {dir}/deployed\n"
    )
}

/// Nobody answers in time.
const SHORT: &str = "on: { manual: {} }\npartitions: [fra]\njobs:\n  \
                     approve: { gate: { timeout: 10s } }\n  \
                     boot: { needs: [approve], process: {}, run: 'true' }\n";

/// A person with a token of their own, at the command line.
struct Person<'w> {
    world: &'w World,
    token: String,
}

impl<'w> Person<'w> {
    fn new(world: &'w World, name: &str, role: &str, partitions: &[&str]) -> Person<'w> {
        let mut arguments = vec!["tokens", "create", name, "--role", role];
        for partition in partitions {
            arguments.extend(["--partition", partition]);
        }
        let said = world.garrison(&arguments);
        assert_eq!(said.code, 0, "{said:?}");
        Person { world, token: said.out.trim().to_owned() }
    }

    fn says(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(program());
        command.env("GARRISON_URL", ok(self.world.site.url())).env("GARRISON_TOKEN", &self.token);
        Said::from(command.args(arguments).output().unwrap())
    }

    fn is_refused(&self, arguments: &[&str], words: &str) {
        let said = self.says(arguments);
        assert!(said.code == 4 && said.err.contains(words), "{arguments:?}: {said:?}");
    }
}

fn statuses(run: &Value, name: &str) -> Vec<String> {
    let jobs = run["jobs"].as_array().unwrap().iter().filter(|job| job["name"] == name);
    jobs.map(|job| job["status"].as_str().unwrap().to_owned()).collect()
}

fn are(name: &str, wanted: &[&str]) -> impl Fn(&Value) -> bool {
    move |run| statuses(run, name) == wanted
}

fn deployed(dir: &Path) -> String {
    let text = fs::read_to_string(dir.join("deployed")).unwrap_or_default();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join(" ")
}

fn show(world: &World, run: u64) -> String {
    let said = world.garrison(&["show", &run.to_string()]);
    assert_eq!(said.code, 0, "{said:?}");
    said.out
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

fn audit(world: &World) -> Vec<String> {
    let words = world.garrison(&["audit", "-o", "json"]).json();
    let word = |it: &Value| format!("{} {}", it["actor"], it["text"]).replace('"', "");
    words.as_array().unwrap().iter().rev().map(word).collect()
}

#[test]
fn a_run_waits_for_enough_different_people_through_a_crash_and_then_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::start(&["fra", "muc"], &pipeline(dir.path()));
    let tokens = {
        let people = ["anna", "ben", "cleo"].map(|name| Person::new(&world, name, "admin", &[]));
        let dora = Person::new(&world, "dora", "edit", &[]);
        let emil = Person::new(&world, "emil", "admin", &["nbg"]);
        let [anna, ben, cleo] = &people;

        let started = cleo.says(&["trigger", "deploy", "--repository", "infra", "-o", "json"]);
        assert_eq!((started.code, &started.json()["id"]), (0, &json!(1)), "{started:?}");
        world.run_when(1, "wait for people", are("approve", &["open", "open"]));
        let listed = anna.says(&["gates"]);
        for words in
            ["2 approvals by admins", "may approve", "OPS-12: lets 1 job through in muc: deploy"]
        {
            assert!(listed.out.contains(words), "{listed:?}");
        }
        let gates = cleo.says(&["gates", "list", "-o", "json"]).json();
        assert_eq!(gates[1]["partition"], "muc", "{gates:#}");
        assert_eq!((&gates[0]["missing"], &gates[0]["may_answer"]), (&json!(2), &json!(false)));
        assert_eq!(emil.says(&["gates", "-o", "json"]).json(), json!([]));

        cleo.is_refused(
            &["approve", "1"],
            "cleo triggered run 1, so somebody else must approve it",
        );
        dora.is_refused(&["approve", "1"], "approving needs admin; dora lacks it");
        emil.is_refused(&["approve", "1"], "no gate of run 1 is open");
        anna.is_refused(&["approve", "1", "deploy"], "no gate 'deploy' of run 1 is open");
        anna.is_refused(&["acknowledge", "1", "approve"], "is approved, not acknowledged");
        let both = anna.says(&["approve", "1", "--comment", "looks fine"]);
        let line = |id: &str, partition: &str| {
            format!(
                "gate {id} (approve in {partition}): waits for 1 approval by an admin; approved by \
                 anna (looks fine)\n"
            )
        };
        assert_eq!(both.out, line("1.2", "fra") + &line("1.3", "muc"), "{both:?}");
        anna.is_refused(&["approve", "1", "--partition", "fra"], "anna has approved already");
        [anna, ben].map(|it| it.token.clone())
    };
    ok(world.site.kill_coordinator());
    ok(world.site.start_coordinator());
    assert_eq!(deployed(dir.path()), "");
    let shown = show(&world, 1);
    let waits = shown.contains("1.2 approve: waits for 1 approval by an admin since 20");
    assert!(waits && shown.contains("; approved by anna (looks fine)\n"), "{shown}");

    let [anna, ben] = tokens.map(|token| Person { world: &world, token });
    anna.is_refused(&["approve", "1", "approve", "--partition", "muc"], "has approved already");
    assert_eq!(ben.says(&["approve", "1", "approve", "--partition", "fra"]).code, 0);
    ben.is_refused(
        &["approve", "1", "approve", "--partition", "fra"],
        "no gate 'approve' of run 1",
    );
    world.run_when(1, "be deployed in fra", are("deploy", &["succeeded", "waiting"]));
    assert_eq!(deployed(dir.path()), "fra");
    assert_eq!(
        ben.says(&["approve", "1"]).out,
        "gate 1.3 (approve in muc): approved by anna (looks fine), ben\n"
    );
    assert_eq!(world.finished(1)["status"], "succeeded");
    assert_eq!(deployed(dir.path()), "fra muc");
    ben.is_refused(&["approve", "1"], "no gate of run 1 is open");
    let said = [
        "anna approved gate 1.2 (approve in fra) of deploy, as admin: looks fine",
        "anna approved gate 1.3 (approve in muc) of deploy, as admin: looks fine",
        "ben approved gate 1.2 (approve in fra) of deploy, as admin",
        "ben approved gate 1.3 (approve in muc) of deploy, as admin",
    ];
    assert_eq!(audit(&world), said);
    ok(world.site.stop_coordinator());
    let config = world.site.data().parent().unwrap().join("coordinator.toml");
    let replay = ["coordinator", "replay", "--config", config.to_str().unwrap()];
    let said = world.garrison(&replay);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn a_reject_keeps_everything_behind_from_starting_until_the_run_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(&["fra", "muc"], &pipeline(dir.path()));
    let run = world.trigger();
    world.run_when(run, "wait for people", are("approve", &["open", "open"]));
    let anna = Person::new(&world, "anna", "admin", &[]);
    let metrics = world.metrics();
    for sample in ["garrison_gates_open{partition=\"fra\"} 1", "garrison_jobs{state=\"open\"} 2"] {
        assert!(metrics.contains(sample), "{metrics}");
    }
    let without = anna.says(&["reject", "1", "approve"]);
    assert!(without.code == 2 && without.err.contains("--reason"), "{without:?}");
    let said = anna.says(&["reject", "1", "approve", "--reason", "not on a Friday"]);
    let words = "gate 1.3 (approve in muc): rejected by anna: not on a Friday";
    assert!(said.code == 0 && said.out.contains(words), "{said:?}");
    let ended = world.finished(run);
    assert_eq!((&ended["status"], deployed(dir.path())), (&json!("failed"), String::new()));
    let shown = show(&world, run);
    assert!(shown.contains("1.4 deploy: approve did not let it through"), "{shown}");

    // Open again, and closed with its run.
    assert_eq!(world.garrison(&["retry", "1"]).code, 0);
    world.run_when(run, "wait again", are("approve", &["open", "open"]));
    assert_eq!(anna.says(&["approve", "1", "--partition", "fra"]).code, 0);
    let rest = anna.says(&["approve", "1"]);
    assert!(rest.code == 0 && rest.out.starts_with("gate 1.3 (approve in muc): "), "{rest:?}");
    assert_eq!(world.garrison(&["cancel", "1"]).code, 0);
    assert_eq!(statuses(&world.finished(run), "approve"), ["cancelled", "cancelled"]);
    anna.is_refused(&["approve", "1"], "no gate of run 1 is open");
    assert_eq!(world.garrison(&["gates"]).out, "no gate waits for anybody\n");
}

#[test]
fn somebody_waives_what_failed_and_the_next_stage_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(&["fra"], &stages(dir.path()));
    fs::write(dir.path().join("well"), "").unwrap();
    // Nobody is asked while all is well.
    assert_eq!(world.finished(world.trigger())["status"], "succeeded");
    assert_eq!(deployed(dir.path()), "leaves");

    fs::remove_file(dir.path().join("well")).unwrap();
    let run = world.trigger();
    world.run_when(run, "ask", are("go-on", &["open"]));
    let listed = world.garrison(&["gates"]).out;
    assert!(listed.contains("spines failed; it lets 1 job through in fra: leaves"), "{listed}");
    let said = Person::new(&world, "anna", "admin", &[]).says(&["approve", "2"]);
    assert_eq!(said.code, 0, "{said:?}");
    let ended = world.finished(run);
    let both = [statuses(&ended, "spines"), statuses(&ended, "leaves")].concat();
    assert_eq!(
        (&ended["status"], both),
        (&json!("failed"), ["failed", "succeeded"].map(str::to_owned).into())
    );
    assert_eq!(deployed(dir.path()), "leaves leaves");

    // Mended, it is tried again, and what came behind is not.
    fs::write(dir.path().join("well"), "").unwrap();
    assert_eq!(world.garrison(&["retry", "2"]).code, 0);
    let ended = world.run_when(run, "be mended", |run| run["status"] == "succeeded");
    assert_eq!(statuses(&ended, "go-on"), ["unneeded"]);
    assert_eq!(deployed(dir.path()), "leaves leaves");
}

#[test]
fn a_gates_time_goes_on_while_the_coordinator_is_dead() {
    let mut world = World::start(&["fra"], SHORT);
    let run = world.trigger();
    let open = world.run_when(run, "wait for people", are("approve", &["open"]));
    let expires = open["jobs"][0]["gate"]["expires_us"].as_u64().unwrap();
    ok(world.site.kill_coordinator());
    ok(garrison::site::wait("the gate's time to pass", || (now_us() > expires).then_some(())));
    let started = now_us();
    ok(world.site.start_coordinator());
    let ended = world.finished(run);
    assert_eq!(
        (&ended["status"], statuses(&ended, "boot")),
        (&json!("failed"), vec!["skipped".to_owned()])
    );
    assert_eq!(statuses(&ended, "approve"), ["expired"]);
    // Its ten seconds did not begin anew.
    assert!(ended["finished_us"].as_u64().unwrap() < started + 9_000_000, "{ended:#}");
}

#[test]
fn what_is_done_by_hand_is_acknowledged_in_its_very_words() {
    let world = World::start(&["fra"], BY_HAND);
    let follower = world.spawn(&["trigger", "deploy", "--repository", "infra", "--follow"]);
    let run = 1;
    world.run_when(run, "wait for hands", are("console", &["open"]));
    let unsaid = world.garrison(&["acknowledge", "1"]);
    assert!(
        unsaid.code == 2 && unsaid.err.contains("give --confirm 'loaded on console fw01'"),
        "{unsaid:?}"
    );
    let wrong = world.garrison(&["acknowledge", "1", "--confirm", "loaded"]);
    assert!(wrong.code == 2 && wrong.err.contains("nothing was done"), "{wrong:?}");
    let client = ok(world.site.client());
    let path = "/api/v1/gates/1.0/acknowledge";
    let refused = client.post::<Value>(path, &json!({ "text": "loaded" })).unwrap_err();
    assert!(refused.message.contains("is not what is to be acknowledged"), "{refused}");
    let refused = client.post::<Value>("/api/v1/gates/1.0/reject", &json!({ "reason": " " }));
    assert!(refused.unwrap_err().message.contains("needs a reason"));
    let refused = client.post::<Value>("/api/v1/gates/1.0/approve", &json!({ "comment": "a\nb" }));
    assert!(refused.unwrap_err().message.contains("write one line"));
    assert_eq!(show(&world, run).matches("open").count(), 1);

    // Who triggered may say so, as nobody else stands before the console.
    let said = world.garrison(&["acknowledge", "1", "--confirm", "loaded on console fw01"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (0, "gate 1.0 (console in fra): acknowledged by local admin\n")
    );
    assert_eq!(world.finished(run)["status"], "succeeded");
    let followed = Said::from(follower.wait_with_output().unwrap());
    let waits =
        "console              open (waits for an acknowledgement by somebody who may edit since 20";
    let said = "console              acknowledged (acknowledged by local admin)";
    assert!(followed.code == 0 && followed.out.contains(waits), "{followed:?}");
    assert!(followed.out.contains(said), "{followed:?}");
    let words = "local admin acknowledged gate 1.0 (console in fra) of deploy, as local admin: loaded on console fw01";
    assert_eq!(audit(&world), [words]);
}
