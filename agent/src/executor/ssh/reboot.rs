//! The reboot of a device behind a script that has succeeded.
//!
//! The device is asked for it, and goes away. Whoever comes back is the device if it shows a key that it
//! may show, and has rebooted if its kernel names another boot. What is seen before `wait` is over is
//! no verdict: systems that install others show keys of their own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pipelines::name::DeviceName;
use pipelines::outcome::Outcome;
use pipelines::plan::{HostKey, Reboot};
use pipelines::quantity::Seconds;
use russh::keys::PublicKey;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::connection;
use super::device::{self, Device};
use super::login::Login;
use crate::attempt::state::{self, Note};
use crate::clock;
use crate::executor::Context;

/// What asks for it if nothing else is said.
const COMMAND: &str = "reboot";

/// Between two tries to log in.
const PAUSE: Duration = Duration::from_secs(1);

/// How long one try may take at most.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why the device was not asked.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("its boot id cannot be read: {0}")]
    BootId(device::Error),
    #[error("this host's own boot id cannot be read: {0}")]
    OwnBootId(std::io::Error),
    #[error(
        "it is the host of this agent, which would not see it come back; list the agents with their \
         `device` in the inventory, so that another one does it"
    )]
    OwnHost,
    #[error("it cannot be noted: {0}; see the disk of the agent's state")]
    Note(#[from] state::Error),
    #[error("'{command}' failed: {said}")]
    Refused { command: String, said: String },
}

/// A device that has rebooted.
struct Back {
    boot: String,
    /// The host key that it shows, if the inventory does not know it.
    new_key: Option<String>,
}

/// What was seen of the device last.
enum Seen {
    /// The boot that it had before.
    Same,
    /// Nobody, or somebody else.
    Away(device::Error),
}

/// Reboots `device`, and waits until it is back.
pub(super) async fn reboot(
    device: Device<'_>,
    login: &Login,
    asked: &Reboot,
    context: &mut Context,
) -> Outcome {
    let name = device.name().clone();
    let mut stop = context.stop.clone();
    let before = tokio::select! {
        biased;
        reason = stop.requested() => return reason.outcome(),
        before = Box::pin(boot(&device)) => before,
    };
    let noted = before.and_then(|before| {
        context.note(Note::Reboot)?;
        Ok(before)
    });
    let before = match noted {
        Ok(before) => before,
        Err(error) => return not_rebooted(&name, &error),
    };
    let back = async {
        if let Err(error) = ask(&device, asked).await {
            return not_rebooted(&name, &error);
        }
        let mut login = login.clone();
        // So short that several fit.
        let wait = Duration::from_secs(asked.wait_s.into());
        login.patience = login.patience.min(PATIENCE).min(wait / 3);
        let watch = Watch { device, login, asked, before, was_away: false, said: String::new() };
        watch.until_back(context).await
    };
    tokio::select! {
        biased;
        reason = stop.requested() => Outcome::CancelUnconfirmed {
            reason: format!(
                "{reason}, but {name} was asked to reboot and was not seen to be back; see that it is"
            ),
        },
        outcome = Box::pin(back) => outcome,
    }
}

fn not_rebooted(name: &DeviceName, error: &Error) -> Outcome {
    let reason = format!("the script succeeded, but {name} is not rebooted: {error}");
    Outcome::InfraError { reason }
}

/// Which boot of the device this is; never one of this host's own.
async fn boot(device: &Device<'_>) -> Result<String, Error> {
    let boot = device.boot_id().await.map_err(Error::BootId)?;
    match boot == clock::boot_id().map_err(Error::OwnBootId)? {
        true => Err(Error::OwnHost),
        false => Ok(boot),
    }
}

