//! GitHub's REST API, as far as it sets commit statuses.
//! <https://docs.github.com/en/rest/commits/statuses>, and what it asks of clients that are too many:
//! <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coordinator_core::event::Wall;
use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::words::Status;
use crate::config;
use crate::secret::{self, Secret};

/// The API's version that this is written for.
const VERSION: &str = "2022-11-28";

/// The pause that GitHub asks for where it names none.
const PAUSE: Duration = Duration::from_secs(60);

/// Longest pause that is kept; GitHub's own limits begin anew each hour.
const LONGEST: Duration = Duration::from_secs(3600);

/// Most bytes that are read of an answer.
const ANSWER: u64 = 64 << 10;

/// A connection to a forge's API. A clone is the same.
#[derive(Debug, Clone)]
pub(super) struct Api {
    agent: Agent,
    url: Arc<str>,
    token: Secret,
}

/// What the forge says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The status stands.
    Taken,
    /// It may work later.
    Failed(String),
    /// We ask too much: nothing more before this time has passed.
    Limited(Duration),
    /// It will never work.
    Refused(String),
}

/// Why a forge's statuses cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The token cannot be used.
    #[error(transparent)]
    Token(#[from] secret::Error),
    /// The certificates cannot be used.
    #[error("cannot read certificates (PEM) from {path}: {why}")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

impl Api {
    /// Reads token and certificates; connects to nobody. A request gives up after `patience`.
    pub(super) fn open(config: &config::Statuses, patience: Duration) -> Result<Api, Error> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = &config.ca_file {
            let certificates = certificates(path)
                .map_err(|why| Error::Certificates { path: path.clone(), why })?;
            tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // A repository that moved is to be told to the operator.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(patience))
            .user_agent(concat!("garrison/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build()
            .into();
        let url = config.url.trim_end_matches('/').into();
        Ok(Api { agent, url, token: Secret::read(&config.token_file)? })
    }

    /// Sets the status of a commit in the repository `full_name`. Blocks.
    pub(super) fn set(&self, full_name: &str, commit: &str, status: &Status, now: Wall) -> Answer {
        let request = self
            .agent
            .post(format!("{}/repos/{full_name}/statuses/{commit}", self.url))
            .header("accept", "application/vnd.github+json")
            .header("authorization", format!("Bearer {}", self.token.reveal()))
            .header("x-github-api-version", VERSION);
        match request.send_json(status) {
            Err(error) => Answer::Failed(error.to_string()),
            Ok(mut response) => {
                let body = response.body_mut().with_config().limit(ANSWER).read_to_string();
                answer(response.status(), response.headers(), &body.unwrap_or_default(), now)
            }
        }
    }
}

fn certificates(path: &PathBuf) -> Result<Vec<Certificate<'static>>, String> {
    let pem = fs::read(path).map_err(|error| error.to_string())?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| error.to_string())? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() { Err("there are none".to_owned()) } else { Ok(certificates) }
}

fn answer(status: StatusCode, headers: &HeaderMap, body: &str, now: Wall) -> Answer {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let retry_after = number("retry-after").map(Duration::from_secs);
    let reset = number("x-ratelimit-reset")
        .filter(|_| number("x-ratelimit-remaining") == Some(0))
        .map(|time| Duration::from_secs(time.saturating_sub(now.0 / 1_000_000)));
    let limited = retry_after.or(reset).map(|pause| Answer::Limited(pause.min(LONGEST)));
    match status {
        _ if status.is_success() => Answer::Taken,
        StatusCode::TOO_MANY_REQUESTS => limited.unwrap_or(Answer::Limited(PAUSE)),
        StatusCode::FORBIDDEN if limited.is_some() => limited.unwrap_or(Answer::Limited(PAUSE)),
        StatusCode::REQUEST_TIMEOUT => Answer::Failed(status.to_string()),
        _ if status.is_server_error() => {
            limited.unwrap_or_else(|| Answer::Failed(status.to_string()))
        }
        _ => Answer::Refused(format!("{status}: {}", message(body))),
    }
}

/// What GitHub says of a mistake.
fn message(body: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Body {
        message: String,
    }
    let words = serde_json::from_str(body).map_or_else(|_| body.to_owned(), |it: Body| it.message);
    words.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let headers = headers.iter().map(|(name, value)| {
            (ureq::http::HeaderName::from_static(name), value.parse().unwrap())
        });
        let status = StatusCode::from_u16(status).unwrap();
        answer(status, &headers.collect(), body, Wall(1_000_000_000))
    }

    #[test]
    fn what_may_work_later_is_told_from_what_never_will() {
        assert_eq!(said(201, &[], ""), Answer::Taken);
        assert!(matches!(said(500, &[], ""), Answer::Failed(_)));
        assert!(matches!(said(503, &[], "busy"), Answer::Failed(_)));
        let refused = said(422, &[], r#"{"message":"No commit found for SHA"}"#);
        let words = "422 Unprocessable Entity: No commit found for SHA";
        assert_eq!(refused, Answer::Refused(words.to_owned()));
        for status in [301, 401, 403, 404] {
            assert!(matches!(said(status, &[], "no"), Answer::Refused(_)), "{status}");
        }
    }

    #[test]
    fn limits_are_kept_as_they_are_asked_for() {
        let limited = |seconds| Answer::Limited(Duration::from_secs(seconds));
        assert_eq!(said(429, &[("retry-after", "7")], ""), limited(7));
        assert_eq!(said(403, &[("retry-after", "7")], ""), limited(7));
        assert_eq!(said(503, &[("retry-after", "7")], ""), limited(7));
        let used_up = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1030")];
        assert_eq!(said(403, &used_up, ""), limited(30));
        assert_eq!(said(429, &used_up, ""), limited(30));
        assert_eq!(said(429, &[], ""), limited(60));
        assert_eq!(said(429, &[("retry-after", "999999")], ""), limited(3600));
        let left = [("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "1030")];
        assert!(matches!(said(403, &left, ""), Answer::Refused(_)));
    }
}
