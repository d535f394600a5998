//! How the command line ends. The numbers are part of its interface.

use std::process::ExitCode;

/// Printed below `--help`.
pub const HELP: &str = "\
Exit status:
  0  done; with --follow: the run succeeded
  1  the run failed, or its pipeline did not compile; a service could not start or go on
  2  wrong arguments, configuration or files; nothing was done
  3  the run was cancelled
  4  the coordinator or NATS refused: no such thing, no right to it, or not in this state
  5  the coordinator or NATS cannot be reached, or cannot serve now: try again
  70 a fault in garrison itself";

/// What the process says with its exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// A run failed.
    Failed = 1,
    /// Arguments, configuration or files are wrong.
    Usage = 2,
    /// A run was cancelled.
    Cancelled = 3,
    /// The coordinator or NATS refused.
    Refused = 4,
    /// The coordinator or NATS cannot be reached or cannot serve.
    Unavailable = 5,
    /// Something that should not be.
    Internal = 70,
}

/// Why a command ended early: its exit status, and a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit status.
    pub exit: Exit,
    /// What to tell people.
    pub message: String,
}

impl Failure {
    /// Arguments, configuration or files are wrong.
    pub fn usage(message: impl std::fmt::Display) -> Failure {
        Failure { exit: Exit::Usage, message: message.to_string() }
    }

    /// Something that should not be.
    pub fn internal(message: impl std::fmt::Display) -> Failure {
        Failure { exit: Exit::Internal, message: message.to_string() }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::internal(error)
    }
}

/// The exit status of a run, by its status word.
pub fn of_run(status: &str) -> Exit {
    match status {
        "succeeded" => Exit::Success,
        "cancelled" => Exit::Cancelled,
        _ => Exit::Failed,
    }
}

/// Prints a failure and gives the process's exit status.
#[allow(clippy::print_stderr)]
pub fn conclude(result: Result<Exit, Failure>) -> ExitCode {
    let exit = result.unwrap_or_else(|failure| {
        // A reader that went away, such as `head`, is no failure.
        if !failure.message.contains("Broken pipe") {
            eprintln!("garrison: {failure}");
        }
        failure.exit
    });
    ExitCode::from(exit as u8)
}
