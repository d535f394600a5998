//! A story in words, one line a step.

use std::fmt::Write;

use coordinator_core::attempt::State;
use coordinator_core::change::Change;
use coordinator_core::{agent, job, trigger};

use crate::act::{Act, Class};

/// One line: what happened, and what came of it.
pub(crate) fn line(number: usize, act: &Act, notes: &[String]) -> String {
    let mark = match act.what.class() {
        Class::Progress | Class::Time => ' ',
        Class::People => '?',
        Class::Fault => '!',
        Class::Repair => '+',
    };
    let mut line = format!("{number:>4} {mark} {}", act.what.words());
    for (nth, note) in notes.iter().enumerate() {
        let _ = write!(line, "{} {note}", if nth == 0 { ":" } else { ";" });
    }
    line
}

/// What changed, in a few words each.
pub(crate) fn changes(changes: &[Change]) -> String {
    let words: Vec<String> = changes.iter().filter_map(change).collect();
    if words.is_empty() { "nothing changed".to_owned() } else { words.join(", ") }
}

fn change(change: &Change) -> Option<String> {
    Some(match change {
        Change::Trigger(it) => match it.state {
            trigger::State::Pending => format!("trigger {} taken", it.id.0),
            trigger::State::Resolved { .. } => format!("trigger {} resolved", it.id.0),
            trigger::State::Failed { .. } => format!("trigger {} failed", it.id.0),
        },
        Change::Run(it) => format!("run {} {}", it.id, it.status()),
        Change::Job(it) if matches!(it.state, job::State::Waiting | job::State::Active) => {
            return None;
        }
        Change::Job(it) => format!("job {} {}", it.id, it.state.kind()),
        Change::Attempt(it) => {
            let state = match &it.state {
                State::Assigned => format!("given to {}", it.agent),
                State::Accepted => "accepted".to_owned(),
                State::Running { .. } => "running".to_owned(),
                State::Finished { verdict, .. } => format!("ended ({})", verdict.outcome),
                State::Abandoned { outcome, .. } => format!("given up ({outcome})"),
            };
            let cancelled = if it.cancelled_by.is_some() { ", to be cancelled" } else { "" };
            format!("attempt {} {state}{cancelled}", it.id)
        }
        Change::Agent(it) => match it.link {
            agent::Link::Up { session, .. } => format!("{} up (session {})", it.key, session.0),
            agent::Link::Down { .. } => format!("{} down", it.key),
        },
        Change::Lock(it) => match (it.holder, it.in_doubt) {
            (None, _) => format!("lock {} free", it.key),
            (Some(holder), None) => format!("lock {} held by {holder}", it.key),
            (Some(_), Some(attempt)) => format!("lock {} in doubt for {attempt}", it.key),
        },
        Change::Audit(it) => it.text.clone(),
        Change::Plan(..)
        | Change::ApiToken(_)
        | Change::JoinToken(_)
        | Change::Secret(_)
        | Change::Schedule(_)
        | Change::Subscriber(_) => {
            return None;
        }
    })
}
