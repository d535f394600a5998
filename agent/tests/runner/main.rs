//! Runners as real processes, as the agent sees them.

#![allow(clippy::unwrap_used)]

mod endings;
mod host;
mod output;
mod survival;
