use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use coordinator_core::actor::Actor;
use coordinator_core::agent::{About, SessionId};
use coordinator_core::attempt::{self, Attempt};
use coordinator_core::core::Core;
use coordinator_core::event::{Ask, RequestId};
use coordinator_core::job::Job;
use coordinator_core::lock::Lock;
use coordinator_core::token::TokenHash;
use coordinator_core::trigger::{self, TriggerId};
use coordinator_core::{job, run};
use pipelines::id::RunId;
use pipelines::outcome::Outcome;
use pipelines::output::Outputs;
use pipelines::plan::Environment;

use super::fixtures::{self, DAY, one_of_each, partition, whole_run};
use super::view::{Filter, Place};
use super::*;

/// Small segments, so that a few batches fill some.
fn options() -> Options {
    let journal = journal::Options { segment: 16 << 10, reserve: 1 << 10 };
    Options { journal, ..Options::default() }
}

fn open(directory: &Path) -> (Store, Snapshot) {
    Store::open(directory, options(), Wall(0)).unwrap()
}

/// Commits a finished run for each number.
fn commit_runs(store: &mut Store, runs: std::ops::RangeInclusive<u64>) {
    for id in runs {
        store.commit(Wall(id), &[], &whole_run(id, "fra-equ01", false)).unwrap();
    }
}

/// Everything in a view.
fn contents(view: &View) -> Vec<String> {
    view.records().map(|record| String::from_utf8(record.unwrap()).unwrap()).collect()
}

fn checkpoints(directory: &Path) -> Vec<PathBuf> {
    let found = checkpoint::list(&directory.join("checkpoint")).unwrap();
    found.into_iter().map(|(_, path)| path).collect()
}

/// Waits for a checkpoint that is being written.
fn settle(store: &mut Store) {
    store.finish_checkpoint(|_| true).unwrap();
}

#[test]
fn what_is_committed_is_there_after_every_kind_of_stop() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, snapshot) = open(directory.path());
    assert_eq!(snapshot, Snapshot::default());
    store.commit(Wall(1), &[], &one_of_each()).unwrap();
    let before = (contents(&store.view()), store.view().snapshot(Wall(0)).unwrap());
    assert_eq!(before.0.len(), one_of_each().len());
    drop(store);

    let (store, snapshot) = open(directory.path());
    assert_eq!((contents(&store.view()), snapshot), before);
    assert_eq!((store.last(), store.epoch()), (Seq(1), Epoch(2)));
    store.close().unwrap();

    let (mut store, snapshot) = open(directory.path());
    assert_eq!((contents(&store.view()), snapshot), before);
    assert_eq!(store.commit(Wall(2), &[], &[]).unwrap(), Seq(2));
}

#[test]
fn a_view_that_lags_is_brought_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    commit_runs(&mut store, 1..=5);
    let behind = directory.path().join("behind");
    store.close().unwrap();
    copy(&directory.path().join("view"), &behind);

    let (mut store, _) = open(directory.path());
    commit_runs(&mut store, 6..=9);
    let expected = contents(&store.view());
    drop(store);
    View::remove(&directory.path().join("view")).unwrap();
    fs::rename(&behind, directory.path().join("view")).unwrap();
    let (store, _) = open(directory.path());
    assert_eq!(store.view().applied().unwrap(), Seq(9));
    assert_eq!(contents(&store.view()), expected);
}

#[test]
fn a_deleted_view_is_rebuilt_equal() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    store.commit(Wall(1), &[], &one_of_each()).unwrap();
    commit_runs(&mut store, 1..=100);
    settle(&mut store);
    assert!(!checkpoints(directory.path()).is_empty());
    let (expected, snapshot) = (contents(&store.view()), store.view().snapshot(Wall(0)).unwrap());
    drop(store);

    fs::remove_dir_all(directory.path().join("view")).unwrap();
    let (store, rebuilt) = open(directory.path());
    assert_eq!((contents(&store.view()), rebuilt), (expected.clone(), snapshot.clone()));
    drop(store);

    assert_eq!(Store::rebuild(directory.path(), options()).unwrap(), Seq(101));
    let (store, rebuilt) = open(directory.path());
    assert_eq!((contents(&store.view()), rebuilt), (expected, snapshot));
}

