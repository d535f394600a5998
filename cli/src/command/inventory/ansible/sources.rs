//! The files of an inventory: itself, and `group_vars/` and `host_vars/` beside it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use pipelines::diagnostic::Code;
use pipelines::source::{File, Source};

use super::yaml::{self, Document};
use super::{Ansible, Findings, Place, Vars, content, ini};
use crate::exit::Failure;

/// What Ansible leaves alone in a folder of inventories.
const IGNORED: [&str; 12] =
    [".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry"];

/// Names of files of variables end with one of these.
const ENDINGS: [&str; 4] = ["", ".yml", ".yaml", ".json"];

/// Reads files and folders of inventories, one after the other.
///
/// # Errors
/// A file that is named or found cannot be read.
pub(in super::super) fn read(
    from: &[PathBuf],
    findings: &mut Findings,
) -> Result<Ansible, Failure> {
    let mut ansible = Ansible::default();
    let mut folders = BTreeSet::new();
    for path in from {
        source(path, &mut ansible, findings)?;
        folders.insert(match (path.is_dir(), path.parent()) {
            (true, _) => path.clone(),
            (false, Some(parent)) if !parent.as_os_str().is_empty() => parent.to_owned(),
            (false, _) => PathBuf::from("."),
        });
    }
    for folder in &folders {
        let groups: Vec<_> = ansible.groups.keys().cloned().chain(["all".to_owned()]).collect();
        for name in groups {
            let vars = vars(&folder.join("group_vars"), &name, findings)?;
            if let Some(var) = vars.values().next() {
                let place = var.place.clone();
                ansible.group(&name, &place).files.extend(vars);
            }
        }
        for (name, host) in &mut ansible.hosts {
            host.files.extend(vars(&folder.join("host_vars"), name, findings)?);
        }
    }
    Ok(ansible)
}

fn source(path: &Path, ansible: &mut Ansible, findings: &mut Findings) -> Result<(), Failure> {
    if path.is_dir() {
        for name in listed(path)? {
            let is_ignored = IGNORED.iter().chain([&".ini"]).any(|ending| name.ends_with(ending));
            let is_vars = ["group_vars", "host_vars", "vars_plugins"].contains(&name.as_str());
            if !name.starts_with('.') && !is_ignored && !is_vars {
                source(&path.join(name), ansible, findings)?;
            }
        }
        return Ok(());
    }
    let file = read_file(path)?;
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let place = Place::file(&file.name);
    if file.bytes.starts_with(b"#!") {
        let help = "save what `ansible-inventory --list --yaml -i FILE` says, and import that";
        findings.error(Code::AnsibleUnreadable, &place, "this is a program", help);
        return Ok(());
    }
    if ending == "toml" {
        let help = "save what `ansible-inventory --list --yaml -i FILE` says, and import that";
        findings.error(Code::AnsibleUnreadable, &place, "inventories in TOML are not read", help);
        return Ok(());
    }
    match ending {
        "yaml" | "yml" | "json" => {
            if let Some(document) = document(&file, ending, findings) {
                yaml::read(&document, ansible, findings);
            }
        }
        // Like Ansible: what is a mapping in YAML is in that form, all else is INI.
        "" => match Document::read(&file, &mut Findings::default()) {
            Some(document) if document.is_mapping() => {
                Document::read(&file, findings);
                yaml::read(&document, ansible, findings);
            }
            Some(_) | None => read_ini(&file, ansible, findings),
        },
        _ => read_ini(&file, ansible, findings),
    }
    Ok(())
}

fn read_ini(file: &File, ansible: &mut Ansible, findings: &mut Findings) {
    match std::str::from_utf8(&file.bytes) {
        Ok(text) => ini::read(&Rc::new(Source::new(&file.name, text)), ansible, findings),
        Err(_) => {
            let place = Place::file(&file.name);
            let message = "the file is not UTF-8";
            findings.error(Code::AnsibleUnreadable, &place, message, "save it as UTF-8");
        }
    }
}

/// Variables of a group or host below a folder: of the first file or folder that there is.
fn vars(folder: &Path, name: &str, findings: &mut Findings) -> Result<Vars, Failure> {
    // Such a name is a place of its own for Ansible, too.
    if name.contains('/') || name == ".." {
        return Ok(Vars::new());
    }
    let mut paths = ENDINGS.iter().map(|ending| folder.join(format!("{name}{ending}")));
    match paths.find(|path| path.exists()) {
        Some(path) => vars_at(&path, findings),
        None => Ok(Vars::new()),
    }
}

fn vars_at(path: &Path, findings: &mut Findings) -> Result<Vars, Failure> {
    let mut vars = Vars::new();
    if !path.is_dir() {
        let file = read_file(path)?;
        if file.bytes.starts_with(content::VAULT.as_bytes()) {
            let message = "all of this file is left out: it is vaulted";
            let help = "keep what is secret by `garrison secrets set`";
            findings.warning(Code::AnsibleLeftOut, &Place::file(&file.name), message, help);
            return Ok(vars);
        }
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if let Some(document) = document(&file, ending, findings) {
            vars = yaml::vars(&document, findings);
        }
        return Ok(vars);
    }
    for name in listed(path)? {
        let inner = path.join(&name);
        let ending = inner.extension().map(|ending| format!(".{}", ending.to_string_lossy()));
        let ending = ending.unwrap_or_default();
        let is_hidden = name.starts_with('.') || name.ends_with('~');
        let is_meant =
            if inner.is_dir() { ending.is_empty() } else { ENDINGS.contains(&ending.as_str()) };
        if !is_hidden && is_meant {
            vars.extend(vars_at(&inner, findings)?);
        }
    }
    Ok(vars)
}

fn document(file: &File, ending: &str, findings: &mut Findings) -> Option<Document> {
    match ending {
        "json" => Document::read_json(file, findings),
        _ => Document::read(file, findings),
    }
}

fn listed(folder: &Path) -> Result<Vec<String>, Failure> {
    let list = || -> io::Result<Vec<String>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    };
    let mut names = list()
        .map_err(|error| Failure::usage(format!("cannot list {}: {error}", folder.display())))?;
    names.sort();
    Ok(names)
}

fn read_file(path: &Path) -> Result<File, Failure> {
    let bytes = fs::read(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
    Ok(File { name: path.to_string_lossy().into_owned(), bytes })
}
