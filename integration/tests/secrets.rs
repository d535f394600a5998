//! Secrets from the command line to the job, and nowhere else: real jobs that print them in every
//! way, and a search of everything that is left.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use garrison::site::{OPEN_POLICY, wait};
use integration::{World, channel, image, kill_runner, ok};
use memchr::memmem;
use proto::v1::agent_message::Kind as Up;
use proto::v1::coordinator_message::Kind as Down;
use proto::v1::link_client::LinkClient;
use proto::v1::{Accepted, AgentMessage, AttemptState, Hello, SecretsRequest, attempt_state};
use sha2::{Digest, Sha256};
use tonic::Code;

/// Stands in every value; no other text here has the words that are searched for.
const CORE: &str = r#"corr3ct "horse/batt+ery st4ple"#;

/// Jobs that print a secret of their own.
const JOBS: usize = 200;

/// Prints `$V` as programs do, and in pieces.
const PRINT: &str = r#"
      printf '%s\n' "$V"
      env | grep "^S$N="
      echo "$V" | base64
      for before in '' a ab 'user:'; do printf '%s%s' "$before" "$V" | base64 -w0; echo; done
      for before in '' a ab; do printf '%s%s!' "$before" "$V" | base64 -w0 | tr '+/' '-_' | tr -d =; echo; done
      printf '{"v":"%s"}\n' "$(printf '%s' "$V" | sed 's/"/\\"/g')"
      printf '{"v":"%s"}\n' "$(printf '%s' "$V" | sed 's/"/\\"/g; s|/|\\/|g')"
      printf '%s\n' "$V" | sed 's/+/%2B/g; s/"/%22/g; s|/|%2F|g; s/ /%20/g'
      printf '%s\n' "$V" | sed 's/+/%2b/g; s/"/%22/g; s/ /+/g' >&2
      for size in 1 2 3 5 8 13 $((N % 7 + 1)) $((N % 11 + 4)); do printf '%s' "$V" | dd bs=$size status=none; echo; done
      i=0; while [ $i -lt ${#V} ]; do printf '%s' "$V" | cut -c$((i + 1))-$((i + N % 3 + 1)) | tr -d '\n'; i=$((i + N % 3 + 1)); done; echo
"#;

/// What must be found nowhere: words that survive escapes, and what of the core's Base64 does not
/// depend on what stands beside it.
fn needles() -> Vec<String> {
    let mut needles = vec!["corr3ct".to_owned(), "st4ple".to_owned()];
    for before in 0..3 {
        let encoded = STANDARD.encode(format!("{}{CORE}", &"xxx"[..before]));
        needles.push(encoded[4..20].to_owned());
    }
    needles
}

fn found_in(bytes: &[u8]) -> Option<String> {
    needles().into_iter().find(|it| memmem::find(bytes, it.as_bytes()).is_some())
}

/// The files under a folder that hold a needle.
fn grep(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        // What vanishes meanwhile holds nothing.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            found.extend(grep(&path));
        } else if kind.is_file() {
            let needle = found_in(&fs::read(&path).unwrap_or_default());
            found.extend(needle.map(|needle| (path, needle)));
        }
    }
    found
}

/// Looks at the arguments of all processes, again and again, until it is dropped.
struct Watch {
    stop: Arc<AtomicBool>,
    looking: Option<std::thread::JoinHandle<Option<String>>>,
}

impl Watch {
    fn start() -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let looking = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for process in fs::read_dir("/proc").unwrap().flatten() {
                    let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
                    if let Some(needle) = found_in(&words) {
                        return Some(format!("{needle} in {}", String::from_utf8_lossy(&words)));
                    }
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            None
        });
        Watch { stop, looking: Some(looking) }
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        assert_eq!(self.looking.take().unwrap().join().unwrap(), None);
    }
}

