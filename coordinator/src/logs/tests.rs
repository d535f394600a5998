use std::fs;

use pipelines::id::RunId;
use proptest::prelude::*;
use proto::log::{Frame, Stream};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

struct Fixture {
    directory: TempDir,
    store: LogStore,
    logs: Logs,
    uploads: Uploads,
}

impl Fixture {
    fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap(), Options::default())
    }

    fn open(directory: TempDir, options: Options) -> Self {
        let store = LogStore::open(directory.path(), options).unwrap();
        let logs = store.logs();
        Fixture { directory, store, uploads: logs.uploads(), logs }
    }

    async fn reopen(self) -> Self {
        self.store.close().await.unwrap();
        Self::open(self.directory, Options::default())
    }

    fn file(&self, attempt: AttemptId) -> PathBuf {
        file::path(self.directory.path(), attempt)
    }

    async fn append(&self, attempt: AttemptId, offset: u64, output: &[&str]) -> Appended {
        self.uploads.append(attempt, offset, frames(offset, output)).await.unwrap()
    }

    async fn output(&self, attempt: AttemptId) -> String {
        text(&self.logs.read(attempt, 0, usize::MAX).await.unwrap().frames)
    }

    /// Waits until all output up to `offset` is reported durable.
    async fn durable(&self, attempt: AttemptId, offset: u64) {
        let wait = async { while self.uploads.durable().await != (attempt, offset) {} };
        tokio::time::timeout(DEADLINE, wait).await.expect("output did not become durable");
    }
}

fn attempt(run: u64) -> AttemptId {
    RunId(run).job(3).attempt(1)
}

fn frame(offset: u64, data: &str) -> Frame {
    let data = Bytes::copy_from_slice(data.as_bytes());
    let stream = Stream::Stdout.into();
    Frame { offset, time_us: 7, stream, device: String::new(), step: 0, data, dropped: 0 }
}

fn frames(mut offset: u64, output: &[&str]) -> Bytes {
    let mut bytes = Vec::new();
    for data in output {
        proto::log::append(&mut bytes, &frame(offset, data));
        offset += data.len() as u64;
    }
    bytes.into()
}

fn text(frames: &[Frame]) -> String {
    frames.iter().map(|frame| str::from_utf8(&frame.data).unwrap()).collect()
}

fn end(output: &str) -> LogEnd {
    let sha256 = Sha256::digest(output).iter().map(|byte| format!("{byte:02x}")).collect();
    LogEnd { length: output.len() as u64, sha256 }
}

async fn next(follower: &mut Follower) -> Option<Followed> {
    let next = tokio::time::timeout(DEADLINE, follower.next()).await;
    next.expect("nothing was followed").unwrap()
}

#[tokio::test]
async fn a_log_is_appended_made_durable_and_completed() {
    let fixture = Fixture::new();
    let id = attempt(17);
    assert_eq!(fixture.append(id, 0, &["one ", "two "]).await, Appended::Written(8));
    assert_eq!(fixture.append(id, 8, &["three"]).await, Appended::Written(13));
    fixture.durable(id, 13).await;
    assert_eq!(fixture.uploads.end(id, end("one two three")).await.unwrap(), Ended::Complete);
    assert_eq!(fixture.output(id).await, "one two three");
    assert!(fixture.file(id).ends_with("17/3.1.log"));
    let stored = fs::read(fixture.file(id)).unwrap();
    let frames = [frames(0, &["one ", "two "]), frames(8, &["three"])].concat();
    assert_eq!(stored, [frames, file::seal(&end("one two three"))].concat());
}

#[tokio::test]
async fn duplicates_are_dropped_and_reported_again() {
    let fixture = Fixture::new();
    let id = attempt(1);
    fixture.append(id, 0, &["one ", "two "]).await;
    fixture.durable(id, 8).await;
    assert_eq!(fixture.append(id, 0, &["one ", "two "]).await, Appended::Written(8));
    fixture.durable(id, 8).await;
    assert_eq!(fixture.append(id, 4, &["two ", "three"]).await, Appended::Written(13));
    // Cut otherwise than the first time.
    assert_eq!(fixture.append(id, 10, &["ree f", "our"]).await, Appended::Written(18));
    assert_eq!(fixture.output(id).await, "one two three four");
    assert_eq!(fixture.uploads.end(id, end("one two three four")).await.unwrap(), Ended::Complete);
}

