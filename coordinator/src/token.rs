//! Tokens as texts: made here, shown once, kept only as hashes.

use coordinator_core::token::TokenHash;
use sha2::{Digest, Sha256};

/// A fresh token with 256 random bits, marked with what it is for so that scanners of leaked
/// secrets recognise it.
pub fn generate(kind: Kind) -> String {
    let random: [u8; 32] = rand::random();
    format!("{}{}", kind.prefix(), hex(&random))
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The API.
    Api,
    /// An agent that joins.
    Join,
    /// A link that opens the pages.
    Login,
    /// A browser's session.
    Session,
    /// Shows that a form comes from a page of its session.
    Csrf,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Kind::Api => "garrison_api_",
            Kind::Join => "garrison_join_",
            Kind::Login => "garrison_login_",
            Kind::Session => "garrison_session_",
            Kind::Csrf => "garrison_csrf_",
        }
    }
}

/// What is kept of a token.
pub fn hash(text: &str) -> TokenHash {
    TokenHash(hex(&Sha256::digest(text.as_bytes())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_marked_and_never_the_same() {
        let (one, other) = (generate(Kind::Api), generate(Kind::Api));
        assert!(one.starts_with("garrison_api_") && one.len() == 13 + 64);
        assert_ne!(one, other);
        assert_ne!(hash(&one), hash(&other));
    }
}
