//! What the tests share: the real binary, a site on this machine, and the command line as its users
//! type it.

pub mod browser;
pub mod cases;
pub mod chance;
pub mod clock;
pub mod delay;
pub mod disk;
pub mod firewall;
pub mod guide;
pub mod nats;
pub mod network;
pub mod packages;
pub mod processes;
pub mod receiver;
pub mod sshd;
pub mod stream;
pub mod vm;

use std::io::{Write, read_to_string};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use agent::executor::docker::{Address, image};
use garrison::site::{OPEN_POLICY, Site};
use tempfile::TempDir;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// The `garrison` binary beside the test's own.
///
/// # Panics
/// If it was not built.
pub fn program() -> PathBuf {
    let own = std::env::current_exe().expect("a test has a path");
    let folder = own.parent().and_then(Path::parent).expect("tests lie in target/*/deps");
    let program = folder.join("garrison");
    assert!(program.exists(), "{} is missing: cargo build --workspace", program.display());
    program
}

/// An image of this host's shell, in the Docker engine that the agents use too.
///
/// # Panics
/// If no engine answers.
pub fn image() -> String {
    image_at(&Address::from_env())
}

/// The same in the engine at `address`.
///
/// # Panics
/// If it does not answer.
pub fn image_at(address: &Address) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let made = runtime.expect("a runtime").block_on(image::from_host(address));
    made.unwrap_or_else(|error| {
        panic!("{error}: run the tests by 'deploy/with-docker-engine cargo nextest run'")
    })
}

/// A site with an agent `mgmt01` in each partition, and the folder that it lives in.
pub struct World {
    /// The site; dropped before its folder.
    pub site: Site,
    /// Its folder.
    pub dir: TempDir,
}

impl World {
    /// A site whose repository holds `pipeline` as `.garrison/deploy.yaml`; everything runs.
    ///
    /// # Panics
    /// If something does not come up, with its log.
    pub fn start(partitions: &[&str], pipeline: &str) -> World {
        let mut world = World::without_agents(partitions, pipeline);
        for partition in partitions {
            ok(world.site.add_agent(partition, "mgmt01", 8, OPEN_POLICY));
        }
        world
    }

    /// The same without agents.
    ///
    /// # Panics
    /// If something does not come up, with its log.
    pub fn without_agents(partitions: &[&str], pipeline: &str) -> World {
        World::running(&program(), partitions, pipeline)
    }

    /// The same with another `garrison`.
    ///
    /// # Panics
    /// If something does not come up, with its log.
    pub fn running(program: &Path, partitions: &[&str], pipeline: &str) -> World {
        let dir = tempfile::Builder::new().prefix("garrison-").tempdir().expect("a folder");
        let mut site = ok(Site::new(dir.path(), program, partitions));
        let inventories: Vec<(String, String)> = partitions
            .iter()
            .map(|it| {
                (format!("partitions/{it}.yaml"), format!("partition: {it}\ndevices: {{}}\n"))
            })
            .collect();
        let mut files = vec![(".garrison/deploy.yaml", pipeline)];
        files.extend(inventories.iter().map(|(path, text)| (path.as_str(), text.as_str())));
        ok(site.commit(&files));
        ok(site.start_coordinator());
        World { site, dir }
    }

