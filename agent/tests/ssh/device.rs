//! A device: an sshd of its own on a free port of this host; all that runs on it ends with the test.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent::attempt::Attempt;
use agent::runner::handle::Handle;
use agent::runner::handover::Handover;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User, chown, getuid};
use pipelines::outcome::Verdict;
use pipelines::plan::{Job, Ssh, Task};
use tempfile::TempDir;

use crate::host::{self, Host, PATIENCE, has, processes};

const SSHD: &str = "/usr/sbin/sshd";

/// The user of a device with users of its own.
pub(crate) const ADMIN: &str = "garrison-test";

pub(crate) struct Device {
    dir: TempDir,
    sshd: Child,
    port: u16,
    setup: Setup,
}

/// What is not as usual on a device.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Setup {
    /// More lines of sshd's configuration; `DIR` is the folder with its keys.
    pub(crate) config: &'static str,
    /// It has a boot id of its own, and users of its own: root, nobody and [`ADMIN`], who may do by sudo
    /// what this says.
    pub(crate) sudoers: Option<&'static str>,
}

impl Device {
    pub(crate) fn start() -> Self {
        Self::with(Setup::default())
    }

    /// One that can be rebooted.
    pub(crate) fn with_boot_id() -> Self {
        Self::with(Setup { sudoers: Some(""), ..Setup::default() })
    }

    pub(crate) fn with(setup: Setup) -> Self {
        assert!(
            Path::new(SSHD).exists(),
            "{SSHD} is missing: run `apt-get install openssh-server`"
        );
        let dir = tempfile::tempdir().unwrap();
        for (kind, name) in [
            ("ed25519", "host"),
            ("ecdsa", "host_ecdsa"),
            ("ed25519", "user"),
            ("ecdsa", "other"),
            ("ed25519", "ca"),
        ] {
            keygen(kind, &dir.path().join(name));
        }
        fs::copy(dir.path().join("user.pub"), dir.path().join("authorized")).unwrap();
        fs::create_dir(dir.path().join("tmp")).unwrap();
        if let Some(sudoers) = setup.sudoers {
            users(dir.path(), sudoers);
        }
        // sshd wants it, and Debian makes it only where sshd is started as a service.
        let _ = fs::create_dir("/run/sshd");
        let (sshd, port) = sshd(dir.path(), &setup);
        Self { dir, sshd, port, setup }
    }

    /// Ends all that runs on it, as a power switch does.
    pub(crate) fn go_down(&mut self) {
        // So that it does not take another connection meanwhile.
        let sshd = self.sshd.id();
        if kill(Pid::from_raw(sshd as i32), Signal::SIGSTOP).is_ok() {
            let state = || fs::read_to_string(format!("/proc/{sshd}/stat")).unwrap_or_default();
            let deadline = Instant::now() + PATIENCE;
            while state().contains(") R") || state().contains(") S") {
                assert!(Instant::now() < deadline, "sshd does not stop: {}", state());
            }
        }
        self.signal(Signal::SIGKILL);
        let _ = self.sshd.wait();
        for pid in self.processes() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Starts it anew at its port, with the boot id `boot`.
    pub(crate) fn come_back(&mut self, boot: &str) {
        // Another file: whatever is left of the first boot goes on to see the first.
        fs::write(self.key("next"), format!("{boot}\n")).unwrap();
        fs::rename(self.key("next"), self.key("boot_id")).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(sshd) = sshd_at(self.dir.path(), self.port, &self.setup) {
                self.sshd = sshd;
                return;
            }
            assert!(Instant::now() < deadline, "its port {} is still in use", self.port);
        }
    }

    /// Gives it other host keys, as a reinstallation does.
    pub(crate) fn reinstall(&self) {
        for (kind, name) in [("ed25519", "host"), ("ecdsa", "host_ecdsa")] {
            fs::remove_file(self.key(name)).unwrap();
            keygen(kind, &self.key(name));
        }
    }

    /// How the inventory describes it.
    pub(crate) fn ssh(&self) -> Ssh {
        let user = User::from_uid(getuid()).unwrap().unwrap().name;
        let (device, address) = ("leaf01".parse().unwrap(), "127.0.0.1".into());
        Ssh::new(device, address, self.port, user, self.public("host"))
    }

    pub(crate) fn task(&self) -> impl FnOnce(&mut Job) + use<> {
        let ssh = self.ssh();
        |job| job.task = Task::Ssh(Box::new(ssh))
    }