/// Asks for the reboot. The device may go away before it answers.
async fn ask(device: &Device<'_>, asked: &Reboot) -> Result<(), Error> {
    let command = asked.run.as_deref().unwrap_or(COMMAND);
    // Not everybody who may reboot looks for it there.
    match device.carry_out(&format!("PATH=$PATH:/usr/sbin:/sbin\n{command}")).await {
        Ok(reply) if reply.status.is_some_and(|status| status != 0) => {
            let said = if reply.stderr.is_empty() { reply.stdout } else { reply.stderr };
            Err(Error::Refused { command: command.to_owned(), said })
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Waits for a device that reboots.
struct Watch<'a> {
    /// With the connection that will break.
    device: Device<'a>,
    login: Login,
    asked: &'a Reboot,
    before: String,
    was_away: bool,
    /// The last line about it in the log.
    said: String,
}

impl Watch<'_> {
    async fn until_back(mut self, context: &mut Context) -> Outcome {
        let begun = Instant::now();
        let (name, wait) = (self.device.name().clone(), Seconds(self.asked.wait_s));
        self.say(
            &format!("{name} reboots (boot {}): waiting up to {wait} for it", self.before),
            context,
        );
        let deadline = begun + Duration::from_secs(self.asked.wait_s.into());
        let mut last = Seen::Same;
        while let Ok(looked) = timeout_at(deadline, self.look(context.new_host_keys.clone())).await
        {
            match looked {
                Ok(Back { boot, new_key }) => {
                    let took = begun.elapsed().as_secs();
                    self.say(&format!("{name} is back after {took} s (boot {boot})"), context);
                    if let Some(key) = new_key {
                        let line =
                            format!("{name} has a new host key; pin it in the inventory: {key}");
                        self.say(&line, context);
                    }
                    return Outcome::Succeeded;
                }
                Err(Seen::Away(error)) => {
                    self.was_away = true;
                    self.say(&format!("{name} is away: {error}"), context);
                    last = Seen::Away(error);
                }
                Err(Seen::Same) => last = Seen::Same,
            }
            let next = (Instant::now() + PAUSE).min(deadline);
            sleep_until(next).await;
            if next == deadline {
                break;
            }
        }
        Outcome::InfraError { reason: self.verdict(last) }
    }

    /// Logs in; it is back if its boot is another.
    async fn look(&self, new_host_keys: Option<PathBuf>) -> Result<Back, Seen> {
        let mut login = self.login.clone();
        if let (HostKey::Renew, Some(folder)) = (self.asked.host_key, &new_host_keys) {
            login.device.host_keys.extend(keys_of(folder, self.device.name()));
        }
        let device = self.device.again(&login).await.map_err(Seen::Away)?;
        let boot = device.boot_id().await.map_err(Seen::Away)?;
        let new_key = self.new_key(&device);
        device.close().await;
        match boot == self.before {
            true => Err(Seen::Same),
            false => Ok(Back { boot, new_key }),
        }
    }

    /// The key that a device has shown, if neither it nor an authority is pinned.
    fn new_key(&self, device: &Device<'_>) -> Option<String> {
        let shown = device.connection().host_key()?;
        let pinned = &self.login.device;
        let is_shown = |text: &String| {
            PublicKey::from_openssh(text).is_ok_and(|key| key.key_data() == shown.key_data())
        };
        let is_new = pinned.host_ca.is_empty() && !pinned.host_keys.iter().any(is_shown);
        let text = PublicKey::from(shown.key_data().clone()).to_openssh();
        text.ok().filter(|_| is_new)
    }

    /// Writes a line, once.
    fn say(&mut self, line: &str, context: &mut Context) {
        if self.said != line {
            // What comes of it does not depend on this.
            let _ = context.output.say(line);
            self.said = line.to_owned();
        }
    }

    /// What was seen in all that time, in a sentence.
    fn verdict(&self, last: Seen) -> String {
        let (name, wait, boot) = (self.device.name(), Seconds(self.asked.wait_s), &self.before);
        match last {
            Seen::Same if !self.was_away => format!(
                "{name} did not go down within {wait}: its boot is still {boot}; see on it what holds \
                 up the reboot"
            ),
            Seen::Same => format!(
                "{name} was away and is back within {wait}, but did not reboot: its boot is still \
                 {boot}; see on it what happened"
            ),
            Seen::Away(device::Error::Connection(connection::Error::HostKey { shown, pinned })) => {
                let advice = match self.asked.host_key {
                    HostKey::Pinned => {
                        "pin its new key in the inventory, or write `host_key: renew` where a new \
                         one is expected"
                    }
                    HostKey::Renew => {
                        "see that its new key lies where ssh.new_host_keys in the site's policy says"
                    }
                };
                format!(
                    "{name} came back with another host key: it shows {shown}, but {pinned} is \
                     expected; if it was reinstalled, {advice}; else somebody may stand in its place"
                )
            }
            Seen::Away(error) => {
                format!("{name} did not come back within {wait}; what was seen last: {error}")
            }
        }
    }
}

/// The new host keys of a device, if there are some yet: lines as `ssh-keygen` writes them.
fn keys_of(folder: &Path, device: &DeviceName) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join(format!("{device}.pub"))).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
