//! Goes through a job's script, and remembers in which folder it is and what it may have written.

use std::collections::BTreeSet;

use super::ansible::{self, Role};
use super::made::{Known, Made};
use super::program::{self, Bare};
use super::{Place, docker, outside};
use crate::ast::Text;
use crate::diagnostic::{Code, Report, quoted};
use crate::files::Files;
use crate::shell::{self, Command, Word};
use crate::source::Span;
use crate::suggest;

/// How deep scripts in scripts are read.
const DEPTH: usize = 4;

/// One job's script.
pub(super) struct Walk<'a, 'r> {
    files: &'a Files,
    place: Place,
    made: Made<'a>,
    /// All lines of the job.
    scripts: Vec<&'a str>,
    /// The present folder by depth of parentheses, from the repository's root; none where nobody can say.
    folders: Vec<Option<String>>,
    report: &'a mut Report<'r>,
}

/// Where a script stands.
struct Origin<'t> {
    /// The text that it is, or is a part of.
    span: Span,
    /// What stands in that text before it.
    before: &'t str,
    depth: usize,
}

impl<'a, 'r> Walk<'a, 'r> {
    pub(super) fn new(
        files: &'a Files,
        place: Place,
        made: Made<'a>,
        scripts: Vec<&'a str>,
        report: &'a mut Report<'r>,
    ) -> Self {
        let folders = vec![Some(String::new())];
        Walk { files, place, made, scripts, folders, report }
    }

    /// Reads one entry of `run`; all run in one shell.
    pub(super) fn line(&mut self, text: &Text) {
        let origin = Origin { span: text.span, before: "", depth: 0 };
        self.script(&text.value, &origin);
    }

    fn script(&mut self, script: &str, origin: &Origin<'_>) {
        self.folders.truncate(1);
        for command in shell::commands(script) {
            let present = self.folders.last().cloned().unwrap_or_default();
            self.folders.resize(command.depth + 1, present);
            self.command(&command, &command.words, script, origin);
        }
        self.folders.truncate(1);
    }

