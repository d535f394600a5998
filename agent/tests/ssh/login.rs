//! Who the script runs as, with what key, and with a terminal or without.

use agent::attempt::Attempt;
use agent::runner::handover::Handover;
use agent::secrets::Given;
use pipelines::outcome::{Exit, Outcome, Verdict};
use pipelines::plan::{Delivery, Secret, Ssh, Task};
use pipelines::secret::Value;

use crate::device::{ADMIN, Device, Setup, keygen};
use crate::host::*;

/// A device on which anybody may become anybody.
fn device_with_sudo() -> Device {
    Device::with(Setup {
        sudoers: Some("garrison-test ALL=(ALL) NOPASSWD: ALL"),
        ..Setup::default()
    })
}

fn secret(name: &str, value: String) -> Given {
    Given {
        name: name.parse().unwrap(),
        delivery: Delivery::Variable,
        value: Value::new(value).unwrap(),
    }
}

/// Runs `lines` with `secrets`, and with the agent's `keys`.
async fn run_with(
    (ssh, secrets, keys): (Ssh, Vec<Given>, &[std::path::PathBuf]),
    lines: &[&str],
) -> (Host, Attempt, Verdict) {
    let host = Host::new();
    let attempt = host.attempt_with(lines, |job| {
        job.task = Task::Ssh(Box::new(ssh));
        job.env = [("GREETING".to_owned(), "it's $(id)".to_owned())].into();
        let declared =
            secrets.iter().map(|it| Secret { name: it.name.clone(), delivery: it.delivery });
        job.secrets = declared.collect();
    });
    let handover = Handover::new(vec![]).with_ssh_keys(keys.to_owned()).with_secrets(secrets);
    let (attempt, verdict) = finish(launcher().spawn(&attempt, &handover).await.unwrap()).await;
    (host, attempt, verdict)
}

#[tokio::test]
async fn by_sudo_a_script_has_its_user_variables_and_secrets() {
    let device = device_with_sudo();
    for (user, id) in [("root", "0"), ("nobody", "65534")] {
        let ssh = Ssh { sudo: Some(user.into()), ..device.ssh_of(ADMIN) };
        let secrets = vec![secret("TOKEN", "corr3ct horse".to_owned())];
        let lines = [
            "echo \"$(id -u) $GREETING ${#TOKEN}\"",
            "words=$(cat /proc/[0-9]*/cmdline 2> /dev/null | tr '\\0' ' ')",
            "case $words in *\"$TOKEN\"*) exit 9 ;; esac",
        ];
        let (_host, attempt, verdict) =
            run_with((ssh, secrets, &[device.key("user")]), &lines).await;
        let output = output(&attempt);
        assert_eq!(verdict.outcome, Outcome::Succeeded, "{output}");
        assert!(output.contains(&format!("\n{id} it's $(id) 13\n")), "{output}");
    }
}

#[tokio::test]
async fn a_script_that_runs_by_sudo_is_ended_like_any_other() {
    let device = device_with_sudo();
    let host = Host::new();
    let ssh = Ssh { sudo: Some("root".into()), ..device.ssh_of(ADMIN) };
    let lines = ["trap '' TERM", "echo $GARRISON_MARK ready", "sleep 1000; :"];
    let attempt = host.attempt_with(&lines, |job| job.task = Task::Ssh(Box::new(ssh.clone())));
    let mut handle = device.spawn(&attempt).await;
    until_output(&mut handle, "$ sleep 1000").await;
    until("it runs", || !marked(&attempt).is_empty()).await;
    handle.cancel();
    let (attempt, verdict) = finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Cancelled, "{}", output(&attempt));
    assert_eq!(marked(&attempt), [0; 0]);
    // And its exit status comes through.
    let (_, verdict) = device.run_by(ssh, &host, &["exit 7"]).await;
    assert_eq!(verdict.outcome, Outcome::Failed { exit: Exit::Code(7) });
}

