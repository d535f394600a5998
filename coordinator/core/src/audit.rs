//! Operators' words: what somebody declared, against what the agents could say. The coordinator's own
//! are the times that schedules missed, those of events why they started nothing.

use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::event::Wall;

/// One word of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Numbered from 1.
    pub number: u64,
    /// When.
    pub at: Wall,
    /// Who.
    pub actor: Actor,
    /// What, in a sentence that names what it changed.
    pub text: String,
}
