//! Devices: pinned host keys, and commands that say how it is there.

use pipelines::outcome::Outcome;
use pipelines::plan::Ssh;
use pipelines::probe::Check;

use crate::device::Device;
use crate::host::*;
use crate::{missed, passes, probe, problem};

#[tokio::test]
async fn a_device_is_known_by_its_pinned_host_key() {
    let (host, device) = (Host::new(), Device::start());
    // Nobody logs in, so no key is needed.
    passes(&host, Check::HostKey { device: Box::new(device.ssh()) }).await;
    let other = Ssh { host_key: device.public("user"), ..device.ssh() };
    let said = missed(&host, Check::HostKey { device: Box::new(other) }).await;
    assert!(said.starts_with("ssh leaf01 did not pass within 1s: "), "{said}");
    assert!(said.contains(&device.fingerprint("host")), "{said}");
}

#[tokio::test]
async fn a_command_on_the_device_is_tried_until_its_output_is_as_wanted() {
    let (host, device) = (Host::new(), Device::start());
    let ready = device.key("ready");
    let line = "cat $READY && echo \"state: $WANTED\"".to_owned();
    let wanted = Some("Established$".to_owned());
    let check = |line: &str, output: Option<String>| Check::Run { line: line.to_owned(), output };
    let attempt = |wait| {
        let task = device.task();
        host.attempt_with(&["echo ran"], |job| {
            task(job);
            let variables = [("READY", ready.to_str().unwrap()), ("WANTED", "Established")];
            job.env.extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
            job.wait = vec![wait];
        })
    };
    let waiting = attempt(probe(check(&line, wanted.clone()), 60));
    let mut handle = device.spawn(&waiting).await;
    until_output(&mut handle, "exit status 1: cat: ").await;
    std::fs::write(&ready, "").unwrap();
    let (attempt_, verdict) = finish(handle).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded, "{}", output(&attempt_));
    let said = output(&attempt_);
    assert!(said.find("\nran\n") < said.find("wait: run `cat "), "{said}");
    device.assert_idle();

    let idle = attempt(probe(check("echo Idle; echo no >&2", wanted), 1));
    let (_, verdict) = finish(device.spawn(&idle).await).await;
    assert_eq!(
        problem(&verdict),
        "run `echo Idle; echo no >&2` did not pass within 1s: its output does not match \
         `Established$`: Idle (1 try)"
    );
}
