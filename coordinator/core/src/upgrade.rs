//! Upgrades of agents: which program one is to run, and how that went.

use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::event::Wall;

/// Somebody's word that an agent is to run another program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// That of its record in the audit: each upgrade has another, and later ones a greater.
    pub number: u64,
    /// SHA-256 (hex) of the program.
    pub program: String,
    /// Who wants it.
    pub asked_by: Actor,
    /// Since when.
    pub asked: Wall,
    /// How far it is.
    pub state: State,
}

/// How far an upgrade is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum State {
    /// The agent has not said how it went; each of its hellos is answered with it.
    Asked,
    /// The agent runs the program, and was linked by it.
    Done {
        /// When the agent said so.
        at: Wall,
    },
    /// The agent runs what it ran before.
    Failed {
        /// When the agent said so.
        at: Wall,
        /// Why, in its words.
        reason: String,
    },
}

/// What an agent says of the latest upgrade that it knows the end of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// See [`Upgrade::number`].
    pub number: u64,
    /// Why it goes on as before; none if it runs the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Upgrade {
    /// The same after the agent's report, if that is about this one and says something new.
    pub(crate) fn reported(&self, report: &Report, at: Wall) -> Option<Upgrade> {
        if self.state != State::Asked || self.number != report.number {
            return None;
        }
        let state = match report.failed.clone() {
            Some(reason) => State::Failed { at, reason },
            None => State::Done { at },
        };
        Some(Upgrade { state, ..self.clone() })
    }
}
