//! Subscribers: found in repositories, as schedules are. What comes of an event is asked for by whoever
//! reads events; here it is remembered who wants any, and what was refused.

use pipelines::name::RepositoryName;
use pipelines::schedule::Found;

use crate::actor::Actor;
use crate::change::Change;
use crate::event::{Answer, Effect, Refusal};
use crate::subscriber::{Subscriber, SubscriberKey};

use super::Core;

impl Core {
    /// A repository's branch has these subscribers, and no others, at this commit.
    pub(super) fn subscribers_found(
        &mut self,
        repository: &RepositoryName,
        reference: &str,
        commit: &str,
        found: &[Found],
    ) {
        let known = self.state.subscribers.values();
        let mut gone: Vec<Subscriber> =
            known.filter(|it| it.key.repository == *repository).cloned().collect();
        for pipeline in found.iter().filter(|it| !it.subscriptions.is_empty()) {
            let key = SubscriberKey { repository: repository.clone(), file: pipeline.file.clone() };
            gone.retain(|it| it.key != key);
            let subscriber = Subscriber {
                key,
                pipeline: pipeline.pipeline.clone(),
                partitions: pipeline.partitions.clone(),
                reference: reference.to_owned(),
                commit: commit.to_owned(),
                subscriptions: pipeline.subscriptions.clone(),
            };
            if self.state.subscribers.get(&subscriber.key) != Some(&subscriber) {
                self.put(Change::Subscriber(subscriber));
            }
        }
        for subscriber in gone {
            let subscriptions = Vec::new();
            self.put(Change::Subscriber(Subscriber { subscriptions, ..subscriber }));
        }
    }

    /// An event started nothing though it was wanted.
    pub(super) fn refuse_event(&mut self, actor: &Actor, reason: &str) -> Result<Answer, Refusal> {
        self.step.effects.push(Effect::Warn(format!("{actor} started nothing: {reason}")));
        self.audit(actor, format!("started nothing: {reason}"));
        Ok(Answer::Done)
    }
}
