//! Tries seeds and says what came of it; exits with 1 if a rule is broken.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use pipelines::quantity::Seconds;
use sim::act::{Class, What};
use sim::mutant::Mutant;
use sim::{STEPS, Summary, explain, try_seeds};

/// Seeds between two looks at the time of a long run.
const ROUND: u64 = 500;

/// Deterministic simulation of coordinator and agents under faults.
#[derive(Parser)]
struct Arguments {
    /// How many seeds are tried.
    #[arg(long, default_value_t = 2000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Acts drawn from each seed, before the faults stop.
    #[arg(long, default_value_t = STEPS)]
    steps: usize,
    /// Breaks this on purpose; a finding is then what is wished for.
    #[arg(long)]
    mutant: Option<Mutant>,
    /// Goes on with further seeds for as long as this, such as `2h`; a number alone is minutes.
    #[arg(long, value_parser = time)]
    time: Option<Duration>,
}

fn time(text: &str) -> Result<Duration, String> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let text = if is_number { format!("{text}m") } else { text.to_owned() };
    let seconds: Seconds = text.parse().map_err(|error| format!("{error}"))?;
    Ok(Duration::from_secs(seconds.0.into()))
}

fn main() -> io::Result<ExitCode> {
    let Arguments { seeds, start, steps, mutant, time } = Arguments::parse();
    let begun = Instant::now();
    let mut out = io::stdout().lock();
    let mut total = Summary::default();
    let mut at = start;
    let goes_on = |at: u64| match time {
        Some(time) => begun.elapsed() < time,
        None => at < start + seeds,
    };
    while total.broken.is_none() && goes_on(at) {
        let end = if time.is_some() { at + ROUND } else { (at + ROUND).min(start + seeds) };
        total.join(try_seeds(at..end, steps, mutant));
        at = end;
    }
    report(&mut out, &total, begun.elapsed())?;
    let Some((seed, story)) = &total.broken else { return Ok(ExitCode::SUCCESS) };
    write!(out, "\n{}", explain(*seed, story, mutant))?;
    Ok(ExitCode::FAILURE)
}

fn report(out: &mut impl Write, total: &Summary, took: Duration) -> io::Result<()> {
    for what in What::ALL.iter().filter(|what| what.class() == Class::Fault) {
        let count = total.counts.get(what).copied().unwrap_or_default();
        writeln!(out, "{count:>10}  {}", what.words())?;
    }
    let (seeds, steps, faults) = (total.seeds, total.steps(), total.total(Class::Fault));
    let seconds = took.as_secs_f64();
    writeln!(out, "{seeds} seeds, {steps} steps, {faults} faults in {seconds:.1} s")
}
