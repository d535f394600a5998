//! Deterministic simulation: both real cores and the real journal in a world whose network, disks,
//! clocks and crashes come from a seed.
//!
//! In the order in which a reader wants it: [`act`] is what can happen, [`world`] who is there,
//! [`people`] ask; [`coordinator`] and [`agent`] with [`keeper`], [`runner`] and [`logs`] are the
//! edges as the product has them, [`network`], [`disk`], [`host`] and [`view`] what they stand on; [`ledger`] is
//! what must hold, and the exceptions; [`story`] goes from a seed to a world at rest, [`shrink`] tells a bad
//! one shortly, [`mutant`] breaks the rules on purpose.
//!
//! Invariant: nothing here looks at a clock, a file or a thread's timing. The same seed gives the
//! same story, with every build.

pub mod act;
pub mod world;
mod possible;
pub mod people;
pub mod coordinator;
pub mod agent;
pub mod keeper;
pub mod runner;
mod time;
pub mod network;
pub mod logs;
pub mod disk;
pub mod host;
pub mod view;
pub mod ledger;
mod rules;
pub mod story;
pub mod shrink;
pub mod mutant;
mod trace;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use act::{Class, What};
use mutant::Mutant;
use story::Story;

/// Acts that are drawn from one seed.
pub const STEPS: usize = 400;

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many were tried.
    pub seeds: u64,
    /// How often each act was performed.
    pub counts: BTreeMap<What, u64>,
    /// The lowest seed that broke a rule, and its story.
    pub broken: Option<(u64, Story)>,
}

impl Summary {
    /// How many acts of this kind were performed.
    pub fn total(&self, class: Class) -> u64 {
        self.counts.iter().filter(|(what, _)| what.class() == class).map(|(_, count)| count).sum()
    }

    /// How many acts were performed.
    pub fn steps(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Adds what came of further seeds.
    pub fn join(&mut self, other: Summary) {
        self.seeds += other.seeds;
        for (what, count) in other.counts {
            *self.counts.entry(what).or_default() += count;
        }
        self.broken = self.broken.take().or(other.broken);
    }

    fn add(&mut self, seed: u64, story: Story) {
        self.seeds += 1;
        for (what, count) in &story.counts {
            *self.counts.entry(*what).or_default() += count;
        }
        let is_lower = self.broken.as_ref().is_none_or(|(broken, _)| seed < *broken);
        if story.finding.is_some() && is_lower {
            self.broken = Some((seed, story));
        }
    }
}

/// Tries these seeds on all processors; after a broken rule no others are begun.
pub fn try_seeds(seeds: Range<u64>, steps: usize, mutant: Option<Mutant>) -> Summary {
    let summary = Mutex::new(Summary::default());
    let next = AtomicU64::new(seeds.start);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let story = Story::draw(seed, steps, mutant);
                    if story.finding.is_some() {
                        next.store(seeds.end, Ordering::Relaxed);
                    }
                    if let Ok(mut summary) = summary.lock() {
                        summary.add(seed, story);
                    }
                }
            });
        }
    });
    summary.into_inner().unwrap_or_default()
}

/// Lines of a story that are shown from its beginning, and from its end.
const SHOWN: (usize, usize) = (100, 30);

/// A story; the middle of one that goes round in circles is left out.
fn told(lines: &[String]) -> String {
    let (first, last) = SHOWN;
    let Some(left_out) = lines.len().checked_sub(first + last).filter(|left| *left > 0) else {
        return lines.join("\n");
    };
    let (begin, end) = (lines[..first].join("\n"), lines[lines.len() - last..].join("\n"));
    format!("{begin}\n     … {left_out} lines …\n{end}")
}

/// A broken story at its shortest, in words.
pub fn explain(seed: u64, story: &Story, mutant: Option<Mutant>) -> String {
    let Some(finding) = &story.finding else { return String::new() };
    let acts = shrink::shrink(&story.acts, finding.rule, mutant);
    let short = Story::again(&acts, mutant, true);
    let found = short.finding.as_ref().unwrap_or(finding);
    let (drawn, left, lines) = (story.acts.len(), acts.len(), told(&short.lines));
    format!(
        "seed {seed} breaks a rule; of its {drawn} acts these {left} suffice\n{lines}\n==> {found}\n"
    )
}
