//! What a job's Ansible finds beside the job's own files: the devices of its partition as an inventory,
//! their host keys, and a callback plugin that notes what comes of each host.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pipelines::order::Order;
use pipelines::plan::{Ansible, AnsibleInventory, Delivery};

use super::script::quoted;
use crate::secrets::Given;

/// The plugin, and its file. It needs not be enabled, so nothing that the job's configuration enables is lost.
const PLUGIN: (&str, &str) = ("garrison_recap.py", include_str!("ansible/garrison_recap.py"));

/// Where Ansible looks for such plugins if nobody says where.
const PLUGINS: &str = "~/.ansible/plugins/callback:/usr/share/ansible/plugins/callback";

/// Where the job sees its files.
pub(super) struct Seen {
    /// The folder that [`Guest::make`] fills.
    pub(super) folder: String,
    /// The file for the recap; see [`recap`].
    pub(super) recap: String,
    /// The private key to log in with.
    pub(super) key: Option<String>,
}

/// What was made for a job.
pub(super) struct Guest {
    /// The folder on this host; all may read what is in it who get as far.
    pub(super) folder: PathBuf,
    /// For the script's environment.
    pub(super) variables: Vec<(&'static str, String)>,
    /// What the script begins with.
    pub(super) head: String,
}

impl Guest {
    /// Makes it in the attempt's directory `dir`; none if the job asks for none of it.
    pub(super) fn make(order: &Order, dir: &Path, seen: &Seen) -> io::Result<Option<Guest>> {
        let Some(Ansible { inventory }) = &order.job.ansible else { return Ok(None) };
        let made = dir.join("ansible");
        let plugins = made.join("callbacks");
        for folder in [&made, &plugins] {
            fs::create_dir(folder)?;
            fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        }
        let (name, plugin) = PLUGIN;
        write(&plugins.join(name), plugin)?;
        let Seen { folder, recap, .. } = seen;
        let mut variables = vec![("GARRISON_RECAP", recap.clone())];
        if *inventory {
            let Some(AnsibleInventory { hosts, known_hosts, .. }) = &order.inventory else {
                return Err(io::Error::other("the order lacks the job's inventory"));
            };
            write(&made.join("inventory.yaml"), hosts)?;
            write(&made.join("known_hosts"), known_hosts)?;
            write(&made.join("ssh_config"), &ssh_config(seen))?;
            variables.extend([
                (Ansible::INVENTORY, format!("{folder}/inventory.yaml")),
                (Ansible::HOST_KEY_CHECKING, "True".to_owned()),
                ("GARRISON_KNOWN_HOSTS", format!("{folder}/known_hosts")),
                ("GARRISON_SSH_CONFIG", format!("{folder}/ssh_config")),
            ]);
        }
        // Here and not in the environment, so that what an image says is kept too.
        let head = format!(
            "export ANSIBLE_CALLBACK_PLUGINS={}:\"${{ANSIBLE_CALLBACK_PLUGINS:-{PLUGINS}}}\"\n",
            quoted(&format!("{folder}/callbacks"))
        );
        Ok(Some(Guest { folder: made, variables, head }))
    }
}

/// The file of an attempt into which the plugin writes.
pub(crate) fn recap(dir: &Path) -> PathBuf {
    dir.join("recap")
}

/// Whether a secret is the private key that Ansible logs in with.
pub(super) fn is_key(secret: &Given) -> bool {
    secret.name.as_str() == Ansible::PRIVATE_KEY && secret.delivery == Delivery::File
}

/// A configuration of OpenSSH's client by which only the inventory's host keys are good, and jump hosts get
/// the same private key. What else the user or the host configures holds beside that; if they say nothing of it, a
/// connection that nobody answers any more is given up after two minutes, where TCP would wait for a quarter of an hour.
fn ssh_config(seen: &Seen) -> String {
    let Seen { folder, key, .. } = seen;
    let key = key.iter().map(|key| format!("IdentityFile \"{key}\"\n")).collect::<String>();
    format!(
        "Host *\n\
         UserKnownHostsFile \"{folder}/known_hosts\"\n\
         GlobalKnownHostsFile /dev/null\n\
         StrictHostKeyChecking yes\n\
         CheckHostIP no\n\
         VerifyHostKeyDNS no\n\
         UpdateHostKeys no\n\
         {key}\
         Include ~/.ssh/config\n\
         Include /etc/ssh/ssh_config\n\
         ServerAliveInterval 15\n\
         ServerAliveCountMax 8\n"
    )
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, Permissions::from_mode(0o644))
}
