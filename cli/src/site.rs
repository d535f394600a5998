//! A whole site on one machine: a repository, a coordinator and agents, as processes of their own.
//! The demo shows one; tests and benchmarks drive one.

pub mod forge;
mod port;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

pub use self::port::Port;
use crate::client::Client;
use crate::exit::Failure;

/// How long anything may take to come up or go down.
const PATIENCE: Duration = Duration::from_secs(30);

/// The name of the site's one repository.
pub const REPOSITORY: &str = "infra";

/// A policy that lets any process job run.
pub const OPEN_POLICY: &str = "[process]\nallow = true\nrepositories = [\"*\"]\n";

/// The site. Dropping it ends every process that it started; its folder is the caller's.
pub struct Site {
    dir: PathBuf,
    program: PathBuf,
    partitions: Vec<String>,
    coordinator: Option<Child>,
    ports: Option<Ports>,
    agents: BTreeMap<String, Option<Child>>,
    env: Vec<(String, String)>,
    max_age_s: u32,
    /// Where agents reach the coordinator.
    address: Ipv4Addr,
    /// What an agent's process is started by; empty for none.
    within: Vec<String>,
    more: String,
    /// Other names of its repository.
    names: Vec<String>,
}

/// Where the coordinator listens; kept over its restarts.
#[derive(Debug)]
struct Ports {
    http: Port,
    agents: Port,
}

#[derive(Debug, Deserialize)]
struct LocalAdmin {
    url: String,
    token: String,
}

impl Site {
    /// A site in `dir` with these partitions and an empty repository; nothing runs yet. `program`
    /// is the `garrison` binary.
    pub fn new(dir: &Path, program: &Path, partitions: &[&str]) -> Result<Site, Failure> {
        let site = Site {
            dir: dir.to_owned(),
            program: program.to_owned(),
            partitions: partitions.iter().map(|&name| name.to_owned()).collect(),
            coordinator: None,
            ports: None,
            agents: BTreeMap::new(),
            env: Vec::new(),
            max_age_s: 0,
            address: Ipv4Addr::LOCALHOST,
            within: Vec::new(),
            more: String::new(),
            names: Vec::new(),
        };
        fs::create_dir_all(site.repository())?;
        site.git(&["init", "--quiet", "--initial-branch=main"])?;
        forge::write_secret(&site.secret_file())?;
        Ok(site)
    }

    /// The site's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The repository's work tree.
    pub fn repository(&self) -> PathBuf {
        self.dir.join("repository")
    }

