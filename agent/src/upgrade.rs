//! Upgrades by order: another program takes this process's place. Runners are left alone.
//!
//! The program is fetched by its hash and asked to check the configuration; then this process stops
//! as on a signal and executes it under its own pid. It is on trial until the coordinator answers its
//! hello. If that takes too long it executes the one before it; if it ends, whoever supervises the
//! agent starts the installed program, which then knows that the trial failed.

mod record;

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use proto::content::Hash;
use proto::v1;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{error, info, warn};

use self::record::{Ended, Installed, Programs, Record, Trial};
use crate::content::Contents;
use crate::host;
use crate::lease::Acknowledged;

/// How long a program may take to check the configuration.
const CHECK: Duration = Duration::from_secs(60);

/// Longest text of a failed check that is passed on, in bytes.
const WORDS: usize = 1000;

/// What the coordinator asks for.
pub type Asked = Option<v1::Upgrade>;

/// Brings this agent to another program.
pub struct Upgrader {
    programs: Programs,
    contents: Contents,
    host: host::Handle,
    acknowledged: Acknowledged,
    patience: Duration,
    asked: watch::Receiver<Asked>,
}

/// The program that is to run instead of this one, if this is the installed one and another was
/// chosen. A trial that is still open then has failed.
pub fn instead(state: &Path) -> Option<PathBuf> {
    let programs = Programs::new(state);
    if programs.own().is_some() {
        return None;
    }
    choose(&programs).unwrap_or_else(|error| {
        warn!(%error, "cannot tell whether another program was chosen: going on with this one");
        None
    })
}

fn choose(programs: &Programs) -> io::Result<Option<PathBuf>> {
    let mut record = programs.read()?;
    if record.trial.is_some() {
        record.end_trial(Some("the program ended before the coordinator answered it".to_owned()));
        programs.write(&record)?;
    }
    let Some(chosen) = &record.chosen else { return Ok(None) };
    let running = record::running()?;
    if record.installed.as_ref().is_none_or(|it| it.program != running.as_str()) {
        info!(%chosen, "another program was installed since: it counts");
        record.chosen = None;
        programs.write(&record)?;
        return Ok(None);
    }
    Ok(Some(programs.path(chosen)).filter(|path| path.is_file()))
}

/// Has `program` take this process's place, with the same arguments. If that cannot be, this very
/// program starts anew, and the trial has failed.
///
/// # Errors
/// Neither could be executed.
pub fn take_place(program: &Path, state: &Path) -> Result<Infallible, io::Error> {
    let error = execute(program);
    error!(program = %program.display(), %error, "cannot be executed");
    let programs = Programs::new(state);
    let mut record = programs.read()?;
    record.end_trial(Some(format!("the program cannot be executed: {error}")));
    programs.write(&record)?;
    Err(execute(Path::new("/proc/self/exe")))
}

fn execute(program: &Path) -> io::Error {
    std::process::Command::new(program).args(arguments()).exec()
}

fn arguments() -> impl Iterator<Item = OsString> {
    std::env::args_os().skip(1)
}

impl Upgrader {
    /// For the agent of that state directory. A program that is on trial has `patience` to link.
    pub fn new(
        state: &Path,
        contents: Contents,
        host: host::Handle,
        acknowledged: Acknowledged,
        patience: Duration,
        asked: watch::Receiver<Asked>,
    ) -> Upgrader {
        let programs = Programs::new(state);
        Upgrader { programs, contents, host, acknowledged, patience, asked }
    }

    /// How the latest upgrade ended, for the first hello.
    pub fn report(&self) -> Option<v1::UpgradeReport> {
        Some(self.programs.read().ok()?.ended?.into())
    }