#[tokio::test]
async fn a_sudo_that_asks_for_a_password_is_told() {
    let device =
        Device::with(Setup { sudoers: Some("garrison-test ALL=(ALL) ALL"), ..Setup::default() });
    let ssh = Ssh { sudo: Some("root".into()), ..device.ssh_of(ADMIN) };
    let host = Host::new();
    let (attempt, verdict) = device.run_by(ssh, &host, &["echo ran"]).await;
    let Outcome::InfraError { reason } = verdict.outcome else { panic!("{}", verdict.outcome) };
    for part in ["cannot become root", "password is required", "NOPASSWD"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert!(!output(&attempt).contains("ran"));
}

#[tokio::test]
async fn a_key_that_is_a_secret_logs_in_and_goes_nowhere_else() {
    let device = Device::start();
    device.authorize("other");
    let text = std::fs::read_to_string(device.key("other")).unwrap();
    let ssh = Ssh { key: Some("KEY".parse().unwrap()), ..device.ssh() };
    let secrets = vec![secret("KEY", text.clone())];
    let lines = ["echo \"[$KEY]\"; export", "test -z \"$KEY\""];
    // Of the agent's own keys none would do.
    let (host, attempt, verdict) =
        run_with((ssh.clone(), secrets, &[device.key("user")]), &lines).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded, "{}", output(&attempt));
    let line = text.lines().nth(2).unwrap();
    let found = std::process::Command::new("grep").args(["-r", line]).arg(host.root()).output();
    assert!(found.unwrap().stdout.is_empty());

    for (text, part) in
        [("no key", "KEY is no private key"), (&device.public("user"), "is no private")]
    {
        let secrets = vec![secret("KEY", text.to_owned())];
        let (_host, _, verdict) = run_with((ssh.clone(), secrets, &[]), &["true"]).await;
        let Outcome::InfraError { reason } = verdict.outcome else { panic!("{}", verdict.outcome) };
        assert!(reason.contains(part) && !reason.contains(text), "{reason}");
    }
    let secrets = vec![secret("KEY", std::fs::read_to_string(device.key("user")).unwrap())];
    let (_host, _, verdict) = run_with((ssh, secrets, &[device.key("other")]), &["true"]).await;
    let Outcome::InfraError { reason } = verdict.outcome else { panic!("{}", verdict.outcome) };
    assert!(reason.contains("[secret KEY]"), "{reason}");
}

#[tokio::test]
async fn a_script_has_a_terminal_where_it_asks_for_one() {
    let device = device_with_sudo();
    let lines = [
        "test -t 0 && test -t 1 && test -t 2 && echo \"$(tput cols) $TERM\"",
        "echo \"$GREETING ${#TOKEN}\"",
        "exit 7",
    ];
    for sudo in [None, Some("root".to_owned())] {
        let ssh = Ssh { pty: true, sudo, ..device.ssh_of(ADMIN) };
        let secrets = vec![secret("TOKEN", "corr3ct horse".to_owned())];
        let (_host, attempt, verdict) =
            run_with((ssh, secrets, &[device.key("user")]), &lines).await;
        let output = output(&attempt);
        assert_eq!(verdict.outcome, Outcome::Failed { exit: Exit::Code(7) }, "{output}");
        assert!(output.contains("\r\n200 xterm\r\n"), "{output}");
        assert!(output.contains("\r\nit's $(id) 13\r\n"), "{output}");
        // What was sent is not shown.
        assert!(!output.contains("export"), "{output}");
    }
    let ssh = device.ssh_of(ADMIN);
    let (_, verdict) = device.run_by(ssh, &Host::new(), &["test ! -t 0 && test ! -t 1"]).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn a_job_with_a_terminal_is_ended_like_any_other() {
    let device = Device::start();
    let host = Host::new();
    let ssh = Ssh { pty: true, ..device.ssh() };
    let lines = ["trap '' TERM", "echo ready", "sleep 1000; :"];
    let attempt = host.attempt_with(&lines, |job| job.task = Task::Ssh(Box::new(ssh)));
    let mut handle = device.spawn(&attempt).await;
    until_output(&mut handle, "\nready\r\n").await;
    handle.cancel();
    let (attempt, verdict) = finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Cancelled, "{}", output(&attempt));
    device.assert_idle();
}

#[tokio::test]
async fn rsa_is_good_enough_where_the_inventory_says_so_alone() {
    let device = Device::start();
    keygen("rsa", &device.key("user_rsa"));
    device.authorize("user_rsa");
    let host = Host::new();
    let run = |ssh: Ssh| {
        let attempt = host.attempt_with(&["true"], |job| job.task = Task::Ssh(Box::new(ssh)));
        let keys = [device.key("user_rsa")];
        async move { finish(crate::device::spawn(&attempt, &keys).await).await.1.outcome }
    };
    let Outcome::InfraError { reason } = run(device.ssh()).await else { panic!() };
    assert!(reason.contains("are RSA keys") && reason.contains("rsa: true"), "{reason}");
    assert_eq!(run(Ssh { rsa: true, ..device.ssh() }).await, Outcome::Succeeded);
}

#[tokio::test]
async fn an_rsa_host_key_counts_where_the_inventory_says_so_alone() {
    let mut device = Device::start();
    device.go_down();
    std::fs::remove_file(device.key("host")).unwrap();
    keygen("rsa", &device.key("host"));
    device.come_back("any");
    let host = Host::new();
    let (_, verdict) = device.run(&host, &["true"]).await;
    let Outcome::InfraError { reason } = verdict.outcome else { panic!("{}", verdict.outcome) };
    assert!(reason.contains("cannot be checked") && reason.contains("rsa: true"), "{reason}");
    let rsa = Ssh { rsa: true, ..device.ssh() };
    let (_, verdict) = device.run_by(rsa.clone(), &host, &["true"]).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    // Another RSA key is another key.
    keygen("rsa", &device.key("stranger"));
    let ssh = Ssh { host_key: device.public("stranger"), ..rsa };
    let (_, verdict) = device.run_by(ssh, &host, &["true"]).await;
    let Outcome::InfraError { reason } = verdict.outcome else { panic!("{}", verdict.outcome) };
    assert!(reason.contains(&device.fingerprint("stranger")), "{reason}");
}
