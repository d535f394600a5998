//! Variables: which can be ours, and a word about each that cannot.

use std::collections::BTreeMap;

use pipelines::diagnostic::{Code, quoted};
use pipelines::inventory::variables;
use pipelines::limits;

use crate::command::inventory::ansible::{Ansible, Unfit, Var, Vars};
use crate::command::inventory::findings::{Findings, Place};

/// Variables that say how to reach a host; of two, the later goes before, as with Ansible.
pub(super) const ADDRESS: [&str; 2] = ["ansible_host", "ansible_ssh_host"];
pub(super) const PORT: [&str; 2] = ["ansible_port", "ansible_ssh_port"];
pub(super) const USER: [&str; 2] = ["ansible_user", "ansible_ssh_user"];

/// Variables of Ansible that hold a password.
const PASSWORDS: [&str; 7] = [
    "ansible_password",
    "ansible_ssh_pass",
    "ansible_ssh_password",
    "ansible_become_pass",
    "ansible_become_password",
    "ansible_su_pass",
    "ansible_sudo_pass",
];

/// The text that a variable of jobs can hold, or why it cannot be one.
pub(super) fn usable<'v>(name: &str, var: &'v Var) -> Result<&'v str, String> {
    if PASSWORDS.contains(&name) {
        return Err("a password".to_owned());
    }
    let text = var.value.as_ref().map_err(Unfit::to_string)?;
    variables::check_name(name).map_err(|_| "no name of a variable".to_owned())?;
    if text.len() > limits::VARIABLE_BYTES || text.contains('\0') {
        return Err("too long, or with a NUL".to_owned());
    }
    Ok(text)
}

/// Whether it says how to reach a host, so that it is no variable of ours.
pub(super) fn is_connection(name: &str) -> bool {
    ADDRESS.iter().chain(&PORT).chain(&USER).any(|known| *known == name)
}

/// Tells of each variable that cannot be ours: once where it is written, together with the others of
/// its group or host in that file.
pub(super) fn tell(ansible: &Ansible, findings: &mut Findings) {
    for (name, group) in &ansible.groups {
        let of = format!("the group {}", quoted(name));
        tell_of(&of, &group.vars, findings);
        tell_of(&of, &group.files, findings);
    }
    for (name, host) in &ansible.hosts {
        let of = format!("the host {}", quoted(name));
        tell_of(&of, &host.vars, findings);
        tell_of(&of, &host.files, findings);
    }
}

fn tell_of(of: &str, vars: &Vars, findings: &mut Findings) {
    let mut files: BTreeMap<&str, (&Place, Vec<String>)> = BTreeMap::new();
    for (name, var) in vars {
        // Where one of these cannot be used, there is no device, and that is told.
        if is_connection(name) {
            continue;
        }
        let Err(reason) = usable(name, var) else { continue };
        let line = match var.place.span.start.line {
            1 if var.place.source.text().is_empty() => String::new(),
            line => format!("line {line}, "),
        };
        let (_, told) = files.entry(var.place.source.name()).or_insert((&var.place, Vec::new()));
        told.push(format!("{} ({line}{reason})", quoted(name)));
    }
    for (place, told) in files.into_values() {
        let place = Place::file(place.source.name());
        let message = format!("left out of the variables of {of}: {}", told.join(", "));
        let help = "variables of jobs are plain texts with names of letters, digits and `_`; \
                    keep the others with Ansible, and what is secret by `garrison secrets set`";
        findings.warning(Code::AnsibleLeftOut, &place, message, help);
    }
}
