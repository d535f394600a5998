//! What was sealed opens in its own place alone, and agents get what is theirs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use coordinator_core::actor::Actor;
use coordinator_core::change::Change;
use coordinator_core::event::Wall;
use coordinator_core::secret::{Scope, Secret};
use pipelines::id::RunId;
use pipelines::plan::{self, Plan};
use tonic::Code;

use super::*;
use crate::store::{Options, Store, fixtures};

struct World {
    dir: tempfile::TempDir,
    store: Store,
    secrets: Secrets,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), Options::default(), Wall(1)).unwrap();
        let secrets = Secrets::open(None, dir.path(), store.view()).unwrap();
        World { dir, store, secrets }
    }

    fn put(&mut self, changes: &[Change]) {
        self.store.commit(Wall(1), &[], changes).unwrap();
    }

    fn set(&mut self, key: SecretKey, value: &str) {
        let version = self.store.view().secret(&key).unwrap().map_or(0, |it| it.version) + 1;
        let sealed = Some(self.secrets.seal(&key, version, &of(value)).unwrap());
        self.put(&[Change::Secret(Secret {
            key,
            version,
            sealed,
            by: Actor::LocalAdmin,
            at: Wall(1),
        })]);
    }

    /// The names and values that attempt 1.0.1 gets.
    fn delivered(&self, partition: &str) -> Result<Vec<(String, String)>, tonic::Status> {
        let agent = fixtures::agent(partition, "mgmt01").key;
        let secrets = self.secrets.deliver(&agent, RunId(1).job(0).attempt(1))?.secrets;
        Ok(secrets.into_iter().map(|secret| (secret.name, secret.value)).collect())
    }
}

fn of(value: &str) -> Value {
    Value::new(value.to_owned()).unwrap()
}

fn key(name: &str, scope: Scope) -> SecretKey {
    SecretKey { name: name.parse().unwrap(), scope }
}

fn scope(partition: &str) -> Scope {
    Scope::Partition { partition: partition.parse().unwrap() }
}

fn on_device() -> Scope {
    Scope::Device { partition: "fra".parse().unwrap(), device: "leaf01".parse().unwrap() }
}

/// A run whose job in `fra`, an open attempt of mgmt01, declares these secrets.
fn run(names: &[&str], device: Option<&str>, is_open: bool) -> Vec<Change> {
    let mut changes = fixtures::whole_run(1, "fra", is_open);
    for change in &mut changes {
        if let Change::Plan(_, plan) = change {
            let mut job = plan.jobs[0].clone();
            job.secrets = names.iter().map(|name| secret(name)).collect();
            if let Some(device) = device {
                let (device, address) = (device.parse().unwrap(), "10.0.0.1".into());
                let ssh = plan::Ssh::new(device, address, 22, "admin".into(), String::new());
                job.task = plan::Task::Ssh(Box::new(ssh));
            }
            *plan = Arc::new(Plan { jobs: vec![job], ..Plan::clone(plan) });
        }
    }
    changes
}

fn secret(name: &str) -> plan::Secret {
    plan::Secret { name: name.parse().unwrap(), delivery: plan::Delivery::Variable }
}

#[test]
fn what_was_sealed_opens_in_its_own_place_alone() {
    let world = World::new();
    let own = key("TOKEN", scope("fra"));
    let sealed = world.secrets.seal(&own, 3, &of("hunter2")).unwrap();
    let open = |key: &SecretKey, version, sealed: &Sealed| {
        world.secrets.open_sealed(key, version, sealed).map(|value| value.reveal().to_owned())
    };
    assert_eq!(open(&own, 3, &sealed).unwrap(), "hunter2");
    assert!(!format!("{sealed:?}").contains("hunter2"));

    let repository = |name: &str| Scope::Repository { repository: name.parse().unwrap() };
    for other in [
        key("OTHER", scope("fra")),
        key("TOKEN", scope("muc")),
        key("TOKEN", repository("fra")),
        key("TOKEN", on_device()),
        key("TOKEN", Scope::Everywhere),
    ] {
        assert!(matches!(open(&other, 3, &sealed), Err(Error::Altered(_))), "{other}");
    }
    for version in [2, 4] {
        assert!(matches!(open(&own, version, &sealed), Err(Error::Altered(_))));
    }
    let again = world.secrets.seal(&own, 3, &of("hunter2")).unwrap();
    assert!(again.nonce != sealed.nonce && again.bytes != sealed.bytes);
    let mixed = Sealed { nonce: again.nonce, ..sealed.clone() };
    assert!(matches!(open(&own, 3, &mixed), Err(Error::Altered(_))));
    for place in 0..sealed.bytes.len() {
        let mut bytes = sealed.bytes.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let altered = Sealed { bytes: String::from_utf8(bytes).unwrap(), ..sealed.clone() };
        let opened = open(&own, 3, &altered);
        assert!(matches!(opened, Err(Error::Altered(_))), "{place}");
    }
}

