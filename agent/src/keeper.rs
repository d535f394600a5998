//! The keeper of one attempt: has its runner started or found, and follows it to the verdict.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_core::Event;
use agent_core::lease::BootTime;
use pipelines::order::Order;
use pipelines::outcome::{Outcome, Verdict};
use pipelines::plan::Task;
use proto::bundle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::attempt::{Attempt, Condition};
use crate::cache::Cache;
use crate::clock;
use crate::content::Contents;
use crate::executor::Reason;
use crate::host;
use crate::lease::{self, Acknowledged};
use crate::policy::Policy;
use crate::runner::bury::{bury, bury_hung};
use crate::runner::handle::{self, Begun, Handle, Launcher};
use crate::runner::handover::Handover;
use crate::secrets::{self, Given};
use crate::spool::Quota;
use crate::upload::Uploads;

/// Runners in a row that may end before they start anything.
const TRIES: u32 = 3;

/// Between two tries to end what a dead runner left, where the engine or the disk refuses.
const BURY_AGAIN: Duration = Duration::from_secs(5);

/// How a keeper begins.
#[derive(Debug)]
pub enum Start {
    /// With a new runner, which may wait already.
    Spawn(Option<Begun>),
    /// With the runner that lives.
    Attach,
}

/// What became of a runner.
enum End {
    /// It gave its verdict.
    Verdict(Verdict),
    /// It died without one; the reason for which it should have ended its job and was ended itself,
    /// because it hung.
    Died(Option<Reason>),
}

/// What a keeper works with.
pub struct Keeper {
    /// The attempt's directory.
    pub attempt: Attempt,
    /// How runners are started.
    pub launcher: Launcher,
    /// Source and artifacts.
    pub contents: Contents,
    /// The site's policy file, which names what must be masked.
    pub policy: Option<PathBuf>,
    /// How much output may be kept.
    pub log_quota: Quota,
    /// What jobs find again.
    pub cache: Cache,
    /// From when leases count.
    pub acknowledged: Acknowledged,
    /// Somebody wants the attempt ended.
    pub cancel: CancellationToken,
    /// Whom to tell.
    pub host: host::Handle,
    /// Where the log goes.
    pub uploads: Uploads,
}

impl Keeper {
    /// Follows the attempt until its verdict is durable.
    pub async fn run(self, start: Start) {
        let followed = match self.follow(start).await {
            // A runner that an earlier agent process spawned took it meanwhile.
            Err(_) if !matches!(self.attempt.condition(), Ok(Condition::Unstarted)) => {
                self.follow(Start::Attach).await
            }
            followed => followed,
        };
        let verdict = match followed {
            Ok(verdict) => verdict,
            Err(reason) => {
                error!(attempt = %self.attempt.id(), %reason, "attempt is stuck until the agent's next start");
                return;
            }
        };
        let id = self.attempt.id();
        info!(attempt = %id, outcome = %verdict.outcome, "ended");
        self.deliver(&verdict).await;
        self.uploads.ended(&self.attempt, &verdict.log).await;
        self.host.event(Event::Concluded { attempt: id, verdict }).await;
    }

