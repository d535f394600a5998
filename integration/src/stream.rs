//! A stream of a test's own, in a NATS of its own, without a coordinator.

use std::sync::Arc;
use std::time::Duration;

use events::{Channel, Connection, Consumer, Link, Login, Message, Name, Server, Stream};
use serde_json::json;
use tempfile::TempDir;

use crate::nats::Nats;
use crate::ok;

/// How long anything may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// The stream `GARRISON`, and its server.
pub struct Filled {
    /// The server; ended before its folder goes.
    pub nats: Nats,
    login: Login,
    /// Its folder.
    pub dir: TempDir,
}

impl Filled {
    /// An empty stream.
    ///
    /// # Panics
    /// If NATS does not come up.
    pub async fn start() -> Filled {
        Filled::with("", Login::None).await
    }

    /// The same with more in the server's configuration, and a login that may do everything.
    ///
    /// # Panics
    /// If NATS does not come up, or let us in.
    pub async fn with(server: &str, login: Login) -> Filled {
        let dir = tempfile::Builder::new().prefix("garrison-").tempdir().expect("a folder");
        let mut nats = Nats::new(dir.path(), server);
        nats.start();
        let filled = Filled { nats, login, dir };
        filled.link().await;
        filled
    }

    /// How it is reached.
    pub fn server(&self) -> Server {
        self.server_as(self.login.clone())
    }

    /// The same, as somebody else.
    pub fn server_as(&self, login: Login) -> Server {
        Server {
            urls: vec![format!("nats://{}", self.nats.address())],
            ca_file: None,
            login: Arc::new(move || Ok(login.clone())),
            client: "a test".to_owned(),
        }
    }

    /// A connection that publishes, as the coordinator does; the stream is made.
    ///
    /// # Panics
    /// If NATS refuses.
    pub async fn link(&self) -> Link {
        let max_age = Duration::from_secs(3600);
        let stream = Stream { name: "GARRISON".to_owned(), max_age, replicas: 1 };
        ok(Link::open(&self.server(), &stream).await)
    }

    /// Publishes events of these ids as `garrison.fra.job.finished`.
    ///
    /// # Panics
    /// If NATS refuses.
    pub async fn publish(&self, ids: &[&str]) {
        let now = json!({});
        for id in ids {
            self.publish_as("garrison.fra.job.finished", id, &now).await;
        }
    }

    /// Publishes so many events as `garrison.fra.job.finished`, with their numbers as ids.
    ///
    /// # Panics
    /// If NATS refuses.
    pub async fn publish_many(&self, count: u64) {
        let mut link = self.link().await;
        for id in 1..=count {
            let subject = "garrison.fra.job.finished".to_owned();
            let sent = ok(link.send(&id.to_string(), subject, b"{}".to_vec()).await);
            ok(sent.stored().await);
        }
    }

    /// Publishes an event with more in its envelope.
    ///
    /// # Panics
    /// If NATS refuses.
    pub async fn publish_as(&self, subject: &str, id: &str, more: &serde_json::Value) {
        let mut event = json!({ "specversion": "1.0", "id": id });
        for (key, value) in more.as_object().expect("an object") {
            event[key] = value.clone();
        }
        let mut link = self.link().await;
        let sent = ok(link.send(id, subject.to_owned(), event.to_string().into()).await);
        ok(sent.stored().await);
    }

    /// The durable channel of this name, on all jobs' ends.
    pub fn channel(&self, name: &str) -> Channel {
        let name = Name::Durable(name.to_owned());
        Channel::new("GARRISON", "garrison.*.job.finished", name)
    }

    /// A member that is there.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn member(&self, channel: Channel) -> Consumer {
        let mut consumer = ok(Consumer::new(self.server(), channel));
        ok(consumer.attach().await);
        consumer
    }

    /// A connection for everything else.
    ///
    /// # Panics
    /// If NATS is not there.
    pub async fn connection(&self) -> Connection {
        ok(Connection::open(&self.server()).await)
    }

    /// Kills the server and wipes its store; it is started again, empty.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn wipe(&mut self) {
        self.nats.kill();
        std::fs::remove_dir_all(self.nats.store()).expect("its store is there");
        self.nats.start();
    }
}

/// The next message.
///
/// # Panics
/// If none comes.
pub async fn next(consumer: &mut Consumer) -> Message {
    tokio::time::timeout(PATIENCE, consumer.next()).await.expect("a message comes")
}

/// The ids of the next messages, each acknowledged.
///
/// # Panics
/// If fewer come, or NATS does not confirm.
pub async fn take(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let message = next(consumer).await;
        ok(message.ack().await);
        ids.push(message.event.id.clone());
    }
    ids
}
