//! The coordinator's API from the client's side.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use coordinator::api::types::{Error as ApiError, Program};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ureq::http::Response;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use crate::exit::{Exit, Failure};

/// Where the coordinator's data directory usually is.
const DATA: &str = "/var/lib/garrison";

/// How to reach the coordinator, and as whom.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// The coordinator's address, such as http://127.0.0.1:7080.
    #[arg(long, global = true, env = "GARRISON_URL", help_heading = "Connection")]
    pub url: Option<String>,
    /// File with the API token; the variable GARRISON_TOKEN may hold the token itself.
    #[arg(long, global = true, env = "GARRISON_TOKEN_FILE", help_heading = "Connection")]
    pub token_file: Option<PathBuf>,
    /// Certificates (PEM) of the authorities that the coordinator's TLS proxy has its own from, instead of
    /// the well-known ones.
    #[arg(long, global = true, env = "GARRISON_CA_FILE", help_heading = "Connection")]
    pub ca_file: Option<PathBuf>,
    /// The coordinator's data directory, on its own host: who can read it is its administrator.
    #[arg(long, global = true, env = "GARRISON_DATA", help_heading = "Connection")]
    pub data: Option<PathBuf>,
}

/// What the coordinator leaves in its data directory for its administrator.
#[derive(Debug, Serialize, Deserialize)]
struct LocalAdmin {
    url: String,
    token: String,
}

impl Connection {
    /// A client that talks to the coordinator.
    pub fn client(&self) -> Result<Client, Failure> {
        let token = match (&self.token_file, std::env::var("GARRISON_TOKEN")) {
            (Some(path), _) => Some(read(path)?.trim().to_owned()),
            (None, Ok(token)) => Some(token),
            (None, Err(_)) => None,
        };
        match (&self.url, token) {
            (Some(url), Some(token)) => Ok(Client::trusting(url, &token, self.authorities()?)),
            (None, Some(_)) => Err(Failure::usage(
                "a token needs the coordinator's address too: give --url or GARRISON_URL",
            )),
            (url, None) => self.local(url.as_deref()),
        }
    }

    fn local(&self, url: Option<&str>) -> Result<Client, Failure> {
        let data = self.data.clone().unwrap_or_else(|| DATA.into());
        let path = data.join("local-admin.json");
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Failure::usage(format!(
                "don't know whom to ask: give --url and a token (--token-file or GARRISON_TOKEN), \
                 or on the coordinator's host --data DIR ({}: {error})",
                path.display()
            ))
        })?;
        let local: LocalAdmin = serde_json::from_str(&text)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        let url = url.unwrap_or(&local.url);
        Ok(Client::trusting(url, &local.token, self.authorities()?))
    }

    fn authorities(&self) -> Result<RootCerts, Failure> {
        let Some(path) = &self.ca_file else { return Ok(RootCerts::WebPki) };
        let text = read(path)?;
        let certificates: Vec<_> = parse_pem(text.as_bytes())
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                Ok(_) | Err(_) => None,
            })
            .collect();
        if certificates.is_empty() {
            let words = format!("{} holds no certificate in PEM", path.display());
            return Err(Failure::usage(words));
        }
        Ok(RootCerts::new_with_certs(&certificates))
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))
}

/// A client with an address and a token.
pub struct Client {
    agent: Agent,
    url: String,
    authorization: String,
}

impl Client {
    /// A client for the coordinator at `url`.
    pub fn new(url: &str, token: &str) -> Client {
        Client::trusting(url, token, RootCerts::WebPki)
    }

    fn trusting(url: &str, token: &str, authorities: RootCerts) -> Client {
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(authorities).build())
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            .build();
        Client {
            agent: config.into(),
            url: url.trim_end_matches('/').to_owned(),
            authorization: format!("Bearer {token}"),
        }
    }

    /// The coordinator's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// GETs JSON.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.parse(self.open(path)?)
    }

    /// POSTs JSON and reads JSON.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let request = self
            .agent
            .post(format!("{}{path}", self.url))
            .header("authorization", &self.authorization);
        let response = request.send_json(body).map_err(|error| self.unreachable(&error))?;
        self.parse(self.check(response)?)
    }

    /// Sends a program that agents can be upgraded to; gives its SHA-256.
    pub fn send_program(&self, path: &Path) -> Result<String, Failure> {
        let file = File::open(path)
            .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
        let request = self
            .agent
            .post(format!("{}/api/v1/programs", self.url))
            .header("authorization", &self.authorization);
        let response = request.send(&file).map_err(|error| self.unreachable(&error))?;
        let program: Program = self.parse(self.check(response)?)?;
        Ok(program.program)
    }

    /// The body of a GET as it comes.
    pub fn stream(&self, path: &str) -> Result<impl Read + use<>, Failure> {
        Ok(self.open(path)?.into_body().into_reader())
    }

    /// The data of server-sent events, one at a time.
    pub fn events<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<impl Iterator<Item = Result<T, Failure>> + use<T>, Failure> {
        let lines = BufReader::new(self.stream(path)?).lines();
        Ok(lines.filter_map(|line| {
            let line = match line {
                Ok(line) => line,
                Err(error) => return Some(Err(broken(&error))),
            };
            let data = line.strip_prefix("data:")?;
            Some(serde_json::from_str(data.trim_start()).map_err(Failure::internal))
        }))
    }

    fn open(&self, path: &str) -> Result<Response<Body>, Failure> {
        let request = self
            .agent
            .get(format!("{}{path}", self.url))
            .header("authorization", &self.authorization);
        let response = request.call().map_err(|error| self.unreachable(&error))?;
        self.check(response)
    }

    fn check(&self, mut response: Response<Body>) -> Result<Response<Body>, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let exit = match status.as_u16() {
            400 | 413 | 415 | 422 => Exit::Usage,
            401 | 403 | 404 | 409 => Exit::Refused,
            _ => Exit::Unavailable,
        };
        let message = match response.body_mut().read_json::<ApiError>() {
            Ok(error) => error.error,
            Err(_) => format!("{} answered {status}", self.url),
        };
        Err(Failure { exit, message })
    }

    fn parse<T: DeserializeOwned>(&self, mut response: Response<Body>) -> Result<T, Failure> {
        response.body_mut().with_config().limit(1 << 30).read_json().map_err(|error| {
            Failure::internal(format!("{} answered what is no answer: {error}", self.url))
        })
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let message = format!("cannot reach the coordinator at {}: {error}", self.url);
        Failure { exit: Exit::Unavailable, message }
    }
}

/// A stream that ended before its end.
pub fn broken(error: &std::io::Error) -> Failure {
    let message = format!("the connection to the coordinator broke: {error}");
    Failure { exit: Exit::Unavailable, message }
}
