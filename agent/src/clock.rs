//! What the host says about time: the wall clock, the time since its boot, and which boot this is.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_core::lease::BootTime;
use nix::time::{ClockId, clock_gettime};

/// Wall clock in µs since 1970; 0 on a host whose clock stands before that.
pub fn wall_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Time since the host's start, with the time that it slept. Nobody can set this clock.
pub fn boot_time() -> BootTime {
    let since = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    BootTime(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// The kernel's id of this boot: another one means that the host rebooted in between.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
