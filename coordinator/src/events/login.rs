//! How the servers of NATS are reached, and as whom.

use std::time::Duration;

use async_nats::{ConnectOptions, Event};
use tracing::warn;

use super::Error;
use crate::config::{Login, Nats};
use crate::secret::Secret;

/// How long a server may take to answer a new connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads the files that the login needs: at start, to refuse what cannot work, and for each new
/// connection, so that secrets can be exchanged while the coordinator runs.
pub(super) fn options(nats: &Nats) -> Result<ConnectOptions, Error> {
    let mut options = match nats.login().unwrap_or(Login::None) {
        Login::None => ConnectOptions::new(),
        Login::User(user, file) => {
            let password = Secret::read(file)?.reveal().to_owned();
            ConnectOptions::with_user_and_password(user.to_owned(), password)
        }
        Login::Token(file) => ConnectOptions::with_token(Secret::read(file)?.reveal().to_owned()),
        Login::Nkey(file) => ConnectOptions::with_nkey(Secret::read(file)?.reveal().to_owned()),
        Login::Credentials(file) => {
            // Its last line is one only with an end.
            let text = format!("{}\n", Secret::read(file)?.reveal());
            ConnectOptions::with_credentials(&text).map_err(|_| Error::Credentials(file.clone()))?
        }
    };
    if let Some(file) = &nats.ca_file {
        options = options.add_root_certificates(file.clone()).require_tls(true);
    }
    // A connection that breaks is tried once at each server; then a new one is opened, by which
    // what became of the stream is looked at.
    Ok(options
        .name("garrison coordinator")
        .connection_timeout(PATIENCE)
        .ignore_discovered_servers()
        .max_reconnects(nats.urls.len())
        .event_callback(|event| async move {
            // Such as a missing permission, which no answer tells of.
            if let Event::ServerError(error) = event {
                warn!(%error, "NATS complains");
            }
        }))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// An NKey of a user of this test.
    const SEED: &str = "SUACBMB3H4X6XOTG4TVGJ6VKZXU527MDK4ALOFGHNKP4FLD4WRVI3ZDGII";

    #[test]
    fn a_credentials_file_holds_a_jwt_and_a_key() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        let text = format!("urls = ['nats://a']\ncredentials_file = {:?}", file.path());
        let nats: Nats = toml::from_str(&text).unwrap();
        let block = |name: &str, text: &str| {
            format!("-----BEGIN {name}-----\n{text}\n------END {name}------\n")
        };
        let credentials =
            block("NATS USER JWT", "eyJ0eXAi.eyJqdGki.c2ln") + &block("USER NKEY SEED", SEED);
        fs::write(file.path(), credentials).unwrap();
        assert!(options(&nats).is_ok());
        fs::write(file.path(), "hunter2").unwrap();
        let error = options(&nats).unwrap_err().to_string();
        assert!(error.contains("no credentials file") && !error.contains("hunter2"), "{error}");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(options(&nats).unwrap_err().to_string().contains("chmod o-rwx"));
    }
}