    /// Runs `garrison` with these arguments on the coordinator's host.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn garrison(&self, arguments: &[&str]) -> Said {
        garrison(&self.site.data(), arguments)
    }

    /// The same with this on standard input.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn garrison_reads(&self, arguments: &[&str], input: &[u8]) -> Said {
        let mut command = Command::new(program());
        command.arg("--data").arg(self.site.data()).args(arguments).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        // One that refuses its arguments reads nothing.
        let _ = child.stdin.take().expect("a pipe").write_all(input);
        Said::from(child.wait_with_output().expect("it ends"))
    }

    /// Starts `garrison` with these arguments and does not wait for it.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn spawn(&self, arguments: &[&str]) -> std::process::Child {
        let mut command = Command::new(program());
        command.arg("--data").arg(self.site.data()).args(arguments);
        command.stdout(std::process::Stdio::piped()).spawn().expect("the binary starts")
    }

    /// What Prometheus would read.
    ///
    /// # Panics
    /// If the coordinator does not answer.
    pub fn metrics(&self) -> String {
        ok(ok(self.site.client()).stream("/metrics").and_then(|text| Ok(read_to_string(text)?)))
    }

    /// Triggers the pipeline `deploy` and returns its run once it exists.
    ///
    /// # Panics
    /// If it does not start.
    pub fn trigger(&self) -> u64 {
        let said = self.garrison(&["trigger", "deploy", "--repository", "infra", "-o", "json"]);
        assert_eq!(said.code, 0, "{said:?}");
        said.json()["id"].as_u64().expect("a run has a number")
    }

    /// Waits for a run's end and returns what `show` says of it.
    ///
    /// # Panics
    /// If it does not end.
    pub fn finished(&self, run: u64) -> serde_json::Value {
        self.run_when(run, "end", |detail| !detail["finished_us"].is_null())
    }

    /// Waits until a run is as wanted and returns what `show` says of it.
    ///
    /// # Panics
    /// If it never is.
    pub fn run_when(
        &self,
        run: u64,
        wanted: &str,
        is: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let mut last = String::new();
        let path = format!("/api/v1/runs/{run}");
        let found = garrison::site::wait(&format!("run {run} to {wanted}"), || {
            let detail: serde_json::Value = self.site.client().ok()?.get(&path).ok()?;
            last = format!("{detail:#}");
            is(&detail).then_some(detail)
        });
        found.unwrap_or_else(|failure| panic!("{failure}; it is {last}\n{}", self.logs()))
    }

    /// The whole log of a job of a run that has ended.
    ///
    /// # Panics
    /// If the binary cannot be started.
    pub fn log(&self, run: u64, job: usize) -> String {
        self.garrison(&["logs", &format!("{run}.{job}"), "--follow"]).out
    }

    /// A copy of its files that stays when the test is over, for whoever looks at its failure.
    ///
    /// # Panics
    /// If there is no room for it.
    pub fn keep(&self) -> PathBuf {
        let kept = tempfile::Builder::new().prefix("garrison-kept-").tempdir();
        let kept = kept.expect("a folder").keep();
        // Some vanish meanwhile.
        let _ = Command::new("cp").arg("--archive").arg(self.dir.path()).arg(&kept).status();
        kept
    }

    /// The logs of all processes, for a failed test's message.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        let entries = std::fs::read_dir(self.dir.path()).into_iter().flatten().flatten();
        for entry in entries.filter(|it| it.path().extension().is_some_and(|it| it == "log")) {
            let log = std::fs::read_to_string(entry.path()).unwrap_or_default();
            text.push_str(&format!("--- {}\n{log}", entry.path().display()));
        }
        text
    }
}

/// Runs `garrison` with these arguments on the host of the coordinator with this data directory.
///
/// # Panics
/// If it cannot be started.
pub fn garrison(data: &Path, arguments: &[&str]) -> Said {
    let output = Command::new(program()).arg("--data").arg(data).args(arguments).output();
    Said::from(output.expect("the binary starts"))
}

/// Ends the process that runs `garrison runner DIR`, and nothing else.
///
/// # Panics
/// If there is none.
pub fn kill_runner(dir: &Path) {
    let wanted = format!("runner\0{}\0", dir.display());
    let runner =
        std::fs::read_dir("/proc").expect("/proc is there").flatten().find_map(|process| {
            let command = std::fs::read(process.path().join("cmdline")).ok()?;
            let pid: i32 = process.file_name().to_string_lossy().parse().ok()?;
            String::from_utf8_lossy(&command).ends_with(&wanted).then_some(pid)
        });
    let pid = nix::unistd::Pid::from_raw(runner.expect("the runner lives"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it can be ended");
}

/// A channel to a site's coordinator with the identity of one of its agents, or with none.
///
/// # Panics
/// If there is no such agent, or no connection.
pub async fn channel(world: &World, agent: Option<(&str, &str)>) -> Channel {
    let own = agent.unwrap_or(("fra", "mgmt01"));
    let folder = world.site.agent_dir(own.0, own.1);
    let read = |file: &str| {
        let path = folder.join("state/identity").join(file);
        std::fs::read_to_string(path).expect("an identity")
    };
    let config = std::fs::read_to_string(folder.join("agent.toml")).expect("a configuration");
    let url = config.split('"').nth(1).expect("an address").to_owned();
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("ca.pem")));
    if agent.is_some() {
        tls = tls.identity(Identity::from_pem(read("agent.pem"), read("agent.key")));
    }
    let endpoint = Endpoint::from_shared(url).expect("an address").tls_config(tls);
    endpoint.expect("certificates that fit").connect().await.expect("a coordinator")
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// Its exit status.
    pub code: i32,
    /// On standard output.
    pub out: String,
    /// On standard error.
    pub err: String,
}

impl Said {
    /// Its output as JSON.
    ///
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The value, or a panic with the failure's words.
///
/// # Panics
/// If there is none.
pub fn ok<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}
