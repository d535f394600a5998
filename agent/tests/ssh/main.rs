//! Jobs on a device: runners as real processes, and a real sshd as the device.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod connecting;
mod device;
mod ending;
#[path = "../runner/host.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod host;
mod leftovers;
mod output;