    /// Follows what the coordinator asks for; gives the program that is to take this process's place.
    pub async fn run(mut self) -> PathBuf {
        if let Some(previous) = self.trial().await {
            return previous;
        }
        loop {
            let asked = self.asked.borrow_and_update().clone();
            if let Some(asked) = asked {
                let mut later = self.asked.clone();
                let prepared = tokio::select! {
                    prepared = self.prepare(&asked) => prepared,
                    Ok(()) = later.changed() => continue,
                };
                let failed = match prepared {
                    Ok(Some(program)) => return program,
                    Ok(None) => None,
                    Err(reason) => Some(reason),
                };
                self.ended(asked.number, failed).await;
            }
            if self.asked.changed().await.is_err() {
                // The link's side is gone only while the agent stops.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until it is clear whether this process can link, if it is on trial; gives the program
    /// before it if it cannot.
    async fn trial(&mut self) -> Option<PathBuf> {
        let mut record = self.read().await.ok()?;
        let own = self.programs.own();
        if record.trial.as_ref().is_none_or(|trial| own.as_ref() != Some(&trial.program)) {
            self.sweep(record).await;
            return None;
        }
        let linked = self.acknowledged.wait_for(Option::is_some);
        if timeout(self.patience, linked).await.is_err() {
            let patience = self.patience.as_secs();
            let reason = format!("the coordinator did not answer it within {patience} s");
            warn!(%reason, "this program cannot link: going back to the one before it");
            record.end_trial(Some(reason));
            self.write(&record).await;
            let chosen = record.chosen.as_ref().map(|chosen| self.programs.path(chosen));
            return chosen.or(record.installed.map(|it| it.path));
        }
        record.end_trial(None);
        self.write(&record).await;
        if let Some(ended) = record.ended.clone() {
            info!(upgrade = ended.number, "this program can link: it stays");
            self.host.upgraded(ended.into()).await;
        }
        self.sweep(record).await;
        None
    }

    async fn sweep(&self, record: Record) {
        let programs = self.programs.clone();
        blocking(move || programs.sweep(&record)).await;
    }

    /// Has the program ready to take this process's place; none if it runs already.
    async fn prepare(&self, asked: &v1::Upgrade) -> Result<Option<PathBuf>, String> {
        let words = |error: io::Error| error.to_string();
        let program: Hash = asked.sha256.parse().map_err(|error| format!("{error}"))?;
        let mut record = self.read().await.map_err(words)?;
        if let Some(ended) = record.ended.as_ref().filter(|ended| ended.number >= asked.number) {
            return ended.failed.clone().map_or(Ok(None), Err);
        }
        info!(upgrade = asked.number, %program, "asked to run another program");
        let running = blocking(record::running).await.map_err(words)?;
        if running == program {
            return Ok(None);
        }
        let path = self.obtain(asked.number, &program).await?;
        check(&path).await?;
        if self.programs.own().is_none() {
            let path = std::env::current_exe().map_err(words)?;
            record.installed = Some(Installed { path, program: running.to_string() });
        }
        record.trial = Some(Trial { number: asked.number, program: program.to_string() });
        let programs = self.programs.clone();
        blocking(move || programs.write(&record)).await.map_err(words)?;
        Ok(Some(path))
    }

    async fn obtain(&self, number: u64, program: &Hash) -> Result<PathBuf, String> {
        let (programs, wanted) = (self.programs.clone(), program.clone());
        if blocking(move || programs.has(&wanted)).await {
            return Ok(self.programs.path(program.as_str()));
        }
        let fetched = self.contents.obtain_program(number, program.as_str()).await;
        let fetched = fetched.map_err(|error| error.to_string())?;
        let (programs, wanted) = (self.programs.clone(), program.clone());
        let kept = blocking(move || programs.keep(&fetched, &wanted)).await;
        kept.map_err(|error| format!("the program cannot be kept: {error}"))
    }

    /// Remembers how an upgrade ended without a trial, and says it.
    async fn ended(&self, number: u64, failed: Option<String>) {
        match &failed {
            Some(reason) => warn!(upgrade = number, %reason, "upgrade failed: going on as before"),
            None => info!(upgrade = number, "this is the program that was asked for"),
        }
        let ended = Ended { number, failed };
        if let Ok(mut record) = self.read().await {
            record.ended = Some(ended.clone());
            self.write(&record).await;
        }
        self.host.upgraded(ended.into()).await;
    }

    async fn read(&self) -> io::Result<Record> {
        let programs = self.programs.clone();
        blocking(move || programs.read()).await
    }

    async fn write(&self, record: &Record) {
        let (programs, record) = (self.programs.clone(), record.clone());
        if let Err(error) = blocking(move || programs.write(&record)).await {
            error!(%error, "cannot remember how the upgrade went");
        }
    }
}

/// Has the program at `path` check this agent's configuration and state.
async fn check(path: &Path) -> Result<(), String> {
    let mut command = Command::new(path);
    command.args(arguments()).arg("--check").stdin(Stdio::null()).kill_on_drop(true);
    let output = match timeout(CHECK, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("the program does not start here: {error}")),
        Err(_) => return Err(format!("its check took more than {} s", CHECK.as_secs())),
    };
    if output.status.success() {
        return Ok(());
    }
    let mut words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    words.truncate(words.floor_char_boundary(WORDS));
    Err(format!("its check ended with {}: {words}", output.status))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
