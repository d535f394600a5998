//! Following a started container: its output and its end, also over a restart of the engine.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use bollard::container::LogOutput;
use futures::StreamExt;
use proto::log::Stream;
use tokio::select;
use tokio::time::{Instant, sleep, timeout};

use super::{Error, Running};
use crate::executor::docker::engine::{self, Engine, Frames, Standing};
use crate::output::Output;
use crate::spool::FRAME;

/// How long the engine may be silent about output that an ended container left behind.
const SILENCE: Duration = Duration::from_secs(5);

/// Between two looks whether the engine is back.
const PAUSE: Duration = Duration::from_millis(200);

/// Exit status behind a SIGKILL, which is how the kernel ends what takes too much memory.
const KILLED: i64 = 137;

/// How long the engine may take to hear of that from the kernel.
const OOM_PATIENCE: Duration = Duration::from_millis(300);

impl Running {
    /// Gives output on until the container does not run; says its exit status. May be dropped and
    /// called again.
    pub(super) async fn follow(&mut self, output: &mut Output) -> Result<i64, Error> {
        loop {
            if (self.start_unknown || self.away)
                && let Some(code) = self.find_again(output).await?
            {
                return Ok(code);
            }
            match self.follow_while_answered(output).await? {
                Some(code) => return Ok(code),
                None => self.away = true,
            }
        }
    }

    /// The exit status; none if the engine went away.
    async fn follow_while_answered(&mut self, output: &mut Output) -> Result<Option<i64>, Error> {
        let mut exit = pin!(self.engine.wait(&self.id));
        loop {
            select! {
                waited = &mut exit => return Ok(waited.ok()),
                frame = next(&mut self.frames) => self.take(frame, output)?,
            }
        }
    }

    /// Waits until the engine answers again. The exit status, if the container has ended meanwhile.
    async fn find_again(&mut self, output: &mut Output) -> Result<Option<i64>, Error> {
        self.interrupted = true;
        if !self.away_said {
            say(output, "the Docker engine does not answer; waiting for it")?;
            self.away_said = true;
        }
        // What it had sent before it went is still on its way.
        self.drain(output).await?;
        loop {
            sleep(PAUSE).await;
            match self.look().await {
                Ok(Standing::Created) => return Err(Error::NotStarted),
                Ok(Standing::Running) => {
                    (self.away, self.away_said, self.start_unknown) = (false, false, false);
                    say(output, "the Docker engine is back; output from meanwhile may be missing")?;
                    return Ok(None);
                }
                Ok(Standing::Exited { code, .. }) => {
                    say(output, "the Docker engine is back; the last output may be missing")?;
                    return Ok(Some(code));
                }
                Err(engine::Error::Refused { status: 404, .. }) => {
                    return Err(Error::Vanished(self.id.clone()));
                }
                Err(_) => {}
            }
        }
    }

    /// How the container stands by a newly connected engine; its output is followed again.
    async fn look(&mut self) -> Result<Standing, engine::Error> {
        let engine = Engine::connect(self.engine.address()).await?;
        let standing = engine.inspect(&self.id).await?;
        if standing == Standing::Running {
            self.frames = Some(engine.attach(&self.id).await?);
        }
        self.engine = engine;
        Ok(standing)
    }

    /// Takes what the engine still holds of the output.
    pub(super) async fn drain(&mut self, output: &mut Output) -> Result<(), Error> {
        while self.frames.is_some() {
            match timeout(SILENCE, next(&mut self.frames)).await {
                Ok(frame) => self.take(frame, output)?,
                Err(_) => {
                    self.frames = None;
                    say(output, "the Docker engine does not end the output; some may be missing")?;
                }
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        frame: Option<Result<LogOutput, bollard::errors::Error>>,
        output: &mut Output,
    ) -> Result<(), Error> {
        let (stream, bytes) = match frame {
            Some(Ok(LogOutput::StdErr { message })) => (Stream::Stderr, message),
            Some(Ok(
                LogOutput::StdOut { message }
                | LogOutput::StdIn { message }
                | LogOutput::Console { message },
            )) => (Stream::Stdout, message),
            Some(Err(error)) => {
                self.frames = None;
                return say(output, &format!("output broke off, some may be missing: {error}"));
            }
            None => {
                self.frames = None;
                return Ok(());
            }
        };
        bytes.chunks(FRAME).try_for_each(|part| output.write(stream, part)).map_err(Error::Output)
    }

    /// Says what an exit status does not.
    pub(super) async fn explain(&self, code: i64, output: &mut Output) -> Result<(), Error> {
        if code != KILLED {
            return Ok(());
        }
        let deadline = Instant::now() + OOM_PATIENCE;
        loop {
            match self.engine.inspect(&self.id).await {
                Ok(Standing::Exited { out_of_memory: true, .. }) => {
                    return say(output, "the container reached its memory limit and was killed");
                }
                Ok(_) if Instant::now() < deadline => sleep(OOM_PATIENCE / 10).await,
                Ok(_) | Err(_) => return Ok(()),
            }
        }
    }
}

async fn next(frames: &mut Option<Frames>) -> Option<Result<LogOutput, bollard::errors::Error>> {
    match frames {
        Some(frames) => frames.next().await,
        None => pending().await,
    }
}

pub(super) fn say(output: &mut Output, line: &str) -> Result<(), Error> {
    output.say(line).map_err(Error::Output)
}
