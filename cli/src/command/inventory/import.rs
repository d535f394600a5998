//! `garrison inventory import`: one of Ansible's inventories as one of ours.

mod devices;
mod left_out;
mod names;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr;

use clap::Args;
use pipelines::inventory;
use pipelines::name::{PartitionName, RoleName};
use pipelines::source::{File, Source, Span};

use super::ansible;
use super::findings::{Findings, Place};
use super::known_hosts::KnownHosts;
use crate::exit::{Exit, Failure};

/// What to read, and how to understand it.
#[derive(Debug, Args)]
pub struct Options {
    /// The partition that the inventory is for.
    #[arg(long)]
    partition: PartitionName,
    /// Files or folders of Ansible's inventory: INI, YAML or JSON.
    #[arg(required = true, value_name = "FROM")]
    from: Vec<PathBuf>,
    /// OpenSSH's known hosts, with a key of each device.
    #[arg(long, value_name = "FILE")]
    known_hosts: Vec<PathBuf>,
    /// Hosts of this group get a role, which is called like the group if left out.
    #[arg(long, value_name = "GROUP[=ROLE]")]
    role_group: Vec<RoleGroup>,
    /// User of hosts that name none.
    #[arg(long)]
    user: Option<String>,
    /// Leaves out a host, or all hosts of a group.
    #[arg(long, value_name = "NAME")]
    skip: Vec<String>,
    /// Writes to this file, which must not exist, instead of standard output.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
}

/// A group whose hosts have a role.
#[derive(Debug, Clone)]
pub(super) struct RoleGroup {
    group: String,
    role: RoleName,
}

impl FromStr for RoleGroup {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (group, role) = match text.split_once('=') {
            Some((group, role)) => (group, role.to_owned()),
            None => (text, names::name(text)),
        };
        let role = role.parse().map_err(|error| format!("the role '{role}' {error}"))?;
        Ok(RoleGroup { group: group.to_owned(), role })
    }
}

/// Makes the inventory, or says everything that is in the way.
pub(super) fn run(options: &Options) -> Result<Exit, Failure> {
    if let Some(path) = options.file.as_ref().filter(|path| path.exists()) {
        return Err(exists(path));
    }
    let mut findings = Findings::default();
    let ansible = ansible::read(&options.from, &mut findings)?;
    let known = known_hosts(&options.known_hosts, &mut findings)?;
    let text = devices::inventory(options, &ansible, &known, &mut findings)?;
    if !findings.has_errors() {
        let name = "the inventory that would be written".to_owned();
        let file = File { name, bytes: text.clone().into_bytes() };
        let found = inventory::read(&file, &options.partition).err();
        findings.0.extend(found.iter().flatten().cloned());
    }
    let has_errors = findings.has_errors();
    findings.print();
    if has_errors {
        return Ok(Exit::Usage);
    }
    match &options.file {
        Some(path) => write(path, &text)?,
        None => io::stdout().lock().write_all(text.as_bytes())?,
    }
    Ok(Exit::Success)
}

fn known_hosts(paths: &[PathBuf], findings: &mut Findings) -> Result<KnownHosts, Failure> {
    let mut known = KnownHosts::default();
    for path in paths {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
        let source = Rc::new(Source::new(path.to_string_lossy(), text.as_str()));
        let place = |span: Span| Place { source: Rc::clone(&source), span };
        known.add(&text, &place, findings);
    }
    Ok(known)
}

/// The file appears as a whole, and only if there is none.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let failed =
        |error: io::Error| Failure::usage(format!("cannot write {}: {error}", path.display()));
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(exists(path)),
        Err(error) => Err(failed(error.error)),
    }
}

fn exists(path: &Path) -> Failure {
    Failure::usage(format!("{} exists already: name another file, or remove it", path.display()))
}
