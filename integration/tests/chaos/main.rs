//! What breaks around jobs, with real processes: everything is killed, frozen, cut off, filled up and
//! set to a wrong time while jobs run. They go on, run once, and are told of in full.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod cancels;
mod clocks;
mod disks;
mod engines;
mod freezes;
mod job;
mod kills;
mod lossy;
mod pair;
mod pickup;
