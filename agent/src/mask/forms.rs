//! The forms in which a secret's value may turn up in output.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use super::SHORTEST;

/// Columns at which `base64` (coreutils) and `openssl base64` begin a new line.
const WRAPS: [usize; 2] = [76, 64];

/// Characters beside letters and digits that encoders of URLs leave as they are: RFC 3986,
/// Python's `quote`, JavaScript's `encodeURIComponent`, HTML forms.
const UNRESERVED: [&[u8]; 4] = [b"-._~", b"-._~/", b"-._~!'()*", b"-._*"];

/// All forms of all values and of their lines, sorted, each at least [`SHORTEST`] bytes long.
pub(super) fn of_all(values: &[String]) -> Vec<Vec<u8>> {
    let mut forms = BTreeSet::new();
    for value in values {
        for text in [value.as_str(), value.trim()].into_iter().chain(value.lines().map(str::trim)) {
            if text.len() >= SHORTEST && !text.trim().is_empty() {
                of_one(text, &mut forms);
            }
        }
    }
    forms.retain(|form| form.len() >= SHORTEST);
    forms.into_iter().collect()
}

fn of_one(text: &str, forms: &mut BTreeSet<Vec<u8>>) {
    forms.insert(text.as_bytes().to_vec());
    forms.extend(base64(text.as_bytes()));
    forms.extend(url(text.as_bytes()));
    forms.extend(json(text));
}

/// Base64 of `value` alone, and what is the same whenever it is a part of something encoded: at
/// each of the three places that it can have among groups of three bytes.
fn base64(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
        for before in 0..3 {
            let mut shifted = vec![0; before];
            shifted.extend_from_slice(value);
            let encoded = engine.encode(&shifted).into_bytes();
            // The characters that hold bits of the bytes before, and of those behind.
            let first = (before * 8).div_ceil(6);
            let sure = shifted.len() * 8 / 6;
            forms.push(encoded[first..].to_vec());
            forms.push(encoded[first..sure].to_vec());
            if before == 0 {
                forms.extend(WRAPS.iter().flat_map(|wrap| wrapped(&encoded[..sure], *wrap)));
            }
        }
    }
    forms
}

fn wrapped(encoded: &[u8], columns: usize) -> impl Iterator<Item = Vec<u8>> {
    let lines = if encoded.len() > columns { encoded } else { &[] };
    lines.chunks(columns).map(<[u8]>::to_vec)
}

fn url(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for unreserved in UNRESERVED {
        for hex in [b"0123456789ABCDEF", b"0123456789abcdef"] {
            forms.push(percent(value, unreserved, hex, b"%20"));
            forms.push(percent(value, unreserved, hex, b"+"));
        }
    }
    forms
}

fn percent(value: &[u8], unreserved: &[u8], hex: &[u8; 16], space: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for &byte in value {
        match byte {
            b' ' => out.extend_from_slice(space),
            _ if byte.is_ascii_alphanumeric() || unreserved.contains(&byte) => out.push(byte),
            _ => {
                out.extend([b'%', hex[usize::from(byte >> 4)], hex[usize::from(byte & 15)]]);
            }
        }
    }
    out
}

/// JSON as most write it, and with what some escape beside that: PHP `/`, Go `<`, `>` and `&`,
/// Python and PHP all that is not ASCII.
fn json(text: &str) -> Vec<Vec<u8>> {
    let plain = serde_json::to_string(text).expect("a string is JSON");
    let plain = &plain[1..plain.len() - 1];
    let ascii: String = plain.chars().map(ascii_escape).collect();
    let html: String = plain.chars().map(html_escape).collect();
    [plain.replace('/', "\\/"), ascii.replace('/', "\\/"), plain.to_owned(), ascii, html]
        .map(String::into_bytes)
        .to_vec()
}

fn ascii_escape(char: char) -> String {
    if char.is_ascii() {
        return char.to_string();
    }
    char.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

fn html_escape(char: char) -> String {
    match char {
        '<' | '>' | '&' => format!("\\u{:04x}", u32::from(char)),
        _ => char.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Secrets;

    /// Masks `text` and says what of it is left.
    fn left(value: &str, text: &str) -> String {
        let masked = Secrets::new(&[value.to_owned()]).unwrap().mask(text.as_bytes());
        String::from_utf8(masked).unwrap()
    }

    #[test]
    fn base64_is_found_wherever_the_value_stands() {
        let value = "geheim?>ö7";
        for (before, marked) in [("", "[masked]"), ("a", "YQ"), ("ab", "YWI")] {
            for after in ["", "x", "xy", "xyz"] {
                let whole = format!("{before}{value}{after}");
                for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
                    let left = left(value, &engine.encode(&whole));
                    let (head, tail) = left.split_once("[masked]").expect(&left);
                    // Of each side at most one character with bits of the value remains.
                    assert!(head.len() <= 3 && tail.len() <= 8, "{whole}: {left}");
                    assert!(left.starts_with(&marked[..1]), "{whole}: {left}");
                }
            }
        }
        assert_eq!(left(value, &STANDARD.encode(value)), "[masked]");
    }

    #[test]
    fn base64_with_line_ends_is_found() {
        let value = "0123456789abcdefghijklmnopqrstuvwxyz".repeat(5);
        for columns in WRAPS {
            let encoded = STANDARD.encode(format!("{value}\n"));
            let lines: Vec<_> = encoded.as_bytes().chunks(columns).collect();
            let text = String::from_utf8(lines.join(&b'\n')).unwrap();
            let left = left(&value, &text);
            assert!(left.len() <= "[masked]\n".len() * lines.len() + 4, "{left}");
        }
    }

    #[test]
    fn urls_and_json_are_found_as_their_encoders_write_them() {
        let value = "a b/c\"d<é>&'(";
        for text in [
            "a%20b%2Fc%22d%3C%C3%A9%3E%26%27%28",
            "a%20b%2fc%22d%3c%c3%a9%3e%26%27%28",
            "a%20b/c%22d%3C%C3%A9%3E%26%27%28",
            "a%20b%2Fc%22d%3C%C3%A9%3E%26'(",
            "a+b%2Fc%22d%3C%C3%A9%3E%26%27%28",
            r#"a b/c\"d<é>&'("#,
            r#"a b\/c\"d<é>&'("#,
            r#"a b/c\"d<\u00e9>&'("#,
            r#"a b/c\"d\u003cé\u003e\u0026'("#,
        ] {
            assert_eq!(left(value, text), "[masked]");
        }
    }

    #[test]
    fn lines_of_a_value_are_found_alone() {
        let key = "-----BEGIN KEY-----\r\nAAAABBBB\r\nab\r\n-----END KEY-----\n";
        assert_eq!(left(key, "x AAAABBBB ab y"), "x [masked] ab y");
        assert_eq!(left(key, &key.replace('\r', "")), "[masked]\n[masked]\nab\n[masked]\n");
        assert_eq!(left(key, key), "[masked]");
    }
}
