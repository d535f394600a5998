//! Secrets: set and deleted by administrators, each time under a new version.

use crate::actor::Actor;
use crate::change::Change;
use crate::event::{Answer, Refusal};
use crate::secret::{Sealed, Secret, SecretKey};

use super::Core;

impl Core {
    /// Remembers a value that was sealed as `version`; another one may have been quicker.
    pub(super) fn set_secret(
        &mut self,
        actor: &Actor,
        key: &SecretKey,
        version: u64,
        sealed: &Sealed,
    ) -> Result<Answer, Refusal> {
        key.scope.needs_manager(actor, "setting")?;
        let next = self.state.secrets.get(key).map_or(0, |it| it.version) + 1;
        if version != next {
            return Err(Refusal::Conflict(format!(
                "secret {key} was changed at the same time: look at it, and set it again"
            )));
        }
        self.audit(actor, format!("set secret {key}, version {version}"));
        self.put_secret(actor, key, version, Some(sealed.clone()));
        Ok(Answer::Done)
    }

    /// Forgets a value; its version goes on from there.
    pub(super) fn delete_secret(
        &mut self,
        actor: &Actor,
        key: &SecretKey,
    ) -> Result<Answer, Refusal> {
        key.scope.needs_manager(actor, "deleting")?;
        let Some(version) = self.state.secrets.get(key).filter(|it| it.is_set).map(|it| it.version)
        else {
            return Err(Refusal::NotFound(format!("there is no secret {key}")));
        };
        self.audit(actor, format!("deleted secret {key}, version {version}"));
        self.put_secret(actor, key, version + 1, None);
        Ok(Answer::Done)
    }

    fn put_secret(&mut self, actor: &Actor, key: &SecretKey, version: u64, sealed: Option<Sealed>) {
        let (key, by) = (key.clone(), actor.clone());
        self.put(Change::Secret(Secret { key, version, sealed, by, at: self.now }));
    }
}