/// What each attempt to deploy to `prod` in `fra` left: a run that deploys, its attempts with when they ended
/// and whether they succeeded.
fn deploying(run: u64, attempts: &[(u32, u64, bool)]) -> Vec<Change> {
    let mut changes = fixtures::whole_run(run, "fra", false);
    let Some(Change::Attempt(attempt)) = changes.pop() else { panic!("it ends with an attempt") };
    let mut plan = Arc::unwrap_or_clone(fixtures::plan(&["fra"], "true"));
    plan.jobs[0].environment = Some(Environment { name: "prod".to_owned(), url: None });
    changes[0] = Change::Plan(RunId(run), Arc::new(plan));
    for (number, at, succeeded) in attempts {
        let id = RunId(run).job(0).attempt(*number);
        let outcome = if *succeeded { Outcome::Succeeded } else { Outcome::TimedOut };
        let state = attempt::State::Abandoned { at: Wall(*at), outcome };
        changes.push(Change::Attempt(Attempt { id, state, ..attempt.clone() }));
    }
    changes
}

/// Run and attempt of each deployment, the latest first, and of what is deployed.
fn deployments(view: &View) -> (Vec<(u64, u32, bool)>, Option<u64>) {
    let place = Place { partition: partition("fra"), environment: "prod".to_owned() };
    let all = view.deployments(&place, None).map(Result::unwrap);
    let all = all.map(|it| (it.attempt.job.run.0, it.attempt.number, it.succeeded)).collect();
    let deployed = view.deployed_in(&place).unwrap();
    let listed = view.deployed().unwrap();
    assert_eq!(listed, deployed.map(|it| (place, it)).into_iter().collect::<Vec<_>>());
    (all, deployed.map(|it| it.attempt.job.run.0))
}

#[test]
fn deployments_are_the_same_from_batches_from_a_checkpoint_and_from_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    store.commit(Wall(1), &[], &whole_run(1, "fra", false)).unwrap();
    assert_eq!(deployments(&store.view()), (vec![], None));
    store.commit(Wall(2), &[], &deploying(2, &[(1, 20, false)])).unwrap();
    assert_eq!(deployments(&store.view()), (vec![(2, 1, false)], None));
    // The older run ends behind the newer one.
    store.commit(Wall(3), &[], &deploying(4, &[(1, 30, true)])).unwrap();
    store.commit(Wall(4), &[], &deploying(3, &[(1, 40, false), (2, 50, true)])).unwrap();
    store.commit(Wall(5), &[], &deploying(5, &[(1, 60, false)])).unwrap();
    let expected =
        (vec![(5, 1, false), (3, 2, true), (3, 1, false), (4, 1, true), (2, 1, false)], Some(3));
    assert_eq!(deployments(&store.view()), expected);
    drop(store);

    Store::rebuild(directory.path(), options()).unwrap();
    let (mut store, _) = open(directory.path());
    assert_eq!(deployments(&store.view()), expected);
    commit_runs(&mut store, 10..=100);
    settle(&mut store);
    drop(store);
    assert!(!checkpoints(directory.path()).is_empty());

    fs::remove_file(directory.path().join("journal/0000000000000001.log")).unwrap();
    Store::rebuild(directory.path(), options()).unwrap();
    let (store, _) = open(directory.path());
    assert_eq!(deployments(&store.view()), expected);
}

#[test]
fn a_thousand_deployments_are_kept_and_what_is_deployed_always() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    store.commit(Wall(1), &[], &deploying(1, &[(1, 10, true)])).unwrap();
    let failed: Vec<_> =
        (1..=1001).map(|number| (number, 100 + u64::from(number), false)).collect();
    store.commit(Wall(2), &[], &deploying(2, &failed)).unwrap();
    let (kept, deployed) = deployments(&store.view());
    assert_eq!((kept.len(), kept[0], kept[999]), (1000, (2, 1001, false), (2, 2, false)));
    assert_eq!(deployed, Some(1));
    let before = Some((Wall(103), RunId(2).job(0).attempt(3)));
    let place = Place { partition: partition("fra"), environment: "prod".to_owned() };
    let earlier = store.view().deployments(&place, before).map(|it| it.unwrap().attempt.number);
    assert_eq!(earlier.collect::<Vec<_>>(), [2]);
}

#[test]
fn a_view_ahead_of_the_journal_is_rebuilt() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    commit_runs(&mut store, 1..=2);
    let expected = contents(&store.view());
    let segment = directory.path().join("journal/0000000000000001.log");
    let kept = fs::read(&segment).unwrap();
    commit_runs(&mut store, 3..=3);
    drop(store);
    fs::write(&segment, kept).unwrap();
    let (store, _) = open(directory.path());
    assert_eq!((contents(&store.view()), store.last()), (expected, Seq(2)));
}

