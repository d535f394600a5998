//! Values of labels, as agents have them and jobs ask for them.

/// Longest value, in bytes.
pub const MAX_LEN: usize = 63;

/// Most labels of an agent.
pub const MAX_COUNT: usize = 32;

/// Why a text is no label's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing, or more than [`MAX_LEN`] bytes.
    #[error("it must have 1 to {MAX_LEN} characters")]
    Length,
    /// Something else than letters, digits and `._-`.
    #[error("it holds something else than letters, digits and `._-`")]
    Character,
}

/// The text, if it can be a label's value.
pub fn check(text: &str) -> Result<String, Error> {
    if text.is_empty() || text.len() > MAX_LEN {
        return Err(Error::Length);
    }
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        return Err(Error::Character);
    }
    Ok(text.to_owned())
}
