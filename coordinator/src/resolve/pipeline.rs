//! One pipeline of a commit: the files that it consists of, and what becomes of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use coordinator_core::event::Resolution;
use coordinator_core::trigger::{Cause, Trigger};
use pipelines::compile::compile;
use pipelines::include::{Include, Pinned};
use pipelines::load::{Found, Loader, Need, Step, Unavailable};
use pipelines::name::{PartitionName, PipelineName, RepositoryName};
use pipelines::source::File;
use pipelines::trigger::{self, Answer};

use super::{FILE, Shared};
use crate::git::{self, Mirror};

/// One pipeline file at one commit.
pub(super) struct Pipeline<'a> {
    pub(super) shared: &'a Shared,
    pub(super) trigger: &'a Trigger,
    /// When the trigger was taken up.
    pub(super) begun: Instant,
    pub(super) happened: &'a trigger::Trigger,
    pub(super) commit: &'a str,
    pub(super) path: String,
}

impl Pipeline<'_> {
    /// A run, if the pipeline wants the trigger, or what is wrong with it.
    pub(super) async fn resolve(
        self,
        content: Result<Option<Vec<u8>>, git::Error>,
    ) -> Result<Option<Resolution>, String> {
        let bytes = match content {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(error @ git::Error::TooLarge { .. }) => {
                return Ok(Some(self.resolution(Err(error.to_string()))));
            }
            Err(error) => return Err(error.to_string()),
        };
        let file = File { name: self.path.clone(), bytes };
        match trigger::answer(&file, self.happened) {
            // A manual trigger names its pipeline, and hears why that one does not start.
            Ok(Answer::Ignored { .. }) if !self.is_manual() => Ok(None),
            Ok(_) => {
                let resolution = self.compile(file).await;
                let concerns_nothing = resolution.plan.as_ref().is_ok_and(|it| it.jobs.is_empty());
                Ok((!concerns_nothing).then_some(resolution))
            }
            Err(diagnostics) => Ok(Some(self.resolution(Err(diagnostics.render())))),
        }
    }

    fn is_manual(&self) -> bool {
        matches!(self.trigger.cause, Cause::Manual { .. })
    }

    async fn compile(&self, file: File) -> Resolution {
        let mut loader =
            Loader::new(self.path.clone(), self.shared.may_deploy_to(&self.trigger.repository));
        let sources = loop {
            match loader.step() {
                Step::Done(sources) => break sources,
                Step::Need(needs, rest) => {
                    loader = rest;
                    for need in needs {
                        let found = match &need {
                            Need::Pipeline(_) => Ok(file.clone()),
                            Need::Include(include) => self.include(include).await,
                            Need::Tree => self.tree().await,
                            Need::Inventory(partition) => {
                                self.shared.inventory(partition, self.trigger, self.begun).await
                            }
                        };
                        loader.give(need, found);
                    }
                }
            }
        };
        let plan = compile(&sources, self.happened);
        self.resolution(plan.map_err(|diagnostics| diagnostics.render()))
    }

    /// A file that the pipeline includes: of its own commit, or of a repository that lets itself be included.
    async fn include(&self, include: &Include) -> Found {
        let failed = |error: git::Error| Unavailable::Failed(error.to_string());
        let own = &self.trigger.repository;
        let (mirror, commit) = match &include.pinned {
            None => (self.mirror()?.clone(), self.commit.to_owned()),
            Some(Pinned { repository, reference }) => {
                let config = self.shared.config.repository(repository);
                if !config.is_some_and(|it| it.name == *own || it.included_by.contains(own)) {
                    return Err(Unavailable::NotAllowed);
                }
                self.shared.pinned(repository, reference, self.trigger, self.begun).await?
            }
        };
        let content = mirror.read(&commit, &include.file, FILE).await.map_err(failed)?;
        let name = include.to_string();
        content.map(|bytes| File { name, bytes }).ok_or(Unavailable::NotFound)
    }

    /// The files of the pipeline's commit.
    async fn tree(&self) -> Found {
        let listing = self.mirror()?.listing(self.commit).await;
        let listing = listing.map_err(|error| Unavailable::Failed(error.to_string()))?;
        Ok(File { name: self.commit.to_owned(), bytes: listing })
    }

    /// The mirror of the pipeline's own repository.
    fn mirror(&self) -> Result<&Mirror, Unavailable> {
        let own = self.shared.repositories.get(&self.trigger.repository);
        Ok(&own.ok_or(Unavailable::NotFound)?.mirror)
    }

    fn resolution(&self, plan: Result<pipelines::plan::Plan, String>) -> Resolution {
        let pipeline = match &plan {
            Ok(plan) => plan.pipeline.clone(),
            Err(_) => stem(&self.path),
        };
        Resolution {
            commit: self.commit.to_owned(),
            pipeline,
            file: self.path.clone(),
            source: None,
            plan: plan.map(Arc::new),
        }
    }
}

