//! A machine of the lab: real daemons in namespaces of their own, with a disk that stays, a boot id
//! of each boot, a switch for its power, and a console.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use garrison::exit::Failure;

use crate::insist;

/// The scripts that make a machine.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/machine");

/// Where programs are at a console.
pub const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A machine; switched off when it is dropped.
#[derive(Debug)]
pub struct Machine {
    name: String,
    dir: PathBuf,
    supply: Supply,
    /// What runs while it is plugged in: its chassis, or its BMC.
    plugged: Option<Child>,
}

/// What switches a machine on.
#[derive(Debug)]
enum Supply {
    /// Its plug: it is in this namespace.
    Plug { namespace: String },
    /// A BMC, in its own namespace beside the machine's.
    Bmc { namespace: String, of: String },
}

/// How a machine leaves its factory.
#[derive(Debug)]
pub struct Factory<'a> {
    /// Lines of `/etc/hosts`.
    pub hosts: &'a str,
    /// What runs, of the folder `machine/sv`.
    pub services: &'a [&'a str],
    /// The port that asks for its address by DHCP.
    pub port: &'a str,
}

impl Machine {
    /// A machine with its files in `dir`, which is on whenever its plug is in.
    pub fn new(
        name: &str,
        dir: PathBuf,
        namespace: String,
        factory: &Factory<'_>,
    ) -> Result<Machine, Failure> {
        Machine::from_factory(name, dir, Supply::Plug { namespace }, factory)
    }

    /// A machine that is switched on and off by its BMC, which is on whenever the plug is in.
    pub fn with_bmc(
        name: &str,
        dir: PathBuf,
        namespaces: [String; 2],
        factory: &Factory<'_>,
    ) -> Result<Machine, Failure> {
        let [of, namespace] = namespaces;
        Machine::from_factory(name, dir, Supply::Bmc { namespace, of }, factory)
    }

    fn from_factory(
        name: &str,
        dir: PathBuf,
        supply: Supply,
        factory: &Factory<'_>,
    ) -> Result<Machine, Failure> {
        let chassis = dir.join("chassis");
        fs::create_dir_all(&chassis)?;
        fs::write(chassis.join("hosts"), factory.hosts)?;
        fs::write(chassis.join("factory"), factory.services.join(" "))?;
        fs::write(chassis.join("port"), factory.port)?;
        Ok(Machine { name: name.to_owned(), dir, supply, plugged: None })
    }

    /// Its name within its partition.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its own system leaves for its chassis: `/run/chassis` inside.
    pub fn chassis(&self) -> PathBuf {
        self.dir.join("chassis")
    }

    /// Where this host has a folder of its disk, such as `srv/www`; of those that `machine/boot` binds.
    pub fn disk(&self, folder: &str) -> PathBuf {
        self.dir.join("disk/own").join(folder)
    }

    /// Plugs it in. Without a BMC it boots, and boots again after each reboot.
    pub fn plug_in(&mut self) -> Result<(), Failure> {
        if self.plugged.is_some() {
            return Ok(());
        }
        let scripts = Path::new(SCRIPTS);
        let mut command = match &self.supply {
            Supply::Plug { namespace } => {
                let mut command = Command::new(scripts.join("chassis"));
                command.arg(&self.name).arg(&self.dir).arg(namespace);
                command
            }
            Supply::Bmc { namespace, of } => {
                let mut command = Command::new(scripts.join("bmc"));
                command.arg(self.dir.join("bmc")).arg(namespace);
                command.arg(&self.name).arg(&self.dir).arg(of);
                command
            }
        };
        let log = File::options().create(true).append(true).open(self.dir.join("console"))?;
        // Nothing of this process, such as where its own engine is, is known in there.
        let (_, path) = PATH.split_once('=').unwrap_or_default();
        let child = command
            .env_clear()
            .envs([("PATH", path), ("HOME", "/root")])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        self.plugged = Some(child);
        Ok(())
    }

    /// Pulls the plug.
    pub fn pull_plug(&mut self) -> Result<(), Failure> {
        let Some(mut child) = self.plugged.take() else { return Ok(()) };
        // The chassis ends its system on this signal, a BMC does not end its chassis.
        if let Some(chassis) = self.chassis_process() {
            signal(chassis)?;
        }
        signal(child.id())?;
        child.wait()?;
        Ok(())
    }

    /// Types a shell script at its console, as somebody in front of it would; gives what it prints.
    pub fn console(&self, script: &str) -> Result<String, Failure> {
        let output = self.run(script)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(said),
            false => {
                let words = String::from_utf8_lossy(&output.stderr);
                Err(Failure::internal(format!("{}: {said}{words}", self.name)))
            }
        }
    }

    /// The same, tried until it succeeds: for a machine that is just starting.
    pub fn insist(&self, script: &str) -> Result<String, Failure> {
        insist(|| self.console(script))
    }

    /// The same, whatever its exit status is.
    pub fn run(&self, script: &str) -> Result<Output, Failure> {
        let own = first_process(&self.dir);
        let own = own.ok_or_else(|| Failure::internal(format!("{} is not running", self.name)))?;
        let mut shell = Command::new("nsenter")
            .args(["--target", &own, "--mount", "--uts", "--ipc", "--net", "--pid"])
            .args(["env", "--ignore-environment", "HOME=/root", "TERM=dumb", PATH])
            .args(["bash", "-euo", "pipefail", "-s"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut input = shell.stdin.take().ok_or_else(|| Failure::internal("no pipe"))?;
        // One that ends early reads no more.
        let _ = input.write_all(script.as_bytes());
        drop(input);
        Ok(shell.wait_with_output()?)
    }

    fn chassis_process(&self) -> Option<u32> {
        chassis_process(&self.dir)
    }
}

fn chassis_process(dir: &Path) -> Option<u32> {
    fs::read_to_string(dir.join("pid")).ok()?.trim().parse().ok()
}

/// The process that is pid 1 of the machine with these files, as this host knows it; none if its
/// system does not run.
pub fn first_process(dir: &Path) -> Option<String> {
    if !dir.join("chassis/up").exists() {
        return None;
    }
    let mut pid = chassis_process(dir)?.to_string();
    // chassis, then what makes its namespaces, then what runs in them.
    for _ in 0..2 {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        pid = children.split_whitespace().next()?.to_owned();
    }
    Some(pid)
}

fn signal(process: u32) -> Result<(), Failure> {
    let process = nix::unistd::Pid::from_raw(process.cast_signed());
    match nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(Failure::internal(format!("cannot end process {process}: {error}"))),
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The namespaces are removed by whoever made them.
        let _ = self.pull_plug();
    }
}
