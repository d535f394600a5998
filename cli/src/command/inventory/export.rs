//! `garrison inventory export`: one of our inventories as one of Ansible.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use pipelines::inventory::ansible::{self, HostKeys};
use pipelines::inventory::{self, Inventory};
use pipelines::name::DeviceName;
use pipelines::source::File;
use serde_json::Value;

use crate::exit::{Exit, Failure};

/// What to print.
#[derive(Debug, Args)]
pub struct Options {
    /// Says what a dynamic inventory says: all groups, hosts and variables, as JSON.
    #[arg(long, conflicts_with_all = ["host", "file"])]
    list: bool,
    /// Says what a dynamic inventory says of one host: its variables, as JSON.
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    host: Option<DeviceName>,
    /// Makes OpenSSH's known hosts of it, with the pinned keys of each device.
    #[arg(long, conflicts_with_all = ["list", "host"])]
    known_hosts: bool,
    /// Writes it to this file, instead of standard output.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// The partition's inventory.
    inventory: PathBuf,
}

/// Prints the inventory.
pub(super) fn run(options: &Options) -> Result<Exit, Failure> {
    let inventory = read(&options.inventory)?;
    match (&options.host, &options.file) {
        (Some(name), _) => {
            let device = inventory.devices.get(name).ok_or_else(|| {
                let file = options.inventory.display();
                Failure::usage(format!("{file} has no device '{name}'"))
            })?;
            let vars = ansible::host_vars(&inventory, name, device, HostKeys::OfTheUser);
            print(&json_text(&Value::Object(vars)))?;
        }
        (None, None) if options.list => print(&json_text(&ansible::list(&inventory)))?,
        (None, None) => print(&text(options, &inventory))?,
        (None, Some(path)) => write(path, &text(options, &inventory))
            .map_err(|error| Failure::usage(format!("cannot write {}: {error}", path.display())))?,
    }
    Ok(Exit::Success)
}

/// The file as a whole.
fn text(options: &Options, inventory: &Inventory) -> String {
    match options.known_hosts {
        true => ansible::known_hosts(inventory),
        false => ansible::document(inventory, HostKeys::OfTheUser),
    }
}

fn read(path: &Path) -> Result<Inventory, Failure> {
    let bytes = fs::read(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
    let file = File { name: path.to_string_lossy().into_owned(), bytes };
    inventory::read_unbound(&file)
        .map_err(|found| Failure::usage(format!("{} cannot be used:\n{found}", path.display())))
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Replaces the file as a whole: who reads it meanwhile has the old or the new one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

fn json_text(value: &Value) -> String {
    format!("{value:#}\n")
}
