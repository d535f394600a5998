//! References to container images.

use crate::limits;

/// What to write for a reference.
pub(crate) const HELP: &str = "write one such as `debian:12` or `registry.example.com/tools:1`";

/// The reference with its tag or digest: one without means `latest`, which is then written out.
///
/// # Errors
/// Why the text is no reference, as the end of a sentence.
pub(crate) fn reference(text: &str) -> Result<String, &'static str> {
    check(text)?;
    let last = text.rsplit('/').next().unwrap_or(text);
    let is_pinned = last.contains(':') || text.contains('@');
    Ok(if is_pinned { text.to_owned() } else { format!("{text}:latest") })
}

fn check(text: &str) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let inner = |c: char| c.is_ascii_alphanumeric();
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > limits::IMAGE_BYTES {
        return Err("it is too long");
    }
    if !text.chars().all(allowed) {
        return Err("it holds something else than letters, digits and `._-/:@`");
    }
    if !text.starts_with(inner) || !text.ends_with(inner) {
        return Err("it must begin and end with a letter or digit");
    }
    let name = text.split('@').next().unwrap_or(text);
    let (path, last) = name.rsplit_once('/').unwrap_or(("", name));
    let repository = last.split(':').next().unwrap_or(last);
    let without_registry = path.split_once('/').map_or("", |(_, rest)| rest);
    if repository.chars().chain(without_registry.chars()).any(|c| c.is_ascii_uppercase()) {
        return Err("only its registry and tag may have upper-case letters");
    }
    if name.contains("//") || text.matches('@').count() > 1 || last.matches(':').count() > 1 {
        return Err("its parts are not separated by one `/`, `:` or `@` each");
    }
    Ok(())
}
