//! From a trigger to plans: fetches the source, finds the pipelines that apply, compiles them.
//!
//! Level-triggered: a trigger stays pending in the core until its resolution is durable, and is
//! given here again after a restart.

mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coordinator_core::event::{Event, Resolution};
use coordinator_core::trigger::{Cause, Trigger};
use pipelines::compile::compile;
use pipelines::include::{Include, Pinned};
use pipelines::load::{Found, Loader, Need, Step, Unavailable};
use pipelines::name::{PartitionName, PipelineName, RepositoryName};
use pipelines::source::File;
use pipelines::trigger::{self, Answer};
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span, warn};

use crate::config::Config;
use crate::content::Contents;
use crate::driver::Handle;
use crate::git::{self, Mirror};
use crate::source;

/// Where pipelines live in a repository.
const FOLDER: &str = ".garrison";

/// Largest pipeline or inventory file read from git, in bytes; the language's own limit is lower.
const FILE: u64 = 2 << 20;

/// Pauses between tries to fetch.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(10)];

/// How long a schedule waits for what is new in its repository.
const PATIENCE: Duration = Duration::from_secs(60);

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
        let folder = config.data.join("mirrors");
        let repositories = config.repositories.iter().map(|it| {
            let mirror = Mirror::new(folder.join(format!("{}.git", it.name)), it.url.clone());
            let max_age = Duration::from_secs(it.max_age_s.into());
            let (last, pushed) = (Mutex::default(), Notify::new());
            (it.name.clone(), Repository { mirror, max_age, last, pushed })
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
                        let resolution = shared.resolve(&trigger).await;
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
    async fn resolve(&self, trigger: &Trigger) -> Result<Vec<Resolution>, String> {
        let say = |error: git::Error| error.to_string();
        let begun = Instant::now();
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
            Cause::Manual { inputs, .. } => {
                let commit = mirror.commit(&trigger.reference).await.map_err(say)?;
                (commit, trigger::Trigger::Manual { inputs: inputs.clone() })
            }
        };
        let files = mirror.files(&commit, FOLDER).await.map_err(say)?;
        let mut contents = Vec::new();
        let is_meant = |path: &String| match &trigger.cause {
            Cause::Schedule { file, .. } => path == file,
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
            Cause::Push { .. } | Cause::Schedule { .. } => pipelines,
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
            Cause::Manual { .. } => Some(&trigger.reference).filter(|it| git::is_hash(it)),
        };
        if let Some(commit) = named
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
}

impl Shared {
    /// The mirror of a repository beside the trigger's own.
    async fn beside(
        &self,
        repository: &RepositoryName,
        trigger: &Trigger,
        begun: Instant,
    ) -> Result<Mirror, Unavailable> {
        let kept = self.repositories.get(repository).ok_or(Unavailable::NotFound)?;
        let mirror = match &trigger.cause {
            Cause::Schedule { .. } => kept.as_of_or_kept(begun, kept.max_age).await,
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

/// A configured repository.
struct Repository {
    mirror: Mirror,
    /// How old the mirror may be where an inventory is read from it.
    max_age: Duration,
    /// How it was last brought up to date; held while that is done, so that it is done once.
    last: Mutex<Option<Fetched>>,
    /// Wakes whoever follows its default branch.
    pushed: Notify,
}

/// A fetch: when it began, and why it failed if it did.
type Fetched = (Instant, Result<(), String>);

impl Repository {
    /// The mirror as its repository was at most `age` before `begun`: what one trigger looks into
    /// again and again is fetched once, and what cannot be reached is waited for once.
    async fn as_of(&self, begun: Instant, age: Duration) -> Result<Mirror, String> {
        let mut last = self.last.lock().await;
        let still_holds = |(at, result): &Fetched| match result {
            Ok(()) => *at + age >= begun,
            Err(_) => *at >= begun,
        };
        let fetched = match last.take().filter(still_holds) {
            Some(fetched) => fetched,
            None => {
                let now = Instant::now();
                (now, fetch(&self.mirror, None).await.map_err(|error| error.to_string()))
            }
        };
        last.insert(fetched).1.clone().map(|()| self.mirror.clone())
    }

    /// The same; if that cannot be had soon, the mirror as it was at its last fetch.
    async fn as_of_or_kept(&self, begun: Instant, age: Duration) -> Result<Mirror, String> {
        let failed = match timeout(PATIENCE, self.as_of(begun, age)).await {
            Ok(Ok(mirror)) => return Ok(mirror),
            Ok(Err(failed)) => failed,
            Err(_) => {
                let failed = format!("it took longer than {} s", PATIENCE.as_secs());
                // Who looks into it again for the same trigger does not wait again.
                if let Ok(mut last) = self.last.try_lock() {
                    *last = Some((Instant::now(), Err(failed.clone())));
                }
                failed
            }
        };
        warn!(error = %failed, "a schedule is due, and its repository is taken as it was last fetched");
        self.mirror.recall().await.map_err(|_| failed)?;
        Ok(self.mirror.clone())
    }

    /// There is something new.
    async fn forget(&self) {
        *self.last.lock().await = None;
    }
}

/// Fetches all branches and tags, or one reference beside them; tries it a few times.
async fn fetch(mirror: &Mirror, beside: Option<&str>) -> Result<(), git::Error> {
    let fetch = async || match beside {
        None => mirror.fetch().await,
        Some(reference) => mirror.fetch_beside(reference).await,
    };
    for pause in PAUSES {
        match fetch().await {
            Ok(()) => return Ok(()),
            Err(error) => warn!(%error, again_in_ms = pause.as_millis(), "fetch failed"),
        }
        tokio::time::sleep(pause).await;
    }
    fetch().await
}

/// Paths of the files that a trigger is about; none if nobody knows.
async fn changed(cause: &Cause, commit: &str, mirror: &Mirror) -> Option<Vec<String>> {
    match cause {
        Cause::Push { before, .. } => mirror.changed(before.as_ref()?, commit).await,
        Cause::PullRequest { base, .. } => mirror.changed_since_parting(base, commit).await,
        Cause::Manual { .. } | Cause::Schedule { .. } => None,
    }
}

/// One pipeline file at one commit.
struct Pipeline<'a> {
    shared: &'a Shared,
    trigger: &'a Trigger,
    /// When the trigger was taken up.
    begun: Instant,
    happened: &'a trigger::Trigger,
    commit: &'a str,
    path: String,
}

impl Pipeline<'_> {
    /// A run, if the pipeline wants the trigger, or what is wrong with it.
    async fn resolve(
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

/// The name of a pipeline whose file does not say it.
fn stem(path: &str) -> PipelineName {
    let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let unknown = || "unnamed".parse().expect("it is a name");
    stem.parse().unwrap_or_else(|_| unknown())
}
