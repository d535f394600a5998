//! A Docker engine for tests, and a host whose runners use it.

use std::ffi::OsString;
use std::os::unix::net::UnixStream;

use agent::attempt::Attempt;
use agent::executor::docker::{Address, image};
use agent::runner::handle::{Handle, Launcher};
use agent::runner::handover::Handover;
use nix::sys::signal::Signal;
use pipelines::outcome::Verdict;
use pipelines::plan::{Container, Job, Network, Pull, Task};
use tokio::sync::OnceCell;

use crate::host::{Host, finish, program};

/// An engine, with an image for its containers.
pub(crate) struct Engine {
    host: String,
    private: Option<dockerd::Engine>,
    image: OnceCell<String>,
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
    pub(crate) fn start(args: &[&str]) -> Self {
        let engine = dockerd::Engine::start(args);
        Self { host: engine.host(), private: Some(engine), image: OnceCell::new() }
    }

    /// Stops the daemon of a private one by `signal`; what it has stays.
    pub(crate) fn stop(&self, signal: Signal) {
        self.private.as_ref().unwrap().stop(signal);
    }

    /// Starts the daemon again.
    pub(crate) fn start_again(&self) {
        self.private.as_ref().unwrap().start_again();
    }

    pub(crate) fn address(&self) -> Address {
        Address::new(&self.host)
    }

    /// An image of this host's shell.
    pub(crate) async fn image(&self) -> String {
        let made =
            self.image.get_or_init(async || image::from_host(&self.address()).await.unwrap());
        made.await.clone()
    }

    /// Output of the engine's own command line.
    pub(crate) fn docker(&self, args: &[&str]) -> String {
        dockerd::docker(&self.host, args).unwrap_or_else(|error| panic!("{args:?}: {error}"))
    }

    /// Containers of `attempt`, running or not.
    pub(crate) fn containers(&self, attempt: &Attempt) -> String {
        let label = format!("label=garrison.mark={}", attempt.state().unwrap().mark);
        self.docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &label])
    }
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
        let list = ["ps", "--all", "--quiet", "--filter", &label];
        let Ok(left) = dockerd::docker(&self.engine.host, &list) else { return };
        for id in left.split_whitespace() {
            let remove = ["rm", "--force", "--volumes", id];
            let _ = dockerd::docker(&self.engine.host, &remove);
        }
    }
}