#[test]
fn a_view_from_before_a_restart_of_the_host_is_rebuilt() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    commit_runs(&mut store, 1..=3);
    let expected = contents(&store.view());
    drop(store);
    fs::write(directory.path().join("view.state"), "open another-boot\n").unwrap();
    let witness = directory.path().join("view/witness");
    fs::write(&witness, "").unwrap();
    let (store, _) = open(directory.path());
    assert!(!witness.exists());
    assert_eq!(contents(&store.view()), expected);
}

#[test]
fn a_view_that_does_not_open_is_rebuilt() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    commit_runs(&mut store, 1..=3);
    let expected = contents(&store.view());
    store.close().unwrap();
    for file in ["view/conf", "view/db"] {
        fs::write(directory.path().join(file), "no such thing".repeat(1000)).unwrap();
        let (store, _) = open(directory.path());
        assert_eq!(contents(&store.view()), expected);
        store.close().unwrap();
    }
}

#[test]
fn a_leftover_snapshot_of_sled_does_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    commit_runs(&mut store, 1..=3);
    store.close().unwrap();
    fs::write(directory.path().join("view/snap.00000000000000FF"), "torn").unwrap();
    let witness = directory.path().join("view/witness");
    fs::write(&witness, "").unwrap();
    open(directory.path());
    assert!(witness.exists());
}

#[test]
fn the_two_newest_checkpoints_are_kept_and_the_older_stands_in() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    for step in 0..8u64 {
        commit_runs(&mut store, step * 100 + 1..=step * 100 + 100);
        settle(&mut store);
    }
    let expected = contents(&store.view());
    drop(store);
    let [newest, older] = checkpoints(directory.path()).try_into().unwrap();

    let sound = fs::read(&newest).unwrap();
    for damage in [sound.len() / 2, 3, sound.len() - 1] {
        let mut bytes = sound.clone();
        bytes[damage] ^= 0x55;
        fs::write(&newest, &bytes).unwrap();
        let last = Seq(u64::MAX);
        let used = checkpoint::newest(&directory.path().join("checkpoint"), last).unwrap().unwrap();
        assert!(older.to_string_lossy().contains(&format!("{:016}", used.seq.0)));
        Store::rebuild(directory.path(), options()).unwrap();
        let (store, _) = open(directory.path());
        assert_eq!(contents(&store.view()), expected);
    }
}

#[test]
fn a_checkpoint_cut_after_any_record_is_not_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    commit_runs(&mut store, 1..=1);
    store.close().unwrap();
    let [path] = checkpoints(directory.path()).try_into().unwrap();
    let bytes = fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let found = checkpoint::newest(&directory.path().join("checkpoint"), Seq(9)).unwrap();
        assert_eq!(found, None, "{length} of {}", bytes.len());
    }
}

#[test]
fn archived_segments_are_not_needed() {
    let directory = tempfile::tempdir().unwrap();
    let archiving = Options { archive: true, ..options() };
    let (mut store, _) = Store::open(directory.path(), archiving, Wall(0)).unwrap();
    for step in 0..8u64 {
        commit_runs(&mut store, step * 100 + 1..=step * 100 + 100);
        settle(&mut store);
    }
    let expected = contents(&store.view());
    let follower = journal::Follower::open(store.journal(), Seq(1));
    assert!(matches!(follower, Err(journal::Error::Missing { .. })));
    drop(store);
    fs::remove_dir_all(directory.path().join("journal/archive")).unwrap();
    Store::rebuild(directory.path(), archiving).unwrap();
    let (store, _) = Store::open(directory.path(), archiving, Wall(0)).unwrap();
    assert_eq!(contents(&store.view()), expected);
    drop(store);

    fs::remove_dir_all(directory.path().join("checkpoint")).unwrap();
    let error = Store::rebuild(directory.path(), archiving).unwrap_err();
    assert!(error.to_string().contains("no whole checkpoint reaches it"), "{error}");
}

#[test]
fn a_lost_journal_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    commit_runs(&mut store, 1..=1);
    drop(store);
    fs::remove_dir_all(directory.path().join("journal")).unwrap();
    let error = Store::open(directory.path(), options(), Wall(0)).unwrap_err();
    assert!(error.to_string().contains("batches up to 1 are gone"), "{error}");
}

