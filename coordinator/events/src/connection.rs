//! How the servers of NATS are reached, and as whom.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{ConnectOptions, Event};
use tokio::sync::watch;
use tracing::warn;

use crate::{Error, Foreign, PATIENCE};

/// Asks for a login.
type Ask = Arc<dyn Fn() -> Result<Login, Foreign> + Send + Sync>;

/// Where NATS is, and as whom it is entered.
#[derive(Clone)]
pub struct Server {
    /// Servers of one NATS, each `nats://HOST:PORT`, or `tls://HOST:PORT` to insist on TLS.
    pub urls: Vec<String>,
    /// Certificates (PEM) of the authorities that the servers' certificates come from; the system's
    /// own if left out. With it TLS is insisted on.
    pub ca_file: Option<PathBuf>,
    /// Asked for each new connection, so that secrets can be exchanged meanwhile.
    pub login: Ask,
    /// How NATS' operators see the connection, such as `garrison coordinator`.
    pub client: String,
}

/// As whom. Its `Debug` shows no secret.
#[derive(Clone)]
pub enum Login {
    /// As nobody.
    None,
    /// A user with a password.
    User(String, String),
    /// A token.
    Token(String),
    /// The seed of an NKey.
    Nkey(String),
    /// A credentials file, and its text: a JWT and its NKey.
    Credentials(PathBuf, String),
}

/// A connection. It comes back by itself after it broke.
#[derive(Clone)]
pub struct Connection {
    pub(crate) context: Context,
    /// True from when it broke for the first time.
    broke: watch::Receiver<bool>,
}

impl Server {
    /// Looks whether a login can be had, and is one.
    ///
    /// # Errors
    /// If not. NATS need not be there.
    pub fn check(&self) -> Result<(), Error> {
        self.options().map(drop)
    }

    fn options(&self) -> Result<ConnectOptions, Error> {
        let mut options = match (self.login)().map_err(Error::Login)? {
            Login::None => ConnectOptions::new(),
            Login::User(user, password) => ConnectOptions::with_user_and_password(user, password),
            Login::Token(token) => ConnectOptions::with_token(token),
            Login::Nkey(seed) => ConnectOptions::with_nkey(seed),
            Login::Credentials(file, text) => {
                // Its last line is one only with an end.
                ConnectOptions::with_credentials(&format!("{text}\n"))
                    .map_err(|_| Error::Credentials(file))?
            }
        };
        if let Some(file) = &self.ca_file {
            options = options.add_root_certificates(file.clone()).require_tls(true);
        }
        let options = options.name(&self.client).connection_timeout(PATIENCE);
        Ok(options.ignore_discovered_servers())
    }
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// If no server can be reached, or none lets us in.
    pub async fn open(server: &Server) -> Result<Connection, Error> {
        Connection::with(server, server.options()?).await
    }

    /// Connects; when the connection breaks, it is tried once at each server, and no more.
    pub(crate) async fn open_once(server: &Server) -> Result<Connection, Error> {
        Connection::with(server, server.options()?.max_reconnects(server.urls.len())).await
    }

    async fn with(server: &Server, options: ConnectOptions) -> Result<Connection, Error> {
        let (tell, broke) = watch::channel(false);
        let options = options.event_callback(move |event| {
            let tell = tell.clone();
            async move {
                match event {
                    Event::Disconnected => {
                        tell.send_replace(true);
                    }
                    // Such as a missing permission, which no answer tells of.
                    Event::ServerError(error) => warn!(%error, "NATS complains"),
                    _ => {}
                }
            }
        });
        let client = options.connect(&server.urls).await;
        let client = client.map_err(|error| Error::Connect(error.into()))?;
        Ok(Connection { context: ContextBuilder::new().timeout(PATIENCE).build(client), broke })
    }

    /// Whether it broke, though it may be back.
    pub(crate) fn has_broken(&self) -> bool {
        *self.broke.borrow()
    }

    /// Returns once it breaks.
    pub(crate) async fn breaks(&self) {
        // Without anybody to tell it is over as well.
        let _ = self.broke.clone().wait_for(|broke| *broke).await;
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Login::None => "None",
            Login::User(..) => "User(…)",
            Login::Token(_) => "Token(…)",
            Login::Nkey(_) => "Nkey(…)",
            Login::Credentials(..) => "Credentials(…)",
        })
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("urls", &self.urls).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An NKey of a user of this test.
    const SEED: &str = "SUACBMB3H4X6XOTG4TVGJ6VKZXU527MDK4ALOFGHNKP4FLD4WRVI3ZDGII";

    #[test]
    fn a_credentials_file_holds_a_jwt_and_a_key() {
        let check = |text: &str| {
            let login = Login::Credentials("/nats.creds".into(), text.trim().to_owned());
            assert!(!format!("{login:?}").contains(SEED));
            let login: Ask = Arc::new(move || Ok(login.clone()));
            Server { urls: Vec::new(), ca_file: None, login, client: String::new() }.check()
        };
        let block = |name: &str, text: &str| {
            format!("-----BEGIN {name}-----\n{text}\n------END {name}------\n")
        };
        let credentials =
            block("NATS USER JWT", "eyJ0eXAi.eyJqdGki.c2ln") + &block("USER NKEY SEED", SEED);
        assert!(check(&credentials).is_ok());
        let error = check("hunter2").unwrap_err().to_string();
        assert!(error.contains("/nats.creds is no credentials file"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
