//! What starts a run, and whether a pipeline wants to be started by it.

pub mod limit;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ast::{On, Push, Refs};
use crate::diagnostic::{Diagnostics, Report, quoted};
use crate::event::Subscription;
use crate::input::Inputs;
use crate::keys;
use crate::parse;
use crate::schedule::Schedule;
use crate::source::{File, Span};
use crate::yaml;
use limit::Limit;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Trigger {
    /// Commits came to a branch.
    Push {
        /// The branch, without `refs/heads/`.
        branch: String,
        /// Paths of the files that changed; none if nobody knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        changed: Option<Vec<String>>,
    },
    /// A pull request was opened, or its commits changed: its runs are planned and not done.
    PullRequest {
        /// The branch that it is to be merged into, without `refs/heads/`.
        branch: String,
        /// Paths of the files that it changes; none if nobody knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        changed: Option<Vec<String>>,
    },
    /// A tag came.
    Tag {
        /// The tag, without `refs/tags/`.
        tag: String,
    },
    /// A schedule is due.
    Schedule {
        /// Which one.
        schedule: Schedule,
    },
    /// An event from outside came.
    Event {
        /// What the pipeline wanted of it.
        subscription: Subscription,
        /// What was taken of it.
        #[serde(default, skip_serializing_if = "Inputs::is_empty")]
        inputs: Inputs,
        /// Its partition, where alone its runs go; everywhere if it is of none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        limit: Vec<Limit>,
    },
    /// Somebody asked for a run.
    Manual {
        /// What was chosen.
        #[serde(default, skip_serializing_if = "Inputs::is_empty")]
        inputs: Inputs,
        /// Where alone it goes; everywhere if there are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        limit: Vec<Limit>,
    },
}

impl Trigger {
    /// What a push to the full reference is: of a tag, or of commits to a branch.
    pub fn of_push(reference: &str) -> Trigger {
        match reference.strip_prefix("refs/tags/") {
            Some(tag) => Trigger::Tag { tag: tag.to_owned() },
            None => {
                let branch = reference.strip_prefix("refs/heads/").unwrap_or(reference);
                Trigger::push(branch)
            }
        }
    }

    /// Commits came to a branch, and nobody knows which files they changed.
    pub fn push(branch: &str) -> Trigger {
        Trigger::Push { branch: branch.to_owned(), changed: None }
    }

    /// A pull request to a branch, and nobody knows which files it changes.
    pub fn pull_request(branch: &str) -> Trigger {
        Trigger::PullRequest { branch: branch.to_owned(), changed: None }
    }

    /// The same with the files that changed, if it is a push to a branch or a pull request.
    pub fn with_changed(mut self, paths: Option<Vec<String>>) -> Trigger {
        match &mut self {
            Trigger::Push { changed, .. } | Trigger::PullRequest { changed, .. } => {
                *changed = paths;
            }
            Trigger::Tag { .. }
            | Trigger::Schedule { .. }
            | Trigger::Event { .. }
            | Trigger::Manual { .. } => {}
        }
        self
    }