    async fn follow(&self, mut start: Start) -> Result<Verdict, String> {
        let mut lease = self.lease(&start)?;
        if let Start::Spawn(_) = start {
            // It waits for the link if it must; nothing of the attempt was started.
            let obtained = tokio::select! {
                obtained = self.obtain() => obtained,
                () = self.cancel.cancelled() => return self.conclude(Outcome::Cancelled),
                over = lease.over() => return self.conclude(not_started(over)),
            };
            let prepared = match obtained {
                Ok(archives) => self.prepare(archives).await,
                Err(reason) => Err(reason),
            };
            if let Err(reason) = prepared {
                return self.conclude(Outcome::InfraError { reason });
            }
        }
        for _ in 0..TRIES {
            let handle = match start {
                Start::Attach => Handle::attach(&self.attempt).with_renewals(lease.renewals()),
                Start::Spawn(_) if self.cancel.is_cancelled() => {
                    return self.conclude(Outcome::Cancelled);
                }
                Start::Spawn(begun) => {
                    // They wait for the link as the source does.
                    let secrets = tokio::select! {
                        secrets = self.secrets() => secrets,
                        () = self.cancel.cancelled() => return self.conclude(Outcome::Cancelled),
                        over = lease.over() => return self.conclude(not_started(over)),
                    };
                    let secrets = match secrets {
                        Ok(secrets) => secrets,
                        Err(reason) => return self.conclude(Outcome::InfraError { reason }),
                    };
                    let base = match lease.base() {
                        Ok(base) => base,
                        Err(over) => return self.conclude(not_started(over)),
                    };
                    match self.spawn(begun, secrets, base).await {
                        Ok(handle) => handle.with_renewals(lease.renewals()),
                        Err(reason) => return self.conclude(Outcome::InfraError { reason }),
                    }
                }
            };
            let hung = match self.until_end(handle, &mut lease).await {
                End::Verdict(verdict) => return Ok(verdict),
                End::Died(hung) => hung,
            };
            match self.attempt.condition().map_err(|error| error.to_string())? {
                Condition::Finished(verdict) => return Ok(*verdict),
                Condition::Dead => return Ok(self.bury(hung).await),
                Condition::Held => start = Start::Attach,
                Condition::Unstarted => start = Start::Spawn(None),
            }
        }
        let words = std::fs::read_to_string(self.attempt.runner_err()).unwrap_or_default();
        let last = words.lines().last().unwrap_or("it said nothing");
        let reason = format!("the runner ended {TRIES} times before it started anything: {last}");
        self.conclude(Outcome::InfraError { reason })
    }

    /// The attempt's lease. An agent that restarted knows it as it was when the order came: whether
    /// it was renewed since is known to a living runner alone, and counts from now at the latest.
    fn lease(&self, start: &Start) -> Result<lease::Watch, String> {
        let acknowledged = self.acknowledged.clone();
        let bytes = self.attempt.order().map_err(|error| error.to_string())?;
        // An order that cannot be read is concluded when its source is looked for.
        let order = Order::from_bytes(&bytes).ok();
        let Some(seconds) = order.and_then(|order| order.job.on_lost.lease_s()) else {
            return Ok(lease::Watch::without(acknowledged));
        };
        if let Start::Attach = start {
            return Ok(lease::Watch::new(clock::boot_time(), seconds, acknowledged));
        }
        let boot_id = clock::boot_id().map_err(|error| error.to_string())?;
        let given = self.attempt.state().map_err(|error| error.to_string())?.lease;
        Ok(match given.filter(|given| given.boot_id == boot_id) {
            Some(given) => lease::Watch::new(BootTime(given.at_us), seconds, acknowledged),
            None => lease::Watch::rebooted(seconds, acknowledged),
        })
    }

    /// The source, and the artifacts of needed jobs.
    async fn obtain(&self) -> Result<Vec<File>, String> {
        let bytes = self.attempt.order().map_err(|error| error.to_string())?;
        let order = Order::from_bytes(&bytes).map_err(|error| error.to_string())?;
        let mut archives = Vec::new();
        let names_file = order.job.wait.iter().any(|probe| probe.check.ca().is_some());
        if matches!(&order.job.task, Task::Ssh(ssh) if !ssh.has_files()) && !names_file {
            // What runs on a device sees nothing of this host's files.
            return Ok(archives);
        }
        for hash in order.source.iter().chain(&order.artifacts) {
            let obtained = self.contents.obtain(order.attempt, hash).await;
            archives.push(obtained.map_err(|error| error.to_string())?);
        }
        Ok(archives)
    }

    /// The job's secrets, asked anew each time: nothing keeps them here.
    async fn secrets(&self) -> Result<Vec<Given>, String> {
        let bytes = self.attempt.order().map_err(|error| error.to_string())?;
        let order = Order::from_bytes(&bytes).map_err(|error| error.to_string())?;
        let obtained = secrets::obtain(self.contents.link(), &order).await;
        obtained.map_err(|error| error.to_string())
    }

    /// Fills the working directory with these, one over the other.
    async fn prepare(&self, archives: Vec<File>) -> Result<(), String> {
        let attempt = self.attempt.clone();
        let unpacking = tokio::task::spawn_blocking(move || {
            let lock = attempt.lock().map_err(|error| error.to_string())?;
            let state = attempt.state().map_err(|error| error.to_string())?;
            // A runner that an earlier agent process spawned may be there by now.
            if lock.is_none() || state.started.is_some() || state.verdict.is_some() {
                return Ok(());
            }
            attempt.clear_work().map_err(|error| error.to_string())?;
            archives.into_iter().try_for_each(|archive| unpack(archive, &attempt.work()))
        });
        unpacking.await.map_err(|error| error.to_string())?
    }

