//! HTTP requests that the coordinator sends: to forges, and to those who are told of events.
//!
//! Invariant: no redirect is followed, so that what is sent goes where the configuration says and
//! nowhere else.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coordinator_core::event::Wall;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

/// The pause after a limit that names none.
const PAUSE: Duration = Duration::from_secs(60);

/// Shortest and longest pause that is kept; forges' own limits begin anew each hour.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Most bytes that are read of an answer.
const ANSWER: u64 = 64 << 10;

/// What somebody answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Taken,
    /// It may work later.
    Failed(String),
    /// We ask too much: nothing more before this time has passed.
    Limited(Duration),
    /// It will never work.
    Refused(String),
}

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read certificates (PEM) from {path}: {why}")]
pub struct Error {
    path: PathBuf,
    why: String,
}

/// One who sends requests. Each gives up after `patience`. The receiver's certificate must come from
/// the authorities in `ca_file`, or from a well-known one.
pub fn agent(ca_file: Option<&Path>, patience: Duration) -> Result<Agent, Error> {
    let mut tls = TlsConfig::builder();
    if let Some(path) = ca_file {
        let certificates =
            certificates(path).map_err(|why| Error { path: path.to_owned(), why })?;
        tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
    }
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(patience))
        .user_agent(concat!("garrison/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls.build());
    Ok(config.build().into())
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let pem = fs::read(path).map_err(|error| error.to_string())?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| error.to_string())? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() { Err("there are none".to_owned()) } else { Ok(certificates) }
}

/// The text of an answer, its first 64 KiB.
pub fn text(response: &mut Response<Body>) -> String {
    let body = response.body_mut().with_config().limit(ANSWER).read_to_string();
    body.unwrap_or_default()
}

/// What an answer means; `now` is when it came.
///
/// Limits are told by `Retry-After`, or as GitHub does (`X-RateLimit-Remaining`, `X-RateLimit-Reset`:
/// <https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>), or as GitLab does
/// (without the `X-`: <https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/>).
pub fn answer(status: StatusCode, headers: &HeaderMap, body: &str, now: Wall) -> Answer {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let retry_after = number("retry-after").map(Duration::from_secs);
    let reset = |remaining, reset| {
        let time = number(reset).filter(|_| number(remaining) == Some(0))?;
        Some(Duration::from_secs(time.saturating_sub(now.0 / 1_000_000)))
    };
    let limited = retry_after
        .or_else(|| reset("x-ratelimit-remaining", "x-ratelimit-reset"))
        .or_else(|| reset("ratelimit-remaining", "ratelimit-reset"))
        .map(|pause| Answer::Limited(pause.clamp(PAUSES.0, PAUSES.1)));
    match status {
        _ if status.is_success() => Answer::Taken,
        StatusCode::TOO_MANY_REQUESTS => limited.unwrap_or(Answer::Limited(PAUSE)),
        StatusCode::FORBIDDEN if limited.is_some() => limited.unwrap_or(Answer::Limited(PAUSE)),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => Answer::Failed(status.to_string()),
        _ if status.is_server_error() => {
            limited.unwrap_or_else(|| Answer::Failed(status.to_string()))
        }
        _ => Answer::Refused(format!("{status}: {}", message(body))),
    }
}

/// What is said of a mistake: as `message` by all forges, at times as `error` by GitLab.
fn message(body: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let said = [&json["message"], &json["error"]].into_iter().find(|it| !it.is_null());
    let words = match said {
        Some(serde_json::Value::String(words)) => words.clone(),
        Some(other) => other.to_string(),
        None => body.to_owned(),
    };
    words.chars().filter(|c| !c.is_control()).take(200).collect()
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
        for status in [408, 425, 500, 503] {
            assert!(matches!(said(status, &[], "busy"), Answer::Failed(_)), "{status}");
        }
        let refused = |words: &str| Answer::Refused(format!("422 Unprocessable Entity: {words}"));
        let body = r#"{"message":"No commit found for SHA"}"#;
        assert_eq!(said(422, &[], body), refused("No commit found for SHA"));
        let body = r#"{"error":"state does not have a valid value"}"#;
        assert_eq!(said(422, &[], body), refused("state does not have a valid value"));
        let body = r#"{"message":{"name":["is too long"]}}"#;
        assert_eq!(said(422, &[], body), refused(r#"{"name":["is too long"]}"#));
        assert_eq!(said(422, &[], "no\u{1b}[31m"), refused("no[31m"));
        for status in [301, 401, 403, 404, 410] {
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
        let used_up = [("ratelimit-remaining", "0"), ("ratelimit-reset", "1040")];
        assert_eq!(said(429, &used_up, ""), limited(40));
        assert_eq!(said(429, &[], ""), limited(60));
        assert_eq!(said(429, &[("retry-after", "0")], ""), limited(1));
        assert_eq!(said(429, &[("retry-after", "999999")], ""), limited(3600));
        let left = [("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "1030")];
        assert!(matches!(said(403, &left, ""), Answer::Refused(_)));
    }
}
