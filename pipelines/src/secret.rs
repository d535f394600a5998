//! Secrets: what they are called, and what their values may be.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// Longest name, in bytes.
pub const NAME_LEN: usize = 64;

/// Shortest value, in bytes: a shorter one could not be masked in output.
pub const SHORTEST: usize = 4;

/// Longest value, in bytes.
pub const LONGEST: usize = 64 << 10;

/// Most bytes of all values of one job: masking takes some 2,000 times their length in memory.
pub const LONGEST_TOGETHER: usize = 128 << 10;

/// What each job has in its environment anyway: what garrison says of it, its run's inputs, and the
/// outputs of jobs that it needs.
const RESERVED: [&str; 4] = ["GARRISON_", "INPUT_", "MATRIX_", "OUTPUT_"];

/// The name of a secret, which is that of a variable too, such as `VAULT_PASSWORD`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

/// Why a text cannot name a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A character outside `A-Z`, `0-9` and `_`, or no letter first.
    #[error("is not made of A-Z, 0-9 and '_' with a letter first")]
    Character,
    /// More than [`NAME_LEN`] bytes.
    #[error("has more than {NAME_LEN} characters")]
    TooLong,
    /// One of the variables that every job gets.
    #[error("begins with one of {}, as the variables do that jobs have anyway", RESERVED.join(", "))]
    Reserved,
}

/// A secret's value: text without NUL, of [`SHORTEST`] to [`LONGEST`] bytes. Its `Debug` shows
/// nothing of it, and its memory is cleared when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Value(String);

/// Why a text cannot be a secret's value; says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Fewer than [`SHORTEST`] bytes.
    #[error("the value has fewer than {SHORTEST} bytes, which could not be masked in output")]
    TooShort,
    /// More than [`LONGEST`] bytes.
    #[error("the value has more than {} KiB", LONGEST >> 10)]
    TooLong,
    /// It could be neither a variable nor be masked.
    #[error("the value holds a NUL character or is not UTF-8: encode it, as with base64")]
    NotText,
    /// Nothing but spaces and line ends.
    #[error("the value is blank")]
    Blank,
}

impl SecretName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value {
    /// The value of this text.
    pub fn new(text: String) -> Result<Value, ValueError> {
        Value(text).checked()
    }

    /// The value, if it may be one; a value that was read from JSON was not checked.
    pub fn checked(self) -> Result<Value, ValueError> {
        self.check().map(|()| self)
    }

    /// The value of these bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Value, ValueError> {
        match String::from_utf8(bytes) {
            Ok(text) => Value::new(text),
            Err(error) => {
                error.into_bytes().zeroize();
                Err(ValueError::NotText)
            }
        }
    }

    /// The text, for whoever must be shown it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn check(&self) -> Result<(), ValueError> {
        match self.0.len() {
            ..SHORTEST => Err(ValueError::TooShort),
            length if length > LONGEST => Err(ValueError::TooLong),
            _ if self.0.contains('\0') => Err(ValueError::NotText),
            // The masker leaves the spaces around a value alone.
            _ if self.0.trim().is_empty() => Err(ValueError::Blank),
            _ if self.0.trim().len() < SHORTEST => Err(ValueError::TooShort),
            _ => Ok(()),
        }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl FromStr for SecretName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let inner = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if !text.starts_with(|c: char| c.is_ascii_uppercase()) || !text.chars().all(inner) {
            return Err(NameError::Character);
        }
        if text.len() > NAME_LEN {
            return Err(NameError::TooLong);
        }
        if RESERVED.iter().any(|prefix| text.starts_with(prefix)) {
            return Err(NameError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for SecretName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> String {
        name.0
    }
}

impl AsRef<str> for SecretName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_a_variable_and_is_not_taken() {
        let longest = "A".repeat(NAME_LEN);
        for good in ["A", "SSH_KEY", "V2", "GARRISON", longest.as_str()] {
            assert_eq!(good.parse::<SecretName>().unwrap().as_str(), good);
        }
        for bad in ["", "a", "_A", "1A", "A-B", "A B", "Ä", "A\n"] {
            assert_eq!(bad.parse::<SecretName>(), Err(NameError::Character), "{bad}");
        }
        assert_eq!("A".repeat(65).parse::<SecretName>(), Err(NameError::TooLong));
        assert_eq!("GARRISON_RUN".parse::<SecretName>(), Err(NameError::Reserved));
        assert_eq!("INPUT_OS".parse::<SecretName>(), Err(NameError::Reserved));
        assert_eq!("OUTPUT_A_B".parse::<SecretName>(), Err(NameError::Reserved));
    }

    #[test]
    fn a_value_is_text_that_can_be_masked() {
        let of = |text: &str| Value::new(text.to_owned());
        assert_eq!(of("hunter2\n").unwrap().reveal(), "hunter2\n");
        assert_eq!(of("abc"), Err(ValueError::TooShort));
        assert_eq!(of(" abc "), Err(ValueError::TooShort));
        assert_eq!(of("  \n\n"), Err(ValueError::Blank));
        assert_eq!(of("hun\0ter"), Err(ValueError::NotText));
        assert_eq!(of(&"a".repeat(LONGEST + 1)), Err(ValueError::TooLong));
        assert!(of(&"a".repeat(LONGEST)).is_ok());
        assert_eq!(Value::from_bytes(vec![0xff; 8]), Err(ValueError::NotText));
    }

    #[test]
    fn nothing_of_a_value_shows() {
        assert_eq!(format!("{:?}", Value::new("hunter2".into()).unwrap()), "…");
    }
}
