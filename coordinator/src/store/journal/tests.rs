use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use proto::framing;

use super::*;
use crate::store::disk::Directory;
use crate::store::fixtures::{one_of_each, run, whole_run};
use coordinator_core::agent::SessionId;
use coordinator_core::run::State;

const FIRST: &str = "0000000000000001.log";

/// Segments of a few batches.
const SMALL: Options = Options { segment: 1000, reserve: 512 };

fn open(path: &Path, options: Options) -> Result<Journal<Directory>, Error> {
    Journal::open(Directory::open(path.join("journal")).unwrap(), options, Seq(1))
}

/// Appends batches that name a run each; returns their numbers.
fn fill<D: Disk>(journal: &mut Journal<D>, runs: std::ops::RangeInclusive<u64>) -> Vec<Seq> {
    let change = |id| Change::Run(run(id, "deploy", State::Active));
    runs.map(|id| journal.append(Wall(id), &[], &[change(id)]).unwrap().seq).collect()
}

/// The batches from `from` on, with their events.
fn batches<D: Disk>(journal: &Journal<D>, from: u64) -> Vec<Batch> {
    let mut records = journal.records(Seq(from)).unwrap();
    std::iter::from_fn(|| records.next().unwrap()).collect()
}

/// The runs that the batches from `from` on name.
fn runs<D: Disk>(journal: &Journal<D>, from: u64) -> Vec<u64> {
    let run = |change| if let Change::Run(run) = change { run.id.0 } else { 0 };
    batches(journal, from).into_iter().flat_map(|batch| batch.changes).map(run).collect()
}

#[test]
fn batches_come_back_as_they_were_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(directory.path(), Options::default()).unwrap();
    let agent = crate::store::fixtures::agent("fra-equ01", "mgmt01").key;
    let events = vec![Event::AgentDisconnected { agent, session: SessionId(7) }];
    journal.append(Wall(5), &events, &one_of_each()).unwrap();
    journal.append(Wall(6), &[], &[]).unwrap();
    let (version, epoch) = (VERSION, Epoch(1));
    let first = Batch { version, epoch, seq: Seq(1), now: Wall(5), events, changes: one_of_each() };
    let second =
        Batch { version, epoch, seq: Seq(2), now: Wall(6), events: vec![], changes: vec![] };
    assert_eq!(batches(&journal, 1), [first, second]);
}

#[test]
fn segments_are_named_by_their_first_batch_and_read_across() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(directory.path(), SMALL).unwrap();
    let seqs = fill(&mut journal, 1..=20);
    assert_eq!(seqs, (1..=20).map(Seq).collect::<Vec<_>>());
    assert!(journal.segments.len() > 3, "{:?}", journal.segments);
    for from in 1..=21 {
        assert_eq!(runs(&journal, from), (from..=20).collect::<Vec<_>>());
    }
    drop(journal);
    let mut journal = open(directory.path(), SMALL).unwrap();
    assert_eq!((journal.last(), journal.epoch()), (Seq(20), Epoch(2)));
    fill(&mut journal, 21..=30);
    assert_eq!(runs(&journal, 1), (1..=30).collect::<Vec<_>>());
}

#[test]
fn the_epoch_is_known_even_if_the_last_segment_is_empty() {
    let directory = tempfile::tempdir().unwrap();
    fill(&mut open(directory.path(), SMALL).unwrap(), 1..=3);
    let empty = directory.path().join("journal/0000000000000004.log");
    fs::write(&empty, [0; 512]).unwrap();
    let mut journal = open(directory.path(), SMALL).unwrap();
    assert_eq!((journal.last(), journal.epoch()), (Seq(3), Epoch(2)));
    fill(&mut journal, 4..=4);
    assert_eq!(runs(&journal, 1), [1, 2, 3, 4]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_cut_of_the_tail_leaves_a_prefix(cut: prop::sample::Index, zeros in 0..600usize) {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = open(directory.path(), Options { reserve: 1, ..Default::default() }).unwrap();
        let mut ends = vec![0];
        for id in 1..=5 {
            fill(&mut journal, id..=id);
            ends.push(journal.tip.as_ref().unwrap().end);
        }
        drop(journal);
        let path = directory.path().join("journal").join(FIRST);
        let mut bytes = fs::read(&path).unwrap();
        let cut = cut.index(bytes.len() + 1);
        bytes.truncate(cut);
        bytes.resize(cut + zeros, 0);
        fs::write(&path, &bytes).unwrap();

        let mut journal = open(directory.path(), Options::default()).unwrap();
        let whole = ends.iter().rposition(|end| *end <= cut as u64).unwrap() as u64;
        prop_assert_eq!(journal.last(), Seq(whole));
        fill(&mut journal, 100..=101);
        let mut expected: Vec<u64> = (1..=whole).collect();
        expected.extend([100, 101]);
        prop_assert_eq!(runs(&journal, 1), expected.clone());
        drop(journal);
        prop_assert_eq!(runs(&open(directory.path(), Options::default()).unwrap(), 1), expected);
    }
}

#[test]
fn a_record_of_which_only_the_end_was_written_is_torn() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(directory.path(), Options::default()).unwrap();
    fill(&mut journal, 1..=2);
    let end = journal.tip.as_ref().unwrap().end;
    fill(&mut journal, 3..=3);
    drop(journal);
    let path = directory.path().join("journal").join(FIRST);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 100], end).unwrap();
    assert_eq!(runs(&open(directory.path(), Options::default()).unwrap(), 1), [1, 2]);
}