#[tokio::test]
async fn a_gap_is_answered_with_where_to_go_on() {
    let fixture = Fixture::new();
    let id = attempt(1);
    assert_eq!(fixture.append(id, 5, &["later"]).await, Appended::Rewind(0));
    fixture.append(id, 0, &["12345"]).await;
    assert_eq!(fixture.append(id, 7, &["later"]).await, Appended::Rewind(5));
    assert_eq!(fixture.uploads.end(id, end("1234567")).await.unwrap(), Ended::Rewind(5));
    assert_eq!(fixture.output(id).await, "12345");
}

#[tokio::test]
async fn frames_that_are_none_are_refused() {
    let fixture = Fixture::new();
    let id = attempt(1);
    let sound = frames(0, &["one ", "two "]);
    let mut damaged = sound.to_vec();
    damaged[20] ^= 1;
    let mut gap = frames(0, &["one "]).to_vec();
    gap.extend_from_slice(&frames(9, &["two "]));
    let mut far = Vec::new();
    proto::log::append(&mut far, &frame(u64::MAX, "x"));
    for (offset, bytes) in [
        (0, damaged.into()),
        (0, sound.slice(..sound.len() - 1)),
        (1, sound.clone()),
        (0, gap.into()),
        (u64::MAX, far.into()),
    ] {
        let refused = fixture.uploads.append(id, offset, bytes).await;
        assert!(matches!(refused, Err(Error::Frames(_))), "{refused:?}");
    }
    assert_eq!(fixture.output(id).await, "");
}

#[tokio::test]
async fn a_log_that_differs_is_dropped_and_asked_for_again() {
    let fixture = Fixture::new();
    let id = attempt(1);
    let mut follower = fixture.logs.follow(id, 0);
    fixture.append(id, 0, &["wrong"]).await;
    assert_eq!(next(&mut follower).await, Some(Followed::Frames(vec![frame(0, "wrong")])));
    assert_eq!(fixture.uploads.end(id, end("right")).await.unwrap(), Ended::Rewind(0));
    assert_eq!(next(&mut follower).await, Some(Followed::Restarted));
    assert_eq!(fixture.output(id).await, "");
    fixture.append(id, 0, &["right"]).await;
    assert_eq!(next(&mut follower).await, Some(Followed::Frames(vec![frame(0, "right")])));
    assert_eq!(fixture.uploads.end(id, end("right")).await.unwrap(), Ended::Complete);
    assert_eq!(next(&mut follower).await, None);

    fixture.append(id, 5, &[" and more"]).await;
    assert_eq!(fixture.uploads.end(id, end("right")).await.unwrap(), Ended::Rewind(0));
}

#[tokio::test]
async fn an_attempt_without_output_completes() {
    let fixture = Fixture::new();
    let id = attempt(1);
    assert!(!fixture.logs.is_complete(id));
    assert_eq!(fixture.uploads.end(id, end("")).await.unwrap(), Ended::Complete);
    assert!(fixture.logs.is_complete(id));
    let fixture = fixture.reopen().await;
    assert!(fixture.logs.is_complete(id));
    assert_eq!(next(&mut fixture.logs.follow(id, 0)).await, None);
}