/// What rests in journals must open for ever.
#[test]
fn what_an_older_build_sealed_still_opens() {
    let dir = tempfile::tempdir().unwrap();
    write_key(&dir.path().join("secrets.key"), &[7; 32], 0o600);
    let (store, _) = Store::open(dir.path(), Options::default(), Wall(1)).unwrap();
    let secrets = Secrets::open(None, dir.path(), store.view()).unwrap();
    for (scope, nonce, bytes) in SEALED_BEFORE {
        let key = key("TOKEN", serde_json::from_str(scope).unwrap());
        let (nonce, bytes) = (nonce.to_owned(), bytes.to_owned());
        let sealed = Sealed { key: KEY_BEFORE.to_owned(), nonce, bytes };
        let value = secrets.open_sealed(&key, 2, &sealed).unwrap();
        assert_eq!(value.reveal(), "correct horse");
    }
}

fn write_key(path: &Path, bytes: &[u8], mode: u32) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_master_key_is_made_once_closed_and_missed_when_it_is_gone() {
    let mut world = World::new();
    let path = world.dir.path().join("secrets.key");
    assert!(!path.exists());
    let token = key("TOKEN", Scope::Everywhere);
    world.set(token.clone(), "hunter2");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let made = fs::read(&path).unwrap();
    assert_eq!(made.len(), 32);

    let again = || Secrets::open(None, world.dir.path(), world.store.view());
    let record = world.store.view().secret(&token).unwrap().unwrap();
    let sealed = record.sealed.unwrap();
    assert_eq!(again().unwrap().open_sealed(&token, 1, &sealed).unwrap().reveal(), "hunter2");

    write_key(&path, &[1; 32], 0o600);
    let words = again().unwrap().open_sealed(&token, 1, &sealed).unwrap_err().to_string();
    assert!(words.contains("put the right key there"), "{words}");
    fs::remove_file(&path).unwrap();
    let without = again().unwrap();
    let words = without.seal(&token, 2, &of("hunter3")).unwrap_err().to_string();
    assert!(words.contains("is gone") && words.contains("head -c 32"), "{words}");
    assert!(!path.exists());
    // It is taken as soon as it is back.
    write_key(&path, &made, 0o600);
    assert!(without.open_sealed(&token, 1, &sealed).is_ok());
}

#[test]
fn a_key_file_that_is_named_must_be_a_key_that_others_cannot_read() {
    let world = World::new();
    let path = world.dir.path().join("master");
    let open = || Secrets::open(Some(&path), world.dir.path(), world.store.view());
    let words = |opened: Result<Secrets, Error>| opened.err().unwrap().to_string();
    assert!(words(open()).contains("cannot read"));
    write_key(&path, &[7; 32], 0o644);
    assert!(words(open()).contains("chmod o-rwx"));
    write_key(&path, &[7; 31], 0o600);
    assert!(words(open()).contains("holds 31 bytes"));
    write_key(&path, &[7; 32], 0o600);
    assert!(open().unwrap().seal(&key("A", Scope::Everywhere), 1, &of("hunter2")).is_ok());
    assert!(!world.dir.path().join("secrets.key").exists());
}