    /// Its kind, as it is called in `on`.
    pub fn event(&self) -> &'static str {
        match self {
            Trigger::Push { .. } => "push",
            Trigger::PullRequest { .. } => "pull_request",
            Trigger::Tag { .. } => "tag",
            Trigger::Schedule { .. } => "schedule",
            Trigger::Event { .. } => "event",
            Trigger::Manual { .. } => "manual",
        }
    }

    /// Where alone its runs go; everywhere if there are none.
    pub(crate) fn limit(&self) -> &[Limit] {
        match self {
            Trigger::Event { limit, .. } | Trigger::Manual { limit, .. } => limit,
            Trigger::Push { .. }
            | Trigger::PullRequest { .. }
            | Trigger::Tag { .. }
            | Trigger::Schedule { .. } => &[],
        }
    }

    /// The branch that was pushed to, or is asked to take commits; empty if there is none.
    pub(crate) fn branch(&self) -> &str {
        match self {
            Trigger::Push { branch, .. } | Trigger::PullRequest { branch, .. } => branch,
            Trigger::Tag { .. }
            | Trigger::Schedule { .. }
            | Trigger::Event { .. }
            | Trigger::Manual { .. } => "",
        }
    }

    /// The tag that came; empty if none did.
    pub(crate) fn tag(&self) -> &str {
        match self {
            Trigger::Tag { tag } => tag,
            Trigger::Push { .. }
            | Trigger::PullRequest { .. }
            | Trigger::Schedule { .. }
            | Trigger::Event { .. }
            | Trigger::Manual { .. } => "",
        }
    }

    /// Paths of the files that changed; none if nobody knows.
    pub(crate) fn changed(&self) -> Option<&[String]> {
        match self {
            Trigger::Push { changed, .. } | Trigger::PullRequest { changed, .. } => {
                changed.as_deref()
            }
            Trigger::Tag { .. }
            | Trigger::Schedule { .. }
            | Trigger::Event { .. }
            | Trigger::Manual { .. } => None,
        }
    }

    /// Somebody asked for a run and chose nothing.
    pub fn by_hand() -> Trigger {
        Trigger::Manual { inputs: Inputs::new(), limit: Vec::new() }
    }

    /// What was chosen.
    pub(crate) fn inputs(&self) -> Inputs {
        match self {
            Trigger::Push { .. } | Trigger::PullRequest { .. } | Trigger::Tag { .. } => {
                Inputs::new()
            }
            Trigger::Schedule { schedule } => schedule.inputs.clone(),
            Trigger::Event { inputs, .. } | Trigger::Manual { inputs, .. } => inputs.clone(),
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

/// Whether a pipeline of this text may want to know which files changed: to find that out costs more
/// than to look for the words.
pub fn asks_for_changes(text: &[u8]) -> bool {
    let holds = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
    // What it includes or starts may want to know as well.
    holds(b"paths") || holds(b"changed") || holds(b"include") || holds(b"pipeline:")
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
    let answer = match trigger {
        Trigger::Push { branch, changed } => {
            let words = ("push", "pushes");
            on.push.as_ref().map(|push| concerns(push, branch, changed.as_deref(), words))
        }
        Trigger::PullRequest { branch, changed, .. } => {
            let words = ("pull request", "pull requests");
            on.pull_request.as_ref().map(|push| concerns(push, branch, changed.as_deref(), words))
        }
        Trigger::Tag { tag } => on.tag.as_ref().map(|refs| among(refs, tag, "tags", "the tag")),
        Trigger::Schedule { schedule } => {
            if on.schedule.iter().any(|it| it.value.schedule == *schedule) {
                return Answer::Starts;
            }
            let reason = format!("has no schedule {} any more", quoted(&schedule.to_string()));
            return Answer::Ignored { reason };
        }
        Trigger::Event { subscription, .. } if !on.event.is_empty() => {
            if on.event.iter().any(|it| it.value.subscription == *subscription) {
                return Answer::Starts;
            }
            let reason = format!("wants events of {} otherwise now", quoted(&subscription.topic));
            return ignored(reason);
        }
        Trigger::Event { .. } => None,
        Trigger::Manual { .. } => on.manual.then_some(Answer::Starts),
    };
    answer.unwrap_or_else(|| ignored(otherwise(on, trigger.event())))
}

/// Whether a push or pull request is about a branch and a file that the pipeline is about.
fn concerns(
    push: &Push,
    branch: &str,
    changed: Option<&[String]>,
    (one, several): (&str, &str),
) -> Answer {
    let (starts_on, this_was) = (format!("{several} to"), format!("a {one} to"));
    match among(&push.branches, branch, &starts_on, &this_was) {
        Answer::Starts => touches(push, changed, one),
        ignored @ Answer::Ignored { .. } => ignored,
    }
}

fn among(refs: &Refs, name: &str, starts_on: &str, this_was: &str) -> Answer {
    let Refs::Only(globs) = refs else { return Answer::Starts };
    if globs.iter().any(|glob| glob.matches(name)) {
        return Answer::Starts;
    }
    let globs: Vec<_> = globs.iter().map(|glob| quoted(glob.as_str())).collect();
    let globs = globs.join(", ");
    ignored(format!("starts on {starts_on} {globs}, and this was {this_was} {}", quoted(name)))
}

/// Whether it changed one of the files that the pipeline is about; where nobody knows what it
/// changed, it may have.
fn touches(push: &Push, changed: Option<&[String]>, what: &str) -> Answer {
    let (Some(globs), Some(changed)) = (&push.paths, changed) else { return Answer::Starts };
    if changed.iter().any(|path| globs.iter().any(|glob| glob.matches_file(path))) {
        return Answer::Starts;
    }
    let globs: Vec<_> = globs.iter().map(|glob| quoted(glob.as_str())).collect();
    let globs = globs.join(", ");
    ignored(format!("starts on changes of {globs}, and this {what} changed none of them"))
}

/// What starts the pipeline, when that is not `lacking`.
fn otherwise(on: &On, lacking: &str) -> String {
    let known = [
        (on.push.is_some(), "on pushes"),
        (on.pull_request.is_some(), "on pull requests"),
        (on.tag.is_some(), "on tags"),
    ];
    let more = [
        (!on.schedule.is_empty(), "by schedule"),
        (!on.event.is_empty(), "on events"),
        (on.manual, "by hand"),
    ];
    let known = known.into_iter().chain(more);
    let known: Vec<_> = known.filter_map(|(is, word)| is.then_some(word)).collect();
    format!("starts {} only: `on` has no `{lacking}`", known.join(" and "))
}

fn ignored(reason: String) -> Answer {
    Answer::Ignored { reason }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trigger::Push { branch, .. } => write!(f, "push to {}", quoted(branch)),
            Trigger::PullRequest { branch, .. } => {
                write!(f, "pull request to {}", quoted(branch))
            }
            Trigger::Tag { tag } => write!(f, "tag {}", quoted(tag)),
            Trigger::Schedule { schedule } => {
                write!(f, "schedule {}", quoted(&schedule.to_string()))
            }
            Trigger::Event { subscription, .. } => {
                write!(f, "event {}", quoted(&subscription.topic))
            }
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
        Trigger::push(branch)
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
    fn a_push_starts_what_is_about_its_files() {
        let on = "on: { push: { paths: ['roles/**', release.yaml] } }";
        let changing = |paths: &[&str]| {
            push("main").with_changed(Some(paths.iter().map(|&it| it.to_owned()).collect()))
        };
        assert_eq!(answer_to(on, &changing(&["README.md", "roles/a/b"])), Ok(Answer::Starts));
        assert_eq!(answer_to(on, &changing(&["release.yaml"])), Ok(Answer::Starts));
        assert_eq!(answer_to(on, &push("main")), Ok(Answer::Starts));
        let reason =
            "starts on changes of `roles/**`, `release.yaml`, and this push changed none of them";
        let ignored = Answer::Ignored { reason: reason.into() };
        assert_eq!(answer_to(on, &changing(&["README.md", "role/a"])), Ok(ignored));
    }

    #[test]
    fn a_pull_request_starts_what_is_about_its_branch_and_files() {
        let on = "on: { pull_request: { branches: [main], paths: ['roles/**'] }, push: {} }";
        let request = |branch: &str, path: &str| {
            Trigger::pull_request(branch).with_changed(Some(vec![path.to_owned()]))
        };
        assert_eq!(answer_to(on, &request("main", "roles/a")), Ok(Answer::Starts));
        assert_eq!(answer_to(on, &request("main", "a").with_changed(None)), Ok(Answer::Starts));
        let ignored = |reason: &str| Ok(Answer::Ignored { reason: reason.into() });
        let reason = "starts on changes of `roles/**`, and this pull request changed none of them";
        assert_eq!(answer_to(on, &request("main", "a")), ignored(reason));
        let reason = "starts on pull requests to `main`, and this was a pull request to `x`";
        assert_eq!(answer_to(on, &request("x", "roles/a")), ignored(reason));
        let reason = "starts on pull requests only: `on` has no `push`";
        assert_eq!(answer_to("on: { pull_request: }", &push("main")), ignored(reason));
        let reason = "starts on pushes only: `on` has no `pull_request`";
        assert_eq!(answer_to("on: { push: }", &request("main", "roles/a")), ignored(reason));
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
    fn a_tag_starts_what_names_it() {
        let tag = |name: &str| Trigger::of_push(&format!("refs/tags/{name}"));
        for on in ["on: { tag: ['v*', 'site/**'] }", "on: { tag: }", "on: { tag: null, push: {} }"]
        {
            assert_eq!(answer_to(on, &tag("v1.2")), Ok(Answer::Starts), "{on}");
        }
        let reason = "starts on tags `v*`, and this was the tag `1.2`".into();
        assert_eq!(answer_to("on: { tag: ['v*'] }", &tag("1.2")), Ok(Answer::Ignored { reason }));
        let reason = "starts on pushes and by hand only: `on` has no `tag`".into();
        let on = "on: { push: {}, manual: {} }";
        assert_eq!(answer_to(on, &tag("v1")), Ok(Answer::Ignored { reason }));
        let reason = "starts on tags only: `on` has no `push`".into();
        assert_eq!(answer_to("on: { tag: }", &push("v1")), Ok(Answer::Ignored { reason }));
    }

    #[test]
    fn mistakes_elsewhere_do_not_hide_the_answer() {
        let text = "on: { push: {} }\njbos: 7\njobs: []\nvariables: [a]\n";
        assert_eq!(answer_to(text, &push("main")), Ok(Answer::Starts));
    }

    #[test]
    fn a_file_that_does_not_say_is_an_error() {
        for text in ["jobs: {}", "on: [push]", "on: {", "on: { merge_request: {} }", "- a"] {
            let shown = answer_to(text, &push("main")).unwrap_err();
            assert!(shown.starts_with("error[P0"), "{text}: {shown}");
        }
    }
}
