//! Wrong input gets a clear error, and leaves nothing half-made.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use garrison::site::{OPEN_POLICY, wait};
use integration::disk::SmallDisk;
use integration::{Said, World, channel, ok, program};
use proto::v1::agent_message::Kind as Up;
use proto::v1::coordinator_message::Kind as Down;
use proto::v1::link_client::LinkClient;
use proto::v1::{AgentMessage, AttemptState, Hello, LogMessage, attempt_state};

const PIPELINE: &str = "on: { manual: {} }\npartitions: [fra]\njobs:\n  wait:\n    process: {}\n    \
                        run: sleep 600\n";

/// Runs an agent of a site until it ends by itself.
fn agent_ends(world: &World, partition: &str, token: &str) -> Said {
    let dir = world.site.agent_dir(partition, "other");
    fs::create_dir_all(&dir).unwrap();
    let template =
        fs::read_to_string(world.site.dir().join("agent-fra-mgmt01/agent.toml")).unwrap();
    fs::write(
        dir.join("agent.toml"),
        template.replace("agent-fra-mgmt01", &format!("agent-{partition}-other")),
    )
    .unwrap();
    fs::write(dir.join("policy.toml"), OPEN_POLICY).unwrap();
    fs::write(dir.join("token"), token).unwrap();
    let mut command = Command::new(program());
    command.arg("agent").arg("-c").arg(dir.join("agent.toml"));
    command.arg("--join-token-file").arg(dir.join("token"));
    command.output().unwrap().into()
}

#[test]
fn a_join_token_is_good_once_for_a_short_time_and_for_its_own_coordinator() {
    let world = World::start(&["fra"], PIPELINE);
    let used =
        fs::read_to_string(world.site.agent_dir("fra", "mgmt01").join("join-token")).unwrap();
    let said = agent_ends(&world, "fra", &used);
    assert!(said.err.contains("this join token was used already"), "{said:?}");

    let arguments =
        ["agents", "token", "--partition", "fra", "--name", "other", "--ttl", "1s", "-o", "json"];
    let token = world.garrison(&arguments).json();
    let expired = UNIX_EPOCH + Duration::from_micros(token["expires_us"].as_u64().unwrap());
    ok(wait("the token to expire", || (SystemTime::now() > expired).then_some(())));
    let said = agent_ends(&world, "fra", token["token"].as_str().unwrap());
    assert!(said.err.contains("this join token has expired"), "{said:?}");

    let other = World::without_agents(&["fra"], PIPELINE);
    let foreign = ok(other.site.join_token("fra", "other"));
    let said = agent_ends(&world, "fra", &foreign);
    assert!(said.err.contains("not the coordinator that made this token"), "{said:?}");

    let said = agent_ends(&world, "fra", "not a token");
    assert!(said.err.contains("this is no join token"), "{said:?}");
    assert_ne!(said.code, 0);
}

#[test]
fn a_partition_that_is_not_configured_admits_nobody() {
    let world = World::without_agents(&["fra"], PIPELINE);
    let said = world.garrison(&["agents", "token", "--partition", "muc", "--name", "a"]);
    assert_eq!(said.code, 4);
    assert!(
        said.err.contains("partition 'muc' is not in the coordinator's configuration"),
        "{said:?}"
    );
}

fn hello(protocol: u32) -> AgentMessage {
    let hello = Hello {
        protocol,
        instance: "00000000-0000-0000-0000-000000000001".into(),
        version: "test".into(),
        boot_id: "test".into(),
        capacity: 1,
        attempts: vec![],
        labels: Default::default(),
        upgrade: None,
        sent_us: 0,
    };
    AgentMessage { kind: Some(Up::Hello(hello)) }
}

fn provider() {
    coordinator::tls::install_provider();
}

#[tokio::test]
async fn an_unknown_protocol_is_refused_in_words() {
    provider();
    let mut world = World::start(&["fra"], PIPELINE);
    ok(world.site.stop_agent("fra", "mgmt01"));
    let mut client = LinkClient::new(channel(&world, Some(("fra", "mgmt01"))).await);
    let messages = tokio_stream::once(hello(7));
    let mut down = client.control(messages).await.unwrap().into_inner();
    let Some(Down::Refused(reason)) = down.message().await.unwrap().unwrap().kind else {
        panic!("it was not refused");
    };
    let wanted = "the agent speaks protocol 7, this coordinator 1: upgrade the coordinator";
    assert_eq!(reason, wanted);
}

