//! Jobs on a device: runners as real processes, and a real sshd as the device.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod cli;
mod connecting;
mod device;
mod ending;
mod files;
#[path = "../runner/host.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod host;
mod leftovers;
mod login;
mod output;
mod reboot;
mod way;
