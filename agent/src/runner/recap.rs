//! What came of the hosts of a job's Ansible: lines of JSON in a file, by the callback plugin, read when the
//! job has ended, however it did.
//!
//! The file is the job's: it may hold anything by then, and be something else than a file. It decides nothing.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pipelines::plan::Ansible;
use pipelines::recap::{Failure, Host, Recap};
use serde::Deserialize;

use super::outputs;
use crate::executor;
use crate::output::Output;

/// Most bytes of the file that are read.
const MOST: u64 = 16 << 20;

/// Makes the file in the attempt's directory `dir`, if the job's Ansible is asked.
pub(super) fn prepare(dir: &Path, ansible: Option<&Ansible>) -> io::Result<()> {
    if ansible.is_none() {
        return Ok(());
    }
    let file = File::create(executor::recap(dir))?;
    // A container's user may be any; nobody else gets as far as the directory.
    file.set_permissions(Permissions::from_mode(0o666))
}

/// What the file says, masked; none if Ansible never began.
pub(super) fn take(dir: &Path, ansible: Option<&Ansible>, output: &mut Output) -> Option<Recap> {
    ansible?;
    match read(&executor::recap(dir)) {
        Ok(bytes) => parse(&bytes, |text| output.masked(&text)),
        Err(error) => {
            // The outcome stands even if this line cannot be written.
            let _ = output.say(&format!("the file $GARRISON_RECAP cannot be read: {error}"));
            None
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = outputs::open(path)?;
    let file = file.ok_or_else(|| io::Error::other("it is no file any more"))?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A line of the file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    /// Ansible begins.
    Call {
        call: bool,
        check: bool,
    },
    Failure(Failure),
    /// What came of a host in one call; those of several add up.
    Host(Host),
}

/// The recap of these lines. One that is none, such as a last one that was cut off, is left out.
fn parse(bytes: &[u8], masked: impl Fn(String) -> String) -> Option<Recap> {
    let (mut recap, mut calls) = (Recap { check: true, ..Recap::default() }, 0);
    let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Line::Call { call: true, check }) => {
                calls += 1;
                recap.check &= check;
            }
            Ok(Line::Failure(Failure { failure, host, task, message })) => {
                let (host, task, message) = (masked(host), masked(task), masked(message));
                recap.failures.push(Failure { failure, host, task, message });
            }
            Ok(Line::Host(host)) => {
                let name = masked(host.host.clone());
                let new = Host { host: name.clone(), ..Host::default() };
                add(hosts.entry(name).or_insert(new), &host);
            }
            Ok(Line::Call { call: false, .. }) | Err(_) => {}
        }
    }
    recap.hosts = hosts.into_values().collect();
    (calls > 0).then(|| recap.bounded())
}

fn add(known: &mut Host, more: &Host) {
    let Host { host: _, ok, changed, unreachable, failed, skipped, rescued, ignored } = known;
    for (count, more) in [
        (ok, more.ok),
        (changed, more.changed),
        (unreachable, more.unreachable),
        (failed, more.failed),
        (skipped, more.skipped),
        (rescued, more.rescued),
        (ignored, more.ignored),
    ] {
        *count = count.saturating_add(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Recap> {
        parse(text.as_bytes(), |text| text.replace("hunter2", "***"))
    }

    #[test]
    fn calls_add_up() {
        let recap = parsed(
            r#"{"call": true, "check": true}
{"host": "b", "ok": 2, "changed": 1}      
{"host": "a", "ok": 1, "skipped": 3}
{"call": true, "check": false}
{"host": "c", "unreachable": 1}
{"failure": "unreachable", "host": "c", "task": "Gathering Facts", "message": "no route"}
{"host": "b", "ok": 4294967295, "failed": 1}
{"host": "b", "ok""#,
        );
        let recap = recap.unwrap();
        assert_eq!(recap.to_string(), "3 hosts, 1 changed, c unreachable, b failed");
        let b = Host { host: "b".into(), ok: u32::MAX, changed: 1, failed: 1, ..Host::default() };
        assert_eq!(recap.hosts[1], b);
        assert_eq!((recap.hosts[0].host.as_str(), recap.check), ("a", false));
        assert_eq!(recap.failures[0].to_string(), "c unreachable at 'Gathering Facts': no route");
    }

    #[test]
    fn what_is_no_line_of_the_plugin_is_left_out() {
        assert_eq!(parsed(""), None);
        assert_eq!(parsed("{\"host\": \"a\"}\n"), None);
        let call = r#"{"call": true, "check": false}"#;
        for bad in [
            "{",
            "[1]",
            "\0",
            r#"{"host": 1}"#,
            r#"{"host": "a", "ok": -1}"#,
            r#"{"host": "a", "ok": 1e99}"#,
        ] {
            assert_eq!(parsed(&format!("{bad}\n{call}\n{bad}")), Some(Recap::default()), "{bad}");
        }
        let deep = format!("{call}\n{}", "[".repeat(100_000));
        assert_eq!(parsed(&deep), Some(Recap::default()));
        assert_eq!(
            parse(&[call.as_bytes(), b"\n\xff\xfe"].concat(), |it| it),
            Some(Recap::default())
        );
    }

    #[test]
    fn secrets_are_masked_before_anything_is_cut() {
        let long = format!("{}hunter2", "x".repeat(490));
        let recap = parsed(&format!(
            "{{\"call\": true, \"check\": false}}\n{{\"host\": \"hunter2\"}}\n{{\"failure\": \"failed\", \
             \"host\": \"a\", \"task\": \"hunter2\", \"message\": \"{long}\"}}\n"
        ));
        let recap = recap.unwrap();
        let text = serde_json::to_string(&recap).unwrap();
        assert!(!text.contains("hunt") && text.contains("***"), "{text}");
    }

    #[test]
    fn only_a_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = executor::recap(dir.path());
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("no file any more"));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(read(&path).is_err());
    }
}
