//! What people, programs and forges ask for.

use pipelines::id::RunId;
use pipelines::name::{PartitionName, RepositoryName, TokenName};

use crate::actor::{Actor, Grant, Role};
use crate::agent::{Agent, AgentKey, Link};
use crate::change::Change;
use crate::event::{Answer, Ask, Effect, Refusal, RequestId, Wall};
use crate::token::{ApiToken, JoinToken, TokenHash};
use crate::trigger::{self, Cause, Trigger, TriggerId};

use super::Core;

impl Core {
    pub(super) fn asked(&mut self, request: RequestId, actor: &Actor, ask: &Ask) {
        let answer = match ask {
            Ask::Trigger { key, repository, reference, cause } => {
                self.trigger(actor, key, repository, reference, cause)
            }
            Ask::RefuseEvent { reason } => self.refuse_event(actor, reason),
            Ask::Cancel { run } => self.cancel(actor, *run),
            Ask::Retry { stored } => self.retry(actor, stored),
            Ask::OverrideWindow { run, reason } => self.override_window(actor, *run, reason),
            Ask::Approve { job, comment } => self.approve(actor, *job, comment.as_deref()),
            Ask::Reject { job, reason } => self.reject(actor, *job, reason),
            Ask::Acknowledge { job, text } => self.acknowledge(actor, *job, text),
            Ask::CreateApiToken { name, hash, grant, expires } => {
                self.create_api_token(actor, name, hash, grant, *expires)
            }
            Ask::RevokeApiToken { name } => self.revoke_api_token(actor, name),
            Ask::CreateJoinToken { hash, agent, expires } => {
                self.create_join_token(actor, hash, agent, *expires)
            }
            Ask::Enrol { hash, fingerprint } => self.enrol(hash, fingerprint),
            Ask::Cordon { agent, on } => self.cordon(actor, agent, *on),
            Ask::DeclareLost { agent } => self.declare_lost(actor, agent),
            Ask::BreakLock { lock, holder } => self.break_lock(actor, lock, *holder),
            Ask::Upgrade { agent, program } => self.upgrade(actor, agent, program),
            Ask::SetSecret { key, version, sealed } => {
                self.set_secret(actor, key, *version, sealed)
            }
            Ask::DeleteSecret { key } => self.delete_secret(actor, key),
            Ask::RevokeAgent { agent } => self.revoke_agent(actor, agent),
        };
        self.answer(request, answer);
    }

    fn trigger(
        &mut self,
        actor: &Actor,
        key: &str,
        repository: &RepositoryName,
        reference: &str,
        cause: &Cause,
    ) -> Result<Answer, Refusal> {
        if let Actor::Token { grant, .. } = actor
            && grant.role < Role::Edit
        {
            return Err(Refusal::Forbidden(format!(
                "{actor} may only view; triggering needs edit"
            )));
        }
        let (trigger, new) = self.take(actor, key, repository, reference, cause);
        Ok(Answer::Triggered { trigger, new })
    }

    /// Takes a trigger, unless its key was taken before; gives its number, and whether it is new.
    pub(super) fn take(
        &mut self,
        actor: &Actor,
        key: &str,
        repository: &RepositoryName,
        reference: &str,
        cause: &Cause,
    ) -> (TriggerId, bool) {
        if let Some(trigger) = self.state.keys.get(key) {
            return (*trigger, false);
        }
        let trigger = Trigger {
            id: TriggerId(self.state.last_trigger + 1),
            key: key.to_owned(),
            actor: actor.clone(),
            at: self.now,
            repository: repository.clone(),
            reference: reference.to_owned(),
            cause: cause.clone(),
            state: trigger::State::Pending,
        };
        self.put(Change::Trigger(trigger.clone()));
        let id = trigger.id;
        self.step.effects.push(Effect::Resolve(Box::new(trigger)));
        (id, true)
    }

    fn create_api_token(
        &mut self,
        actor: &Actor,
        name: &TokenName,
        hash: &TokenHash,
        grant: &Grant,
        expires: Wall,
    ) -> Result<Answer, Refusal> {
        needs_admin(actor, "creating tokens")?;
        if self.state.api_tokens.get(name).is_some_and(|token| self.is_live(token)) {
            let text =
                format!("there is a token '{name}' already: revoke it, or take another name");
            return Err(Refusal::Conflict(text));
        }
        self.put(Change::ApiToken(ApiToken {
            name: name.clone(),
            hash: hash.clone(),
            grant: grant.clone(),
            created_by: actor.clone(),
            created: self.now,
            expires,
            revoked: false,
        }));
        Ok(Answer::Done)
    }