#[test]
fn one_directory_is_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open(directory.path());
    let error = Store::open(directory.path(), options(), Wall(0)).unwrap_err();
    let expected = format!("already in use by pid {}", std::process::id());
    assert!(error.to_string().contains(&expected), "{error}");
    drop(store);
    open(directory.path());
}

#[test]
fn below_the_headroom_nothing_is_committed() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    store.options.headroom = u64::MAX;
    let changes = whole_run(1, "fra-equ01", true);
    assert!(matches!(store.commit(Wall(1), &[], &changes), Err(Error::Full { .. })));
    assert_eq!((store.last(), contents(&store.view()).len()), (Seq(0), 0));
    store.options.headroom = 0;
    assert_eq!(store.commit(Wall(1), &[], &changes).unwrap(), Seq(1));
}

#[test]
fn runs_come_newest_first_in_pages_and_filtered() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    for id in 1..=9 {
        let site = ["fra-equ01", "muc-dat02", "nbg-w8101"][id as usize % 3];
        store.commit(Wall(id), &[], &whole_run(id, site, id % 4 == 0)).unwrap();
    }
    let invalid = run::State::Invalid { diagnostics: "line 1".to_owned() };
    store.commit(Wall(10), &[], &[Change::Run(fixtures::run(10, "broken", invalid))]).unwrap();

    let ids = |filter: Filter| {
        let (mut ids, mut before) = (Vec::new(), None);
        loop {
            let page = store.view().runs(&filter, before, 2).unwrap();
            ids.extend(page.runs.iter().map(|run| run.id.0));
            before = page.next;
            if before.is_none() {
                return ids;
            }
        }
    };
    let at = |names: &[&str]| {
        let partitions = names.iter().map(|name| partition(name)).collect::<BTreeSet<_>>();
        Filter { partitions: Some(partitions), ..Filter::default() }
    };
    assert_eq!(ids(Filter::default()), [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(ids(at(&["muc-dat02"])), [7, 4, 1]);
    assert_eq!(ids(at(&["muc-dat02", "fra-equ01"])), [9, 7, 6, 4, 3, 1]);
    assert_eq!(ids(at(&[])), [] as [u64; 0]);
    let active = Filter { status: Some("active".to_owned()), ..Filter::default() };
    assert_eq!(ids(active), [8, 4]);
    let broken = Filter { pipeline: Some("broken".parse().unwrap()), ..Filter::default() };
    assert_eq!(ids(broken), [10]);
}

#[test]
fn a_plan_of_any_length_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    let piece = 32 << 10;
    let around = serde_json::to_vec(&Change::Plan(RunId(1), fixtures::plan(&["a"], ""))).unwrap();
    let lengths = [0, piece - around.len(), piece - around.len() + 1, 5 * piece];
    let plans: Vec<_> = lengths.map(|n| fixtures::plan(&["a"], &"x".repeat(n))).into();
    for (id, plan) in (1..).zip(&plans) {
        store.commit(Wall(1), &[], &[Change::Plan(RunId(id), plan.clone())]).unwrap();
    }
    let read = || (1..=4).map(|id| store.view().plan(RunId(id)).unwrap().unwrap()).collect();
    let read: Vec<_> = read();
    assert_eq!(read, plans);
    assert_eq!(store.view().plan(RunId(5)).unwrap(), None);
    let view = store.view();
    let copied = view.records().map(|plan| serde_json::from_slice(&plan.unwrap()).unwrap());
    let copied: Vec<Change> = copied.collect();
    let expected = (1..).zip(plans).map(|(id, plan)| Change::Plan(RunId(id), plan));
    assert_eq!(copied, expected.collect::<Vec<_>>());
}

