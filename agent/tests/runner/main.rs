//! Runners as real processes, as the agent sees them.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod agent;
mod endings;
mod full;
mod host;
mod hung;
mod lease;
mod output;
mod survival;
