//! Children that this process had before another program took its place: runners, whose ends
//! nobody else waits for.

use std::io;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

use crate::processes;

/// The children of this process, to be asked before it has any of its own.
pub fn children() -> io::Result<Vec<Pid>> {
    processes::children(Pid::this())
}

/// Waits for the end of `children`, so that the kernel can forget them.
pub async fn reap(mut children: Vec<Pid>) {
    let Ok(mut ended) = signal(SignalKind::child()) else { return };
    loop {
        children.retain(|child| {
            matches!(waitpid(*child, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive))
        });
        if children.is_empty() || ended.recv().await.is_none() {
            return;
        }
    }
}
