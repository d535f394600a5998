//! Real devices: an sshd each, on loopback, with keys of its own.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use garrison::site::{Port, wait};

use crate::ok;

/// An sshd that listens, ended with this.
pub struct Sshd {
    daemon: Child,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    /// Its host key, as inventories pin it.
    pub host_key: String,
    dir: PathBuf,
    _reserved: Port,
}

impl Sshd {
    /// Starts one with its files in `dir`, which lets in whoever has the private key `dir/user`.
    ///
    /// # Panics
    /// If it does not listen.
    pub fn start(dir: &Path) -> Sshd {
        make_key(&dir.join("user"));
        let authorized = dir.join("user.pub");
        Sshd::admitting(dir, &authorized)
    }

    /// The same for whoever has the private key to this public one.
    ///
    /// # Panics
    /// If it does not listen.
    pub fn admitting(dir: &Path, authorized: &Path) -> Sshd {
        make_key(&dir.join("host"));
        fs::create_dir_all("/run/sshd").expect("a folder for sshd");
        let port = Port::reserve(Ipv4Addr::LOCALHOST).expect("a free port");
        let config = format!(
            "ListenAddress {port}\nHostKey {0}/host\nPidFile {0}/pid\n\
             AuthorizedKeysFile {1}\nUsePAM no\nStrictModes no\nPermitUserRC no\n\
             MaxStartups 100\nSubsystem sftp internal-sftp\nSetEnv TMPDIR={0} HOME={0}\n",
            dir.display(),
            authorized.display()
        );
        fs::write(dir.join("sshd_config"), config).expect("a file for sshd");
        let daemon = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(dir.join("sshd_config"))
            .stderr(Stdio::null())
            .spawn()
            .expect("sshd starts: install openssh-server");
        ok(wait("sshd to listen", || TcpStream::connect(port.address()).ok()));
        let host_key = fs::read_to_string(dir.join("host.pub")).expect("sshd's public key");
        Sshd {
            daemon,
            port: port.number(),
            host_key: host_key.trim().to_owned(),
            dir: dir.to_owned(),
            _reserved: port,
        }
    }

    /// Its line of an inventory; `more` stands behind what is known of it.
    pub fn entry(&self, name: &str, more: &str) -> String {
        let Sshd { port, host_key, .. } = self;
        format!(
            "  {name}: {{ address: 127.0.0.1, port: {port}, user: root, host_key: \"{host_key}\"{more} }}\n"
        )
    }

    /// Its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Makes a key without a passphrase.
///
/// # Panics
/// If `ssh-keygen` cannot.
pub fn make_key(path: &Path) {
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(
        made.is_ok_and(|made| made.success()),
        "ssh-keygen makes a key: install openssh-client"
    );
}