#[test]
fn damage_before_a_sound_record_is_refused_with_its_offset() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(directory.path(), Options::default()).unwrap();
    fill(&mut journal, 1..=1);
    let offset = journal.tip.as_ref().unwrap().end;
    fill(&mut journal, 2..=3);
    drop(journal);
    let path = directory.path().join("journal").join(FIRST);
    let sound = fs::read(&path).unwrap();
    for at in [0, 3, 5, 8, 40] {
        let mut bytes = sound.clone();
        bytes[offset as usize + at] ^= 0x55;
        fs::write(&path, &bytes).unwrap();
        let error = open(directory.path(), Options::default()).unwrap_err();
        assert!(
            matches!(&error, Error::Damaged { offset: found, .. } if *found == offset),
            "{error}"
        );
        let text = error.to_string();
        assert!(text.contains(FIRST) && text.contains("restore"), "{text}");
    }
}

#[test]
fn damage_at_the_end_of_a_closed_segment_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fill(&mut open(directory.path(), SMALL).unwrap(), 1..=20);
    let path = directory.path().join("journal").join(FIRST);
    let length = fs::metadata(&path).unwrap().len();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
    let error = open(directory.path(), SMALL).unwrap_err();
    assert!(matches!(&error, Error::Damaged { file, .. } if file == FIRST), "{error}");
}

#[test]
fn a_missing_segment_is_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = open(directory.path(), SMALL).unwrap();
    fill(&mut journal, 1..=20);
    let missing = segment::name(journal.segments[1]);
    let expected = journal.segments[1];
    drop(journal);
    fs::remove_file(directory.path().join("journal").join(missing)).unwrap();
    let error = open(directory.path(), SMALL).unwrap_err();
    assert!(matches!(error, Error::Gap { expected: found, .. } if found == expected), "{error}");
}

#[test]
fn a_newer_version_is_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    fill(&mut open(directory.path(), Options::default()).unwrap(), 1..=1);
    let path = directory.path().join("journal").join(FIRST);
    for newer in [
        &br#"{"version":2,"epoch":1,"seq":1,"now":0,"events":[],"changes":[]}"#[..],
        br#"{"version":9,"all":"different"}"#,
    ] {
        let mut bytes = Vec::new();
        framing::append(&mut bytes, newer);
        fs::write(&path, &bytes).unwrap();
        let error = open(directory.path(), Options::default()).unwrap_err();
        assert!(matches!(error, Error::Newer { .. }), "{error}");
        assert!(error.to_string().contains("written by a newer garrison"), "{error}");
    }
}

/// The form in which version 1 rests on disks; builds to come must read it.
#[test]
fn version_1_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let record = br#"{"version":1,"epoch":3,"seq":1,"now":17,"events":[{"kind":"asked","request":1,"actor":{"kind":"local_admin"},"ask":{"kind":"cancel","run":1}}],"changes":[{"run":{"id":1,"trigger":1,"actor":{"kind":"local_admin"},"repository":"metal","reference":"refs/heads/main","commit":"c0ffee","pipeline":"deploy","file":"deploy.yaml","created":1,"state":{"kind":"active"}}}]}"#;
    let mut bytes = Vec::new();
    framing::append(&mut bytes, record);
    let disk = Directory::open(directory.path().join("journal")).unwrap();
    fs::write(directory.path().join("journal").join(FIRST), &bytes).unwrap();
    let journal = Journal::open(disk, Options::default(), Seq(1)).unwrap();
    assert_eq!((runs(&journal, 1), journal.epoch()), (vec![1], Epoch(4)));
}

