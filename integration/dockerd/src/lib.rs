//! A Docker engine of a test's own, which may be killed and started again under its containers. It takes
//! root, and the programs of Debian's docker.io.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long the engine may take to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often that is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// Ends the engine with all that it has once stdin closes, however the test ends.
const WATCHDOG: &str = r#"
    cat
    docker --host unix://$0/sock ps --all --quiet |
        xargs --no-run-if-empty docker --host unix://$0/sock rm --force --volumes
    pid=$(cat $0/pid)
    kill $pid
    while kill -0 $pid; do sleep 0.1; done
    for shim in $(grep --files-with-matches --line-regexp containerd-shim /proc/[0-9]*/comm); do
        ! grep --quiet --text $0/ ${shim%comm}cmdline || kill $(basename ${shim%/comm})
    done
    grep --only-matching " $0/[^ ]*" /proc/mounts | tac | xargs --no-run-if-empty umount --lazy
    rm -rf $0
"#;

/// The engine. It knows no networks but `host` and `none`.
#[derive(Debug)]
pub struct Engine {
    dir: PathBuf,
    args: Vec<String>,
    daemon: Mutex<Child>,
    /// Its stdin closes with this, or with the test's process.
    _watchdog: Child,
}

impl Engine {
    /// An engine with `args` beside what it needs; it answers when this returns.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(args: &[&str]) -> Engine {
        // Short, since a socket's address is.
        let dir = tempfile::Builder::new().prefix("garrison-e").tempdir_in("/tmp");
        let dir = dir.expect("a folder").keep();
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let daemon = Mutex::new(daemon(&dir, &args));
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let engine = Engine { dir, args, daemon, _watchdog: watchdog.expect("a shell") };
        engine.answers();
        engine
    }

    /// Where it listens, for `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}/sock", self.dir.display())
    }

    /// How many containers run, as it knows.
    pub fn running(&self) -> usize {
        let listed = docker(&self.host(), &["ps", "--quiet"]);
        listed.map_or(0, |listed| listed.lines().count())
    }

    /// Ends the daemon by `signal`; what it has stays.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop(&self, signal: Signal) {
        let containerd = fs::read_to_string(self.dir.join("exec/containerd/containerd.pid"));
        let containerd = Path::new("/proc").join(containerd.unwrap_or_default().trim());
        let mut daemon = self.daemon();
        // One that has just ended by itself is as good.
        let _ = kill(Pid::from_raw(daemon.id().cast_signed()), signal);
        // containerd ends with the daemon; one that is just ending would confuse the next daemon.
        let ended = until(|| matches!(daemon.try_wait(), Ok(Some(_))) && !containerd.exists());
        assert!(ended, "the engine does not end: {}", self.log());
    }

    /// Starts the daemon again; it answers when this returns.
    ///
    /// # Panics
    /// If it does not.
    pub fn start_again(&self) {
        *self.daemon() = daemon(&self.dir, &self.args);
        self.answers();
    }

    fn answers(&self) {
        let answers = until(|| docker(&self.host(), &["version"]).is_ok());
        assert!(answers, "the engine does not answer: {}", self.log());
    }

    fn daemon(&self) -> MutexGuard<'_, Child> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

/// What the command line prints with these arguments for the engine at `host`, without the last line's end.
///
/// # Errors
/// What it says where it fails.
///
/// # Panics
/// If there is no command line.
pub fn docker(host: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(["--host", host]).args(args).output();
    let output = output.expect("the docker command: apt-get install docker.io");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn daemon(dir: &Path, args: &[String]) -> Child {
    let log = File::options().create(true).append(true).open(dir.join("log")).expect("a log");
    let place = |name: &str| dir.join(name);
    Command::new("dockerd")
        .arg("--data-root")
        .arg(place("data"))
        .arg("--exec-root")
        .arg(place("exec"))
        .arg("--pidfile")
        .arg(place("pid"))
        .arg(format!("--host=unix://{}", place("sock").display()))
        .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn()
        .expect("dockerd: apt-get install docker.io")
}

/// Whether something becomes true.
fn until(mut is: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if is() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(GLANCE);
    }
}
