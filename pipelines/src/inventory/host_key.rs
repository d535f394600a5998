//! Host keys in OpenSSH's public form: a type, and base64 of the fields of RFC 4253, section 6.6.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub(super) const HELP: &str =
    "write the key as `ssh-keyscan` shows it behind the host, such as `ssh-ed25519 AAAA…`";

pub(super) const LIST_HELP: &str =
    "list the device's keys as `ssh-keyscan` shows them: `host_keys: [ssh-ed25519 AAAA…]`";

/// Most bytes of a key's fields; an RSA key of 16,384 bits fits.
const MAX_LEN: usize = 4096;

/// Known types, and how many fields stand behind the type.
const TYPES: &[(&str, usize)] = &[
    ("ssh-ed25519", 1),
    ("ecdsa-sha2-nistp256", 2),
    ("ecdsa-sha2-nistp384", 2),
    ("ecdsa-sha2-nistp521", 2),
    ("ssh-rsa", 2),
];

/// Why a text is no host key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something else than two words.
    #[error("it is not a type and a key with a space between them")]
    Form,
    /// A type that no agent knows.
    #[error("its type is none of ssh-ed25519, ecdsa-sha2-nistp256, -384, -521, ssh-rsa")]
    Type,
    /// The key is not encoded as it should be.
    #[error("its second word is not base64")]
    Base64,
    /// The key is not whole.
    #[error("its fields are cut off, or followed by something")]
    Fields,
    /// The key is of another type.
    #[error("its type says {0}, but the key inside is of another type")]
    Mismatch(&'static str),
}

/// The key without its comment.
///
/// # Errors
/// The text is no key of a known type.
pub fn parse(text: &str) -> Result<String, Error> {
    let mut words = text.split_ascii_whitespace();
    let (kind, encoded) = words.next().zip(words.next()).ok_or(Error::Form)?;
    let (kind, count) = TYPES.iter().find(|(known, _)| *known == kind).ok_or(Error::Type)?;
    if encoded.len() > MAX_LEN / 3 * 4 {
        return Err(Error::Fields);
    }
    let blob = STANDARD.decode(encoded).map_err(|_| Error::Base64)?;
    let mut fields = fields(&blob).ok_or(Error::Fields)?.into_iter();
    if fields.next() != Some(kind.as_bytes()) {
        return Err(Error::Mismatch(kind));
    }
    let rest: Vec<&[u8]> = fields.collect();
    let has_right_size = match *kind {
        "ssh-ed25519" => rest.first().is_some_and(|key| key.len() == 32),
        _ => rest.iter().all(|field| !field.is_empty()),
    };
    if rest.len() != *count || !has_right_size {
        return Err(Error::Fields);
    }
    Ok(format!("{kind} {encoded}"))
}

/// Splits at length prefixes; none if they do not end with the bytes.
fn fields(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while !blob.is_empty() {
        let (len, rest) = blob.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        fields.push(field);
        blob = rest;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str, fields: &[&[u8]]) -> String {
        let blob: Vec<u8> = fields
            .iter()
            .flat_map(|field| [&(field.len() as u32).to_be_bytes(), *field].concat())
            .collect();
        format!("{kind} {}", STANDARD.encode(blob))
    }

    #[test]
    fn a_key_loses_its_comment_only() {
        let good = key("ssh-ed25519", &[b"ssh-ed25519", &[7; 32]]);
        assert_eq!(parse(&format!("{good} root@leaf01")), Ok(good.clone()));
        assert_eq!(parse(&good), Ok(good));
        let ecdsa = key("ecdsa-sha2-nistp256", &[b"ecdsa-sha2-nistp256", b"nistp256", &[4; 65]]);
        assert_eq!(parse(&ecdsa), Ok(ecdsa));
    }

    #[test]
    fn what_is_no_key_is_refused_for_its_reason() {
        let cut = key("ssh-ed25519", &[b"ssh-ed25519", &[7; 31]]);
        let other = key("ssh-rsa", &[b"ssh-ed25519", &[7; 32]]);
        for (text, error) in [
            ("", Error::Form),
            ("ssh-ed25519", Error::Form),
            ("ssh-dss AAAA", Error::Type),
            ("ssh-ed25519 %%%", Error::Base64),
            ("ssh-ed25519 AAAA", Error::Fields),
            (&cut, Error::Fields),
            (&other, Error::Mismatch("ssh-rsa")),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