    /// Sends what the job left. If the coordinator does not take it, it says so when it hears of
    /// the verdict: nothing more can be done here.
    async fn deliver(&self, verdict: &Verdict) {
        let (id, path) = (self.attempt.id(), self.attempt.artifacts());
        for artifact in &verdict.artifacts {
            if !path.exists() {
                return;
            }
            if let Err(error) = self.contents.deliver(id, &path, artifact).await {
                error!(attempt = %id, %error, "artifacts were not taken");
            }
            if let Err(error) = std::fs::remove_file(&path) {
                warn!(attempt = %id, %error, "artifacts will be sent again");
            }
        }
    }

    async fn spawn(
        &self,
        begun: Option<Begun>,
        secrets: Vec<Given>,
        base: Option<BootTime>,
    ) -> Result<Handle, String> {
        let policy = Policy::load(self.policy.as_deref()).map_err(|error| error.to_string())?;
        let mask = policy.mask_values().map_err(|error| error.to_string())?;
        let handover = Handover::new(mask)
            .with_ssh_keys(policy.ssh_keys())
            .with_new_host_keys(policy.new_host_keys())
            .with_secrets(secrets)
            .with_lease(base)
            .with_log_quota(self.log_quota)
            .with_cache(self.cache.clone());
        let begun = begun.map_or_else(|| self.launcher.begin(self.attempt.dir()), Ok);
        let begun = begun.map_err(|error| error.to_string())?;
        Ok(begun.hand_over(&self.attempt, &handover).await)
    }

    /// Follows the runner to its end. It has itself an eye on the lease; one that hangs is ended.
    async fn until_end(&self, mut handle: Handle, lease: &mut lease::Watch) -> End {
        let id = self.attempt.id();
        let mut asked = false;
        let mut ending = None;
        let mut hung = None;
        loop {
            let event = tokio::select! {
                event = handle.next() => event,
                () = self.cancel.cancelled(), if !asked => {
                    info!(attempt = %id, "cancelling");
                    handle.cancel();
                    asked = true;
                    ending.get_or_insert(Reason::Cancel);
                    continue;
                }
                over = lease.over(), if ending.is_none() => {
                    handle.expect_end();
                    ending = Some(Reason::Lease(over));
                    continue;
                }
            };
            match event {
                handle::Event::Started { at_us } => {
                    let event = Event::RunnerStarted { attempt: id, started_us: at_us };
                    self.host.event(event).await;
                }
                handle::Event::LogGrew { length } => self.uploads.grew(&self.attempt, length).await,
                handle::Event::Hung => {
                    warn!(attempt = %id, "its runner should end the job and hangs: ending both");
                    handle.kill();
                    hung = ending;
                }
                handle::Event::Finished(verdict) => return End::Verdict(*verdict),
                handle::Event::Died => return End::Died(hung),
            }
        }
    }

    /// The verdict of a dead runner's attempt, as soon as the engine answers and the disk has room.
    async fn bury(&self, hung: Option<Reason>) -> Verdict {
        let id = self.attempt.id();
        warn!(attempt = %id, "its runner died");
        let mut waits = false;
        loop {
            let buried = match hung {
                Some(reason) => bury_hung(&self.attempt, reason).await,
                None => bury(&self.attempt).await,
            };
            match buried {
                Ok(verdict) => return verdict,
                Err(error) if !waits => {
                    warn!(attempt = %id, %error, "trying again until its end can be told");
                    waits = true;
                }
                Err(_) => {}
            }
            sleep(BURY_AGAIN).await;
        }
    }

    fn conclude(&self, outcome: Outcome) -> Result<Verdict, String> {
        self.attempt.conclude(outcome).map_err(|error| error.to_string())
    }
}

/// The end of an attempt whose lease ended first.
fn not_started(over: lease::Over) -> Outcome {
    Outcome::Lost { reason: format!("{over}; nothing of the job was started"), may_run: false }
}

fn unpack(archive: File, into: &Path) -> Result<(), String> {
    match bundle::unpack(BufReader::with_capacity(64 << 10, archive), into) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("source and artifacts cannot be unpacked: {error}")),
    }
}
