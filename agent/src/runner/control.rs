//! The runner's socket, `control` in the attempt's directory: lines of JSON both ways.
//!
//! The runner says `{"version":1}` first, then `{"state":…}` (see [`Progress`]) and `{"log":LENGTH}`
//! with the log's bytes of output, each again when it has changed, and closes behind the final
//! state. The agent may say `{"cancel":true}`, and to a runner of version 2 or later
//! `{"lease":BASE}`: from when the attempt's lease counts, in µs of the host's boot. From version 3
//! on `{"ping":NUMBER}` is answered with `{"pong":NUMBER}`. Either side ignores lines that it does
//! not know.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_core::lease::BootTime;
use pipelines::outcome::Progress;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::executor::{Reason, Stopper};

/// The version of this protocol.
pub const VERSION: u32 = 3;

/// From this version on runners know leases.
const LEASES: u32 = 2;

/// From this version on runners answer pings.
const PINGS: u32 = 3;

/// At most this often the log's length is told to each listener.
const COALESCE: Duration = Duration::from_millis(5);

/// Listeners at once: one agent, an agent that takes its place, and somebody who looks.
const LISTENERS: usize = 8;

/// Longest line of a request, in bytes.
const REQUEST: u64 = 4096;

/// How long listeners may take to hear the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the runner says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// [`VERSION`] of the runner.
    Version(u32),
    /// Where the attempt is.
    State(Progress),
    /// Bytes of output in the log.
    Log(u64),
    /// The answer to [`Request::Ping`].
    Pong(u64),
}

/// What the agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// End the job; `false` means nothing.
    Cancel(bool),
    /// The lease counts from here on: µs of the host's boot.
    Lease(u64),
    /// Show that you live.
    Ping(u64),
}

/// Where requests go.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Ends the job.
    pub(crate) stopper: Stopper,
    /// From when the lease counts.
    pub(crate) lease: watch::Sender<Option<BootTime>>,
}

/// The socket, bound.
#[derive(Debug)]
pub struct Server(UnixListener);

impl Server {
    /// Binds the socket of the attempt in `dir`, in place of one that a dead runner left. For the
    /// holder of the attempt's lock.
    pub(crate) fn bind(dir: &Path) -> io::Result<Self> {
        match fs::remove_file(dir.join("control")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (_open, path) = short_path(dir)?;
        Ok(Self(UnixListener::bind(path)?))
    }

    /// Serves all who connect until the attempt has ended and they have heard of it.
    pub(crate) async fn serve(
        self,
        progress: watch::Receiver<Progress>,
        length: watch::Receiver<u64>,
        asked: Asked,
    ) {
        let mut listeners = JoinSet::new();
        let mut over = progress.clone();
        loop {
            tokio::select! {
                accepted = self.0.accept(), if listeners.len() < LISTENERS => {
                    let Ok((stream, _)) = accepted else { continue };
                    listeners.spawn(serve_one(stream, progress.clone(), length.clone(), asked.clone()));
                }
                Some(_) = listeners.join_next() => {}
                _ = over.wait_for(is_over) => break,
            }
        }
        while listeners.join_next().await.is_some() {}
    }
}

/// Waits for `server`, the task of [`Server::serve`], once the attempt has ended.
pub(crate) async fn farewell(server: &mut JoinSet<()>) {
    let _ = timeout(FAREWELL, server.join_next()).await;
}

async fn serve_one(
    stream: UnixStream,
    progress: watch::Receiver<Progress>,
    length: watch::Receiver<u64>,
    asked: Asked,
) {
    let (read, write) = stream.into_split();
    let (pinged, pings) = watch::channel(0);
    // An error means that the other side is gone, which is its own affair.
    tokio::select! {
        _ = listen(read, &asked, &pinged) => {}
        _ = report(write, progress, length, pings) => {}
    }
}

async fn listen(read: OwnedReadHalf, asked: &Asked, pinged: &watch::Sender<u64>) -> io::Result<()> {
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut read).take(REQUEST).read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        match serde_json::from_slice(&line) {
            Ok(Request::Cancel(true)) => asked.stopper.stop(Reason::Cancel),
            Ok(Request::Lease(base)) => drop(asked.lease.send_replace(Some(BootTime(base)))),
            Ok(Request::Ping(number)) => drop(pinged.send_replace(number)),
            Ok(Request::Cancel(false)) | Err(_) => {}
        }
    }
}

