//! Which files Ansible's programs are given.

use super::arguments::{Argument, Options};
use crate::shell::Word;

/// What a file is to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Playbook,
    Inventory,
    Variables,
    Password,
    Key,
    Requirements,
    /// A script that a shell is given.
    Script,
    /// A script that is run by its path.
    Program,
}

/// Of `ansible`, `ansible-playbook` and their kin (ansible-core 2.14 to 2.18).
const ANSIBLE: Options = Options {
    valued: &[
        "-a",
        "-B",
        "-c",
        "-e",
        "-f",
        "-i",
        "-l",
        "-M",
        "-m",
        "-P",
        "-t",
        "-T",
        "-u",
        "--args",
        "--background",
        "--become-method",
        "--become-pass-file",
        "--become-password-file",
        "--become-user",
        "--conn-pass-file",
        "--connection",
        "--connection-password-file",
        "--extra-vars",
        "--forks",
        "--inventory",
        "--inventory-file",
        "--key-file",
        "--limit",
        "--module-name",
        "--module-path",
        "--playbook-dir",
        "--poll",
        "--private-key",
        "--scp-extra-args",
        "--sftp-extra-args",
        "--skip-tags",
        "--ssh-common-args",
        "--ssh-extra-args",
        "--start-at-task",
        "--tags",
        "--task-timeout",
        "--timeout",
        "--tree",
        "--user",
        "--vault-id",
        "--vault-pass-file",
        "--vault-password-file",
    ],
    flags: &[
        "--ask-become-pass",
        "--ask-pass",
        "--ask-vault-pass",
        "--ask-vault-password",
        "--become",
        "--check",
        "--diff",
        "--flush-cache",
        "--force-handlers",
        "--graph",
        "--help",
        "--host",
        "--list",
        "--list-hosts",
        "--list-tags",
        "--list-tasks",
        "--one-line",
        "--step",
        "--syntax-check",
        "--verbose",
        "--version",
    ],
};

/// Of `ansible-galaxy` behind its action.
const GALAXY: Options = Options {
    valued: &[
        "-c",
        "-p",
        "-r",
        "-s",
        "--api-key",
        "--collections-path",
        "--requirements-file",
        "--role-file",
        "--roles-path",
        "--server",
        "--timeout",
        "--token",
    ],
    flags: &[
        "--force",
        "--force-with-deps",
        "--ignore-certs",
        "--ignore-errors",
        "--no-deps",
        "--offline",
        "--pre",
        "--upgrade",
        "--verbose",
    ],
};

/// The files that a program named `ansible…` reads.
pub(super) fn files<'s>(name: &str, words: &[Word<'s>]) -> Vec<(Role, Word<'s>)> {
    let is_playbook = |word: &Word<'_>| {
        let path = word.value();
        path.ends_with(".yaml") || path.ends_with(".yml")
    };
    match name {
        "ansible-playbook" => {
            let plain = |it: &Argument<'s>| match it {
                Argument::Plain(word) if is_playbook(word) => Some((Role::Playbook, *word)),
                Argument::Plain(_) | Argument::Option(..) | Argument::Unclear => None,
            };
            let arguments = ANSIBLE.read(words);
            arguments.iter().filter_map(plain).chain(arguments.iter().filter_map(given)).collect()
        }
        "ansible" | "ansible-inventory" | "ansible-console" => {
            ANSIBLE.read(words).iter().filter_map(given).collect()
        }
        "ansible-galaxy" => {
            let requirements = |it: Argument<'s>| match it {
                Argument::Option("-r" | "--role-file" | "--requirements-file", Some(file)) => {
                    Some((Role::Requirements, file))
                }
                Argument::Option(..) | Argument::Plain(_) | Argument::Unclear => None,
            };
            GALAXY.read(words).into_iter().filter_map(requirements).collect()
        }
        _ => Vec::new(),
    }
}

/// The file that an option names.
fn given<'s>(argument: &Argument<'s>) -> Option<(Role, Word<'s>)> {
    let Argument::Option(name, Some(value)) = argument else { return None };
    match *name {
        // With a comma it is a list of hosts.
        "-i" | "--inventory" | "--inventory-file" if !value.raw.contains(',') => {
            Some((Role::Inventory, *value))
        }
        "-e" | "--extra-vars" => {
            let is_file = value.value().starts_with('@');
            is_file.then(|| value.behind('@').map(|file| (Role::Variables, file)))?
        }
        "--vault-id" => {
            let file = value.behind('@')?;
            (file.raw != "prompt").then_some((Role::Password, file))
        }
        "--vault-password-file"
        | "--vault-pass-file"
        | "--become-password-file"
        | "--become-pass-file"
        | "--connection-password-file"
        | "--conn-pass-file" => Some((Role::Password, *value)),
        "--private-key" | "--key-file" => Some((Role::Key, *value)),
        _ => None,
    }
}

impl Role {
    /// How people call such a file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Playbook => "playbook",
            Role::Inventory => "inventory",
            Role::Variables => "file of variables",
            Role::Password => "file with a password",
            Role::Key => "private key",
            Role::Requirements => "file of requirements",
            Role::Script | Role::Program => "script",
        }
    }
}
