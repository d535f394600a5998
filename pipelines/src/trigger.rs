//! What starts a run, and whether a pipeline wants to be started by it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ast::{On, Push};
use crate::diagnostic::{Diagnostics, Report, quoted};
use crate::input::Inputs;
use crate::keys;
use crate::parse;
use crate::source::{File, Span};
use crate::yaml;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Trigger {
    /// Commits came to a branch.
    Push {
        /// The branch, without `refs/heads/`.
        branch: String,
    },
    /// Somebody asked for a run.
    Manual {
        /// What was chosen.
        #[serde(default, skip_serializing_if = "Inputs::is_empty")]
        inputs: Inputs,
    },
}

impl Trigger {
    /// Somebody asked for a run and chose nothing.
    pub fn by_hand() -> Trigger {
        Trigger::Manual { inputs: Inputs::new() }
    }

    /// What was chosen.
    pub(crate) fn inputs(&self) -> Inputs {
        match self {
            Trigger::Push { .. } => Inputs::new(),
            Trigger::Manual { inputs } => inputs.clone(),
        }
    }
}

/// Whether a pipeline starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It does.
    Starts,
    /// It does not.
    Ignored {
        /// Why not, as a sentence without its subject.
        reason: String,
    },
}

/// Whether the pipeline in `file` starts on `trigger`. Mistakes elsewhere in the file do not
/// matter, so that a broken pipeline fails where it was meant to run, and only there.
///
/// # Errors
/// What is wrong when `on` cannot be read.
pub fn answer(file: &File, trigger: &Trigger) -> Result<Answer, Diagnostics> {
    let mut elsewhere = Diagnostics::default();
    let Some(document) = yaml::read(file, &mut elsewhere) else { return Err(elsewhere.sorted()) };
    let mut report = Report::new(&document.source, &mut elsewhere);
    let fields = report.fields(&document.root, Span::START, &keys::PIPELINE);
    let Some(fields) = fields else { return Err(elsewhere.sorted()) };

    let mut found = Diagnostics::default();
    let on = parse::on(&mut Report::new(&document.source, &mut found), &fields);
    match on {
        Some(on) if found.is_empty() => Ok(accepts(&on, trigger)),
        _ => Err(found.sorted()),
    }
}

/// Whether `on` names the trigger.
pub(crate) fn accepts(on: &On, trigger: &Trigger) -> Answer {
    match (trigger, &on.push) {
        (Trigger::Push { .. }, Some(Push::AnyBranch)) => Answer::Starts,
        (Trigger::Push { branch }, Some(Push::Branches(globs))) => {
            if globs.iter().any(|glob| glob.matches(branch)) {
                return Answer::Starts;
            }
            let globs: Vec<_> = globs.iter().map(|glob| quoted(glob.as_str())).collect();
            let branches = globs.join(", ");
            ignored(format!(
                "starts on pushes to {branches}, and this was a push to {}",
                quoted(branch)
            ))
        }
        (Trigger::Push { .. }, None) => {
            ignored("starts by hand only: `on` has no `push`".to_owned())
        }
        (Trigger::Manual { .. }, _) if on.manual => Answer::Starts,
        (Trigger::Manual { .. }, _) => {
            ignored("starts on pushes only: `on` has no `manual`".to_owned())
        }
    }
}

fn ignored(reason: String) -> Answer {
    Answer::Ignored { reason }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trigger::Push { branch } => write!(f, "push to {}", quoted(branch)),
            Trigger::Manual { .. } => f.write_str("start by hand"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_to(text: &str, trigger: &Trigger) -> Result<Answer, String> {
        let file = File { name: "a.yaml".into(), bytes: text.as_bytes().to_vec() };
        answer(&file, trigger).map_err(|found| found.render())
    }

    fn push(branch: &str) -> Trigger {
        Trigger::Push { branch: branch.to_owned() }
    }

    #[test]
    fn a_push_starts_what_names_its_branch() {
        let on = "on: { push: { branches: [main, 'release/*'] } }";
        assert_eq!(answer_to(on, &push("main")), Ok(Answer::Starts));
        assert_eq!(answer_to(on, &push("release/1")), Ok(Answer::Starts));
        let reason = "starts on pushes to `main`, `release/*`, and this was a push to `x`".into();
        assert_eq!(answer_to(on, &push("x")), Ok(Answer::Ignored { reason }));
        let reason = "starts on pushes only: `on` has no `manual`".into();
        assert_eq!(answer_to(on, &Trigger::by_hand()), Ok(Answer::Ignored { reason }));
    }

    #[test]
    fn push_without_branches_means_all_of_them() {
        for on in ["on: { push: {} }", "on: { push: }", "on:\n  push: null\n  manual: {}\n"] {
            assert_eq!(answer_to(on, &push("feature/x")), Ok(Answer::Starts), "{on}");
        }
        let reason = "starts by hand only: `on` has no `push`".into();
        assert_eq!(answer_to("on: { manual: {} }", &push("x")), Ok(Answer::Ignored { reason }));
    }

    #[test]
    fn mistakes_elsewhere_do_not_hide_the_answer() {
        let text = "on: { push: {} }\njbos: 7\njobs: []\nenv: [a]\n";
        assert_eq!(answer_to(text, &push("main")), Ok(Answer::Starts));
    }

    #[test]
    fn a_file_that_does_not_say_is_an_error() {
        for text in ["jobs: {}", "on: [push]", "on: {", "on: { pull_request: {} }", "- a"] {
            let shown = answer_to(text, &push("main")).unwrap_err();
            assert!(shown.starts_with("error[P0"), "{text}: {shown}");
        }
    }
}
