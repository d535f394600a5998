//! Operators' words: what no machine can know, and somebody vouches for.

use pipelines::outcome::Outcome;

use crate::actor::{Actor, Role};
use crate::agent::{Agent, AgentKey};
use crate::attempt::Attempt;
use crate::audit::Audit;
use crate::change::Change;
use crate::event::{Answer, Refusal};
use crate::lock::{Holder, LockKey};
use crate::upgrade::{self, Upgrade};

use super::Core;
use super::asks::needs;

impl Core {
    pub(super) fn cordon(
        &mut self,
        actor: &Actor,
        key: &AgentKey,
        on: bool,
    ) -> Result<Answer, Refusal> {
        needs(actor, Role::Admin, &key.partition, "cordoning agents")?;
        let agent = self.known(key)?.clone();
        if agent.cordoned_by.is_some() != on {
            let cordoned_by = on.then(|| actor.clone());
            self.dirty.insert(key.partition.clone());
            self.put(Change::Agent(Agent { cordoned_by, ..agent }));
        }
        Ok(Answer::Done)
    }

    /// Ends every attempt of an agent that is away, by somebody's word that none of them runs.
    pub(super) fn declare_lost(
        &mut self,
        actor: &Actor,
        key: &AgentKey,
    ) -> Result<Answer, Refusal> {
        needs(actor, Role::Admin, &key.partition, "declaring an agent lost")?;
        if self.known(key)?.session().is_some() {
            return Err(Refusal::Conflict(format!(
                "agent {key} is connected and speaks for itself: cancel its runs instead"
            )));
        }
        let held = self.state.held.get(key).into_iter().flatten();
        let attempts: Vec<Attempt> = held.map(|id| self.state.attempts[id].clone()).collect();
        let names: Vec<String> = attempts.iter().map(|attempt| attempt.id.to_string()).collect();
        let lost = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        self.audit(actor, format!("declared agent {key} lost, and with it {lost}"));
        for attempt in attempts {
            let reason = format!("{actor} declared agent {key} lost");
            self.abandon(attempt, Outcome::Lost { reason, may_run: false });
        }
        Ok(Answer::Done)
    }

    /// Frees a lock, by somebody's word that nothing works under it.
    pub(super) fn break_lock(
        &mut self,
        actor: &Actor,
        key: &LockKey,
        holder: Holder,
    ) -> Result<Answer, Refusal> {
        needs(actor, Role::Admin, &key.partition, "breaking locks")?;
        match self.state.locks.get(key).and_then(|lock| lock.holder) {
            None => Err(Refusal::NotFound(format!("nobody holds lock {key}"))),
            Some(other) if other != holder => {
                Err(Refusal::Conflict(format!("lock {key} is held by {other}, not by {holder}")))
            }
            Some(_) => {
                self.audit(actor, format!("broke lock {key}, which {holder} held"));
                self.free(key.clone());
                Ok(Answer::Done)
            }
        }
    }

    /// Has an agent run another program, now or when it is back.
    pub(super) fn upgrade(
        &mut self,
        actor: &Actor,
        key: &AgentKey,
        program: &str,
    ) -> Result<Answer, Refusal> {
        needs(actor, Role::Admin, &key.partition, "upgrading agents")?;
        let agent = self.known(key)?.clone();
        if agent.revoked {
            return Err(Refusal::Conflict(format!(
                "agent {key} is cut off: let it join again, then upgrade it"
            )));
        }
        let upgrade = Upgrade {
            number: self.audit(actor, format!("asked agent {key} to run program {program}")),
            program: program.to_owned(),
            asked_by: actor.clone(),
            asked: self.now,
            state: upgrade::State::Asked,
        };
        self.put(Change::Agent(Agent { upgrade: Some(upgrade), ..agent }));
        self.send_upgrade(key);
        Ok(Answer::Done)
    }

    fn known(&self, key: &AgentKey) -> Result<&Agent, Refusal> {
        let agent = self.state.agents.get(key);
        agent.ok_or_else(|| Refusal::NotFound(format!("there is no agent {key}")))
    }

    /// Writes down an operator's word; gives its number.
    pub(super) fn audit(&mut self, actor: &Actor, text: String) -> u64 {
        let (number, actor) = (self.state.last_audit + 1, actor.clone());
        self.put(Change::Audit(Audit { number, at: self.now, actor, text }));
        number
    }
}
