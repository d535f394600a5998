//! Reading OpenSSH's file of known host keys; see SSH_KNOWN_HOSTS FILE FORMAT in sshd(8).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use pipelines::diagnostic::Code;
use pipelines::inventory::host_key;
use pipelines::source::Span;
use sha1::Sha1;

use super::findings::{Findings, Place};
use super::lines::lines;

/// Known keys, as far as they can be pinned.
#[derive(Debug, Default)]
pub(super) struct KnownHosts {
    lines: Vec<Line>,
    /// Those whose keys sign host keys.
    authorities: Vec<Line>,
    /// Keys that nobody may show any more.
    revoked: Vec<String>,
}

#[derive(Debug)]
struct Line {
    hosts: Hosts,
    /// Type and key, as inventories pin them.
    key: String,
}

/// Whom a line is about.
#[derive(Debug)]
enum Hosts {
    /// Patterns with `*` and `?`; those behind `!` are not meant.
    Patterns(Vec<String>),
    /// HMAC-SHA1 of the name, and its key.
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

impl KnownHosts {
    /// Adds what a file with this name holds. Lines that cannot be used are told.
    pub(super) fn add(
        &mut self,
        text: &str,
        place: &dyn Fn(Span) -> Place,
        findings: &mut Findings,
    ) {
        for (span, line) in lines(text) {
            let (marker, rest) =
                match line.strip_prefix('@').and_then(|it| it.split_once([' ', '\t'])) {
                    Some((marker, rest)) => (Some(marker), rest.trim_start()),
                    None => (None, line),
                };
            let mut leave_out = |reason: &str| {
                let message = format!("this line of known hosts is not used: {reason}");
                let help = "nothing need be done if the device has another key";
                findings.warning(Code::AnsibleLeftOut, &place(span), message, help);
            };
            let Some((hosts, key)) = rest.split_once([' ', '\t']) else {
                leave_out("it is no name and key");
                continue;
            };
            match (marker, host_key::parse(key)) {
                (None | Some("cert-authority"), Ok(key)) => match parse_hosts(hosts) {
                    Some(hosts) if marker.is_none() => self.lines.push(Line { hosts, key }),
                    Some(hosts) => self.authorities.push(Line { hosts, key }),
                    None => leave_out("its hashed name cannot be read"),
                },
                (Some("revoked"), Ok(key)) => self.revoked.push(key),
                (Some(_), Ok(_)) => leave_out("its marker is not known"),
                (_, Err(error)) => leave_out(&error.to_string()),
            }
        }
    }

    /// The keys that are known for a name or an address, and a port.
    pub(super) fn keys(&self, host: &str, port: u16) -> Vec<String> {
        self.keys_of(&self.lines, host, port)
    }

    /// The keys of authorities that are known for it.
    pub(super) fn authorities(&self, host: &str, port: u16) -> Vec<String> {
        self.keys_of(&self.authorities, host, port)
    }