#[tokio::test]
async fn nobody_without_a_certificate_gets_a_link() {
    provider();
    let world = World::start(&["fra"], PIPELINE);
    let mut client = LinkClient::new(channel(&world, None).await);
    let status = client.control(tokio_stream::once(hello(1))).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    let status = client.ping(proto::v1::PingRequest {}).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    assert!(status.message().contains("needs an agent's certificate"), "{status}");
}

#[tokio::test]
async fn a_second_session_of_one_certificate_is_refused() {
    provider();
    let world = World::start(&["fra"], PIPELINE);
    let mut client = LinkClient::new(channel(&world, Some(("fra", "mgmt01"))).await);
    let mut down = client.control(tokio_stream::once(hello(1))).await.unwrap().into_inner();
    let Some(Down::Refused(reason)) = down.message().await.unwrap().unwrap().kind else {
        panic!("it was not refused");
    };
    assert!(reason.contains("two hosts must not share one certificate"), "{reason}");
}

#[tokio::test]
async fn a_heartbeat_is_answered_in_a_session_and_never_in_one_that_is_refused() {
    provider();
    let mut world = World::start(&["fra"], PIPELINE);
    ok(world.site.stop_agent("fra", "mgmt01"));
    ok(wait("the agent to be away", || {
        let agents = world.garrison(&["agents", "list", "-o", "json"]).json();
        (agents[0]["status"] == "away").then_some(())
    }));
    let heartbeat = |number| AgentMessage { kind: Some(Up::Heartbeat(number)) };
    let open = async |boot_id: &str, sent_us: u64| {
        let mut client = LinkClient::new(channel(&world, Some(("fra", "mgmt01"))).await);
        let (sender, messages) = tokio::sync::mpsc::channel(4);
        let mut hello = hello(1);
        if let Some(Up::Hello(hello)) = &mut hello.kind {
            (hello.boot_id, hello.sent_us) = (boot_id.to_owned(), sent_us);
        }
        sender.send(hello).await.unwrap();
        sender.send(heartbeat(7)).await.unwrap();
        let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
        (client.control(messages).await.unwrap().into_inner(), sender)
    };
    let (mut down, sender) = open("one host", 2).await;
    let Some(Down::Welcome(welcome)) = down.message().await.unwrap().unwrap().kind else {
        panic!("it was not welcomed");
    };
    assert!(welcome.heartbeats);
    assert_eq!(down.message().await.unwrap().unwrap().kind, Some(Down::Heartbeat(7)));

    let (mut second, _sender) = open("a copy of it", 3).await;
    let mut heard = Vec::new();
    while let Ok(Some(message)) = second.message().await {
        heard.extend(message.kind);
    }
    assert!(matches!(heard[..], [Down::Refused(_)]), "{heard:?}");

    sender.send(heartbeat(8)).await.unwrap();
    assert_eq!(down.message().await.unwrap().unwrap().kind, Some(Down::Heartbeat(8)));

    // What the same host said before says nothing any more.
    let (mut older, _sender) = open("one host", 1).await;
    let Some(Down::Refused(reason)) = older.message().await.unwrap().unwrap().kind else {
        panic!("it was not refused");
    };
    assert!(reason.contains("has said hello again since"), "{reason}");

    // The same host again: its newer link takes the older one's place.
    let (mut newer, newest) = open("one host", 3).await;
    let kind = newer.message().await.unwrap().unwrap().kind;
    assert!(matches!(kind, Some(Down::Welcome(_))), "{kind:?}");
    assert_eq!(newer.message().await.unwrap().unwrap().kind, Some(Down::Heartbeat(7)));
    drop(sender.send(heartbeat(9)).await);
    let mut heard = Vec::new();
    while let Ok(Some(message)) = down.message().await {
        heard.extend(message.kind);
    }
    assert!(matches!(heard[..], [Down::Refused(_)]), "{heard:?}");

    let said = world.garrison(&["agents", "revoke", "fra/mgmt01"]);
    assert_eq!(said.code, 0, "{said:?}");
    // The session may end before this can be sent.
    drop(newest.send(heartbeat(9)).await);
    let mut heard = Vec::new();
    while let Ok(Some(message)) = newer.message().await {
        heard.extend(message.kind);
    }
    assert!(matches!(heard[..], [Down::Refused(_)]), "{heard:?}");
}