    /// `words` are the command's, or what another program runs of them.
    fn command(
        &mut self,
        command: &Command<'_>,
        words: &[Word<'_>],
        script: &str,
        origin: &Origin<'_>,
    ) {
        let bare = program::bare(words);
        let place = |word: &Word<'_>, report: &Report<'_>| {
            let standing = |text: &str| text.matches(word.raw).count();
            let nth = standing(origin.before) + standing(&script[..word.at]);
            report.place_of(origin.span, word.raw, nth)
        };
        let exported =
            bare.words.iter().filter(|_| ["export", "readonly"].contains(&bare.name.as_str()));
        let exported = exported.filter_map(Word::assignment);
        for (name, value) in bare.variables.iter().copied().chain(exported) {
            if self.place == Place::Container {
                self.variable(name, &value, &[], place(&value, self.report));
            }
        }
        let arguments = bare.words.get(1..).unwrap_or_default();
        let mut read = BTreeSet::new();
        let mut known = bare.known();
        match bare.name.as_str() {
            "cd" => self.enter(arguments),
            "pushd" | "popd" => self.folders.iter_mut().for_each(|folder| *folder = None),
            "docker" | "podman" => {
                if let Some(run) = docker::read(arguments) {
                    if let Some(word) = run.terminal {
                        self.no_terminal(&run, &word, place(&word, self.report));
                    }
                    for (name, value) in &run.variables {
                        if self.place != Place::Device {
                            self.variable(name, value, &run.mounted, place(value, self.report));
                        }
                    }
                    self.inside(command, &run, script, origin);
                }
            }
            _ if bare.is_shell() => known = self.shell(&bare, &mut read, script, origin),
            name if name.starts_with("ansible") => {
                for (role, word) in ansible::files(name, arguments) {
                    read.insert(word.at);
                    self.file(role, &word, place(&word, self.report));
                }
            }
            _ => {
                if let Some(word) = bare.words.first().filter(|word| word.raw.contains('/')) {
                    read.insert(word.at);
                    self.file(Role::Program, word, place(word, self.report));
                }
            }
        }
        self.made.ran(command, &read, known);
    }

    /// What is run in a container that is started by hand, as far as it sees the working directory.
    fn inside(
        &mut self,
        command: &Command<'_>,
        run: &docker::Run<'_, '_>,
        script: &str,
        origin: &Origin<'_>,
    ) {
        if origin.depth == DEPTH || run.command.is_empty() {
            return;
        }
        let present = self.folders.last().cloned().flatten();
        let folder = present.zip(run.folder.as_deref()).and_then(|(at, below)| joined(&at, below));
        let outer = std::mem::replace(&mut self.folders, vec![folder]);
        let origin = Origin { depth: origin.depth + 1, ..*origin };
        self.command(command, run.command, script, &origin);
        self.folders = outer;
    }

    /// `sh SCRIPT` or `sh -c COMMANDS`; what is known then of files that it may write.
    fn shell(
        &mut self,
        bare: &Bare<'_, '_>,
        read: &mut BTreeSet<usize>,
        script: &str,
        origin: &Origin<'_>,
    ) -> Known {
        let mut arguments = bare.words.iter().skip(1);
        let mut is_text = false;
        while let Some(word) = arguments.next() {
            if word.raw.starts_with(['-', '+']) {
                is_text |= !word.raw.starts_with("--") && word.raw.contains('c');
                if word.raw.ends_with('o') {
                    arguments.next();
                }
                continue;
            }
            read.insert(word.at);
            if !is_text {
                let nth = origin.before.matches(word.raw).count();
                let nth = nth + script[..word.at].matches(word.raw).count();
                let span = self.report.place_of(origin.span, word.raw, nth);
                self.file(Role::Script, word, span);
                return Known::Little;
            }
            if origin.depth == DEPTH {
                return Known::Little;
            }
            let before = format!("{}{}", origin.before, &script[..word.at]);
            let inner = Origin { span: origin.span, before: &before, depth: origin.depth + 1 };
            let present = self.folders.last().cloned().flatten();
            let outer = std::mem::replace(&mut self.folders, vec![present]);
            self.script(&word.value(), &inner);
            self.folders = outer;
            return Known::All;
        }
        Known::Little
    }

    /// `cd`, as far as it can be told where it leads.
    fn enter(&mut self, arguments: &[Word<'_>]) {
        let to = arguments.first().and_then(Word::literal);
        let to = to.filter(|to| !to.starts_with(['/', '~', '-']));
        if let Some(present) = self.folders.last_mut() {
            *present = present.as_deref().zip(to).and_then(|(at, to)| joined(at, &to));
        }
    }

    fn variable(&mut self, name: &str, value: &Word<'_>, mounted: &[String], span: Span) {
        let value = value.value();
        let Some(path) = outside::outside(name, &value) else { return };
        let is_mounted = mounted.iter().any(|it| path.starts_with(it.as_str()));
        if !is_mounted && !outside::is_written(name, path, &self.scripts) {
            outside::complain(name, path, span, self.report);
        }
    }

    fn no_terminal(&mut self, run: &docker::Run<'_, '_>, word: &Word<'_>, span: Span) {
        let message = format!(
            "{} asks for a terminal by {}, and jobs have none",
            quoted(&format!("docker {}", run.action)),
            quoted(word.raw)
        );
        let help = match run.action {
            "run" => "leave out `-t`; or let the job itself run in the image: `container: IMAGE`",
            _ => "leave out `-t`",
        };
        self.report.error(Code::NoTerminal, span, message, help);
    }

    /// A file that a command reads must be there, or be one that may have been written before.
    fn file(&mut self, role: Role, word: &Word<'_>, span: Span) {
        let Some(value) = word.literal().filter(|it| !it.starts_with(['/', '~'])) else { return };
        let folder = self.folders.last().cloned().flatten();
        let Some(path) = folder.and_then(|folder| joined(&folder, &value)) else { return };
        if self.place == Place::Device || self.made.may_hold(&path) {
            return;
        }
        if self.files.has(&path) {
            if role == Role::Program && self.files.is_not_executable(&path) {
                let message = format!("the script {} is not executable", quoted(&path));
                let help = format!("`git update-index --chmod=+x {path}`, or run it by its shell");
                self.report.error(Code::NotExecutable, span, message, help);
            }
            return;
        }
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let is_beside_others = self.files.has_folder(parent);
        let message = format!("there is no {} {} in the repository", role.name(), quoted(&path));
        let help = self.help(role, &path);
        match (self.made.known, role) {
            (Known::All, _) => self.report.error(Code::MissingFile, span, message, help),
            (Known::Ansible, Role::Playbook) if is_beside_others => {
                self.report.error(Code::MissingFile, span, message, help);
            }
            (Known::Little, Role::Playbook) if is_beside_others => {
                let help = format!("{help}; or is it written by something before?");
                self.report.warning(Code::MissingFile, span, message, help);
            }
            (Known::Ansible | Known::Little, _) => {}
        }
    }

    fn help(&self, role: Role, path: &str) -> String {
        match like(path, self.files) {
            Some(like) => format!("did you mean {}?", quoted(like)),
            None => match role {
                Role::Password | Role::Key => {
                    "make it a secret with `as: file`, whose path is in the variable of its name"
                }
                Role::Playbook
                | Role::Inventory
                | Role::Variables
                | Role::Requirements
                | Role::Script
                | Role::Program => "commit it, or write its path from the working directory",
            }
            .to_owned(),
        }
    }
}

/// The file that was probably meant: one of nearly that path, of that name in another folder, or most of whose
/// name is the same.
fn like<'f>(path: &str, files: &'f Files) -> Option<&'f str> {
    let (stem, kind) = path.rsplit_once('.').unwrap_or((path, ""));
    let of_kind = files.paths().filter(|it| {
        let (_, other) = it.rsplit_once('.').unwrap_or((it, ""));
        let is_yaml = |kind: &str| ["yaml", "yml"].contains(&kind);
        other == kind || (is_yaml(other) && is_yaml(kind))
    });
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let stem = name(stem);
    let parts = |text: &str| -> BTreeSet<String> {
        let parts = text.split(|c: char| !c.is_alphanumeric()).filter(|it| !it.is_empty());
        parts.map(str::to_lowercase).collect()
    };
    let wanted = parts(&stem);
    let shared = |other: &str| {
        let other = name(other);
        let other = parts(other.rsplit_once('.').map_or(other.as_str(), |(stem, _)| stem));
        let shared = wanted.intersection(&other).count();
        (shared * 2 > wanted.len().max(other.len())).then_some(shared)
    };
    suggest::nearest(path, of_kind.clone())
        .or_else(|| of_kind.clone().find(|it| name(it) == name(path)))
        .or_else(|| {
            of_kind.filter_map(|it| Some((shared(it)?, it))).max_by_key(|it| it.0).map(|it| it.1)
        })
}

/// A path from a folder, without `.` and `..`; none if it leads out of the root.
fn joined(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