async fn report(
    mut write: OwnedWriteHalf,
    mut progress: watch::Receiver<Progress>,
    mut length: watch::Receiver<u64>,
    mut pings: watch::Receiver<u64>,
) -> io::Result<()> {
    say(&mut write, &Report::Version(VERSION)).await?;
    progress.mark_changed();
    length.mark_changed();
    loop {
        // Read before the length, which is final once the state is; and then told behind it.
        let state = changed(&mut progress);
        let grown = changed(&mut length).map(Report::Log);
        let over = state.as_ref().is_some_and(is_over);
        let told_length = grown.is_some();
        let state = state.map(Report::State);
        let pong = changed(&mut pings).map(Report::Pong);
        let reports = if over { [pong, grown, state] } else { [pong, state, grown] };
        for report in reports.iter().flatten() {
            say(&mut write, report).await?;
        }
        if over {
            return Ok(());
        }
        if told_length && timeout(COALESCE, progress.changed()).await.is_ok() {
            progress.mark_changed();
        }
        tokio::select! {
            changed = progress.changed() => {
                changed.map_err(io::Error::other)?;
                progress.mark_changed();
            }
            changed = length.changed() => {
                changed.map_err(io::Error::other)?;
                length.mark_changed();
            }
            Ok(()) = pings.changed() => pings.mark_changed(),
        }
    }
}

fn changed<T: Clone>(receiver: &mut watch::Receiver<T>) -> Option<T> {
    match receiver.has_changed() {
        Ok(false) => None,
        Ok(true) | Err(_) => Some(receiver.borrow_and_update().clone()),
    }
}

async fn say(write: &mut OwnedWriteHalf, report: &Report) -> io::Result<()> {
    write.write_all(&line(report)).await
}

fn is_over(progress: &Progress) -> bool {
    matches!(progress, Progress::Finished(_))
}

fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("messages have only string keys");
    line.push(b'\n');
    line
}

/// A path to `control` in `dir` that is short enough for a socket's 108 bytes; good for as long as
/// the file is open.
fn short_path(dir: &Path) -> io::Result<(File, PathBuf)> {
    let open = File::open(dir)?;
    let path = format!("/proc/self/fd/{}/control", open.as_raw_fd());
    Ok((open, path.into()))
}

/// The agent's end of the socket.
#[derive(Debug)]
pub(crate) struct Connection {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    line: Vec<u8>,
    cancelled: bool,
    /// Of the runner; none before it said so.
    version: Option<u32>,
}

impl Connection {
    /// Connects to the runner of the attempt in `dir`, if there is one.
    pub(crate) async fn open(dir: &Path) -> io::Result<Self> {
        let (_open, path) = short_path(dir)?;
        let (read, write) = UnixStream::connect(path).await?.into_split();
        let (read, line) = (BufReader::new(read), Vec::new());
        Ok(Self { read, write, line, cancelled: false, version: None })
    }

    /// Asks for a cancel, once.
    pub(crate) async fn cancel(&mut self) -> io::Result<()> {
        if !self.cancelled {
            // So short that it goes at once or not at all.
            self.write.write_all(&line(&Request::Cancel(true))).await?;
            self.cancelled = true;
        }
        Ok(())
    }

    /// The runner's process.
    pub(crate) fn runner(&self) -> Option<i32> {
        self.read.get_ref().as_ref().peer_cred().ok()?.pid()
    }

