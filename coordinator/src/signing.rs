//! Signatures of webhooks as Standard Webhooks 1.0.0 has them, with a shared key (`v1`): what is
//! signed are the message's id, the time of the try and the body.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use coordinator_core::event::Wall;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What a key's text begins with.
pub const PREFIX: &str = "whsec_";

/// Lengths of a key, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// How far the time of a try may be from ours, in seconds.
const TOLERANCE_S: u64 = 300;

/// A key. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Key(Zeroizing<Vec<u8>>);

impl Key {
    /// Reads `whsec_` and 24 to 64 bytes in base64; none if the text is another.
    pub fn read(text: &str) -> Option<Key> {
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?);
        LENGTHS.contains(&bytes.len()).then_some(Key(bytes))
    }

    /// The signature of a message, sent at `timestamp`, in seconds since 1970. The id has no `.`.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let signature = self.mac(id, timestamp, body).finalize().into_bytes();
        format!("v1,{}", BASE64_STANDARD.encode(signature))
    }

    /// Whether one of the `signatures`, which stand in a row with spaces between them, is of that
    /// message, and the message was sent within five minutes of `now`.
    pub fn is_signed(
        &self,
        id: &str,
        timestamp: &str,
        body: &[u8],
        signatures: &str,
        now: Wall,
    ) -> bool {
        let Ok(timestamp) = timestamp.parse::<u64>() else { return false };
        // With a `.` in the id the same bytes could be told apart in two ways.
        if timestamp.abs_diff(now.0 / 1_000_000) > TOLERANCE_S || id.contains('.') {
            return false;
        }
        signatures
            .split(' ')
            .filter_map(|it| BASE64_STANDARD.decode(it.strip_prefix("v1,")?).ok())
            .any(|signature| self.mac(id, timestamp, body).verify_slice(&signature).is_ok())
    }

    fn mac(&self, id: &str, timestamp: u64, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::new_from_slice(&self.0).expect("a key may have any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        mac
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const TIME: u64 = 1_614_265_330;

    fn at(seconds: u64) -> Wall {
        Wall(seconds * 1_000_000)
    }

    #[test]
    fn a_message_is_signed_as_the_libraries_do_it() {
        let key = Key::read(KEY).unwrap();
        assert_eq!(key.sign(ID, TIME, BODY), SIGNATURE);
        assert_eq!(format!("{key:?}"), "…");
    }

    #[test]
    fn only_what_was_signed_a_moment_ago_is_believed() {
        let key = Key::read(KEY).unwrap();
        let time = TIME.to_string();
        let is = |id: &str, time: &str, body: &[u8], signatures: &str, now| {
            key.is_signed(id, time, body, signatures, now)
        };
        assert!(is(ID, &time, BODY, SIGNATURE, at(TIME + 300)));
        let several = format!("v1a,AAAA v1,AAAA {SIGNATURE}");
        assert!(is(ID, &time, BODY, &several, at(TIME - 300)));
        assert!(!is(ID, &time, BODY, SIGNATURE, at(TIME + 301)));
        assert!(!is(ID, &time, BODY, SIGNATURE, at(TIME - 301)));
        assert!(!is("msg_x", &time, BODY, SIGNATURE, at(TIME)));
        assert!(!is(ID, &(TIME + 1).to_string(), BODY, SIGNATURE, at(TIME)));
        assert!(!is(ID, &time, b"{}", SIGNATURE, at(TIME)));
        assert!(!is(ID, &time, BODY, &SIGNATURE[3..], at(TIME)));
        assert!(!is(ID, "soon", BODY, SIGNATURE, at(TIME)));
        let other = Key::read(&format!("{PREFIX}{}", "A".repeat(32))).unwrap();
        assert!(!other.is_signed(ID, &time, BODY, SIGNATURE, at(TIME)));
        let dotted = key.sign("a.b", TIME, BODY);
        assert!(!is("a.b", &time, BODY, &dotted, at(TIME)));
    }

    #[test]
    fn a_key_has_its_prefix_and_length() {
        assert!(Key::read(&KEY[PREFIX.len()..]).is_none());
        assert!(Key::read("whsec_hunter2").is_none());
        assert!(Key::read(&format!("{PREFIX}{}", "A".repeat(28))).is_none());
        assert!(Key::read(&format!("{PREFIX}{}", "A".repeat(88))).is_none());
    }
}
