//! From a trigger to plans: fetches the source, finds the pipelines that apply, compiles them.
//!
//! Level-triggered: a trigger stays pending in the core until its resolution is durable, and is
//! given here again after a restart.

mod kept;
mod pipeline;
mod preview;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coordinator_core::event::{Event, Resolution};
use coordinator_core::trigger::{Cause, Trigger};
use pipelines::name::{PartitionName, PipelineName, RepositoryName};
use pipelines::trigger;
use pipelines::trigger::limit::Limit;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};

use self::kept::{Repository, fetch};
use self::pipeline::Pipeline;
pub use self::preview::{Foreseen, Preview};
use crate::config::Config;
use crate::content::Contents;
use crate::driver::Handle;
use crate::git::{self, Mirror};
use crate::source;

/// Where pipelines live in a repository.
const FOLDER: &str = ".garrison";

/// Largest pipeline or inventory file read from git, in bytes; the language's own limit is lower.
const FILE: u64 = 2 << 20;

/// How old what is known of a default branch may be when an event comes: many come at once.
const HEAD_AGE: Duration = Duration::from_secs(10);

/// Triggers resolved side by side.
const SIDE_BY_SIDE: usize = 8;

/// The resolver.
pub struct Resolver {
    shared: Arc<Shared>,
    driver: Handle,
}

struct Shared {
    config: Arc<Config>,
    /// Where source bundles go.
    contents: Contents,
    repositories: BTreeMap<RepositoryName, Repository>,
}

impl Resolver {
    /// A resolver with mirrors under the data directory.
    pub fn new(config: Arc<Config>, contents: Contents, driver: Handle) -> Resolver {
        let repositories = config.repositories.iter().map(|it| {
            let mirror = Mirror::of(&config.data, it);
            let max_age = Duration::from_secs(it.max_age_s.into());
            (it.name.clone(), Repository::new(mirror, max_age))
        });
        let repositories = repositories.collect();
        Resolver { shared: Arc::new(Shared { config, contents, repositories }), driver }
    }

    /// Resolves triggers until `stop`.
    pub async fn run(
        self,
        mut triggers: mpsc::UnboundedReceiver<Box<Trigger>>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(_) = tasks.join_next() => {}
                Some(trigger) = triggers.recv(), if tasks.len() < SIDE_BY_SIDE => {
                    let (shared, driver) = (Arc::clone(&self.shared), self.driver.clone());
                    let span = info_span!("trigger", id = trigger.id.0);
                    let task = async move {
                        let resolution = shared.resolve(&trigger, Instant::now()).await;
                        if matches!(trigger.cause, Cause::Push { .. }) {
                            shared.pushed(&trigger.repository);
                        }
                        driver.report(Event::Resolved { trigger: trigger.id, resolution }).await;
                    };
                    tasks.spawn(task.instrument(span));
                }
            }
        }
    }
}

impl Shared {
    /// What comes of a trigger, from repositories as they were at `begun`, or later.
    async fn resolve(&self, trigger: &Trigger, begun: Instant) -> Result<Vec<Resolution>, String> {
        let say = |error: git::Error| error.to_string();
        let mirror = self.with_trigger(trigger, begun).await?;
        let (commit, happened) = match &trigger.cause {
            Cause::Push { commit, .. } => {
                let happened = trigger::Trigger::of_push(&trigger.reference);
                (mirror.commit(commit).await.map_err(say)?, happened)
            }
            Cause::PullRequest { commit, branch, .. } => {
                let happened = trigger::Trigger::pull_request(branch);
                (mirror.commit(commit).await.map_err(say)?, happened)
            }
            Cause::Schedule { schedule, .. } => {
                let commit = mirror.commit(&trigger.reference).await.map_err(say)?;
                (commit, trigger::Trigger::Schedule { schedule: schedule.clone() })
            }
            Cause::Event { subscription, inputs, partition, .. } => {
                let commit = mirror.commit(&trigger.reference).await.map_err(say)?;
                let (subscription, inputs) = (subscription.clone(), inputs.clone());
                let limit = partition.clone().map(|partition| Limit { partition, device: None });
                let limit = limit.into_iter().collect();
                (commit, trigger::Trigger::Event { subscription, inputs, limit })
            }
            Cause::Manual { inputs, limit, .. } => {
                let commit = mirror.commit(&trigger.reference).await.map_err(say)?;
                (commit, trigger::Trigger::Manual { inputs: inputs.clone(), limit: limit.clone() })
            }
        };
        let files = mirror.files(&commit, FOLDER).await.map_err(say)?;
        let mut contents = Vec::new();
        let is_meant = |path: &String| match &trigger.cause {
            Cause::Schedule { file, .. } | Cause::Event { file, .. } => path == file,
            Cause::Push { .. } | Cause::PullRequest { .. } | Cause::Manual { .. } => {
                is_pipeline(path)
            }
        };
        for path in files.into_iter().filter(is_meant) {
            let content = mirror.read(&commit, &path, FILE).await;
            contents.push((path, content));
        }
        let asks = |content: &Result<Option<Vec<u8>>, git::Error>| {
            content
                .as_ref()
                .is_ok_and(|file| file.as_deref().is_some_and(trigger::asks_for_changes))
        };
        let happened = if contents.iter().any(|(_, content)| asks(content)) {
            happened.with_changed(changed(&trigger.cause, &commit, &mirror).await)
        } else {
            happened
        };
        let mut pipelines = Vec::new();
        for (path, content) in contents {
            let (happened, commit) = (&happened, &commit);
            let one = Pipeline { shared: self, trigger, begun, happened, commit, path };
            pipelines.extend(one.resolve(content).await?);
        }
        let pipelines = match &trigger.cause {
            // Nothing of it is done, so nobody needs its source.
            Cause::PullRequest { .. } => return Ok(pipelines),
            Cause::Push { .. } | Cause::Schedule { .. } | Cause::Event { .. } => pipelines,
            Cause::Manual { pipeline, .. } => pick(pipelines, pipeline, trigger, &commit)?,
        };
        self.with_source(pipelines, trigger, &mirror).await
    }