    fn keys_of(&self, lines: &[Line], host: &str, port: u16) -> Vec<String> {
        let name = match port {
            22 => host.to_lowercase(),
            port => format!("[{}]:{port}", host.to_lowercase()),
        };
        let mut keys = Vec::new();
        for Line { hosts, key } in lines {
            if hosts.match_name(&name) && !self.revoked.contains(key) && !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        keys
    }
}

fn parse_hosts(text: &str) -> Option<Hosts> {
    let Some(hashed) = text.strip_prefix("|1|") else {
        return Some(Hosts::Patterns(text.to_lowercase().split(',').map(str::to_owned).collect()));
    };
    let decode = |text: &str| STANDARD.decode(text).ok();
    let (salt, hash) = hashed.split_once('|')?;
    Some(Hosts::Hashed { salt: decode(salt)?, hash: decode(hash)? })
}

impl Hosts {
    fn match_name(&self, name: &str) -> bool {
        match self {
            Hosts::Patterns(patterns) => {
                let (not, meant): (Vec<_>, Vec<_>) =
                    patterns.iter().partition(|pattern| pattern.starts_with('!'));
                meant.into_iter().any(|pattern| matches(pattern, name))
                    && !not.into_iter().any(|pattern| matches(&pattern[1..], name))
            }
            Hosts::Hashed { salt, hash } => {
                let mut mac = Hmac::<Sha1>::new_from_slice(salt).expect("a key of any length fits");
                mac.update(name.as_bytes());
                mac.verify_slice(hash).is_ok()
            }
        }
    }
}

/// Whether a name is as a pattern says: `*` stands for any characters, `?` for one.
fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            let rest = pattern.trim_start_matches('*');
            let tails = name.char_indices().map(|(index, _)| &name[index..]).chain([""]);
            rest.is_empty() || tails.into_iter().any(|tail| matches(rest, tail))
        }
        (Some(wanted), Some(there)) if wanted == '?' || wanted == there => {
            matches(&pattern[wanted.len_utf8()..], &name[there.len_utf8()..])
        }
        (None, Some(_)) | (Some(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";

    const OTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC";

    fn known(text: &str) -> (KnownHosts, usize) {
        let (mut known, mut findings) = (KnownHosts::default(), Findings::default());
        known.add(text, &|_| Place::file("known_hosts"), &mut findings);
        (known, findings.0.len())
    }

    #[test]
    fn a_host_is_found_by_name_address_port_and_pattern() {
        let (known, _) = known(&format!(
            "# comment\n\nleaf01,10.0.0.11 {KEY} comment\n[leaf02]:2222 {OTHER}\n*.lab,!x.lab {OTHER}\n"
        ));
        assert_eq!(known.keys("leaf01", 22), [KEY]);
        assert_eq!(known.keys("LEAF01", 22), [KEY]);
        assert_eq!(known.keys("10.0.0.11", 22), [KEY]);
        assert_eq!(known.keys("leaf02", 2222), [OTHER]);
        assert_eq!(known.keys("a.lab", 22), [OTHER]);
        for (host, port) in [("leaf01", 2222), ("leaf02", 22), ("x.lab", 22), ("leaf0", 22)] {
            assert!(known.keys(host, port).is_empty(), "{host} {port}");
        }
    }

    #[test]
    fn a_revoked_key_is_none() {
        let (known, told) = known(&format!("leaf01 {KEY}\nleaf01 {OTHER}\n@revoked * {KEY}\n"));
        assert_eq!((known.keys("leaf01", 22), told), (vec![OTHER.to_owned()], 0));
    }

    #[test]
    fn an_authority_vouches_for_the_hosts_of_its_line() {
        let (known, told) = known(&format!(
            "@cert-authority *.lab,[*.lab]:2222 {KEY}\n@cert-authority * {OTHER}\n@revoked * {OTHER}\n"
        ));
        assert_eq!(told, 0);
        assert_eq!(known.authorities("leaf01.lab", 22), [KEY]);
        assert_eq!(known.authorities("leaf01.lab", 2222), [KEY]);
        assert!(known.authorities("leaf01", 22).is_empty());
        assert!(known.keys("leaf01.lab", 22).is_empty());
    }

    #[test]
    fn what_cannot_be_pinned_is_told() {
        let text =
            format!("@cert-authority * x\nleaf01\nleaf01 ssh-dss AAAA\n|1|?|? {KEY}\n@x a {KEY}\n");
        let (known, told) = known(&text);
        assert_eq!((known.lines.len(), told), (0, 5));
    }

    #[test]
    fn patterns_stand_for_any_characters() {
        for (pattern, name) in
            [("*", ""), ("*", "a"), ("a*c", "abbc"), ("a?c", "abc"), ("**b", "ab")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a*c", "abb"), ("a?c", "ac"), ("", "a"), ("a", "")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
