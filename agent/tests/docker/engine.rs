//! A Docker engine for tests, and a host whose runners use it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use agent::attempt::Attempt;
use agent::executor::docker::{Address, image};
use agent::runner::handle::{Handle, Launcher};
use agent::runner::handover::Handover;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pipelines::outcome::Verdict;
use pipelines::plan::{Container, Job, Network, Pull, Task};
use tokio::sync::OnceCell;

use crate::host::{Host, PATIENCE, finish, program, until};

/// Ends the engine, and what it would leave, once its stdin closes, however the tests end.
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

/// An engine.
pub(crate) struct Engine {
    host: String,
    private: Option<Private>,
    image: OnceCell<String>,
}

struct Private {
    dir: PathBuf,
    args: Vec<&'static str>,
    daemon: Mutex<Child>,
    /// Its stdin closes with this process.
    _watchdog: Child,
}

/// The engine that most tests share.
pub(crate) async fn shared() -> &'static Engine {
    static SHARED: OnceCell<Engine> = OnceCell::const_new();
    SHARED.get_or_init(async || Engine::find().unwrap_or_else(|| Engine::start(&[]))).await
}

impl Engine {
    /// The engine that runs on this host.
    fn find() -> Option<Self> {
        let host = std::env::var("DOCKER_HOST").ok();
        let host = host.unwrap_or_else(|| "unix:///var/run/docker.sock".into());
        UnixStream::connect(host.strip_prefix("unix://")?).ok()?;
        Some(Self { host, private: None, image: OnceCell::new() })
    }

    /// A private one with `args` beside the usual ones.
    pub(crate) fn start(args: &[&'static str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Short, since a socket's address is.
        let dir = PathBuf::from(format!("/tmp/garrison-dockerd-{}-{number}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let daemon = Mutex::new(daemon(&dir, args));
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let host = format!("unix://{}/sock", dir.display());
        let private = Private { dir, args: args.to_vec(), daemon, _watchdog: watchdog };
        Self { host, private: Some(private), image: OnceCell::new() }
    }

    /// Stops the daemon by `signal`; what it has stays.
    pub(crate) async fn stop(&self, signal: Signal) {
        let private = self.private.as_ref().unwrap();
        let pid = private.daemon.lock().unwrap().id();
        // It ends with the daemon; one that is just ending would confuse the next daemon.
        let containerd = fs::read_to_string(private.dir.join("exec/containerd/containerd.pid"));
        let containerd = Path::new("/proc").join(containerd.unwrap().trim());
        kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
        until("the engine has ended", || {
            private.daemon.lock().unwrap().try_wait().unwrap().is_some() && !containerd.exists()
        })
        .await;
    }

    /// Starts the daemon again.
    pub(crate) fn start_again(&self) {
        let private = self.private.as_ref().unwrap();
        *private.daemon.lock().unwrap() = daemon(&private.dir, &private.args);
    }

    pub(crate) fn address(&self) -> Address {
        Address::new(&self.host)
    }

    /// An image of this host's shell.
    pub(crate) async fn image(&self) -> String {
        let made = self.image.get_or_init(async || {
            let deadline = Instant::now() + PATIENCE;
            loop {
                match image::from_host(&self.address()).await {
                    Ok(image) => return image,
                    Err(error) if Instant::now() > deadline => {
                        panic!("{error}\n{}", self.log());
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        made.await.clone()
    }

    /// Output of the engine's own command line.
    pub(crate) fn docker(&self, args: &[&str]) -> String {
        let output = Command::new("docker").args(["-H", &self.host]).args(args).output();
        let output = output.expect("the docker command: install docker.io");
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Containers of `attempt`, running or not.
    pub(crate) fn containers(&self, attempt: &Attempt) -> String {
        let label = format!("label=garrison.mark={}", attempt.state().unwrap().mark);
        self.docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &label])
    }

    fn log(&self) -> String {
        let log = self.private.as_ref().map(|private| private.dir.join("log"));
        log.and_then(|log| fs::read_to_string(log).ok()).unwrap_or_default()
    }
}

fn daemon(dir: &Path, args: &[&str]) -> Child {
    let log = File::options().create(true).append(true).open(dir.join("log")).unwrap();
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
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .expect(
            "no Docker engine answers, and dockerd cannot be started: apt-get install docker.io",
        )
}

/// A host whose jobs run in containers without a network.
pub(crate) struct Docker<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) host: Host,
    image: String,
}

impl<'a> Docker<'a> {
    pub(crate) async fn new(engine: &'a Engine) -> Self {
        Self { engine, host: Host::new(), image: engine.image().await }
    }

    pub(crate) fn attempt(
        &self,
        lines: &[&str],
        change: impl FnOnce(&mut Job, &mut Container),
    ) -> Attempt {
        self.host.attempt_with(lines, |job| {
            let mut container = Container {
                image: self.image.clone(),
                pull: Pull::Never,
                network: Network::None,
                memory: None,
                millicpus: None,
                services: Vec::new(),
            };
            change(job, &mut container);
            job.task = Task::Container(container);
        })
    }

    /// Starts `lines`.
    pub(crate) async fn start(&self, lines: &[&str]) -> Handle {
        self.spawn(&self.attempt(lines, |_, _| {})).await
    }

    pub(crate) async fn spawn(&self, attempt: &Attempt) -> Handle {
        self.launcher(&self.engine.host).spawn(attempt, &Handover::new(vec![])).await.unwrap()
    }

    /// Runners whose jobs have 2 s to end.
    pub(crate) fn launcher(&self, engine: &str) -> Launcher {
        let args = [format!("DOCKER_HOST={engine}").into(), program().into_os_string()];
        let grace = ["--grace-ms", "2000"].map(OsString::from);
        Launcher { program: "/usr/bin/env".into(), args: args.into_iter().chain(grace).collect() }
    }

    /// Runs `lines` to their end, behind which there is no container.
    pub(crate) async fn run(&self, lines: &[&str]) -> (Attempt, Verdict) {
        self.finish(self.start(lines).await).await
    }

    pub(crate) async fn finish(&self, handle: Handle) -> (Attempt, Verdict) {
        let (attempt, verdict) = finish(handle).await;
        assert_eq!(self.engine.containers(&attempt), "", "containers are left");
        (attempt, verdict)
    }
}

impl Drop for Docker<'_> {
    fn drop(&mut self) {
        let root = self.host.root().canonicalize().unwrap();
        let label = format!("label=garrison.agent={}", root.display());
        let list = ["-H", &self.engine.host, "ps", "--all", "--quiet", "--filter", &label];
        let Ok(left) = Command::new("docker").args(list).output() else { return };
        for id in String::from_utf8_lossy(&left.stdout).split_whitespace() {
            let remove = ["-H", &self.engine.host, "rm", "--force", "--volumes", id];
            let _ = Command::new("docker").args(remove).output();
        }
    }
}