#[tokio::test]
async fn an_agent_with_impossible_labels_is_refused_in_words() {
    provider();
    let mut world = World::start(&["fra"], PIPELINE);
    ok(world.site.stop_agent("fra", "mgmt01"));
    let many: HashMap<_, _> = (0..33).map(|it| (format!("l{it}"), "x".to_owned())).collect();
    for (labels, words) in [
        (many, "at most 32 labels"),
        ([("site".to_owned(), "a b".to_owned())].into(), "label 'site': it holds something else"),
        ([("Site".to_owned(), "a".to_owned())].into(), "label 'Site': its name may hold only a-z"),
    ] {
        let mut client = LinkClient::new(channel(&world, Some(("fra", "mgmt01"))).await);
        let Some(Up::Hello(hello)) = hello(1).kind else { unreachable!() };
        let hello = Up::Hello(Hello { labels, ..hello });
        let messages = tokio_stream::once(AgentMessage { kind: Some(hello) });
        let status = client.control(messages).await.unwrap_err();
        assert!(status.message().contains(words), "{status}");
    }
}

#[tokio::test]
async fn another_partitions_agent_can_neither_report_on_an_attempt_nor_write_its_log() {
    provider();
    let mut world = World::start(&["fra", "muc"], PIPELINE);
    let run = world.trigger();
    world.run_when(run, "run", |it| it["jobs"][0]["attempts"][0]["status"] == "running");
    ok(world.site.stop_agent("muc", "mgmt01"));

    let mut client = LinkClient::new(channel(&world, Some(("muc", "mgmt01"))).await);
    let verdict = serde_json::json!({
        "outcome": { "kind": "succeeded" }, "started_us": 1, "finished_us": 2,
        "log": { "length": 0, "sha256": "" },
    });
    let finished = attempt_state::State::Finished(verdict.to_string().into_bytes().into());
    let state = AttemptState { attempt: "1.0.1".into(), state: Some(finished) };
    let report = AgentMessage { kind: Some(Up::State(state)) };
    let (sender, messages) = tokio::sync::mpsc::channel(4);
    sender.send(hello(1)).await.unwrap();
    sender.send(report).await.unwrap();
    let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
    let mut down = client.control(messages).await.unwrap().into_inner();
    assert!(matches!(down.message().await.unwrap().unwrap().kind, Some(Down::Welcome(_))));
    // It hears what it would hear of any attempt that is none of its own.
    let answer = down.message().await.unwrap().unwrap().kind;
    assert!(matches!(answer, Some(Down::Acknowledge(_) | Down::Forget(_))), "{answer:?}");

    let log = LogMessage { attempt: "1.0.1".into(), ..LogMessage::default() };
    let mut acks = client.logs(tokio_stream::once(log)).await.unwrap().into_inner();
    let status = acks.message().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::PermissionDenied, "{status}");

    let shown = world.garrison(&["show", "1", "-o", "json"]).json();
    assert_eq!(shown["jobs"][0]["attempts"][0]["status"], "running");
}

#[test]
fn an_agent_of_another_authority_gets_no_link() {
    let mut one = World::start(&["fra"], PIPELINE);
    let other = World::start(&["fra"], PIPELINE);
    ok(one.site.stop_agent("fra", "mgmt01"));
    let config = |world: &World| world.site.agent_dir("fra", "mgmt01").join("agent.toml");
    let read = |world: &World| fs::read_to_string(config(world)).unwrap();
    let address = |text: &str| text.split('"').nth(1).unwrap().to_owned();
    let moved = read(&one).replace(&address(&read(&one)), &address(&read(&other)));
    fs::write(config(&one), moved).unwrap();
    ok(one.site.launch_agent("fra", "mgmt01"));
    let log = one.site.dir().join("agent-fra-mgmt01.log");
    ok(wait("the agent to say why", || {
        fs::read_to_string(&log).unwrap().contains("is not this agent's coordinator").then_some(())
    }));
}

