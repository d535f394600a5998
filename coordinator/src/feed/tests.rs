use tokio::time::timeout;

use super::*;
use crate::store::disk::Disk;
use crate::store::fixtures::whole_run;
use crate::store::journal::{Journal, Options};

/// A journal of segments of a few batches, so that a reader meets reserved zeros and closed segments.
fn journal(path: &std::path::Path) -> (Journal<Directory>, Directory) {
    let disk = Directory::open(path.join("journal")).unwrap();
    let options = Options { segment: 6000, reserve: 2048 };
    (Journal::open(disk.clone(), options, Seq(1)).unwrap(), disk)
}

fn numbers(batches: &[Changed]) -> Vec<u64> {
    batches.iter().map(|batch| batch.seq.0).collect()
}

#[tokio::test]
async fn a_feed_reads_on_across_segments_while_the_journal_grows() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, disk) = journal(folder.path());
    let (committed, receiver) = watch::channel(Seq(0));
    let source = Source::new(disk, receiver);
    let mut feed = Feed::new(source.clone(), Seq(1));
    let mut seen = Vec::new();
    for id in 1..=50_u64 {
        journal.append(Wall(id), &[], &whole_run(id, "fra", true)).unwrap();
        if id % 3 == 0 {
            committed.send_replace(journal.last());
            while seen.len() < id as usize {
                seen.extend(timeout(AGAIN, feed.next()).await.unwrap());
            }
        }
    }
    assert!(std::fs::read_dir(folder.path().join("journal")).unwrap().count() > 3);
    assert_eq!(numbers(&seen), (1..=48).collect::<Vec<_>>());

    let late = timeout(Duration::from_millis(50), feed.next()).await;
    assert!(late.is_err(), "what is not durable is not read: {late:?}");
    committed.send_replace(journal.last());
    assert_eq!(numbers(&feed.next().await), [49, 50]);
    assert_eq!(numbers(&Feed::new(source, Seq(47)).next().await), [47, 48, 49, 50]);
}

#[tokio::test]
async fn a_place_is_found_by_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, disk) = journal(folder.path());
    for id in 1..=50_u64 {
        journal.append(Wall(10 * id), &[], &whole_run(id, "fra", true)).unwrap();
    }
    let (_committed, receiver) = watch::channel(Seq(40));
    let source = Source::new(disk, receiver);
    for (time, seq) in [(0, 1), (10, 1), (11, 2), (250, 25), (399, 40), (400, 40), (401, 41)] {
        assert_eq!(source.since(Wall(time)).await.unwrap(), Seq(seq), "{time}");
    }
    assert_eq!(source.time_of(Seq(7)).await.unwrap(), Some(Wall(70)));
    assert_eq!(source.time_of(Seq(41)).await.unwrap(), None);
}

#[tokio::test]
async fn what_was_archived_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, disk) = journal(folder.path());
    for id in 1..=50_u64 {
        journal.append(Wall(id), &[], &whole_run(id, "fra", true)).unwrap();
    }
    disk.archive(&disk.list().unwrap()[0]).unwrap();
    let (_committed, receiver) = watch::channel(journal.last());
    let source = Source::new(disk, receiver);
    assert_eq!(source.time_of(Seq(1)).await.unwrap(), None);
    let first = source.since(Wall(0)).await.unwrap();
    assert!(first > Seq(1) && first < Seq(30), "{first}");
    assert_eq!(Feed::new(source, Seq(1)).next().await[0].seq, first);
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_is_not_tried_again_too_early() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, disk) = journal(folder.path());
    for id in 1..=50_u64 {
        journal.append(Wall(id), &[], &whole_run(id, "fra", true)).unwrap();
    }
    let first = disk.list().unwrap().into_iter().min().unwrap();
    let segment = folder.path().join("journal").join(first);
    let good = std::fs::read(&segment).unwrap();
    let (_committed, receiver) = watch::channel(journal.last());
    let mut feed = Feed::new(Source::new(disk, receiver), Seq(1));
    std::fs::write(&segment, vec![b'x'; good.len()]).unwrap();
    // Whoever reads does something else now and then, and drops the future.
    let is_noticed = async {
        while feed.again.is_none() {
            let early = timeout(Duration::from_millis(100), feed.next()).await;
            assert!(early.is_err(), "{early:?}");
        }
    };
    timeout(AGAIN, is_noticed).await.unwrap();
    std::fs::write(&segment, good).unwrap();
    let early = timeout(Duration::from_secs(1), feed.next()).await;
    assert!(early.is_err(), "{early:?}");
    feed.again = Some(Instant::now());
    assert_eq!(feed.next().await[0].seq, Seq(1));
}
