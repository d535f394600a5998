//! `docker run` and `docker exec`: whether they ask for a terminal, and what they run.

use super::arguments::{Argument, Options};
use crate::shell::Word;

/// Between `docker` and its command.
const GLOBAL: Options = Options {
    valued: &[
        "-c",
        "-H",
        "-l",
        "--config",
        "--context",
        "--host",
        "--log-level",
        "--tlscacert",
        "--tlscert",
        "--tlskey",
    ],
    flags: &["--debug", "--tls", "--tlsverify"],
};

/// Of `run` and `exec`: whatever is no flag has a value.
const RUN: Options = Options {
    valued: &[
        "-a",
        "-c",
        "-e",
        "-h",
        "-l",
        "-m",
        "-p",
        "-u",
        "-v",
        "-w",
        "--env",
        "--volume",
        "--workdir",
    ],
    flags: &[
        "--detach",
        "--disable-content-trust",
        "--help",
        "--init",
        "--interactive",
        "--no-healthcheck",
        "--oom-kill-disable",
        "--privileged",
        "--publish-all",
        "--quiet",
        "--read-only",
        "--rm",
        "--sig-proxy",
        "--tty",
        "--use-api-socket",
    ],
};

/// Ways to write the present folder.
const HERE: &[&str] = &["$(pwd)", "$PWD", "${PWD}", "."];

/// A command that runs something in a container.
pub(super) struct Run<'s, 'w> {
    /// `run` or `exec`.
    pub(super) action: &'s str,
    /// The option that asks for a terminal.
    pub(super) terminal: Option<Word<'s>>,
    /// Variables that are given to the container.
    pub(super) variables: Vec<(&'s str, Word<'s>)>,
    /// What it runs there.
    pub(super) command: &'w [Word<'s>],
    /// Which folder it runs in, below the present one; none if that cannot be told.
    pub(super) folder: Option<String>,
    /// Where it sees what of the host.
    pub(super) mounted: Vec<String>,
}

/// Reads what stands behind `docker` or `podman`; none if it runs nothing.
pub(super) fn read<'s, 'w>(words: &'w [Word<'s>]) -> Option<Run<'s, 'w>> {
    let (_, mut rest) = GLOBAL.read_leading(words);
    if rest.first()?.raw == "container" {
        rest = &rest[1..];
    }
    let (action, rest) = rest.split_first()?;
    if !matches!(action.raw, "run" | "exec") {
        return None;
    }
    let (options, behind) = RUN.read_leading(rest);
    let values = |names: &'static [&'static str]| {
        options.iter().filter_map(move |option| match option {
            Argument::Option(name, Some(value)) if names.contains(name) => Some(*value),
            Argument::Option(..) | Argument::Plain(_) | Argument::Unclear => None,
        })
    };
    let volumes: Vec<_> = values(&["-v", "--volume"]).filter_map(volume).collect();
    let workdir = values(&["-w", "--workdir"]).next_back().and_then(|word| word.literal());
    Some(Run {
        action: action.raw,
        terminal: terminal(&options, &rest[..rest.len() - behind.len()]),
        variables: values(&["-e", "--env"]).filter_map(|word| word.assignment()).collect(),
        command: behind.get(1..).unwrap_or_default(),
        folder: workdir.and_then(|workdir| below(&workdir, &volumes)),
        mounted: volumes.into_iter().map(|(_, to)| to).collect(),
    })
}

/// The word that asks for a terminal. In the background there need not be one.
fn terminal<'s>(options: &[Argument<'s>], words: &[Word<'s>]) -> Option<Word<'s>> {
    let has = |names: [&str; 2]| {
        options.iter().any(|it| matches!(it, Argument::Option(name, _) if names.contains(name)))
    };
    if !has(["t", "--tty"]) || has(["d", "--detach"]) {
        return None;
    }
    words.iter().copied().find(|word| match word.raw.strip_prefix("--") {
        Some(long) => long == "tty",
        None => word.raw.starts_with('-') && word.raw.contains('t'),
    })
}

/// From where, and to where, by `FROM:TO` or `FROM:TO:OPTIONS`.
fn volume(word: Word<'_>) -> Option<(String, String)> {
    let value = word.value();
    let (from, to) = value.split_once(':')?;
    Some((from.to_owned(), to.split(':').next()?.trim_end_matches('/').to_owned()))
}

/// A container's folder as one below the present folder, if that is mounted.
fn below(workdir: &str, volumes: &[(String, String)]) -> Option<String> {
    let (_, to) = volumes.iter().find(|(from, _)| HERE.contains(&from.as_str()))?;
    let below = workdir.trim_end_matches('/').strip_prefix(to.as_str())?;
    let is_below = below.is_empty() || below.starts_with('/');
    is_below.then(|| below.trim_start_matches('/').to_owned())
}
