//! Jobs on devices that have a command line of their own, and no POSIX shell.
//!
//! Each line is one request; what the device makes of it cannot be found again there, so an end before
//! the end is never confirmed.

use pipelines::order::Order;
use pipelines::outcome::{Exit, Outcome};
use pipelines::plan;
use proto::log::Stream;

use super::connection::{self, Connection};
use super::session::{self, Session};
use super::{Error, Halt, LINGER, Ssh, until_stop};
use crate::attempt::state::Note;
use crate::executor::{Context, Reason};

/// How one line ended.
enum Ending {
    Succeeded,
    Failed(Exit),
    Refused(connection::Error),
    Stopped(Reason),
    /// The connection ended before it.
    Cut,
    Unwritten(std::io::Error),
}

/// Carries out the job's lines, one after the other.
pub(super) async fn run(
    ssh: Ssh<'_>,
    order: &Order,
    context: &mut Context,
) -> Result<Outcome, Halt> {
    let login = ssh.login(context)?;
    let open = async {
        let opened = Connection::open(&login).await;
        opened.map_err(|error| Error::Session(session::Error::Connection(error)))
    };
    let connection = until_stop(context.stop.clone(), open).await?;
    ssh.upload(&connection, order, context).await?;
    if let Some(reason) = context.stop.now() {
        return Err(Halt::Stopped(reason));
    }
    context.note(Note::RemoteLines).map_err(Error::from)?;
    for line in &order.job.run {
        let ending = carry_out(line, ssh.0, &connection, context).await;
        if let Some(outcome) = outcome(ending, line, ssh.0) {
            return Ok(outcome);
        }
    }
    let downloaded = ssh.download(&connection, context).await;
    connection.close().await;
    Ok(ssh.behind(downloaded))
}

async fn carry_out(
    line: &str,
    ssh: &plan::Ssh,
    connection: &Connection,
    context: &mut Context,
) -> Ending {
    if let Err(error) = context.output.write(Stream::Stdout, format!("$ {line}\n").as_bytes()) {
        return Ending::Unwritten(error);
    }
    let start = async {
        match ssh.pty {
            true => connection.start_with_terminal(line).await,
            false => connection.start(line).await,
        }
    };
    let started = tokio::select! {
        reason = context.stop.requested() => return Ending::Stopped(reason),
        started = start => started,
    };
    let channel = match started {
        Ok(channel) => channel,
        Err(error @ connection::Error::Refused) => return Ending::Refused(error),
        // What arrived of a request that was not answered cannot be known.
        Err(_) => return Ending::Cut,
    };
    let mut session = Session::of(channel);
    while session.exit.is_none() && !session.is_closed && session.unwritten.is_none() {
        tokio::select! {
            () = session.step(&mut context.output) => {}
            reason = context.stop.requested() => return Ending::Stopped(reason),
        }
    }
    session.drain(LINGER, &mut context.output).await;
    if let Some(error) = session.unwritten.take() {
        return Ending::Unwritten(error);
    }
    match session.exit {
        Some(Ok(())) => Ending::Succeeded,
        Some(Err(exit)) => Ending::Failed(exit),
        None if session.is_cut => Ending::Cut,
        // Such devices may give no exit status.
        None => Ending::Succeeded,
    }
}

/// How the job ends behind a line; none if it goes on.
fn outcome(ending: Ending, line: &str, ssh: &plan::Ssh) -> Option<Outcome> {
    let device = &ssh.device;
    let may_run = format!("'{line}' may still be carried out on {device}, which nobody can see");
    Some(match ending {
        Ending::Succeeded => return None,
        Ending::Failed(exit) => Outcome::Failed { exit },
        Ending::Refused(error) => {
            Outcome::InfraError { reason: format!("'{line}' on {device}: {error}") }
        }
        Ending::Stopped(reason) => {
            Outcome::CancelUnconfirmed { reason: format!("{reason}, but {may_run}") }
        }
        Ending::Cut => Outcome::Lost {
            reason: format!("the connection to {device} ended; {may_run}"),
            may_run: true,
        },
        Ending::Unwritten(error) => {
            Outcome::Lost { reason: format!("{}; {may_run}", Error::Output(error)), may_run: true }
        }
    })
}