    /// The same by a user of the device's own.
    pub(crate) fn ssh_of(&self, user: &str) -> Ssh {
        Ssh { user: user.into(), ..self.ssh() }
    }

    /// Runs `lines` to their end, by a changed `ssh`.
    pub(crate) async fn run_by(&self, ssh: Ssh, host: &Host, lines: &[&str]) -> (Attempt, Verdict) {
        let attempt = host.attempt_with(lines, |job| job.task = Task::Ssh(Box::new(ssh)));
        host::finish(self.spawn(&attempt).await).await
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
        self.go_down();
    }
}

pub(crate) async fn spawn(attempt: &Attempt, keys: &[PathBuf]) -> Handle {
    let handover = Handover::new(vec![]).with_ssh_keys(keys.to_owned());
    host::launcher().spawn(attempt, &handover).await.unwrap()
}

pub(crate) fn keygen(kind: &str, path: &Path) {
    let mut command = Command::new("ssh-keygen");
    if kind == "ecdsa" {
        // One in 256 of the usual length cannot be read: see the handbook.
        command.args(["-b", "384"]);
    }
    let made = command.args(["-q", "-N", "", "-t", kind, "-f"]).arg(path).status();
    assert!(made.expect("ssh-keygen: run `apt-get install openssh-client`").success());
}

/// Starts sshd; of two that were given the same port, one tries again.
fn sshd(dir: &Path, setup: &Setup) -> (Child, u16) {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if let Some(sshd) = sshd_at(dir, port, setup) {
            return (sshd, port);
        }
    }
}

/// Starts sshd at `port`; none if that is in use.
fn sshd_at(dir: &Path, port: u16, setup: &Setup) -> Option<Child> {
    let mut text = config(dir, port) + &setup.config.replace("DIR", &dir.display().to_string());
    if !setup.config.contains("Subsystem") {
        text += "Subsystem sftp internal-sftp\n";
    }
    fs::write(dir.join("config"), text).unwrap();
    let mut command = match setup.sudoers {
        Some(_) => in_own_namespace(dir),
        None => Command::new(SSHD),
    };
    let mut sshd = command
        .args(["-D", "-e", "-f"])
        .arg(dir.join("config"))
        .stdin(Stdio::null())
        .stderr(File::create(dir.join("sshd.err")).unwrap())
        .spawn()
        .unwrap();
    listens(&mut sshd, dir, port).then_some(sshd)
}

/// An sshd that sees the device's own files in place of this host's.
fn in_own_namespace(dir: &Path) -> Command {
    assert!(getuid().is_root(), "run this test as root: it mounts files in a namespace of its own");
    let mounts = [
        ("boot_id", "/proc/sys/kernel/random/boot_id"),
        ("passwd", "/etc/passwd"),
        ("group", "/etc/group"),
        ("shadow", "/etc/shadow"),
        ("sudoers", "/etc/sudoers"),
    ];
    let mount = |(file, over)| format!("mount --bind {}/{file} {over} && ", dir.display());
    let script = mounts.map(mount).concat() + "exec " + SSHD + " \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "--", "sh", "-c", &script, "sshd"]);
    command
}

/// Writes the users of a device, and what [`ADMIN`] may do there.
fn users(dir: &Path, sudoers: &str) {
    let sudo = Path::new("/usr/bin/sudo").exists();
    assert!(sudo, "sudo is missing: run `apt-get install sudo`");
    let home = dir.display();
    let files = [
        ("boot_id", "first-boot\n".to_owned()),
        (
            "passwd",
            format!(
                "root:x:0:0::{home}:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n\
                 sshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n\
                 {ADMIN}:x:12345:12345::{home}/home:/bin/sh\n"
            ),
        ),
        ("group", format!("root:x:0:\nnogroup:x:65534:\n{ADMIN}:x:12345:\n")),
        ("shadow", format!("root:*:1::::::\nnobody:*:1::::::\n{ADMIN}:*:1::::::\n")),
        (
            "sudoers",
            format!(
                "Defaults use_pty\nDefaults env_keep += TMPDIR\nroot ALL=(ALL) ALL\n{sudoers}\n"
            ),
        ),
    ];
    for (name, text) in files {
        fs::write(dir.join(name), text).unwrap();
    }
    fs::create_dir(dir.join("home")).unwrap();
    chown(&dir.join("home"), Some(Uid::from_raw(12345)), None).unwrap();
    for (name, mode) in [("", 0o755), ("sudoers", 0o440), ("tmp", 0o1777)] {
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).unwrap();
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