#[test]
fn a_revoked_agent_is_cut_off_and_stays_out() {
    let world = World::start(&["fra"], PIPELINE);
    let said = world.garrison(&["agents", "revoke", "fra/mgmt01"]);
    assert_eq!(said.code, 0, "{said:?}");
    let log = world.site.dir().join("agent-fra-mgmt01.log");
    ok(wait("the agent to say why", || {
        fs::read_to_string(&log).unwrap().contains("was revoked").then_some(())
    }));
    let agents = world.garrison(&["agents", "list", "-o", "json"]).json();
    assert_eq!(agents[0]["status"], "revoked");
}

#[test]
fn a_token_does_what_its_role_and_partitions_allow_and_no_more() {
    let world = World::start(&["fra", "muc"], PIPELINE);
    let url = fs::read_to_string(world.site.data().join("local-admin.json")).unwrap();
    let url: serde_json::Value = serde_json::from_str(&url).unwrap();
    let with = |token: &str, arguments: &[&str]| -> Said {
        let mut command = Command::new(program());
        command.env("GARRISON_URL", url["url"].as_str().unwrap()).env("GARRISON_TOKEN", token);
        command.args(arguments).output().unwrap().into()
    };
    let create = |name: &str, more: &[&str]| {
        let arguments = [&["tokens", "create", name], more].concat();
        world.garrison(&arguments).out.trim().to_owned()
    };
    let trigger = ["trigger", "deploy", "-r", "infra"];

    let said = with("nonsense", &["runs"]);
    assert!(said.code == 4 && said.err.contains("this token is not known here"), "{said:?}");

    let viewer = create("viewer", &[]);
    assert_eq!(with(&viewer, &["runs"]).code, 0);
    let said = with(&viewer, &trigger);
    assert!(said.code == 4 && said.err.contains("triggering needs edit"), "{said:?}");

    let elsewhere = create("elsewhere", &["--role", "edit", "--partition", "muc"]);
    let said = with(&elsewhere, &trigger);
    assert!(
        said.err.contains("deploying in partition fra needs edit; elsewhere lacks it"),
        "{said:?}"
    );

    let editor = create("editor", &["--role", "edit", "--partition", "fra"]);
    assert_eq!(with(&editor, &trigger).code, 0);
    let runs = with(&editor, &["runs", "-o", "json"]).json();
    assert_eq!(runs[0]["actor"], "editor");
    assert_eq!(with(&elsewhere, &["runs", "-o", "json"]).json(), serde_json::json!([]));
    assert_eq!(with(&elsewhere, &["show", "1"]).code, 4);

    // One that got to no partition is for those who may see them all, and for whoever has triggered it.
    ok(world.site.commit(&[(".garrison/deploy.yaml", "name: deploy\non: { manual: }\nx: 1\n")]));
    with(&editor, &trigger);
    for (token, code) in [(&editor, 0), (&viewer, 0), (&elsewhere, 4)] {
        let said = with(token, &["show", "2"]);
        assert_eq!(
            (said.code, said.out.contains("unknown key `x`")),
            (code, code == 0),
            "{said:?}"
        );
    }

    world.garrison(&["tokens", "revoke", "editor"]);
    let said = with(&editor, &["runs"]);
    assert!(said.code == 4 && said.err.contains("token 'editor' was revoked"), "{said:?}");
}

#[test]
fn a_pipeline_with_mistakes_is_a_run_that_shows_all_of_them() {
    let text =
        "on: { manual: {} }\npartitions: [fra, nowhere]\njobs:\n  a:\n    procss: {}\n    run: x\n";
    let world = World::without_agents(&["fra"], text);
    let said = world.garrison(&["trigger", "deploy", "-r", "infra", "--follow"]);
    assert_eq!(said.code, 1, "{said:?}");
    for part in
        ["unknown key `procss`", ".garrison/deploy.yaml:5:5", "nowhere", "did you mean `process`?"]
    {
        assert!(said.out.contains(part), "{part} in {}", said.out);
    }
}

#[test]
fn what_does_not_exist_is_named() {
    let world = World::without_agents(&["fra"], PIPELINE);
    let said = world.garrison(&["trigger", "dploy", "-r", "infra"]);
    assert!(
        said.err.contains("no pipeline 'dploy'") && said.err.contains("there are deploy"),
        "{said:?}"
    );
    let said = world.garrison(&["trigger", "deploy", "-r", "infra", "--ref", "nope"]);
    assert!(said.err.contains("there is no refs/heads/nope"), "{said:?}");
    let said = world.garrison(&["trigger", "deploy", "-r", "other"]);
    assert!(said.err.contains("repository 'other' is not in"), "{said:?}");
    for arguments in [["show", "7"], ["cancel", "7"], ["retry", "7"], ["logs", "7.0.1"]] {
        let said = world.garrison(&arguments);
        assert!(said.code == 4 && said.err.contains("there is no"), "{arguments:?} {said:?}");
    }
    let said = world.garrison(&["logs", "seven"]);
    assert!(said.code == 2 && said.err.contains("is no run (17)"), "{said:?}");
}

