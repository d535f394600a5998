//! Writing YAML: as both versions 1.1, which Ansible reads, and 1.2 understand it the same way.

use std::fmt::Write;
use std::net::Ipv4Addr;

use serde_json::Value;

/// Words that one of the versions takes for something else than text.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// A text as a scalar: plain where nobody can take it for something else, otherwise in quotes.
pub fn scalar(text: &str) -> String {
    let inner = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(inner)
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if is_word || text.parse::<Ipv4Addr>().is_ok() {
        return text.to_owned();
    }
    // A string of JSON is one of YAML, too.
    serde_json::to_string(text).expect("a text has a form in JSON")
}

/// `value` behind a key that stands `indent` spaces deep, with the line's end.
pub(super) fn value(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            for (key, inner) in map {
                push(out, format_args!("{:indent$}{}:", "", scalar(key), indent = indent + 2));
                self::value(inner, indent + 2, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            for item in items {
                push(out, format_args!("{:indent$}-", "", indent = indent + 2));
                self::value(item, indent + 2, out);
            }
        }
        Value::String(text) => push(out, format_args!(" {}\n", scalar(text))),
        Value::Null => out.push('\n'),
        other => push(out, format_args!(" {other}\n")),
    }
}

/// Writes into a text, which does not fail.
pub fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_text_to_everybody_stands_without_quotes() {
        for plain in ["leaf01", "10.0.0.11", "a-b_c.d/e"] {
            assert_eq!(scalar(plain), plain);
        }
        for quoted in
            ["", "yes", "No", "null", "1", "01", "1e5", "a: b", "# x", "fd00::1", "x y", "-a"]
        {
            assert_eq!(scalar(quoted), format!("\"{quoted}\""));
        }
        assert_eq!(scalar("a\"b\\c\nd"), r#""a\"b\\c\nd""#);
    }
}
