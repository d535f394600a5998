//! How the servers of NATS are reached, and as whom, as the configuration says it.

use std::sync::Arc;

use ::events::{Login, Server};

use crate::config::{self, Nats};
use crate::secret::{self, Secret};

/// The servers; `client` is how NATS' operators see the connection. The files of the login are read
/// for each connection, so that secrets can be exchanged meanwhile.
pub fn server(nats: &Nats, client: &str) -> Server {
    let of = nats.clone();
    Server {
        urls: nats.urls.clone(),
        ca_file: nats.ca_file.clone(),
        login: Arc::new(move || Ok(login(&of)?)),
        client: client.to_owned(),
    }
}

fn login(nats: &Nats) -> Result<Login, secret::Error> {
    let read = |file| Secret::read(file).map(|secret| secret.reveal().to_owned());
    Ok(match nats.login().unwrap_or(config::Login::None) {
        config::Login::None => Login::None,
        config::Login::User(user, file) => Login::User(user.to_owned(), read(file)?),
        config::Login::Token(file) => Login::Token(read(file)?),
        config::Login::Nkey(file) => Login::Nkey(read(file)?),
        config::Login::Credentials(file) => Login::Credentials(file.clone(), read(file)?),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_read_for_each_connection_and_only_if_it_is_closed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mode = |mode| fs::set_permissions(file.path(), fs::Permissions::from_mode(mode));
        let text = format!("urls = ['nats://a']\ntoken_file = {:?}", file.path());
        let server = server(&toml::from_str(&text).unwrap(), "test");
        mode(0o600).unwrap();
        for token in ["one", "two"] {
            fs::write(file.path(), token).unwrap();
            let login = (server.login)().unwrap();
            assert!(matches!(login, Login::Token(found) if found == token));
        }
        mode(0o644).unwrap();
        assert!(server.check().unwrap_err().to_string().contains("chmod o-rwx"));
    }
}
