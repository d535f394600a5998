//! A Docker engine of a test's own, which may be killed and started again under its containers.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use agent::executor::docker::{Address, image};
use garrison::site::wait;

use crate::ok;
use crate::processes::kill_now;

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
    daemon: Child,
    /// Its stdin closes with this.
    _watchdog: Child,
}

impl Engine {
    /// An engine with `args` beside what it needs; it answers when this returns.
    ///
    /// # Panics
    /// If it cannot be started: it takes root, and the program `dockerd` (Debian's docker.io).
    pub fn start(args: &[&str]) -> Engine {
        // Short, since a socket's address is.
        let dir = tempfile::Builder::new().prefix("garrison-e").tempdir_in("/tmp");
        let dir = dir.expect("a folder").keep();
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let daemon = daemon(&dir, &args);
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

    /// An image of this host's shell.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn image(&self) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let address = Address::new(self.host());
        ok(runtime.expect("a runtime").block_on(image::from_host(&address)))
    }

    /// How many containers run, as it knows.
    pub fn running(&self) -> usize {
        let listed = self.docker(&["ps", "--quiet"]);
        listed.map_or(0, |listed| listed.lines().count())
    }

    /// Ends the daemon as a crash would; what it has stays.
    ///
    /// # Panics
    /// If it does not end.
    pub fn kill(&mut self) {
        // It ends with the daemon; one that is just ending would confuse the next.
        let containerd = fs::read_to_string(self.dir.join("exec/containerd/containerd.pid"));
        let containerd = Path::new("/proc").join(containerd.unwrap_or_default().trim());
        kill_now(self.daemon.id());
        self.daemon.wait().expect("it was our child");
        ok(wait("containerd to end", || (!containerd.exists()).then_some(())));
    }

    /// Starts the daemon again; it answers when this returns.
    ///
    /// # Panics
    /// If it does not.
    pub fn start_again(&mut self) {
        self.daemon = daemon(&self.dir, &self.args);
        self.answers();
    }

    fn answers(&self) {
        wait("the engine to answer", || self.docker(&["version"])).unwrap_or_else(|failure| {
            let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            panic!("{failure}\n{log}");
        });
    }

    /// What its command line prints; none if it refuses.
    fn docker(&self, args: &[&str]) -> Option<String> {
        let output = Command::new("docker").args(["--host", &self.host()]).args(args).output();
        let output = output.ok().filter(|it| it.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }
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
        .unwrap_or_else(|error| panic!("dockerd: {error}; apt-get install docker.io"))
}
