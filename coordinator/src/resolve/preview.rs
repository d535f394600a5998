//! What would come of an event, before anything is started: so that one that a pipeline refuses is given
//! back with the reason.

use std::sync::Arc;
use std::time::Instant;

use coordinator_core::trigger::Trigger;

use super::{Resolver, Shared};

/// Says what would come of events.
#[derive(Clone)]
pub struct Preview {
    shared: Arc<Shared>,
    begun: Instant,
}

/// What would come of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreseen {
    /// A run.
    Run,
    /// Nothing: the pipeline does not want it any more, or no job of it is concerned.
    Nothing,
    /// The pipeline refuses it: why.
    Refused(String),
    /// Nobody knows now: why.
    Unknown(String),
}

impl Resolver {
    /// Who says what would come of events.
    pub fn preview(&self) -> Preview {
        Preview { shared: Arc::clone(&self.shared), begun: Instant::now() }
    }
}

impl Preview {
    /// What would come of a trigger. Nothing is fetched for one that is taken.
    pub async fn of(&self, trigger: &Trigger) -> Foreseen {
        match self.look(trigger, self.begun).await {
            Foreseen::Run => Foreseen::Run,
            // What is new may say otherwise.
            Foreseen::Nothing | Foreseen::Refused(_) | Foreseen::Unknown(_) => {
                self.look(trigger, Instant::now()).await
            }
        }
    }

    async fn look(&self, trigger: &Trigger, begun: Instant) -> Foreseen {
        match self.shared.resolve(trigger, begun).await {
            Err(reason) => Foreseen::Unknown(reason),
            Ok(pipelines) if pipelines.is_empty() => Foreseen::Nothing,
            Ok(pipelines) => match pipelines.into_iter().find_map(|one| one.plan.err()) {
                Some(reason) => Foreseen::Refused(reason),
                None => Foreseen::Run,
            },
        }
    }
}