#[test]
fn a_snapshot_holds_what_can_still_change() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    commit_runs(&mut store, 1..=2);
    let active = whole_run(3, "fra-equ01", true);
    store.commit(Wall(1), &[], &active).unwrap();
    let resolved = || trigger::State::Resolved { runs: Vec::new() };
    let now = 30 * DAY;
    let triggers = [
        fixtures::trigger(1, Wall(now - 8 * DAY), trigger::State::Pending),
        fixtures::trigger(2, Wall(now - 8 * DAY), resolved()),
        fixtures::trigger(3, Wall(now - 6 * DAY), resolved()),
        fixtures::trigger(4, Wall(now - 8 * DAY), trigger::State::Pending),
        fixtures::trigger(4, Wall(now - 8 * DAY), resolved()),
    ];
    let changes: Vec<_> = triggers.iter().cloned().map(Change::Trigger).collect();
    store.commit(Wall(2), &[], &changes).unwrap();

    let snapshot = store.view().snapshot(Wall(now)).unwrap();
    assert_eq!((snapshot.last_run, snapshot.last_trigger), (3, 4));
    assert_eq!(snapshot.triggers, [triggers[0].clone(), triggers[2].clone()]);
    let [stored] = snapshot.runs.try_into().unwrap();
    assert_eq!((stored.run.id, stored.attempts.len()), (RunId(3), 1));
    assert_eq!(store.view().stored(RunId(3)).unwrap(), Some(stored));

    let finished = store.view().stored(RunId(1)).unwrap().unwrap();
    assert_eq!((finished.jobs.len(), finished.attempts.len()), (1, 0));
    assert_eq!(store.view().attempts(RunId(1).job(0)).unwrap().len(), 1);
    assert_eq!(store.view().stored(RunId(9)).unwrap(), None);
    let by_key = store.view().trigger_by_key("key 2").unwrap().unwrap();
    assert_eq!(by_key.id, TriggerId(2));
}

/// Has the core decide on events, and commits what it decided.
fn decide(store: &mut Store, core: &mut Core, now: Wall, events: &[Event]) {
    let mut changes = Vec::new();
    events.iter().for_each(|event| changes.extend(core.handle(event, now).changes));
    changes.extend(core.schedule(now).changes);
    store.commit(now, events, &changes).unwrap();
}

#[test]
fn decisions_after_a_reload_are_repeated_as_of_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, snapshot) = open(directory.path());
    let (mut core, step) = Core::load(snapshot, Wall(1));
    store.commit(Wall(1), &[], &step.changes).unwrap();
    let key = fixtures::agent("fra-equ01", "mgmt01").key;
    let ask = |ask| Event::Asked { request: RequestId(1), actor: Actor::LocalAdmin, ask };
    let (hash, fingerprint) = (TokenHash("hash".to_owned()), "ab".repeat(32));
    let token = Ask::CreateJoinToken { hash: hash.clone(), agent: key.clone(), expires: Wall(9) };
    let about = About {
        instance: uuid::Uuid::nil(),
        version: "1".to_owned(),
        boot_id: "boot".to_owned(),
        sent_us: 1,
        capacity: 1,
        labels: Default::default(),
        upgrade: None,
    };
    let hello = Event::AgentConnected {
        agent: key.clone(),
        fingerprint: fingerprint.clone(),
        session: SessionId(1),
        about,
        attempts: vec![],
    };
    let events = [ask(token), ask(Ask::Enrol { hash, fingerprint }), hello];
    decide(&mut store, &mut core, Wall(2), &events);

    // Another batch found no space.
    let (mut core, _) = Core::load(store.view().snapshot(Wall(3)).unwrap(), Wall(3));
    let cordon = ask(Ask::Cordon { agent: key, on: true });
    decide(&mut store, &mut core, Wall(7), &[Event::Reloaded { at: Wall(3) }, cordon]);
    store.close().unwrap();
    let replayed = Store::replay(directory.path(), options()).unwrap();
    assert_eq!((replayed.first, replayed.last), (Seq(1), Seq(3)));
}

#[test]
fn the_latest_record_in_a_batch_wins() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    let id = RunId(1).job(0);
    let job = |state| {
        Change::Job(Job {
            id,
            attempts: 0,
            tried: 0,
            state,
            artifacts: Vec::new(),
            outputs: Outputs::new(),
        })
    };
    let skipped = job::State::Skipped { need: 0 };
    let changes = [job(job::State::Waiting), job(job::State::Queued), job(skipped.clone())];
    store.commit(Wall(1), &[], &changes).unwrap();
    assert_eq!(store.view().job(id).unwrap().unwrap().state, skipped);
}

#[test]
fn a_lock_that_is_free_takes_no_room() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path());
    let before = contents(&store.view());
    let held = one_of_each().into_iter().find_map(|change| match change {
        Change::Lock(lock) => Some(lock),
        _ => None,
    });
    let held = held.unwrap();
    store.commit(Wall(1), &[], &[Change::Lock(held.clone())]).unwrap();
    assert_eq!(store.view().locks().unwrap(), std::slice::from_ref(&held));
    let free = Lock { holder: None, last: held.holder, in_doubt: None, ..held };
    store.commit(Wall(2), &[], &[Change::Lock(free)]).unwrap();
    assert_eq!(contents(&store.view()), before);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