#[test]
fn a_job_gets_what_it_declares_from_the_narrowest_scope() {
    let mut world = World::new();
    world.put(&run(&["TOKEN"], Some("leaf01"), true));
    let token = |value: &str| vec![("TOKEN".to_owned(), value.to_owned())];
    world.set(key("OTHER", Scope::Everywhere), "undeclared");
    let repository = Scope::Repository { repository: "metal".parse().unwrap() };
    let elsewhere =
        Scope::Device { partition: "fra".parse().unwrap(), device: "a".parse().unwrap() };
    let foreign = Scope::Repository { repository: "other".parse().unwrap() };
    for other in [scope("muc"), elsewhere, foreign] {
        world.set(key("TOKEN", other), "not for this job");
    }
    for (scope, value) in [
        (Scope::Everywhere, "everywhere"),
        (repository, "repository"),
        (scope("fra"), "partition"),
        (on_device(), "device"),
    ] {
        world.set(key("TOKEN", scope), value);
        assert_eq!(world.delivered("fra").unwrap(), token(value));
    }
    let view = world.store.view();
    let deleted = view.secret(&key("TOKEN", on_device())).unwrap().unwrap();
    let deleted = Secret { version: 2, sealed: None, ..deleted };
    world.put(&[Change::Secret(deleted)]);
    assert_eq!(world.delivered("fra").unwrap(), token("partition"));
}

#[test]
fn only_the_agent_of_an_open_attempt_gets_secrets() {
    let mut world = World::new();
    world.set(key("TOKEN", Scope::Everywhere), "hunter2");
    world.put(&run(&["TOKEN"], None, true));
    assert_eq!(world.delivered("muc").unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(world.delivered("fra").unwrap().len(), 1);
    world.put(&run(&["TOKEN"], None, false));
    let refused = world.delivered("fra").unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(refused.message(), "attempt 1.0.1 is not an open one of this agent");
}

#[test]
fn secrets_that_are_not_set_are_told_with_what_to_do() {
    let mut world = World::new();
    world.put(&run(&["TOKEN", "PRESENT", "SSH_KEY"], None, true));
    world.set(key("PRESENT", Scope::Everywhere), "hunter2");
    let refused = world.delivered("fra").unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(
        refused.message(),
        "secrets TOKEN, SSH_KEY are not set: looked at partition fra, repository metal, everywhere; \
         'garrison secrets set TOKEN --partition fra' sets TOKEN, \
         'garrison secrets set SSH_KEY --partition fra' sets SSH_KEY"
    );
}

#[test]
fn secrets_that_are_too_long_together_are_not_delivered() {
    let mut world = World::new();
    world.put(&run(&["A", "B", "C"], None, true));
    let long = "x".repeat(pipelines::secret::LONGEST);
    for name in ["A", "B"] {
        world.set(key(name, Scope::Everywhere), &long);
    }
    world.set(key("C", Scope::Everywhere), "hunter2");
    let refused = world.delivered("fra").unwrap_err();
    let words = "131079 bytes together, and at most 128 KiB can be masked";
    assert!(refused.message().contains(words), "{refused}");
}

/// The name of the key of 32 bytes 7.
const KEY_BEFORE: &str = "9b6dc7b4";

/// Scope, nonce and bytes of "correct horse", version 2 of TOKEN.
const SEALED_BEFORE: [(&str, &str, &str); 4] = [
    (r#"{"kind":"everywhere"}"#, "AAAAAAAAAAAAAAAA", "ArfWwJ7xf8iJaP0XoQZdFFbQDpwZqA28E6PvlQs="),
    (
        r#"{"kind":"repository","repository":"infra"}"#,
        "AQEBAQEBAQEBAQEB",
        "FY77xfXcmC65u65SFUPGzOzfwTL35YjO79Jsc6g=",
    ),
    (
        r#"{"kind":"partition","partition":"fra"}"#,
        "AgICAgICAgICAgIC",
        "edubdT6IwQdyP/TEh5x8BtzIdhBSIHyi5X8lNuM=",
    ),
    (
        r#"{"kind":"device","partition":"fra","device":"leaf01"}"#,
        "AwMDAwMDAwMDAwMD",
        "RpHRcT9LKmISLzEvjjT3QKfLlROO8FCpoHXVsmM=",
    ),
];
