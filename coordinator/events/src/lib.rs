//! Everything that speaks to NATS: the connection, streams, and channels with NSQ's semantics.
//!
//! A [`Link`] stores events in a stream, in order. A [`Channel`] is a group of members that share the
//! messages of a topic, a [`Consumer`] is one such member, and what none of them could deal with is
//! a [dead letter](dead). [`Replay`] reads what a stream holds. Invariant: nothing of async-nats is
//! in what others see, and no other crate names it.

pub mod admin;
pub mod channel;
pub mod connection;
pub mod consumer;
pub mod dead;
pub mod link;
pub mod message;
pub mod pause;
pub mod replay;

pub use self::channel::{Channel, Name, Start};
pub use self::connection::{Connection, Login, Server};
pub use self::consumer::Consumer;
pub use self::link::{DUPLICATE_WINDOW, Last, Link, Mark, Sent, Stream};
pub use self::message::{Event, Message};
pub use self::replay::Replay;

use std::path::PathBuf;
use std::time::Duration;

/// Keeps async-nats' own words out of a log: what matters of them is told here.
pub const QUIET: &str = "async_nats=off";

/// How long JetStream may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// An error of somebody else.
pub type Foreign = Box<dyn std::error::Error + Send + Sync>;

/// Why NATS does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the login needs cannot be used.
    #[error(transparent)]
    Login(Foreign),
    /// The file is no credentials file.
    #[error("{0} is no credentials file with a JWT and an NKey")]
    Credentials(PathBuf),
    /// NATS does not let us in.
    #[error("NATS cannot be reached: {0}")]
    Connect(Foreign),
    /// The connection broke.
    #[error("the connection to NATS broke")]
    Broke,
    /// The stream is not what it should be.
    #[error("stream {name}: {what}")]
    Stream {
        /// Which one.
        name: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The channel is not what it should be.
    #[error("channel {name}: {what}")]
    Channel {
        /// Which one.
        name: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// There is no such stream or channel.
    #[error("{0}")]
    Missing(String),
    /// An event was not stored.
    #[error("an event was not stored: {0}")]
    Publish(Foreign),
    /// Nobody knows whether NATS heard what became of a message.
    #[error("NATS did not confirm what became of message {id}: it may come again")]
    Unconfirmed {
        /// The message's id.
        id: String,
    },
    /// NATS did not answer as it should.
    #[error("NATS: {0}")]
    Api(Foreign),
}

impl Error {
    /// Whether waiting can help.
    pub fn is_passing(&self) -> bool {
        match self {
            Error::Connect(_)
            | Error::Broke
            | Error::Publish(_)
            | Error::Unconfirmed { .. }
            | Error::Api(_) => true,
            Error::Login(_)
            | Error::Credentials(_)
            | Error::Stream { .. }
            | Error::Channel { .. }
            | Error::Missing(_) => false,
        }
    }

    fn api(error: impl Into<Foreign>) -> Error {
        Error::Api(error.into())
    }

    fn publish(error: impl Into<Foreign>) -> Error {
        Error::Publish(error.into())
    }
}
