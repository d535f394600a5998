//! What a job waits for: probes, each tried again until it passes or its time is over.

use std::fmt;
use std::str::FromStr;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use serde::{Deserialize, Serialize};

use crate::inventory;
use crate::limits;
use crate::plan::Ssh;

/// Most bytes that a compiled pattern may take.
const PATTERN_BYTES: usize = 1 << 20;

/// Most characters of a command that a message names.
const SHOWN: usize = 80;

/// Something that must be so before a job has succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What is tried.
    pub check: Check,
    /// Pause between two tries, in seconds.
    pub interval_s: u32,
    /// How long it may take until it passes, in seconds.
    pub timeout_s: u32,
}

/// What one try of a probe looks at. Addresses are `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Check {
    /// A TCP connection is accepted.
    Tcp {
        /// Where.
        address: String,
    },
    /// An SSH server says its version.
    Ssh {
        /// Where.
        address: String,
    },
    /// A device's SSH server shows one of the pinned host keys; nobody logs in.
    HostKey {
        /// The device.
        device: Box<Ssh>,
    },
    /// A web server answers a GET as wanted.
    Http(Http),
    /// A TLS server shows a certificate as wanted.
    Tls(Tls),
    /// A shell line on the job's own device ends with 0.
    Run {
        /// The line.
        line: String,
        /// A pattern that its standard output must match.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<String>,
    },
}

/// What a web server must answer. Redirects are not followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// What is asked for; see [`Url`].
    pub url: String,
    /// One of these; never empty.
    pub status: Vec<Status>,
    /// A pattern that the body must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// See [`Tls::ca`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// What a TLS server must show. Its certificate is verified in any case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// Where.
    pub address: String,
    /// The name that it is asked for and verified against; the address's host if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// A text that the issuer's name must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// For how long it must still be valid at least, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for_s: Option<u32>,
    /// A PEM file with the authorities to trust, relative to the working directory; those of the
    /// management server if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// A status of HTTP, such as `200`, or all of a class, such as `2xx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Status {
    /// From 100 to 599.
    Code(u16),
    /// From 1 to 5.
    Class(u16),
}

/// Where a web server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether it is spoken to over TLS.
    pub is_tls: bool,
    /// Host name or IP address, one of version 6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path and query; begins with `/`.
    pub path: String,
}

/// A pattern as a regular expression, which may match anywhere in a text. Classes such as `\w` mean
/// ASCII, and `^` and `$` ends of lines.
///
/// # Errors
/// Why it is none, as the end of a sentence.
pub fn pattern(text: &str) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(text);
    let built = builder.unicode(false).multi_line(true).size_limit(PATTERN_BYTES).build();
    built.map_err(|error| last_line(&error))
}

/// Whether a text is a pattern, without the work of making it ready to match.
pub(crate) fn check_pattern(text: &str) -> Result<(), String> {
    let mut parser = ParserBuilder::new().unicode(false).utf8(false).build();
    parser.parse(text).map(drop).map_err(|error| last_line(&error))
}

/// What is wrong with a pattern: before that stands the pattern itself.
fn last_line(error: &dyn fmt::Display) -> String {
    let told = error.to_string();
    let last = told.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// Host and port of an address such as `leaf01:22` or `[::1]:443`.
///
/// # Errors
/// Why it is none, as the end of a sentence.
pub fn host_and_port(address: &str) -> Result<(&str, u16), &'static str> {
    let (host, port) = address.rsplit_once(':').ok_or("it has no port")?;
    let port = match port.parse() {
        Ok(0) | Err(_) => return Err("its port is no number from 1 to 65535"),
        Ok(port) => port,
    };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let inner = if is_bracketed { &host[1..host.len() - 1] } else { host };
    match is_bracketed == inner.contains(':') && inventory::is_host(inner) {
        true => Ok((inner, port)),
        false => Err("its host is neither an IP address nor a host name"),
    }
}

/// An address of host and port; an IP address of version 6 gets brackets.
fn address(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// Whether a path names a file below the working directory; why not, as the end of a sentence.
pub(crate) fn check_path(path: &str) -> Result<(), &'static str> {
    match path {
        "" => Err("it is empty"),
        _ if path.len() > limits::GLOB_BYTES => Err("it is too long"),
        _ if path.starts_with('/') => Err("it does not begin in the working directory"),
        _ if path.contains(char::is_control) => Err("it holds a control character"),
        _ if path.split('/').any(|part| matches!(part, "" | "." | "..")) => {
            Err("it has an empty part, `.` or `..`")
        }
        _ => Ok(()),
    }
}

impl Probe {
    /// About how many bytes its texts take in a plan.
    pub(crate) fn bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        match &self.check {
            Check::Tcp { address } | Check::Ssh { address } => address.len(),
            Check::HostKey { device } => device.host_keys().map(str::len).sum(),
            Check::Http(http) => http.url.len() + length(&http.body) + length(&http.ca),
            Check::Tls(tls) => {
                let Tls { address, server_name, issuer, ca, .. } = tls;
                address.len() + length(server_name) + length(issuer) + length(ca)
            }
            Check::Run { line, output } => line.len() + length(output),
        }
    }
}