#[tokio::test]
async fn a_complete_log_is_known_as_such_after_a_restart() {
    let fixture = Fixture::new();
    let id = attempt(1);
    fixture.append(id, 0, &["one ", "two"]).await;
    assert!(!fixture.logs.is_complete(id));
    assert_eq!(fixture.uploads.end(id, end("one two")).await.unwrap(), Ended::Complete);
    let fixture = fixture.reopen().await;
    assert!(fixture.logs.is_complete(id));
    let mut follower = fixture.logs.follow(id, 2);
    let seen = Followed::Frames(vec![frame(2, "e "), frame(4, "two")]);
    assert_eq!(next(&mut follower).await, Some(seen));
    assert_eq!(follower.arrived().await.unwrap(), None);
    assert_eq!(next(&mut follower).await, None);
    assert_eq!(fixture.output(id).await, "one two");
    assert_eq!(fixture.append(id, 0, &["one ", "two"]).await, Appended::Written(7));
    assert_eq!(fixture.uploads.end(id, end("one two")).await.unwrap(), Ended::Complete);

    assert_eq!(fixture.append(id, 7, &["!"]).await, Appended::Written(8));
    assert!(!fixture.logs.is_complete(id));
    assert_eq!(fixture.uploads.end(id, end("one two!")).await.unwrap(), Ended::Complete);
    assert!(fixture.logs.is_complete(id));
    assert_eq!(fixture.output(id).await, "one two!");
}

#[tokio::test]
async fn a_log_goes_on_after_a_restart() {
    let fixture = Fixture::new();
    let id = attempt(1);
    fixture.append(id, 0, &["one ", "two "]).await;
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.append(id, 20, &["far"]).await, Appended::Rewind(8));
    assert_eq!(fixture.append(id, 4, &["two ", "three"]).await, Appended::Written(13));
    fixture.durable(id, 13).await;
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.uploads.end(id, end("one two three")).await.unwrap(), Ended::Complete);
}

#[tokio::test]
async fn a_torn_end_is_cut_off() {
    let whole = frames(0, &["one ", "two ", "three"]);
    let two = frames(0, &["one ", "two "]).len();
    for cut in two..whole.len() {
        let fixture = Fixture::new();
        let id = attempt(1);
        fs::create_dir_all(fixture.file(id).parent().unwrap()).unwrap();
        fs::write(fixture.file(id), &whole[..cut]).unwrap();
        assert_eq!(fixture.output(id).await, "one two ");
        assert_eq!(fixture.append(id, 13, &["far"]).await, Appended::Rewind(8));
        assert_eq!(fixture.append(id, 8, &["3"]).await, Appended::Written(9));
        let ended = fixture.uploads.end(id, end("one two 3")).await.unwrap();
        assert_eq!(ended, Ended::Complete);
    }
}

#[tokio::test]
async fn reading_starts_anywhere_and_is_bounded() {
    let fixture = Fixture::new();
    let id = attempt(1);
    fixture.append(id, 0, &["abc", "def", "ghi"]).await;
    let read = async |offset, limit| {
        let chunk = fixture.logs.read(id, offset, limit).await.unwrap();
        (text(&chunk.frames), chunk.next)
    };
    assert_eq!(read(0, 1).await, ("abc".to_owned(), 3));
    assert_eq!(read(1, 5).await, ("bcdef".to_owned(), 6));
    assert_eq!(read(6, 100).await, ("ghi".to_owned(), 9));
    assert_eq!(read(9, 100).await, (String::new(), 9));
    assert_eq!(read(50, 100).await, (String::new(), 50));
}

#[tokio::test]
async fn a_follower_sees_bytes_before_they_are_durable() {
    let slow = Options { sync_every: DEADLINE * 2, ..Options::default() };
    let fixture = Fixture::open(tempfile::tempdir().unwrap(), slow);
    let id = attempt(1);
    let mut early = fixture.logs.follow(id, 0);
    fixture.append(id, 0, &["abc"]).await;
    fixture.durable(id, 3).await;
    fixture.append(id, 3, &["def"]).await;
    let mut late = fixture.logs.follow(id, 4);
    let mut seen = String::new();
    while seen.len() < 6 {
        let Some(Followed::Frames(frames)) = next(&mut early).await else { panic!("{seen}") };
        seen.push_str(&text(&frames));
    }
    assert_eq!(seen, "abcdef");
    assert_eq!(next(&mut late).await, Some(Followed::Frames(vec![frame(4, "ef")])));
    assert_eq!(late.offset(), 6);
}