#[test]
fn a_port_or_a_directory_in_use_is_said() {
    let world = World::without_agents(&["fra"], PIPELINE);
    let config = fs::read_to_string(world.site.dir().join("coordinator.toml")).unwrap();
    let second = world.site.dir().join("second.toml");
    let run = || -> Said {
        let mut command = Command::new(program());
        command.arg("coordinator").arg("-c").arg(&second).output().unwrap().into()
    };
    fs::write(&second, &config).unwrap();
    let said = run();
    assert!(said.code == 1 && said.err.contains("already in use by pid"), "{said:?}");

    let admin = fs::read_to_string(world.site.data().join("local-admin.json")).unwrap();
    let admin: serde_json::Value = serde_json::from_str(&admin).unwrap();
    let address = admin["url"].as_str().unwrap().trim_start_matches("http://");
    let agents = admin["agents"].as_str().unwrap().trim_start_matches("https://");
    let config = config.replace("/coordinator\"", "/second\"").replace(agents, "127.0.0.1:0");
    fs::write(&second, config).unwrap();
    let said = run();
    assert!(
        said.code == 1 && said.err.contains(&format!("cannot listen on {address}")),
        "{said:?}"
    );
}

#[test]
fn a_wrong_configuration_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("coordinator.toml");
    fs::write(&path, "data = '/d'\n[agents]\nlisten = '0.0.0.0:1'\nnames = []\n[htp]\n").unwrap();
    let mut command = Command::new(program());
    let said: Said = command.arg("coordinator").arg("-c").arg(&path).output().unwrap().into();
    assert_eq!(said.code, 2);
    assert!(said.err.contains("line 5") && said.err.contains("htp"), "{said:?}");
}

#[test]
fn the_example_configurations_are_right() {
    let deploy = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let here = tempfile::tempdir().unwrap();
    // The agent looks at its policy and its state too.
    let (policy, state) = (deploy.join("policy.toml"), here.path().join("state"));
    for service in ["coordinator", "agent"] {
        let text = std::fs::read_to_string(deploy.join(format!("{service}.toml"))).unwrap();
        let text = text.replace("/etc/garrison/policy.toml", policy.to_str().unwrap());
        let text = text.replace("/var/lib/garrison-agent", state.to_str().unwrap());
        let config = here.path().join("config.toml");
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(program());
        let said: Said =
            command.arg(service).arg("--check").arg("-c").arg(config).output().unwrap().into();
        assert_eq!(said.code, 0, "{said:?}");
    }
}

#[test]
fn a_full_disk_is_said_and_work_goes_on_when_there_is_room() {
    let disk = SmallDisk::mount("400m");
    let mut world = World::without_agents(&["fra"], PIPELINE);
    ok(world.site.stop_coordinator());
    let config = world.site.data();
    fs::remove_dir_all(&config).unwrap();
    std::os::unix::fs::symlink(disk.path(), &config).unwrap();
    ok(world.site.start_coordinator());
    let ballast = disk.fill(16 << 20);
    let said = world.garrison(&["trigger", "deploy", "-r", "infra"]);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.err.contains("no space is left"), "{said:?}");
    let health = || ok(world.site.client()).get::<serde_json::Value>("/healthz");
    assert!(health().unwrap_err().message.contains("no space is left"));
    drop(ballast);
    let said = world.garrison(&["trigger", "deploy", "-r", "infra"]);
    assert_eq!(said.code, 0, "{said:?}\n{}", world.logs());
    assert_eq!(ok(health())["status"], "ok");
    // What was taken back stands in the journal, so that its decisions can be repeated.
    ok(world.site.stop_coordinator());
    let config = world.site.dir().join("coordinator.toml");
    let said = world.garrison(&["coordinator", "replay", "--config", config.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{said:?}");
    drop(world);
}