fn set(world: &World, arguments: &[&str], value: &str) {
    let arguments = [&["secrets", "set"], arguments].concat();
    let said = world.garrison_reads(&arguments, value.as_bytes());
    assert_eq!(said.code, 0, "{said:?}");
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key whose lines all hold the core.
fn key() -> String {
    let line = |n| format!("{n:04}{CORE}{n:04}\n");
    format!("-----BEGIN {CORE}-----\n{}", (0..20).map(line).collect::<String>())
}

fn attempts(world: &World) -> PathBuf {
    world.site.agent_dir("fra", "mgmt01").join("state/attempts")
}

#[test]
fn two_hundred_jobs_print_their_secrets_and_nothing_is_left_of_them() {
    let values: Vec<String> = (0..JOBS).map(|n| format!("v{n}-{CORE}-{n}")).collect();
    let job = |(n, value): (usize, &String)| {
        let hash = sha256(value);
        format!(
            "  j{n}:\n    process: {{}}\n    secrets: [S{n}, {{ name: KEY, as: file }}]\n    \
             variables: {{ N: {n} }}\n    run: |\n      V=$S{n}\n{PRINT}      \
             cat \"$KEY\"; base64 \"$KEY\"; test \"$(stat -c %a \"$KEY\")\" = 600\n      \
             test \"$(printf %s \"$V\" | sha256sum | cut -c1-64)\" = {hash}\n      \
             test \"$(sha256sum < \"$KEY\" | cut -c1-64)\" = {}\n",
            sha256(key().trim_end())
        )
    };
    let jobs: String = values.iter().enumerate().map(job).collect();
    let held = "  held:\n    process: {}\n    secrets: [S0, { name: KEY, as: file }]\n    run: |\n      \
                printf '%s' \"$S0\" | dd bs=5 status=none\n      dirname \"$KEY\" > dir\n      \
                until test -e go; do sleep 0.01; done\n";
    let pipeline = format!("on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n{held}{jobs}");
    let mut world = World::without_agents(&["fra"], &pipeline);
    let client = ok(world.site.client());
    for (n, value) in values.iter().enumerate() {
        let body = serde_json::json!({
            "name": format!("S{n}"), "scope": { "kind": "everywhere" }, "value": value,
        });
        let _: serde_json::Value = ok(client.post("/api/v1/secrets", &body));
    }
    // A file ends with a newline, which is none of the value's.
    let file = tempfile::tempdir().unwrap();
    fs::write(file.path().join("key"), key()).unwrap();
    let path = file.path().join("key").display().to_string();
    set(&world, &["KEY", "--partition", "fra", "--file", &path], "");

    let watch = Watch::start();
    ok(world.site.add_agent("fra", "mgmt01", 8, OPEN_POLICY));
    let run = world.trigger();
    let attempt = attempts(&world).join("1.0.1");
    let noted = attempt.join("work/dir");
    let dir = ok(wait("the first job to have its secrets", || {
        fs::read_to_string(&noted).ok().filter(|text| text.ends_with('\n'))
    }));
    assert!(!grep(Path::new(dir.trim())).is_empty(), "no file in {dir}");
    ok(world.site.kill_agent("fra", "mgmt01"));
    kill_runner(&attempt);
    ok(world.site.kill_coordinator());
    ok(world.site.start_coordinator());
    ok(world.site.start_agent("fra", "mgmt01"));
    let half = |it: &serde_json::Value| ended(it) > JOBS / 4;
    world.run_when(run, "be on its way", half);
    ok(world.site.kill_coordinator());
    ok(world.site.kill_agent("fra", "mgmt01"));
    ok(world.site.start_coordinator());
    ok(world.site.start_agent("fra", "mgmt01"));
    let mut before = 0;
    let detail = loop {
        let detail = world.run_when(run, "go on", |it| ended(it) > before);
        before = ended(&detail);
        if before == JOBS + 1 {
            break world.finished(run);
        }
    };
    watch.end();

    assert_eq!(detail["jobs"][0]["status"], "lost", "{:#}", detail["jobs"][0]);
    assert!(!Path::new(dir.trim()).exists(), "{dir} is left");
    for (n, job) in detail["jobs"].as_array().unwrap().iter().enumerate().skip(1) {
        assert_eq!(job["status"], "succeeded", "{job:#}\n{}", world.log(run, n));
    }
    for n in [1, JOBS / 2, JOBS] {
        let log = world.log(run, n);
        assert_eq!(found_in(log.as_bytes()), None, "{log}");
        assert!(log.matches("[masked]").count() > 20, "{log}");
    }
    assert_eq!(grep(world.dir.path()), []);
    // What was delivered rests sealed: the same after everything was built anew.
    ok(world.site.stop_agent("fra", "mgmt01"));
    ok(world.site.stop_coordinator());
    fs::remove_dir_all(world.site.data().join("view")).unwrap();
    for check in ["rebuild", "replay"] {
        let config = world.site.dir().join("coordinator.toml").display().to_string();
        let said = world.garrison(&["coordinator", "--config", &config, check]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    ok(world.site.start_coordinator());
    let listed = world.garrison(&["secrets", "list", "-o", "json"]);
    assert_eq!(listed.json().as_array().unwrap().len(), JOBS + 1);
    assert_eq!(found_in(listed.out.as_bytes()), None);
    assert_eq!(grep(world.dir.path()), []);
}

fn ended(detail: &serde_json::Value) -> usize {
    let jobs = detail["jobs"].as_array().unwrap().iter();
    jobs.filter(|job| {
        !["queued", "waiting", "active", "cancelling", "unknown"]
            .contains(&job["status"].as_str().unwrap())
    })
    .count()
}

/// Where the engine that the tests use keeps its data.
fn data_root() -> PathBuf {
    let out = Command::new("docker").args(["info", "-f", "{{.DockerRootDir}}"]).output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().into()
}

#[test]
fn a_container_has_its_secrets_and_its_engine_nothing_of_them() {
    let (value, image) = (format!("v-{CORE}-w"), image());
    let pipeline = format!(
        "on: {{ manual: {{}} }}\npartitions: [fra]\njobs:\n  inside:\n    \
         container: {{ image: \"{image}\", pull: never, network: none }}\n    \
         secrets: [TOKEN, {{ name: KEY, as: file }}]\n    run: |\n      echo \"[$TOKEN]\"\n      \
         printf '%s' \"$TOKEN\" | dd bs=3\n      cat \"$KEY\"\n      ls -l \"$KEY\" > mode\n      \
         printf %s \"$TOKEN\" | sha256sum > token.sha256\n      sha256sum < \"$KEY\" > key.sha256\n      \
         touch ready\n      until test -e go; do sleep 0.01; done\n"
    );
    let world = World::start(&["fra"], &pipeline);
    set(&world, &["TOKEN", "--partition", "fra"], &value);
    set(&world, &["KEY"], &key());
    let watch = Watch::start();
    let run = world.trigger();
    let work = attempts(&world).join("1.0.1/work");
    let ready = wait("the job to be ready", || work.join("ready").exists().then_some(()));
    if let Err(failure) = ready {
        panic!("{failure}\n{}\n{}", world.log(run, 0), world.logs());
    }
    let read = |file| fs::read_to_string(work.join(file)).unwrap();
    assert!(read("token.sha256").starts_with(&sha256(&value)));
    assert!(read("key.sha256").starts_with(&sha256(key().trim_end())));
    assert!(read("mode").starts_with("-rw-------"), "{}", read("mode"));
    let filter = format!("volume={}", work.display());
    let found = Command::new("docker").args(["ps", "-q", "--filter", &filter]).output().unwrap();
    let containers = String::from_utf8(found.stdout).unwrap();
    assert_eq!(containers.lines().count(), 1);
    let inspected = Command::new("docker").args(["inspect", containers.trim()]).output().unwrap();
    let text = String::from_utf8_lossy(&inspected.stdout);
    assert_eq!(found_in(text.as_bytes()), None, "{text}");
    let inspected: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mounts = inspected[0]["Mounts"].as_array().unwrap();
    let mounted = mounts.iter().find(|it| it["Destination"] == "/run/garrison/secrets").unwrap();
    let mounted = Path::new(mounted["Source"].as_str().unwrap());
    assert!(!grep(mounted).is_empty(), "nothing in {}", mounted.display());
    assert_eq!(grep(&data_root().join("containers")), []);
    // Else what a container writes into its own layer would be searched for in those of others.
    for folder in ["image", "volumes", "network", "containerd", "buildkit"] {
        assert_eq!(grep(&data_root().join(folder)), []);
    }
    assert_eq!(grep(&data_root().join("overlay2")), []);
    fs::write(work.join("go"), "").unwrap();
    let detail = world.finished(run);
    watch.end();
    assert!(!mounted.exists(), "{} is left", mounted.display());
    let log = world.log(run, 0);
    assert_eq!(detail["status"], "succeeded", "{log}");
    assert!(log.contains("[[masked]]"), "{log}");
    assert_eq!(grep(world.dir.path()), []);
}

#[tokio::test]
async fn an_agent_gets_the_secrets_of_its_own_open_attempts_alone() {
    coordinator::tls::install_provider();
    let pipeline = "on: { manual: {} }\npartitions: [fra, muc]\njobs:\n  held:\n    \
                    partitions: [fra]\n    process: {}\n    secrets: [TOKEN]\n    run: |\n      \
                    until test -e go; do sleep 0.01; done\n  plain:\n    process: {}\n    \
                    run: |\n      env > env; test -z \"$TOKEN\"\n";
    let world = World::start(&["fra", "muc"], pipeline);
    set(&world, &["TOKEN", "--partition", "fra"], CORE);
    let run = world.trigger();
    world.run_when(run, "run", |it| it["jobs"][0]["attempts"][0]["status"] == "running");
    let ask = async |agent: &str, attempt: &str| {
        let mut client = LinkClient::new(channel(&world, Some((agent, "mgmt01"))).await);
        client.secrets(SecretsRequest { attempt: attempt.to_owned() }).await
    };
    let own = ask("fra", "1.0.1").await.unwrap().into_inner().secrets;
    assert_eq!((own.len(), own[0].name.as_str(), own[0].value.as_str()), (1, "TOKEN", CORE));
    for (agent, attempt) in [("muc", "1.0.1"), ("fra", "1.0.2"), ("muc", "7.0.1")] {
        let refused = ask(agent, attempt).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{agent} {attempt}");
    }
    assert_eq!(ask("fra", "x").await.unwrap_err().code(), Code::InvalidArgument);
    let mut nobody = LinkClient::new(channel(&world, None).await);
    let request = SecretsRequest { attempt: "1.0.1".to_owned() };
    assert_eq!(nobody.secrets(request).await.unwrap_err().code(), Code::Unauthenticated);

    fs::write(attempts(&world).join("1.0.1/work/go"), "").unwrap();
    let detail = world.finished(run);
    assert_eq!(detail["status"], "succeeded", "{detail:#}");
    assert_eq!(ask("fra", "1.0.1").await.unwrap_err().code(), Code::PermissionDenied);
}

/// Takes the order of attempt 1.0.1 in the place of an agent that is stopped, as if that had died
/// just behind its acknowledgement.
async fn accept(world: &World) -> Vec<u8> {
    let identity = world.site.agent_dir("fra", "mgmt01").join("state/identity");
    let hello = Hello {
        protocol: proto::PROTOCOL,
        instance: fs::read_to_string(identity.join("instance")).unwrap().trim().to_owned(),
        version: "test".into(),
        boot_id: "test".into(),
        capacity: 1,
        ..Hello::default()
    };
    let mut client = LinkClient::new(channel(world, Some(("fra", "mgmt01"))).await);
    let (sender, messages) = tokio::sync::mpsc::channel(4);
    sender.send(AgentMessage { kind: Some(Up::Hello(hello)) }).await.unwrap();
    let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
    let mut down = client.control(messages).await.unwrap().into_inner();
    loop {
        if let Some(Down::Order(order)) = down.message().await.unwrap().unwrap().kind {
            let state = attempt_state::State::Accepted(Accepted {});
            let state = AttemptState { attempt: order.attempt.clone(), state: Some(state) };
            sender.send(AgentMessage { kind: Some(Up::State(state)) }).await.unwrap();
            return order.order.to_vec();
        }
    }
}

#[tokio::test]
async fn an_attempt_that_was_accepted_waits_for_the_link_and_asks_for_its_secrets() {
    coordinator::tls::install_provider();
    let pipeline = "on: { manual: {} }\npartitions: [fra]\njobs:\n  a:\n    process: {}\n    \
                    secrets: [TOKEN]\n    run: echo \"[$TOKEN]\"\n";
    let mut world = World::start(&["fra"], pipeline);
    set(&world, &["TOKEN"], CORE);
    ok(world.site.stop_agent("fra", "mgmt01"));
    // A session beside one whose end was not noticed yet would be refused.
    let away = || {
        (world.garrison(&["agents", "list", "-o", "json"]).json()[0]["status"] == "away")
            .then_some(())
    };
    ok(wait("the agent's end to be noticed", away));
    let run = world.trigger();
    let order = accept(&world).await;
    assert_eq!(found_in(&order), None);
    let text = String::from_utf8(order.clone()).unwrap();
    assert!(text.contains(r#""version":2"#) && text.contains(r#""secrets":[{"name":"TOKEN"}]"#));
    let id = "1.0.1".parse().unwrap();
    let attempt = agent::attempt::Attempt::create(&attempts(&world), id, &order).unwrap();
    ok(world.site.kill_coordinator());
    ok(world.site.launch_agent("fra", "mgmt01"));
    let log = world.site.dir().join("agent-fra-mgmt01.log");
    ok(wait("the agent to find no coordinator", || {
        fs::read_to_string(&log).unwrap().contains("no link").then_some(())
    }));
    assert!(attempt.state().unwrap().started.is_none());
    ok(world.site.start_coordinator());
    let detail = world.finished(run);
    assert_eq!(detail["status"], "succeeded", "{detail:#}\n{}", world.logs());
    assert!(world.log(run, 0).contains("[[masked]]"));
}

#[test]
fn a_job_whose_secret_is_not_set_ends_in_words_and_works_once_it_is() {
    let pipeline = "on: { manual: {} }\npartitions: [fra]\njobs:\n  a:\n    process: {}\n    \
                    secrets: [TOKEN]\n    run: test \"$TOKEN\" = \"$(cat wanted)\"\n";
    let world = World::start(&["fra"], pipeline);
    ok(world.site.commit(&[("wanted", "hunter2")]));
    let detail = world.finished(world.trigger());
    assert_eq!(detail["jobs"][0]["status"], "infra_error");
    let words = detail["jobs"][0]["detail"].as_str().unwrap();
    for part in [
        "secret TOKEN is not set",
        "looked at partition fra, repository infra, everywhere",
        "garrison secrets set TOKEN --partition fra",
    ] {
        assert!(words.contains(part), "{part} in {words}");
    }
    set(&world, &["TOKEN", "--repository", "infra"], "hunter2\n");
    let said = world.garrison(&["retry", "1", "--follow"]);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn wrong_secrets_are_refused_in_words_that_repeat_nothing() {
    let pipeline =
        "on: { manual: {} }\npartitions: [fra]\njobs:\n  a: { process: {}, run: 'true' }\n";
    let world = World::without_agents(&["fra", "muc"], pipeline);
    let long = "corr3ct".repeat(10_000);
    for (arguments, value, words) in [
        (&["A"][..], "abc", "fewer than 4 bytes"),
        (&["A"], "abc\n", "fewer than 4 bytes"),
        (&["A"], "  \n  ", "the value is blank"),
        (&["A"], "corr3ct\0", "holds a NUL character"),
        (&["A"], &long, "more than 64 KiB"),
        (&["a"], "corr3ct", "is not made of A-Z"),
        (&["GARRISON_RUN"], "corr3ct", "begins with one of GARRISON_"),
        (&["A", "--partition", "nowhere"], "corr3ct", "'nowhere' is not in the coordinator's"),
        (&["A", "--repository", "none"], "corr3ct", "'none' is not in the coordinator's"),
        (&["A", "--device", "leaf01"], "corr3ct", "--partition"),
    ] {
        let said =
            world.garrison_reads(&[&["secrets", "set"], arguments].concat(), value.as_bytes());
        assert!([2, 4].contains(&said.code) && said.err.contains(words), "{said:?}");
        assert!(!said.err.contains("corr3ct"), "{said:?}");
    }
    let client = ok(world.site.client());
    let scope = serde_json::json!({ "kind": "everywhere" });
    for body in [
        serde_json::json!({ "name": "A", "scope": scope, "value": 9_271_828 }),
        serde_json::json!({ "name": "9271828", "scope": scope, "value": "9271828" }),
        serde_json::json!({ "value": "9271828" }),
        serde_json::json!("9271828"),
    ] {
        let said = client.post::<serde_json::Value>("/api/v1/secrets", &body).unwrap_err();
        assert!(!said.message.contains("271828"), "{said}");
    }
    assert_eq!(world.garrison(&["secrets", "list"]).out, "no secrets are set\n");
    assert!(!world.site.data().join("secrets.key").exists());

    let token = |name: &str, more: &[&str]| {
        let said = world.garrison(&[&["tokens", "create", name], more].concat());
        garrison::client::Client::new(&ok(world.site.url()), said.out.trim())
    };
    let body = |scope: serde_json::Value| serde_json::json!({ "name": "A", "scope": scope, "value": CORE });
    let fra = || serde_json::json!({ "kind": "partition", "partition": "fra" });
    let muc = || serde_json::json!({ "kind": "partition", "partition": "muc" });
    let set = |client: &garrison::client::Client, scope| {
        client.post::<serde_json::Value>("/api/v1/secrets", &body(scope))
    };
    let editor = token("editor", &["--role", "edit"]);
    let admin = token("fra-admin", &["--role", "admin", "--partition", "fra"]);
    for refused in [set(&editor, fra()), set(&admin, muc()), set(&admin, scope)] {
        assert!(refused.unwrap_err().message.contains("needs admin in"));
    }
    assert_eq!(ok(set(&admin, fra()))["version"], 1);
    assert_eq!(ok(set(&admin, fra()))["version"], 2);
    set(&ok(world.site.client()), muc()).unwrap();
    let seen: serde_json::Value = ok(admin.get("/api/v1/secrets"));
    assert_eq!(seen.as_array().unwrap().len(), 1, "{seen}");
    let seen: serde_json::Value = ok(editor.get("/api/v1/secrets"));
    assert_eq!(seen, serde_json::json!([]));

    let said = world.garrison(&["secrets", "delete", "A", "--partition", "fra"]);
    assert_eq!(said.out, "secret A (partition fra) is deleted\n", "{said:?}");
    let said = world.garrison(&["secrets", "delete", "A", "--partition", "fra"]);
    assert_eq!(said.code, 4, "{said:?}");
    assert_eq!(ok(set(&admin, fra()))["version"], 4);
    let audit = world.garrison(&["audit"]).out;
    for word in ["fra-admin", "set secret A (partition fra), version 1", "deleted secret A"] {
        assert!(audit.contains(word), "{audit}");
    }
    assert_eq!(grep(world.dir.path()), []);
}
