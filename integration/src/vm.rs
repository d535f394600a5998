//! Machines that QEMU emulates, for what namespaces do not have: firmware, a kernel of its own, systemd.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use garrison::site::{Port, wait_within};

use crate::{Said, packages};

/// What makes the disk of a [`Vm`].
const IMAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/vm-image");

/// A machine by its parts; switched off when it is dropped.
#[derive(Debug)]
pub struct Machine {
    qemu: Child,
    console: PathBuf,
}

impl Machine {
    /// Switches one on that has these parts, as QEMU's arguments. What it says at its serial console is kept
    /// in `dir`.
    ///
    /// # Panics
    /// If QEMU is missing.
    pub fn switch_on(dir: &Path, parts: &[String]) -> Machine {
        let console = dir.join("console");
        let qemu = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1024", "-display", "none"])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .args(parts)
            .stdin(Stdio::null())
            .spawn()
            .expect("qemu-system-x86_64 is missing: deploy/install-test-needs");
        Machine { qemu, console }
    }

    /// What it said at its console.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).into_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have switched itself off.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// A running Debian with systemd, sshd and Docker. Its disk is as new each time.
#[derive(Debug)]
pub struct Vm {
    machine: Machine,
    port: Port,
    key: PathBuf,
}

impl Vm {
    /// One that has booted.
    ///
    /// # Panics
    /// If it does not.
    pub fn boot(dir: &Path) -> Vm {
        let files = packages::made("vm", Path::new(IMAGE));
        let port = Port::reserve(Ipv4Addr::LOCALHOST).expect("a free port");
        let file = |name: &str| files.join(name).display().to_string();
        let parts = [
            "-kernel".to_owned(),
            file("kernel"),
            "-initrd".to_owned(),
            file("initrd"),
            "-append".to_owned(),
            "root=/dev/vda rw net.ifnames=0 console=ttyS0 quiet".to_owned(),
            "-drive".to_owned(),
            format!("file={},format=raw,if=virtio,snapshot=on", file("disk")),
            "-netdev".to_owned(),
            format!("user,id=net,restrict=on,hostfwd=tcp:{port}-:22"),
            "-device".to_owned(),
            "virtio-net-pci,netdev=net,romfile=".to_owned(),
        ];
        let vm = Vm { machine: Machine::switch_on(dir, &parts), port, key: files.join("key") };
        vm.is_up();
        vm
    }

    /// Waits until it lets somebody in.
    fn is_up(&self) {
        let up = wait_within(Duration::from_secs(300), "the machine to let us in", || {
            (self.run("true").code == 0).then_some(())
        });
        up.unwrap_or_else(|failure| panic!("{failure}:\n{}", self.machine.console()));
    }

    /// What a script of root's says, which ends with the first command that fails.
    ///
    /// # Panics
    /// If ssh is missing.
    pub fn run(&self, script: &str) -> Said {
        let mut ssh = Command::new("ssh");
        ssh.args(self.login()).args(["-p", &self.port.number().to_string(), "root@127.0.0.1"]);
        ssh.arg(format!("set -e; {script}"));
        Said::from(ssh.output().expect("ssh is missing: deploy/install-test-needs"))
    }

    /// What a script of root's prints.
    ///
    /// # Panics
    /// If it fails.
    pub fn insist(&self, script: &str) -> String {
        let said = self.run(script);
        assert_eq!(said.code, 0, "{script}: {said:?}\n{}", self.machine.console());
        said.out
    }

    /// Copies files into a folder that is there.
    ///
    /// # Panics
    /// If one cannot be copied.
    pub fn copy(&self, files: &[PathBuf], to: &str) {
        let mut scp = Command::new("scp");
        scp.args(self.login()).args(["-r", "-P", &self.port.number().to_string()]).args(files);
        let output = scp.arg(format!("root@127.0.0.1:{to}")).output();
        let said = Said::from(output.expect("scp is missing: deploy/install-test-needs"));
        assert_eq!(said.code, 0, "{files:?}: {said:?}");
    }

    /// Restarts it, and waits until it is there again.
    ///
    /// # Panics
    /// If it is not.
    pub fn reboot(&self) {
        let boot = "cat /proc/sys/kernel/random/boot_id";
        let before = self.insist(boot);
        self.run("systemctl reboot");
        let other = wait_within(Duration::from_secs(300), "the machine to boot again", || {
            let said = self.run(boot);
            (said.code == 0 && said.out != before).then_some(())
        });
        other.unwrap_or_else(|failure| panic!("{failure}:\n{}", self.machine.console()));
    }

    fn login(&self) -> Vec<String> {
        let key = self.key.display().to_string();
        // Its host key is as old as its disk, and the way to it is loopback.
        let options =
            ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"];
        let patience = ["ConnectTimeout=20", "ServerAliveInterval=20", "BatchMode=yes"];
        let options = options.iter().chain(&patience);
        let options = options.flat_map(|it| ["-o".to_owned(), (*it).to_owned()]);
        ["-i".to_owned(), key].into_iter().chain(options).collect()
    }
}
