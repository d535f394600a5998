//! Words that must be typed, where a person vouches for what no machine can know.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::exit::Failure;

/// Returns once `name` was typed, or given as `--confirm`.
///
/// # Errors
/// Another name, or nobody to ask.
#[allow(clippy::print_stderr, reason = "a question is no answer")]
pub fn confirm(consequences: &str, name: &str, given: Option<&str>) -> Result<(), Failure> {
    let typed = match given {
        Some(given) => given.to_owned(),
        None if io::stdin().is_terminal() => {
            eprint!("{consequences}Type {name} to go on: ");
            io::stderr().flush()?;
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line)?;
            line.trim().to_owned()
        }
        None => {
            return Err(Failure::usage(format!(
                "{consequences}There is nobody to ask: give --confirm {}",
                quoted(name)
            )));
        }
    };
    if typed == name {
        return Ok(());
    }
    Err(Failure::usage(format!("'{typed}' is not '{name}': nothing was done")))
}

/// The text as a shell takes it for one word.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_several_words_is_told_as_one() {
        assert_eq!(quoted("fra/mgmt01"), "fra/mgmt01");
        assert_eq!(quoted("it's loaded"), r"'it'\''s loaded'");
    }
}