impl Check {
    /// Where it connects to, for the agent's policy; none for the job's own device.
    pub fn address(&self) -> Option<String> {
        match self {
            Check::Tcp { address } | Check::Ssh { address } => Some(address.clone()),
            Check::HostKey { device } => Some(address(&device.address, device.port)),
            Check::Http(http) => match http.url.parse::<Url>() {
                Ok(url) => Some(address(&url.host, url.port)),
                Err(_) => Some(http.url.clone()),
            },
            Check::Tls(tls) => Some(tls.address.clone()),
            Check::Run { .. } => None,
        }
    }

    /// The file of authorities that it reads.
    pub fn ca(&self) -> Option<&str> {
        match self {
            Check::Http(http) => http.ca.as_deref(),
            Check::Tls(tls) => tls.ca.as_deref(),
            Check::Tcp { .. } | Check::Ssh { .. } | Check::HostKey { .. } | Check::Run { .. } => {
                None
            }
        }
    }
}

impl Status {
    /// Whether an answer with `code` is meant.
    pub fn includes(self, code: u16) -> bool {
        match self {
            Status::Code(wanted) => code == wanted,
            Status::Class(class) => code / 100 == class,
        }
    }
}

impl FromStr for Status {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Status, &'static str> {
        if let Some(class) = text.strip_suffix("xx") {
            return match class.parse() {
                Ok(class @ 1..=5) => Ok(Status::Class(class)),
                _ => Err("it is no class from `1xx` to `5xx`"),
            };
        }
        match text.parse() {
            Ok(code @ 100..=599) => Ok(Status::Code(code)),
            _ => Err("it is no number from 100 to 599"),
        }
    }
}

impl TryFrom<String> for Status {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Status, &'static str> {
        text.parse()
    }
}

impl From<Status> for String {
    fn from(status: Status) -> String {
        status.to_string()
    }
}

impl FromStr for Url {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Url, &'static str> {
        let uri: http::Uri = text.parse().map_err(|_| "it is no URL")?;
        let (is_tls, otherwise) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return Err("it begins with neither `https://` nor `http://`"),
        };
        let authority = uri.authority().ok_or("it has no host")?;
        if authority.as_str().contains('@') {
            return Err("it holds a user");
        }
        let port = uri.port_u16().unwrap_or(otherwise);
        let (host, port) = match authority.port() {
            Some(_) => host_and_port(authority.as_str())?,
            None => {
                host_and_port(&format!("{authority}:{port}")).map(|_| (authority.host(), port))?
            }
        };
        let host = host.trim_matches(['[', ']']).to_owned();
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Url { is_tls, host, port, path })
    }
}

impl fmt::Display for Url {
    /// As the `Host` of a request has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&address(&self.host, self.port))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Code(code) => write!(f, "{code}"),
            Status::Class(class) => write!(f, "{class}xx"),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Check::Tcp { address } => write!(f, "tcp {address}"),
            Check::Ssh { address } => write!(f, "ssh {address}"),
            Check::HostKey { device } => write!(f, "ssh {}", device.device),
            Check::Http(http) => write!(f, "http {}", http.url),
            Check::Tls(tls) => write!(f, "tls {}", tls.address),
            Check::Run { line, .. } => {
                let shown: String = line.chars().take(SHOWN).collect();
                write!(f, "run `{}`", shown.replace(char::is_control, " "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_host_and_port() {
        assert_eq!(host_and_port("leaf01:22"), Ok(("leaf01", 22)));
        assert_eq!(host_and_port("10.0.0.11:443"), Ok(("10.0.0.11", 443)));
        assert_eq!(host_and_port("[::1]:22"), Ok(("::1", 22)));
        for bad in ["leaf01", "leaf01:0", "leaf01:70000", "::1:22", "[leaf01]:22", ":22", "a b:22"]
        {
            assert!(host_and_port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_url_says_where_to_ask() {
        let url = |text: &str| text.parse::<Url>();
        let found = url("https://api.example.com/-/ready?a=b").unwrap();
        assert_eq!((found.to_string().as_str(), found.is_tls), ("api.example.com:443", true));
        assert_eq!(found.path, "/-/ready?a=b");
        let found = url("http://[::1]:9090").unwrap();
        assert_eq!((found.host.as_str(), found.port, found.path.as_str()), ("::1", 9090, "/"));
        assert_eq!(url("http://[::1]/").unwrap().to_string(), "[::1]:80");
        for bad in ["api.example.com", "ftp://a/", "https://u:p@a/", "https:///x", "http://a:0/"] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_status_is_a_number_or_a_class() {
        let includes = |text: &str, code| text.parse::<Status>().unwrap().includes(code);
        assert!(includes("204", 204) && !includes("204", 200));
        assert!(includes("2xx", 299) && !includes("2xx", 300));
        for bad in ["", "99", "600", "6xx", "xx", "20x", "-200"] {
            assert!(bad.parse::<Status>().is_err(), "{bad}");
        }
        let json = serde_json::to_string(&Status::Class(3)).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), Status::Class(3));
    }

    #[test]
    fn a_pattern_matches_anywhere_and_says_why_it_is_none() {
        assert!(pattern("^Established$").unwrap().is_match(b"10.0.0.1\nEstablished\n"));
        assert!(pattern(r"ü.\w+").unwrap().is_match("für_alle".as_bytes()));
        for bad in ["(a", "[", "*", r"\p{Greek}"] {
            assert_eq!(check_pattern(bad), pattern(bad).map(drop), "{bad}");
        }
        assert_eq!(check_pattern("(a").unwrap_err(), "unclosed group");
        assert!(pattern("a{1000}{1000}").is_err());
    }
}