    /// The coordinator's data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.join("coordinator")
    }

    /// The file with the secret that the site's forge signs with; see [`forge`].
    pub fn secret_file(&self) -> PathBuf {
        self.dir.join("forge-secret")
    }

    /// Writes files, commits them to `main`, and returns the commit.
    pub fn commit(&self, files: &[(&str, &str)]) -> Result<String, Failure> {
        for (path, text) in files {
            let path = self.repository().join(path);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(path, text)?;
        }
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "--message=Change the site"])?;
        self.git(&["rev-parse", "HEAD"])
    }

    /// Starts the coordinator, or starts it again on the same addresses.
    pub fn start_coordinator(&mut self) -> Result<(), Failure> {
        let config = self.dir.join("coordinator.toml");
        let ports = match self.ports.take() {
            Some(ports) => ports,
            None => Ports {
                http: Port::reserve(Ipv4Addr::LOCALHOST)?,
                agents: Port::reserve(self.address)?,
            },
        };
        fs::write(&config, self.coordinator_config(&ports))?;
        self.ports = Some(ports);
        let admin = self.data().join("local-admin.json");
        // What an earlier process left says nothing about this one.
        let _ = fs::remove_file(&admin);
        let mut command = Command::new(&self.program);
        command.arg("coordinator").arg("--config").arg(&config);
        let child = self.spawn(command, "coordinator.log")?;
        self.coordinator = Some(child);
        wait("the coordinator to serve", || self.local_admin().ok())
            .map_err(|failure| self.with_log(failure, "coordinator.log"))?;
        Ok(())
    }

    /// Asks the coordinator to stop, and waits until it has.
    pub fn stop_coordinator(&mut self) -> Result<(), Failure> {
        match self.coordinator.take() {
            Some(child) => stop(child, Signal::SIGTERM),
            None => Ok(()),
        }
    }

    /// Ends the coordinator as a power failure would.
    pub fn kill_coordinator(&mut self) -> Result<(), Failure> {
        match self.coordinator.take() {
            Some(child) => stop(child, Signal::SIGKILL),
            None => Ok(()),
        }
    }

    /// Writes an agent's configuration and policy, has it join, and waits until it is connected.
    pub fn add_agent(
        &mut self,
        partition: &str,
        name: &str,
        capacity: u32,
        policy: &str,
    ) -> Result<(), Failure> {
        let token = self.join_token(partition, name)?;
        let dir = self.agent_dir(partition, name);
        fs::create_dir_all(&dir)?;
        let ports = self.ports.as_ref().ok_or_else(|| Failure::internal("no coordinator yet"))?;
        let config = format!(
            "coordinator = \"https://{}\"\nstate = {:?}\npolicy = {:?}\ncapacity = {capacity}\n",
            ports.agents,
            dir.join("state"),
            dir.join("policy.toml"),
        );
        fs::write(dir.join("agent.toml"), config)?;
        fs::write(dir.join("policy.toml"), policy)?;
        fs::write(dir.join("join-token"), token)?;
        self.start_agent(partition, name)
    }

    /// Starts an agent that was added, and waits until it is connected.
    pub fn start_agent(&mut self, partition: &str, name: &str) -> Result<(), Failure> {
        let client = self.client()?;
        let key = format!("{partition}/{name}");
        let found = || {
            let agents: Vec<coordinator::api::types::Agent> = client.get("/api/v1/agents").ok()?;
            let own = |agent: &coordinator::api::types::Agent| {
                agent.partition.as_str() == partition && agent.name.as_str() == name
            };
            agents.into_iter().find(own)
        };
        // The end of its last session may not have been noticed yet.
        let before = found().map(|agent| agent.since_us);
        self.launch_agent(partition, name)?;
        wait(&format!("agent {key} to connect"), || {
            let agent = found()?;
            let is_new = agent.status == "connected" && Some(agent.since_us) != before;
            is_new.then_some(())
        })
        .map_err(|failure| self.with_log(failure, &format!("agent-{partition}-{name}.log")))
    }

    /// Starts an agent that was added, whether or not it can connect.
    pub fn launch_agent(&mut self, partition: &str, name: &str) -> Result<(), Failure> {
        let dir = self.agent_dir(partition, name);
        let mut words = self.within.iter().map(OsStr::new).chain([self.program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).arg("agent").arg("--config").arg(dir.join("agent.toml"));
        command.arg("--join-token-file").arg(dir.join("join-token"));
        let child = self.spawn(command, &format!("agent-{partition}-{name}.log"))?;
        self.agents.insert(format!("{partition}/{name}"), Some(child));
        Ok(())
    }

    /// Asks an agent to stop, and waits until it has. Its runners go on.
    pub fn stop_agent(&mut self, partition: &str, name: &str) -> Result<(), Failure> {
        self.end_agent(partition, name, Signal::SIGTERM)
    }

    /// Ends an agent as a crash would. Its runners go on.
    pub fn kill_agent(&mut self, partition: &str, name: &str) -> Result<(), Failure> {
        self.end_agent(partition, name, Signal::SIGKILL)
    }

    /// A client with the coordinator's local administrator's rights.
    pub fn client(&self) -> Result<Client, Failure> {
        let admin = self.local_admin()?;
        Ok(Client::new(&admin.url, &admin.token))
    }

    /// A join token for an agent.
    pub fn join_token(&self, partition: &str, name: &str) -> Result<String, Failure> {
        let request = coordinator::api::types::NewJoinToken { ttl_s: 600 };
        let path = format!("/api/v1/agents/{partition}/{name}/token");
        let token: coordinator::api::types::TokenText = self.client()?.post(&path, &request)?;
        Ok(token.token)
    }

    /// The folder of an agent: configuration, policy, `state/`.
    pub fn agent_dir(&self, partition: &str, name: &str) -> PathBuf {
        self.dir.join(format!("agent-{partition}-{name}"))
    }

    /// A coordinator that is started from now on reads inventories that are up to so old, in
    /// seconds.
    pub fn set_max_age(&mut self, seconds: u32) {
        self.max_age_s = seconds;
    }

    /// A coordinator that is started from now on is reached by agents at this address of the host.
    pub fn set_address(&mut self, address: Ipv4Addr) {
        self.address = address;
    }

    /// Agents that are started from now on are started by this command, such as one that enters a
    /// network namespace.
    pub fn start_agents_by(&mut self, command: &[&str]) {
        self.within = command.iter().map(|&part| part.to_owned()).collect();
    }

    /// A coordinator that is started from now on has these tables in its configuration too.
    pub fn configure(&mut self, tables: &str) {
        self.more = tables.to_owned();
    }

    /// A coordinator that is started from now on knows its repository by this name too.
    pub fn name_repository(&mut self, name: &str) {
        self.names.push(name.to_owned());
    }

    /// What is started from now on is this program.
    pub fn set_program(&mut self, program: &Path) {
        self.program = program.to_owned();
    }

    /// Processes that are started from now on have this in their environment.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Processes that are started from now on have the environment of this one.
    pub fn clear_env(&mut self) {
        self.env.clear();
    }

    /// The coordinator's process.
    pub fn coordinator_pid(&self) -> Option<u32> {
        self.coordinator.as_ref().map(Child::id)
    }

    /// An agent's process.
    pub fn agent_pid(&self, partition: &str, name: &str) -> Option<u32> {
        self.agents.get(&format!("{partition}/{name}"))?.as_ref().map(Child::id)
    }

    /// Where the coordinator's HTTP API is.
    pub fn url(&self) -> Result<String, Failure> {
        Ok(self.local_admin()?.url)
    }

    /// Runs git in the repository; gives what it prints.
    pub fn git(&self, arguments: &[&str]) -> Result<String, Failure> {
        let output = Command::new("git")
            .args(["-c", "user.name=Demo", "-c", "user.email=demo@example.org"])
            .args(arguments)
            .current_dir(self.repository())
            .output()
            .map_err(|error| {
                Failure::usage(format!("cannot start git: {error}; apt-get install git"))
            })?;
        if !output.status.success() {
            return Err(Failure::internal(String::from_utf8_lossy(&output.stderr)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn end_agent(&mut self, partition: &str, name: &str, signal: Signal) -> Result<(), Failure> {
        let child = self.agents.get_mut(&format!("{partition}/{name}")).and_then(Option::take);
        child.map_or(Ok(()), |child| stop(child, signal))
    }

    fn local_admin(&self) -> Result<LocalAdmin, Failure> {
        let text = fs::read_to_string(self.data().join("local-admin.json"))?;
        serde_json::from_str(&text).map_err(Failure::internal)
    }

    fn coordinator_config(&self, ports: &Ports) -> String {
        let mut text = format!(
            "data = {:?}\n\n[agents]\nlisten = \"{}\"\nnames = [\"{}\"]\n\n\
             [http]\nlisten = \"{}\"\n\n[[repositories]]\nname = \"{REPOSITORY}\"\nurl = {:?}\n\
             max_age_s = {}\n",
            self.data(),
            ports.agents,
            self.address,
            ports.http,
            self.repository(),
            self.max_age_s,
        );
        text.push_str(&format!(
            "\n[[forges]]\nname = \"{}\"\nkind = \"github\"\nsecret_file = {:?}\n\
             repositories = [{{ name = \"{REPOSITORY}\", full_name = \"{}\" }}]\n",
            forge::NAME,
            self.secret_file(),
            forge::REPOSITORY,
        ));
        for name in &self.names {
            let url = self.repository();
            text.push_str(&format!("\n[[repositories]]\nname = \"{name}\"\nurl = {url:?}\n"));
        }
        let names = [&[REPOSITORY.to_owned()], &self.names[..]].concat();
        for partition in &self.partitions {
            text.push_str(&format!(
                "\n[[partitions]]\nname = \"{partition}\"\nrepositories = {names:?}\n\
                 inventory = {{ repository = \"{REPOSITORY}\", \
                 file = \"partitions/{partition}.yaml\" }}\n"
            ));
        }
        text.push_str(&self.more);
        text
    }

    fn spawn(&self, mut command: Command, log: &str) -> io::Result<Child> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.join(log))?;
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()
    }

    fn with_log(&self, failure: Failure, log: &str) -> Failure {
        let text = fs::read_to_string(self.dir.join(log)).unwrap_or_default();
        Failure { message: format!("{failure}; its log:\n{text}"), ..failure }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let agents = std::mem::take(&mut self.agents).into_values().flatten();
        for child in agents.chain(self.coordinator.take()) {
            // It may have ended by itself.
            let _ = stop(child, Signal::SIGTERM);
        }
        self.end_runners();
    }
}

impl Site {
    /// Ends what runners left in their attempts; they outlive their agents by design.
    fn end_runners(&self) {
        let own = self.dir.as_os_str().as_encoded_bytes();
        let Ok(processes) = fs::read_dir("/proc") else { return };
        for process in processes.flatten() {
            let Ok(pid) = process.file_name().to_string_lossy().parse::<i32>() else { continue };
            let read = |file| fs::read(process.path().join(file)).unwrap_or_default();
            let has = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|it| it == part);
            let (command, environment) = (read("cmdline"), read("environ"));
            let runner = has(&command, b"\0runner\0") && has(&command, own);
            let job = has(&environment, b"GARRISON_MARK=") && has(&environment, own);
            if runner || job {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

fn stop(mut child: Child, signal: Signal) -> Result<(), Failure> {
    let pid = Pid::from_raw(child.id().cast_signed());
    // A process that is gone already is as good as stopped.
    let _ = kill(pid, signal);
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Err(Failure::internal(format!("process {pid} did not stop when asked to")));
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Waits until `ready` gives something.
pub fn wait<T>(what: &str, ready: impl FnMut() -> Option<T>) -> Result<T, Failure> {
    wait_within(PATIENCE, what, ready)
}

/// [`wait`] with a patience of the caller's own.
pub fn wait_within<T>(
    patience: Duration,
    what: &str,
    mut ready: impl FnMut() -> Option<T>,
) -> Result<T, Failure> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(it) = ready() {
            return Ok(it);
        }
        if Instant::now() > deadline {
            return Err(Failure::internal(format!("waited {} s for {what}", patience.as_secs())));
        }
        sleep(Duration::from_millis(10));
    }
}
