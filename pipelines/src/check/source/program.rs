//! Which program a command runs, behind what stands before its name.

use super::made::Known;
use crate::shell::Word;

/// What is no command itself, and stands before one.
const BEFORE: &[&str] =
    &["if", "then", "elif", "else", "do", "while", "until", "!", "{", "time", "exec", "command"];

/// Programs that run another, and which of their options a value follows.
const AROUND: &[(&str, &[&str])] = &[
    ("sudo", &["-u", "-g", "-h", "-p"]),
    ("env", &["-u", "-C"]),
    ("nice", &["-n"]),
    ("nohup", &[]),
    ("timeout", &["-s", "-k"]),
];

/// Programs that write no file but those that they are given.
const HARMLESS: &[&str] = &[
    "[",
    "[[",
    "]]",
    "}",
    ":",
    "apk",
    "apt",
    "apt-get",
    "basename",
    "break",
    "cat",
    "cd",
    "chmod",
    "chown",
    "command",
    "continue",
    "curl",
    "date",
    "df",
    "dirname",
    "docker",
    "done",
    "echo",
    "env",
    "esac",
    "exit",
    "export",
    "false",
    "fi",
    "find",
    "for",
    "free",
    "grep",
    "head",
    "helm",
    "hostname",
    "id",
    "jq",
    "kubectl",
    "ls",
    "mkdir",
    "nc",
    "pip",
    "pip3",
    "ping",
    "podman",
    "popd",
    "printf",
    "ps",
    "pushd",
    "pwd",
    "read",
    "readonly",
    "return",
    "rm",
    "rmdir",
    "set",
    "shift",
    "sleep",
    "ssh",
    "ssh-add",
    "ssh-keyscan",
    "stat",
    "tail",
    "tee",
    "test",
    "touch",
    "trap",
    "true",
    "type",
    "umask",
    "uname",
    "unset",
    "wait",
    "wc",
    "which",
    "whoami",
    "yq",
];

/// A command without what stands before it.
pub(super) struct Bare<'s, 'w> {
    /// Variables that it is given.
    pub(super) variables: Vec<(&'s str, Word<'s>)>,
    /// The program's name without its folder; empty if there are variables alone.
    pub(super) name: String,
    /// The program, and what it is given.
    pub(super) words: &'w [Word<'s>],
}

/// Takes from a command what stands before it.
pub(super) fn bare<'s, 'w>(mut words: &'w [Word<'s>]) -> Bare<'s, 'w> {
    let mut variables = Vec::new();
    while let Some((first, rest)) = words.split_first() {
        let value = first.value();
        if let Some(variable) = first.assignment() {
            variables.push(variable);
            words = rest;
        } else if BEFORE.contains(&value.as_str()) && !rest.is_empty() {
            words = rest;
        } else if let Some((around, valued)) = AROUND.iter().find(|(name, _)| *name == value) {
            words = behind_options(rest, valued);
            if *around == "timeout" {
                words = words.get(1..).unwrap_or_default();
            }
        } else {
            let name = value.rsplit('/').next().unwrap_or_default().to_owned();
            return Bare { variables, name, words };
        }
    }
    Bare { variables, name: String::new(), words }
}

fn behind_options<'s, 'w>(mut words: &'w [Word<'s>], valued: &[&str]) -> &'w [Word<'s>] {
    while let Some((first, rest)) = words.split_first() {
        if !first.raw.starts_with('-') {
            break;
        }
        words = if valued.contains(&first.raw) { rest.get(1..).unwrap_or_default() } else { rest };
    }
    words
}

impl Bare<'_, '_> {
    /// What is known of files that it may write.
    pub(super) fn known(&self) -> Known {
        let is_script = self.words.first().is_some_and(|word| word.raw.contains('/'));
        match self.name.as_str() {
            "" => Known::All,
            name if name.starts_with("ansible") => Known::Ansible,
            name if HARMLESS.contains(&name) && !is_script => Known::All,
            _ => Known::Little,
        }
    }

    /// Whether it is a shell.
    pub(super) fn is_shell(&self) -> bool {
        ["ash", "bash", "dash", "ksh", "sh", "zsh"].contains(&self.name.as_str())
    }
}
