//! Splitting a line into words as a shell does, with quotes and comments.

/// Why a line cannot be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("a quote is not closed")]
    Quote,
    #[error("nothing stands behind its last `\\`")]
    Escape,
}

/// The words of a line; a `#` outside of quotes begins a comment wherever it stands.
pub(super) fn split(line: &str) -> Result<Vec<String>, Error> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '#' => break,
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => quoted(&mut chars, '\'', word.get_or_insert_default())?,
            '"' => quoted(&mut chars, '"', word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(chars.next().ok_or(Error::Escape)?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Takes what stands up to the closing quote; only double quotes know escapes.
fn quoted(chars: &mut std::str::Chars<'_>, quote: char, word: &mut String) -> Result<(), Error> {
    loop {
        match chars.next().ok_or(Error::Quote)? {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => {
                let escaped = chars.next().ok_or(Error::Quote)?;
                if escaped != '"' && escaped != '\\' {
                    word.push('\\');
                }
                word.push(escaped);
            }
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        for (line, words) in [
            ("a  b\tc", &["a", "b", "c"][..]),
            ("a b='x y' c=\"z # \\\" \\n\"", &["a", "b=x y", "c=z # \" \\n"]),
            ("a # b", &["a"]),
            ("a b=c#d e", &["a", "b=c"]),
            ("a\\ b ''", &["a b", ""]),
            ("", &[]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        assert_eq!(split("a 'b"), Err(Error::Quote));
        assert_eq!(split("a \\"), Err(Error::Escape));
    }
}