    /// The same with the source bundle of their commit; without a plan for whom there can be none.
    async fn with_source(
        &self,
        mut pipelines: Vec<Resolution>,
        trigger: &Trigger,
        mirror: &Mirror,
    ) -> Result<Vec<Resolution>, String> {
        for one in pipelines.iter_mut().filter(|one| one.plan.is_ok()) {
            let bundle =
                source::of_commit(&self.contents, &trigger.repository, mirror, &one.commit);
            match bundle.await {
                Ok(hash) => one.source = Some(hash.to_string()),
                Err(error @ source::Error::Unfit(_)) => one.plan = Err(error.to_string()),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(pipelines)
    }

    /// The mirror of the trigger's repository with what the trigger speaks of.
    async fn with_trigger(&self, trigger: &Trigger, begun: Instant) -> Result<Mirror, String> {
        let name = &trigger.repository;
        let Some(repository) = self.repositories.get(name) else {
            return Err(format!("repository '{name}' is not in the coordinator's configuration"));
        };
        let named = match &trigger.cause {
            Cause::Push { commit, .. } | Cause::PullRequest { commit, .. } => {
                repository.forget().await;
                Some(commit)
            }
            Cause::Schedule { .. } => return repository.as_of_or_kept(begun, Duration::ZERO).await,
            // Its head is followed anyway, and each webhook makes it new.
            Cause::Event { .. } => return repository.as_of_or_kept(begun, HEAD_AGE).await,
            Cause::Manual { .. } => Some(&trigger.reference).filter(|it| git::is_hash(it)),
        };
        // Where the branch stands that it is to be merged into must be looked up anew.
        let is_known = !matches!(trigger.cause, Cause::PullRequest { base: None, .. });
        if let Some(commit) = named
            && is_known
            && repository.mirror.commit(commit).await.is_ok()
        {
            return Ok(repository.mirror.clone());
        }
        let mirror = repository.as_of(begun, Duration::ZERO).await?;
        if let Cause::PullRequest { commit, .. } = &trigger.cause
            && mirror.commit(commit).await.is_err()
        {
            let beside = Some(trigger.reference.as_str());
            fetch(&mirror, beside).await.map_err(|error| error.to_string())?;
        }
        Ok(mirror)
    }

    /// Something came to a repository: its schedules may be others now.
    fn pushed(&self, repository: &RepositoryName) {
        if let Some(repository) = self.repositories.get(repository) {
            repository.pushed.notify_one();
        }
    }

    /// The partitions that a repository may deploy to.
    fn may_deploy_to(&self, repository: &RepositoryName) -> Vec<PartitionName> {
        let bound = self.config.partitions.iter();
        bound.filter(|it| it.repositories.contains(repository)).map(|it| it.name.clone()).collect()
    }
}

/// Paths of the files that a trigger is about; none if nobody knows.
async fn changed(cause: &Cause, commit: &str, mirror: &Mirror) -> Option<Vec<String>> {
    match cause {
        Cause::Push { before, .. } => mirror.changed(before.as_ref()?, commit).await,
        Cause::PullRequest { base: Some(base), .. } => {
            mirror.changed_since_parting(base, commit).await
        }
        Cause::PullRequest { base: None, branch, .. } => {
            let base = mirror.commit(&format!("refs/heads/{branch}")).await.ok()?;
            mirror.changed_since_parting(&base, commit).await
        }
        Cause::Manual { .. } | Cause::Schedule { .. } | Cause::Event { .. } => None,
    }
}

/// The one pipeline that a manual trigger names.
fn pick(
    mut pipelines: Vec<Resolution>,
    name: &PipelineName,
    trigger: &Trigger,
    commit: &str,
) -> Result<Vec<Resolution>, String> {
    if let Some(index) = pipelines.iter().position(|one| one.pipeline == *name) {
        return Ok(vec![pipelines.swap_remove(index)]);
    }
    let names: BTreeSet<&str> = pipelines.iter().map(|one| one.pipeline.as_str()).collect();
    let there = if names.is_empty() {
        format!("{FOLDER}/ holds no pipeline")
    } else {
        format!("there are {}", names.into_iter().collect::<Vec<_>>().join(", "))
    };
    Err(format!(
        "there is no pipeline '{name}' in {} at {} ({}): {there}",
        trigger.repository,
        branch(&trigger.reference),
        commit.get(..10).unwrap_or(commit),
    ))
}

fn branch(reference: &str) -> &str {
    reference.strip_prefix("refs/heads/").unwrap_or(reference)
}

/// Files in folders below are not: pipelines include them.
fn is_pipeline(path: &str) -> bool {
    let path = Path::new(path);
    let extension = path.extension().and_then(|extension| extension.to_str());
    path.parent() == Some(Path::new(FOLDER)) && matches!(extension, Some("yaml" | "yml"))
}
