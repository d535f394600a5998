//! What a job may find beside the files of the repository.

use std::collections::BTreeSet;

use crate::ast::{Job, Pipeline, Task};
use crate::glob::Glob;
use crate::shell::{Command, Word};
use crate::template::is_template;

/// How much of what was run before is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Known {
    /// All of it writes no files but those that it names.
    All,
    /// Ansible ran, which writes files in folders of its own, and some that its playbooks name.
    Ansible,
    /// Programs ran that may write anything.
    Little,
}

/// Files that may be there although the repository does not have them.
#[derive(Debug, Clone)]
pub(super) struct Made<'p> {
    patterns: Vec<&'p Glob>,
    rendered: Vec<&'p str>,
    /// Words of commands, any of which may have written a file of that name.
    words: Vec<String>,
    pub(super) known: Known,
}

impl<'p> Made<'p> {
    /// What there is before a job begins.
    pub(super) fn before(pipeline: &'p Pipeline, job: &'p Job) -> Made<'p> {
        let needed = needed(pipeline, job);
        let artifacts = needed.iter().filter_map(|job| job.artifacts.as_ref());
        let cached = job.cache.iter().flat_map(|cache| &cache.paths);
        let rendered = needed.iter().filter_map(|job| match &job.task.as_ref()?.value {
            Task::Render(render) => Some(render.to.value.as_str()),
            Task::Process
            | Task::Container(_)
            | Task::Ssh(_)
            | Task::Wait
            | Task::Gate(_)
            | Task::Pipeline(_) => None,
        });
        let called = |job: &&Job| {
            job.task.as_ref().is_some_and(|task| matches!(task.value, Task::Pipeline(_)))
        };
        // What the jobs of another pipeline leave is not looked into.
        let known = if needed.iter().any(called) { Known::Little } else { Known::All };
        Made {
            patterns: artifacts.flat_map(|artifacts| &artifacts.paths).chain(cached).collect(),
            rendered: rendered.collect(),
            words: Vec::new(),
            known,
        }
    }

    /// Whether a file of this path may have been written.
    pub(super) fn may_hold(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        let names = |word: &String| {
            let before = word.strip_suffix(name);
            before.is_some_and(|it| it.is_empty() || it.ends_with(['/', '=', ':', '@']))
        };
        let is_rendered = |to: &&str| is_template(to) || to.trim_start_matches("./") == path;
        self.patterns.iter().any(|pattern| pattern.matches_file(path))
            || self.rendered.iter().any(is_rendered)
            || self.words.iter().any(names)
    }

    /// Remembers what a command speaks of, but for these words, which it only reads.
    pub(super) fn ran(&mut self, command: &Command<'_>, read: &BTreeSet<usize>, known: Known) {
        let is_other = |word: &&Word<'_>| !read.contains(&word.at);
        let words = command.words.iter().filter(is_other).chain(&command.writes);
        self.words.extend(words.map(Word::value));
        // What runs to fill in a word is not looked into.
        let runs = |word: &Word<'_>| word.raw.replace("$(pwd)", "").contains(['`', '(']);
        let known = if command.words.iter().any(runs) { Known::Little } else { known };
        self.known = self.known.max(known);
    }
}

/// The jobs that a job stands behind, whose files it may find.
fn needed<'p>(pipeline: &'p Pipeline, job: &'p Job) -> Vec<&'p Job> {
    let mut found: Vec<&Job> = Vec::new();
    let mut open = vec![job];
    while let Some(job) = open.pop() {
        for need in &job.needs {
            let it = pipeline.jobs.iter().find(|it| it.name.value == need.job.value);
            let is_new = |it: &&Job| !found.iter().any(|known| known.name.value == it.name.value);
            if let Some(it) = it.filter(is_new) {
                found.push(it);
                open.push(it);
            }
        }
    }
    found
}