#[tokio::test]
async fn few_files_stay_open_for_many_logs() {
    let options = Options { open_files: 2, known: 4, ..Options::default() };
    let fixture = Fixture::open(tempfile::tempdir().unwrap(), options);
    for round in 0..3u64 {
        for run in 1..=8 {
            let appended = fixture.append(attempt(run), round * 4, &["abcd"]).await;
            assert_eq!(appended, Appended::Written(round * 4 + 4));
        }
        let mut waiting: std::collections::BTreeSet<_> = (1..=8).map(attempt).collect();
        while !waiting.is_empty() {
            let (id, durable) = fixture.uploads.durable().await;
            if durable == round * 4 + 4 {
                waiting.remove(&id);
            }
        }
    }
    for run in 1..=8 {
        let ended = fixture.uploads.end(attempt(run), end("abcdabcdabcd")).await.unwrap();
        assert_eq!(ended, Ended::Complete);
    }
}

#[tokio::test]
async fn nothing_is_kept_of_logs_that_nobody_uses() {
    let fixture = Fixture::new();
    for run in 1..=5 {
        drop(fixture.logs.follow(attempt(run), 0));
        fixture.append(attempt(run), 0, &["x"]).await;
        let follower = fixture.logs.follow(attempt(run), 0);
        assert_eq!(fixture.uploads.end(attempt(run), end("x")).await.unwrap(), Ended::Complete);
        drop(follower);
    }
    // The writer lets go of complete logs with the next request.
    let check = async {
        while fixture.logs.live.len() > 1 {
            fixture.append(attempt(9), 0, &["x"]).await;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, check).await.expect("logs are still known");
}

#[tokio::test]
async fn a_frame_larger_than_a_read_is_followed() {
    let fixture = Fixture::new();
    let large = "x".repeat(1 << 20);
    fixture.append(attempt(1), 0, &["small", &large]).await;
    let mut follower = fixture.logs.follow(attempt(1), 5);
    assert_eq!(next(&mut follower).await, Some(Followed::Frames(vec![frame(5, &large)])));
}

#[tokio::test]
async fn below_the_headroom_output_is_refused_and_can_come_again() {
    let options = Options { headroom: u64::MAX, ..Options::default() };
    let fixture = Fixture::open(tempfile::tempdir().unwrap(), options);
    let refused = fixture.uploads.append(attempt(1), 0, frames(0, &["x"])).await;
    assert!(matches!(refused, Err(Error::Full)), "{refused:?}");
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.append(attempt(1), 0, &["x"]).await, Appended::Written(1));
}

#[tokio::test]
async fn a_failed_disk_is_told_to_everybody() {
    let fixture = Fixture::new();
    // A file where the run's directory should be.
    fs::write(fixture.directory.path().join("1"), "").unwrap();
    let appended = fixture.uploads.append(attempt(1), 0, frames(0, &["x"])).await;
    assert!(matches!(appended, Err(Error::Failed(_))), "{appended:?}");
    assert!(matches!(fixture.logs.failed().await, Error::Failed(_)));
    let appended = fixture.uploads.append(attempt(2), 0, frames(0, &["x"])).await;
    assert!(matches!(appended, Err(Error::Failed(_))), "{appended:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// However an agent cuts, repeats and reorders its messages, the log is its output.
    #[test]
    fn output_arrives_once_and_in_order(
        output in "[a-z]{1,60}",
        pieces in prop::collection::vec((0..60usize, 1..20usize), 1..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new();
            let id = attempt(1);
            let mut written = 0;
            for (offset, length) in pieces {
                let offset = offset.min(output.len() - 1);
                let piece = &output[offset..output.len().min(offset + length)];
                let appended = fixture.append(id, offset as u64, &[piece]).await;
                if offset > written {
                    assert_eq!(appended, Appended::Rewind(written as u64));
                } else {
                    written = written.max(offset + piece.len());
                    assert_eq!(appended, Appended::Written(written as u64));
                }
            }
            fixture.append(id, written as u64, &[&output[written..]]).await;
            assert_eq!(fixture.output(id).await, output);
            assert_eq!(fixture.uploads.end(id, end(&output)).await.unwrap(), Ended::Complete);
        });
    }
}
