//! A device: an sshd of its own on a free port of this host; all that runs on it ends with the test.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent::attempt::Attempt;
use agent::runner::handle::Handle;
use agent::runner::handover::Handover;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, getuid};
use pipelines::outcome::Verdict;
use pipelines::plan::{Job, Ssh, Task};
use tempfile::TempDir;

use crate::host::{self, Host, PATIENCE, has, processes};

const SSHD: &str = "/usr/sbin/sshd";

pub(crate) struct Device {
    dir: TempDir,
    sshd: Child,
    port: u16,
}

impl Device {
    pub(crate) fn start() -> Self {
        assert!(
            Path::new(SSHD).exists(),
            "{SSHD} is missing: run `apt-get install openssh-server`"
        );
        let dir = tempfile::tempdir().unwrap();
        for (kind, name) in
            [("ed25519", "host"), ("ecdsa", "host_ecdsa"), ("ed25519", "user"), ("ecdsa", "other")]
        {
            keygen(kind, &dir.path().join(name));
        }
        fs::copy(dir.path().join("user.pub"), dir.path().join("authorized")).unwrap();
        // sshd wants it, and Debian makes it only where sshd is started as a service.
        let _ = fs::create_dir("/run/sshd");
        let (sshd, port) = sshd(dir.path());
        Self { dir, sshd, port }
    }

    /// How the inventory describes it.
    pub(crate) fn ssh(&self) -> Ssh {
        Ssh {
            device: "leaf01".parse().unwrap(),
            address: "127.0.0.1".into(),
            port: self.port,
            user: User::from_uid(getuid()).unwrap().unwrap().name,
            host_key: self.public("host"),
            more_host_keys: Vec::new(),
        }
    }

    pub(crate) fn task(&self) -> impl FnOnce(&mut Job) + use<> {
        let ssh = self.ssh();
        |job| job.task = Task::Ssh(ssh)
    }

    /// The public part of the key `name`.
    pub(crate) fn public(&self, name: &str) -> String {
        let text = fs::read_to_string(self.key(name).with_extension("pub")).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn fingerprint(&self, name: &str) -> String {
        let out = Command::new("ssh-keygen").arg("-lf").arg(self.key(name)).output().unwrap();
        String::from_utf8(out.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Lets another key in.
    pub(crate) fn authorize(&self, name: &str) {
        fs::write(self.dir.path().join("authorized"), self.public(name)).unwrap();
    }

    /// Starts `lines` on it.
    pub(crate) async fn job(&self, host: &Host, lines: &[&str]) -> Handle {
        self.spawn(&host.attempt_with(lines, self.task())).await
    }

    /// Runs `lines` to their end.
    pub(crate) async fn run(&self, host: &Host, lines: &[&str]) -> (Attempt, Verdict) {
        host::finish(self.job(host, lines).await).await
    }

    pub(crate) async fn spawn(&self, attempt: &Attempt) -> Handle {
        spawn(attempt, &[self.key("user")]).await
    }

    /// What runs on it.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let ours = format!("TMPDIR={}", self.tmp().display());
        processes(|dir| {
            // A zombie's is empty.
            fs::read(dir.join("environ")).is_ok_and(|environ| has(&environ, &ours))
        })
    }

    /// Fails, with their command lines, if anything runs on it.
    pub(crate) fn assert_idle(&self) {
        let command = |pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let left: Vec<_> = self.processes().into_iter().map(|pid| (pid, command(pid))).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// The processes of sshd that serve a connection.
    pub(crate) fn connections(&self) -> Vec<i32> {
        let parent = format!("PPid:\t{}\n", self.sshd.id());
        processes(|dir| {
            fs::read_to_string(dir.join("status")).is_ok_and(|status| status.contains(&parent))
        })
    }

    /// Sends `signal` to sshd and all of its connections.
    pub(crate) fn signal(&self, signal: Signal) {
        for pid in self.connections().into_iter().chain([self.sshd.id() as i32]) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// The attempts that have left word on it.
    pub(crate) fn records(&self) -> Vec<String> {
        let entries = fs::read_dir(self.record_dir()).unwrap().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    pub(crate) fn record_dir(&self) -> PathBuf {
        self.tmp().join(format!(".garrison-{}", getuid()))
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.dir.path().join("tmp")
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.sshd.wait();
        for pid in self.processes() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

pub(crate) async fn spawn(attempt: &Attempt, keys: &[PathBuf]) -> Handle {
    let handover = Handover::new(vec![]).with_ssh_keys(keys.to_owned());
    host::launcher().spawn(attempt, &handover).await.unwrap()
}

fn keygen(kind: &str, path: &Path) {
    let mut command = Command::new("ssh-keygen");
    let made = command.args(["-q", "-N", "", "-t", kind, "-f"]).arg(path).status();
    assert!(made.expect("ssh-keygen: run `apt-get install openssh-client`").success());
}

/// Starts sshd; of two that were given the same port, one tries again.
fn sshd(dir: &Path) -> (Child, u16) {
    fs::create_dir(dir.join("tmp")).unwrap();
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        fs::write(dir.join("config"), config(dir, port)).unwrap();
        let mut sshd = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(dir.join("config"))
            .stdin(Stdio::null())
            .stderr(File::create(dir.join("sshd.err")).unwrap())
            .spawn()
            .unwrap();
        if listens(&mut sshd, dir, port) {
            return (sshd, port);
        }
    }
}

fn listens(sshd: &mut Child, dir: &Path, port: u16) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let words = fs::read_to_string(dir.join("sshd.err")).unwrap();
        if let Some(status) = sshd.try_wait().unwrap() {
            assert!(words.contains("in use"), "{status}: {words}");
            return false;
        }
        if words.contains("Server listening") && TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        assert!(Instant::now() < deadline, "sshd does not listen: {words}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Its home is empty, since what this host's user has in a shell's start-up files may take seconds.
fn config(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        "ListenAddress 127.0.0.1:{port}\n\
         HostKey {dir}/host\n\
         HostKey {dir}/host_ecdsa\n\
         AuthorizedKeysFile {dir}/authorized\n\
         PidFile {dir}/sshd.pid\n\
         PermitRootLogin yes\n\
         MaxStartups 100\n\
         StrictModes no\n\
         UsePAM no\n\
         SetEnv TMPDIR={dir}/tmp HOME={dir}\n"
    )
}
