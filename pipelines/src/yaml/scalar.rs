//! What a plain scalar means, by the core schema of YAML 1.2 (section 10.3.2).

use super::{Value, Written};

/// The value of a scalar without quotes.
pub(super) fn plain(text: String) -> Value {
    if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    if let Some(value) = boolean(&text) {
        return Value::Bool(Written { value, text });
    }
    if let Some(value) = integer(&text) {
        return Value::Int(Written { value, text });
    }
    if let Some(value) = float(&text) {
        return Value::Float(Written { value, text });
    }
    Value::Str(text)
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

fn integer(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0o") {
        return all(digits, |c| c.is_digit(8)).then(|| i64::from_str_radix(digits, 8).ok())?;
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return all(digits, |c| c.is_ascii_hexdigit())
            .then(|| i64::from_str_radix(digits, 16).ok())?;
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    all(digits, |c| c.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A number that is too large for an integer is one of these, too.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" if text.starts_with('-') => return Some(f64::NEG_INFINITY),
        ".inf" | ".Inf" | ".INF" => return Some(f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if unsigned == text => return Some(f64::NAN),
        _ => {}
    }
    let starts = unsigned.starts_with(|c: char| c.is_ascii_digit())
        || unsigned.strip_prefix('.')?.starts_with(|c: char| c.is_ascii_digit());
    let alphabet = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+');
    (starts && all(unsigned, alphabet)).then(|| text.parse().ok())?
}

fn all(text: &str, allowed: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_true_and_false_are_booleans() {
        for text in ["on", "off", "yes", "no", "y", "n", "tRUE", "On"] {
            assert_eq!(plain(text.into()), Value::Str(text.into()));
        }
        let truth = Written { value: true, text: "True".into() };
        assert_eq!(plain("True".into()), Value::Bool(truth));
    }

    #[test]
    fn numbers_are_those_of_the_core_schema() {
        for (text, value) in [("0", 0), ("-12", -12), ("+5", 5), ("0o17", 15), ("0xfF", 255)] {
            assert_eq!(plain(text.into()), Value::Int(Written { value, text: text.into() }));
        }
        for (text, value) in [("1.10", 1.1), (".5", 0.5), ("1.", 1.0), ("-2e3", -2000.0)] {
            assert_eq!(plain(text.into()), Value::Float(Written { value, text: text.into() }));
        }
        let huge = "99999999999999999999";
        assert!(matches!(plain(huge.into()), Value::Float(_)));
    }

    #[test]
    fn what_only_looks_like_a_number_is_text() {
        for text in ["1_000", "0b1", "0x", "0o8", "1.2.3", "10.0.0.11", "1e", "-", ".", "e3", "inf"]
        {
            assert_eq!(plain(text.into()), Value::Str(text.into()), "{text}");
        }
    }
}