/// A directory with little space, whose syncs can be made to fail.
#[derive(Debug, Clone)]
struct Faulty {
    directory: Directory,
    space: Arc<AtomicU64>,
    failing_syncs: Arc<AtomicU64>,
}

#[derive(Debug)]
struct FaultyFile {
    file: fs::File,
    disk: Faulty,
}

impl Faulty {
    fn new(path: &Path, space: u64) -> Self {
        let directory = Directory::open(path.join("journal")).unwrap();
        Faulty { directory, space: Arc::new(space.into()), failing_syncs: Arc::default() }
    }

    fn wrap(&self, file: fs::File) -> FaultyFile {
        FaultyFile { file, disk: self.clone() }
    }
}

impl Disk for Faulty {
    type File = FaultyFile;
    fn list(&self) -> io::Result<Vec<String>> {
        self.directory.list()
    }
    fn open(&self, name: &str) -> io::Result<FaultyFile> {
        self.directory.open(name).map(|file| self.wrap(file))
    }
    fn create(&self, name: &str) -> io::Result<FaultyFile> {
        self.directory.create(name).map(|file| self.wrap(file))
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.directory.remove(name)
    }
    fn archive(&self, name: &str) -> io::Result<()> {
        self.directory.archive(name)
    }
    fn sync(&self) -> io::Result<()> {
        self.directory.sync()
    }
}

impl File for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read(buffer, offset)
    }
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write(bytes, offset)
    }
    fn reserve(&self, offset: u64, length: u64) -> io::Result<()> {
        let take = |space: u64| space.checked_sub(length);
        let taken = self.disk.space.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.map_err(|_| io::ErrorKind::StorageFull)?;
        self.file.reserve(offset, length)
    }
    fn truncate(&self, size: u64) -> io::Result<()> {
        self.file.truncate(size)
    }
    fn sync(&self) -> io::Result<()> {
        if self.disk.failing_syncs.load(Ordering::Relaxed) > 0 {
            return Err(io::Error::other("the disk is on fire"));
        }
        self.file.sync()
    }
}

/// Appends until the disk is full; returns how many batches were taken.
fn fill_up(journal: &mut Journal<Faulty>) -> u64 {
    for id in 1.. {
        match journal.append(Wall(id), &[], &whole_run(id, "fra-equ01", true)) {
            Ok(_) => {}
            Err(Error::Full) => return id - 1,
            Err(error) => panic!("{error}"),
        }
    }
    0
}

#[test]
fn a_full_disk_leaves_nothing_half_made_and_recovers() {
    // Full inside a segment, and while another is begun.
    for (segment, space) in [(1 << 20, 8 << 10), (2000, 4 << 10)] {
        let directory = tempfile::tempdir().unwrap();
        let disk = Faulty::new(directory.path(), space);
        let options = Options { segment, reserve: 1024 };
        let mut journal = Journal::open(disk.clone(), options, Seq(1)).unwrap();
        let taken = fill_up(&mut journal);
        assert!(taken > 0);
        assert_eq!(journal.last(), Seq(taken));
        let reopened = Journal::open(disk.clone(), options, Seq(1)).unwrap();
        assert_eq!(reopened.last(), Seq(taken));
        drop(reopened);

        disk.space.store(1 << 20, Ordering::Relaxed);
        fill(&mut journal, 1..=3);
        assert_eq!(batches(&journal, 1).len() as u64, taken + 3);
    }
}

#[test]
fn after_a_failed_sync_nothing_is_written_until_it_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Faulty::new(directory.path(), 1 << 30);
    let mut journal = Journal::open(disk.clone(), Options::default(), Seq(1)).unwrap();
    fill(&mut journal, 1..=1);
    disk.failing_syncs.store(1, Ordering::Relaxed);
    assert!(matches!(journal.append(Wall(2), &[], &[]), Err(Error::Failed { .. })));
    disk.failing_syncs.store(0, Ordering::Relaxed);
    assert!(matches!(journal.append(Wall(2), &[], &[]), Err(Error::Broken)));
    let mut journal = Journal::open(disk, Options::default(), Seq(1)).unwrap();
    fill(&mut journal, 5..=5);
    assert_eq!(runs(&journal, 1), [1, 5]);
}