    /// Whether the runner is known not to answer pings.
    pub(crate) fn knows_no_pings(&self) -> bool {
        self.version.is_some_and(|version| version < PINGS)
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub(crate) fn ping(&self, number: u64) -> io::Result<()> {
        self.try_say(&Request::Ping(number))
    }

    /// Whether the runner is known to understand leases.
    pub(crate) fn knows_leases(&self) -> bool {
        self.version.is_some_and(|version| version >= LEASES)
    }

    /// Tells from when the lease counts. A runner that is stopped and takes nothing hears a later
    /// one.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub(crate) fn renew(&self, base: BootTime) -> io::Result<()> {
        self.try_say(&Request::Lease(base.0))
    }

    fn try_say(&self, request: &Request) -> io::Result<()> {
        let line = line(request);
        match self.write.try_write(&line) {
            Ok(written) if written == line.len() => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            Err(error) => Err(error),
        }
    }

    /// The next report; none once the runner has closed. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Option<Report> {
        loop {
            // Keeps in `line` what it has read if it is dropped.
            self.read.read_until(b'\n', &mut self.line).await.ok()?;
            if !self.line.ends_with(b"\n") {
                return None;
            }
            let report = serde_json::from_slice(&self.line);
            self.line.clear();
            if let Ok(Report::Version(version)) = report {
                self.version = Some(version);
            }
            if let Ok(report) = report {
                return Some(report);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_version_1_are_read_and_written() {
        let running = Report::State(Progress::Running { started_us: 5 });
        for (json, report) in [
            (r#"{"version":1}"#, Report::Version(1)),
            (r#"{"state":"accepted"}"#, Report::State(Progress::Accepted)),
            (r#"{"state":{"running":{"started_us":5}}}"#, running),
            (r#"{"log":7}"#, Report::Log(7)),
        ] {
            assert_eq!(serde_json::from_str::<Report>(json).unwrap(), report);
            assert_eq!(String::from_utf8(line(&report)).unwrap(), format!("{json}\n"));
        }
        assert_eq!(line(&Request::Cancel(true)), b"{\"cancel\":true}\n");
    }

    #[test]
    fn messages_of_version_2_are_read_and_written() {
        assert_eq!(line(&Request::Lease(7)), b"{\"lease\":7}\n");
        assert_eq!(serde_json::from_str::<Request>(r#"{"lease":7}"#).unwrap(), Request::Lease(7));
    }

    #[test]
    fn messages_of_version_3_are_read_and_written() {
        assert_eq!(line(&Request::Ping(7)), b"{\"ping\":7}\n");
        assert_eq!(serde_json::from_str::<Request>(r#"{"ping":7}"#).unwrap(), Request::Ping(7));
        assert_eq!(line(&Report::Pong(7)), b"{\"pong\":7}\n");
        assert_eq!(serde_json::from_str::<Report>(r#"{"pong":7}"#).unwrap(), Report::Pong(7));
    }

    #[tokio::test]
    async fn only_a_runner_that_knows_leases_hears_of_them() {
        for (version, knows) in [(1, false), (2, true), (3, true)] {
            let dir = tempfile::tempdir().unwrap();
            let server = Server::bind(dir.path()).unwrap();
            let (connection, accepted) =
                tokio::join!(Connection::open(dir.path()), server.0.accept());
            let (mut connection, (mut runner, _)) = (connection.unwrap(), accepted.unwrap());
            assert!(!connection.knows_leases());
            runner.write_all(&line(&Report::Version(version))).await.unwrap();
            assert_eq!(connection.next().await, Some(Report::Version(version)));
            assert_eq!(connection.knows_leases(), knows, "{version}");
        }
    }

    #[tokio::test]
    async fn a_socket_may_lie_deeper_than_its_address_is_long() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("d".repeat(200));
        fs::create_dir(&dir).unwrap();
        drop(Server::bind(&dir).unwrap());
        let server = Server::bind(&dir).unwrap();
        let (mut connection, accepted) = tokio::join!(Connection::open(&dir), server.0.accept());
        assert!(accepted.is_ok());
        connection.as_mut().unwrap().cancel().await.unwrap();
    }
}
