//! Values in INI files: literals of Python where they are some, otherwise text.

use super::Unfit;

/// What a value stands for; numbers and truths stay as they are written.
pub(super) fn value(text: &str) -> Result<String, Unfit> {
    let mut rest = text.trim();
    match literal(&mut rest) {
        Some(Literal::Text(inner)) if rest.trim().is_empty() => Ok(inner),
        Some(Literal::None) if rest.trim().is_empty() => Err(Unfit::Empty),
        Some(Literal::Nested) if rest.trim().is_empty() => Err(Unfit::Nested),
        // A tuple needs no brackets.
        Some(_) if rest.trim_start().starts_with(',') && items(&mut rest, None) => {
            Err(Unfit::Nested)
        }
        Some(_) | None => Ok(text.to_owned()),
    }
}

enum Literal {
    Text(String),
    None,
    Nested,
}

/// Takes one literal from the front, if one stands there.
fn literal(rest: &mut &str) -> Option<Literal> {
    *rest = rest.trim_start();
    let mut chars = rest.chars();
    let first = chars.next()?;
    let close = match first {
        '\'' | '"' => return string(rest, first).map(Literal::Text),
        '[' => ']',
        '(' => ')',
        '{' => '}',
        _ => return word(rest),
    };
    *rest = chars.as_str();
    if let Some(behind) = rest.trim_start().strip_prefix(close) {
        *rest = behind;
        return Some(Literal::Nested);
    }
    literal(rest)?;
    items(rest, Some(close)).then_some(Literal::Nested)
}

/// Takes what follows the first item of a list, a tuple, a set or a mapping, up to its end.
fn items(rest: &mut &str, close: Option<char>) -> bool {
    loop {
        *rest = rest.trim_start();
        if let Some(behind) = close.and_then(|close| rest.strip_prefix(close)) {
            *rest = behind;
            return true;
        }
        if close.is_none() && rest.is_empty() {
            return true;
        }
        let is_map = close == Some('}');
        let behind = rest.strip_prefix(',').or_else(|| rest.strip_prefix(':').filter(|_| is_map));
        let Some(behind) = behind else { return false };
        *rest = behind.trim_start();
        let at_end = close.map_or(rest.is_empty(), |close| rest.starts_with(close));
        if !at_end && literal(rest).is_none() {
            return false;
        }
    }
}

fn string(rest: &mut &str, quote: char) -> Option<String> {
    let mut text = String::new();
    let mut chars = rest[1..].chars();
    loop {
        match chars.next()? {
            c if c == quote => break,
            '\\' => match chars.next()? {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                c @ ('\\' | '\'' | '"') => text.push(c),
                // Others are rare: the value then stays as it is written.
                _ => return None,
            },
            c => text.push(c),
        }
    }
    *rest = chars.as_str();
    Some(text)
}

fn word(rest: &mut &str) -> Option<Literal> {
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_.+-".contains(c)));
    let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
    let digits = word.trim_start_matches(['+', '-']);
    let has_zeros =
        digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|it| it.is_ascii_digit());
    let is_hex = digits.strip_prefix("0x").is_some_and(|hex| u128::from_str_radix(hex, 16).is_ok());
    let begins = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let is_number = begins && !has_zeros && digits.replace('_', "").parse::<f64>().is_ok();
    let literal = match word {
        "None" => Literal::None,
        "True" | "False" => Literal::Text(word.to_owned()),
        _ if is_number || is_hex => Literal::Text(word.to_owned()),
        _ => return None,
    };
    *rest = behind;
    Some(literal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_of_python_are_told_from_text() {
        for (written, text) in [
            ("10", "10"),
            ("1.10", "1.10"),
            ("True", "True"),
            ("'a b'", "a b"),
            ("\"it's\"", "it's"),
            ("a, b", "a, b"),
            ("[a, b]", "[a, b]"),
            ("1.1.1.1, 8.8.8.8", "1.1.1.1, 8.8.8.8"),
            ("010, 1", "010, 1"),
            ("10.0.0.1", "10.0.0.1"),
            ("{{ x }}", "{{ x }}"),
            ("'a' b", "'a' b"),
            ("", ""),
        ] {
            assert_eq!(value(written), Ok(text.to_owned()), "{written}");
        }
        for nested in ["[]", "[1, 'a']", "80,443", "{'a': 1, \"b\": [2]}", "(1,)", "{1}", "{}"] {
            assert_eq!(value(nested), Err(Unfit::Nested), "{nested}");
        }
        assert_eq!(value("None"), Err(Unfit::Empty));
    }
}