    fn is_live(&self, token: &ApiToken) -> bool {
        !token.revoked && token.expires > self.now
    }

    fn revoke_api_token(&mut self, actor: &Actor, name: &TokenName) -> Result<Answer, Refusal> {
        needs_admin(actor, "revoking tokens")?;
        let token = self.state.api_tokens.get(name);
        let token =
            token.ok_or_else(|| Refusal::NotFound(format!("there is no token '{name}'")))?;
        self.put(Change::ApiToken(ApiToken { revoked: true, ..token.clone() }));
        Ok(Answer::Done)
    }

    fn create_join_token(
        &mut self,
        actor: &Actor,
        hash: &TokenHash,
        agent: &AgentKey,
        expires: Wall,
    ) -> Result<Answer, Refusal> {
        needs(actor, Role::Admin, &agent.partition, "admitting agents")?;
        self.put(Change::JoinToken(JoinToken {
            hash: hash.clone(),
            agent: agent.clone(),
            created_by: actor.clone(),
            expires,
            used_by: None,
        }));
        Ok(Answer::Done)
    }

    fn enrol(&mut self, hash: &TokenHash, fingerprint: &str) -> Result<Answer, Refusal> {
        let refuse = |why: &str| {
            Refusal::Unauthenticated(format!("{why}: ask for another with 'garrison agents token'"))
        };
        let token = self.state.join_tokens.get(hash).cloned();
        let token = token.ok_or_else(|| refuse("this join token is not known here"))?;
        match &token.used_by {
            // The answer may have been lost on its way: the same key gets it again.
            Some(key) if key == fingerprint => return Ok(Answer::Enrolled(token.agent)),
            Some(_) => return Err(refuse("this join token was used already")),
            None if token.expires <= self.now => return Err(refuse("this join token has expired")),
            None => {}
        }
        let agent = token.agent.clone();
        let enrolled = match self.state.agents.get(&agent).cloned() {
            Some(old) => {
                if let Some(session) = old.session() {
                    self.close(session, "this agent was enrolled anew, with another key");
                }
                let link = Link::Down { since: self.now };
                Agent { fingerprint: fingerprint.to_owned(), revoked: false, link, ..old }
            }
            None => Agent {
                key: agent.clone(),
                enrolled: self.now,
                fingerprint: fingerprint.to_owned(),
                revoked: false,
                cordoned_by: None,
                upgrade: None,
                about: None,
                link: Link::Down { since: self.now },
            },
        };
        self.put(Change::JoinToken(JoinToken { used_by: Some(fingerprint.to_owned()), ..token }));
        self.put(Change::Agent(enrolled));
        self.wait_for(&agent);
        Ok(Answer::Enrolled(agent))
    }

    fn revoke_agent(&mut self, actor: &Actor, agent: &AgentKey) -> Result<Answer, Refusal> {
        needs(actor, Role::Admin, &agent.partition, "revoking agents")?;
        let record = self.state.agents.get(agent).cloned();
        let record =
            record.ok_or_else(|| Refusal::NotFound(format!("there is no agent {agent}")))?;
        if let Some(session) = record.session() {
            self.close(session, "this agent was revoked");
        }
        let link = Link::Down { since: self.now };
        self.put(Change::Agent(Agent { revoked: true, link, ..record }));
        self.wait_for(agent);
        Ok(Answer::Done)
    }

    /// Whether the actor may edit in every partition of an active run.
    pub(super) fn may_edit_run(
        &self,
        actor: &Actor,
        run: RunId,
        doing: &str,
    ) -> Result<(), Refusal> {
        let active = self.state.runs.get(&run);
        let jobs = active.map_or(&[][..], |active| &active.plan.jobs);
        jobs.iter().try_for_each(|job| needs(actor, Role::Edit, &job.partition, doing))
    }
}

pub(super) fn needs(
    actor: &Actor,
    role: Role,
    partition: &PartitionName,
    doing: &str,
) -> Result<(), Refusal> {
    if actor.may(role, partition) {
        return Ok(());
    }
    Err(Refusal::Forbidden(format!(
        "{doing} in partition {partition} needs {role}; {actor} lacks it"
    )))
}

fn needs_admin(actor: &Actor, doing: &str) -> Result<(), Refusal> {
    if actor.may_everywhere(Role::Admin) {
        return Ok(());
    }
    let text = format!("{doing} needs admin in all partitions; {actor} lacks it");
    Err(Refusal::Forbidden(text))
}
