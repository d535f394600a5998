//! That output arrives whole, in order, masked, and at once.

use agent::runner::handle::Event;
use pipelines::outcome::Outcome;
use proto::log::Stream;
use sha2::{Digest, Sha256};

use crate::host::*;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn fifty_megabytes_arrive_intact() {
    let host = Host::new();
    let line = "seq 1 7000000 | head -c 50000000";
    let (attempt, verdict) = host.run(&[line]).await;
    assert_eq!(verdict.outcome, Outcome::Succeeded);
    let output = output_of(&attempt, &[Stream::Stdout]);
    assert_eq!(verdict.log.length, output.len() as u64);
    assert_eq!(verdict.log.sha256, sha256(&output));
    let shown = format!("$ {line}\n");
    let (head, numbers) = output.split_at(shown.len());
    assert_eq!(head, shown.as_bytes());
    assert_eq!(numbers.len(), 50_000_000);
    // Compared line by line, so that no second copy is needed.
    let whole = &numbers[..numbers.iter().rposition(|byte| *byte == b'\n').unwrap()];
    let lines = std::str::from_utf8(whole).unwrap().lines();
    assert!(lines.zip(1u32..).all(|(line, number)| line.parse() == Ok(number)));
}

#[tokio::test]
async fn a_secret_is_masked_also_where_it_is_split_over_writes() {
    let host = Host::new();
    let fifo = "mkfifo f; (cat f > /dev/null; printf ter2) & printf hun; echo x > f; wait; echo .";
    let attempt = host.attempt(&[fifo, "echo aHVudGVyMg== >&2"]);
    let (attempt, _) = finish(spawn(&attempt, &["hunter2"]).await).await;
    let stdout = String::from_utf8(output_of(&attempt, &[Stream::Stdout])).unwrap();
    assert!(stdout.ends_with("\n[masked].\n$ echo [masked] >&2\n"), "{stdout}");
    assert_eq!(output_of(&attempt, &[Stream::Stderr]), b"[masked]\n");
    let raw = std::fs::read(attempt.log()).unwrap();
    assert!(!raw.windows(7).any(|window| window == b"hunter2"));
    assert!(!raw.windows(9).any(|window| window == b"aHVudGVyM"));
}

#[tokio::test]
async fn output_without_a_lines_end_is_seen_at_once() {
    let host = Host::new();
    let mut handle = host.start(&["printf 'continue? '", "sleep 1000"]).await;
    let Event::Started { .. } = next(&mut handle).await else { panic!("not started first") };
    until_output(&mut handle, "\ncontinue? ").await;
    handle.cancel();
    finish(handle).await;
}

#[tokio::test]
async fn each_stream_keeps_its_order() {
    let host = Host::new();
    let (attempt, _) = host.run(&["for i in 1 2 3; do echo o$i; echo e$i >&2; done"]).await;
    assert_eq!(output_of(&attempt, &[Stream::Stderr]), b"e1\ne2\ne3\n");
    assert!(output_of(&attempt, &[Stream::Stdout]).ends_with(b"o1\no2\no3\n"));
}
