//! Random choices that can be repeated.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Choices from a seed: the one in `GARRISON_SEED`, else a new one, which is printed if the test
/// fails. What other processes do meanwhile is not repeated.
#[derive(Debug)]
pub struct Chance {
    seed: u64,
    random: StdRng,
}

impl Chance {
    /// Choices that begin here.
    ///
    /// # Panics
    /// If `GARRISON_SEED` is no number.
    pub fn new() -> Chance {
        let seed = match std::env::var("GARRISON_SEED") {
            Ok(text) => text.parse().expect("GARRISON_SEED is a number"),
            Err(_) => rand::random(),
        };
        Chance { seed, random: StdRng::seed_from_u64(seed) }
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end)
    }

    /// A pause of at most that many milliseconds.
    pub fn pause(&mut self, longest_ms: u64) -> Duration {
        Duration::from_millis(self.random.random_range(0..=longest_ms))
    }
}

impl Default for Chance {
    fn default() -> Chance {
        Chance::new()
    }
}

impl Drop for Chance {
    #[allow(clippy::print_stderr, reason = "for whoever reads the failed test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("GARRISON_SEED={} makes the same choices again", self.seed);
        }
    }
}