impl Shared {
    /// The inventory that is bound to a partition, if the trigger's repository may deploy there.
    async fn inventory(
        &self,
        partition: &PartitionName,
        trigger: &Trigger,
        begun: Instant,
    ) -> Found {
        let repository = &trigger.repository;
        let Some(bound) = self.config.partition(partition) else {
            let known = self.config.partitions.iter();
            let known = known.filter(|it| it.repositories.contains(repository));
            return Err(Unavailable::NotBound { known: known.map(|it| it.name.clone()).collect() });
        };
        if !bound.repositories.contains(repository) {
            return Err(Unavailable::NotAllowed);
        }
        let Some(inventory) = &bound.inventory else {
            // A partition without devices.
            let text = format!("partition: {partition}\ndevices: {{}}\n");
            return Ok(File { name: format!("{partition}.yaml"), bytes: text.into_bytes() });
        };
        let failed = |error: git::Error| Unavailable::Failed(error.to_string());
        let mirror = self.beside(&inventory.repository, trigger, begun).await?;
        let reference = format!("refs/heads/{}", inventory.branch);
        let commit = mirror.commit(&reference).await.map_err(failed)?;
        let content = mirror.read(&commit, &inventory.file, FILE).await.map_err(failed)?;
        let name = format!("{}:{}", inventory.repository, inventory.file);
        content.map(|bytes| File { name, bytes }).ok_or(Unavailable::NotFound)
    }

    /// The mirror of a repository beside the trigger's own.
    async fn beside(
        &self,
        repository: &RepositoryName,
        trigger: &Trigger,
        begun: Instant,
    ) -> Result<Mirror, Unavailable> {
        let kept = self.repositories.get(repository).ok_or(Unavailable::NotFound)?;
        let mirror = match &trigger.cause {
            Cause::Schedule { .. } | Cause::Event { .. } => {
                kept.as_of_or_kept(begun, kept.max_age).await
            }
            Cause::Push { .. } | Cause::PullRequest { .. } | Cause::Manual { .. } => {
                kept.as_of(begun, kept.max_age).await
            }
        };
        mirror.map_err(Unavailable::Failed)
    }

    /// A mirror, and the commit there that a tag or a commit's hash names. A commit that is there already is
    /// not fetched again.
    async fn pinned(
        &self,
        repository: &RepositoryName,
        reference: &str,
        trigger: &Trigger,
        begun: Instant,
    ) -> Result<(Mirror, String), Unavailable> {
        let failed = |error: git::Error| Unavailable::Failed(error.to_string());
        if git::is_hash(reference)
            && let Some(kept) = self.repositories.get(repository)
            && let Ok(commit) = kept.mirror.commit(reference).await
        {
            return Ok((kept.mirror.clone(), commit));
        }
        let mirror = self.beside(repository, trigger, begun).await?;
        let reference = match git::is_hash(reference) {
            true => reference.to_owned(),
            false => format!("refs/tags/{reference}"),
        };
        let commit = mirror.commit(&reference).await.map_err(failed)?;
        Ok((mirror, commit))
    }
}

/// The name of a pipeline whose file does not say it.
fn stem(path: &str) -> PipelineName {
    let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let unknown = || "unnamed".parse().expect("it is a name");
    stem.parse().unwrap_or_else(|_| unknown())
}
