//! Names of hosts as inventories write them: with ranges such as `leaf[01:12]`, and with ports.

/// Most hosts that one pattern may stand for.
const MOST: usize = 10_000;

/// Why a pattern names no hosts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("a range is written as `[01:12]`, `[a:f]` or with a step as `[0:8:2]`")]
    Form,
    #[error("the bounds of a range with zeros in front must have the same length")]
    Length,
    #[error("a range must begin before it ends, and its step be 1 or more")]
    Order,
    #[error("it stands for more than {MOST} hosts")]
    TooMany,
    #[error("a port must stand behind the `:`")]
    NoPort,
    #[error("its port is not from 1 to 65535")]
    Port,
}

/// The hosts that a pattern names, and their port if it says one.
pub(super) fn hosts(pattern: &str) -> Result<(Vec<String>, Option<u16>), Error> {
    let (name, port) = split_port(pattern)?;
    let mut hosts = Vec::new();
    expand(name, &mut hosts)?;
    Ok((hosts, port))
}

/// `[ADDRESS]:PORT`, or `NAME:PORT` where no other `:` stands outside of brackets.
fn split_port(pattern: &str) -> Result<(&str, Option<u16>), Error> {
    let Some((front, digits)) = pattern.rsplit_once(':') else { return Ok((pattern, None)) };
    let mut depth = 0_i32;
    let outside = front.chars().any(|c| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        c == ':' && depth == 0
    });
    // An address of IPv6, or the middle of a range.
    if outside || depth != 0 {
        return Ok((pattern, None));
    }
    if digits.is_empty() {
        return Err(Error::NoPort);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok((pattern, None));
    }
    let port = digits.parse().ok().filter(|port| *port > 0).ok_or(Error::Port)?;
    let inner = front.strip_prefix('[').and_then(|front| front.strip_suffix(']'));
    let name = inner.filter(|inner| !inner.contains('[')).unwrap_or(front);
    Ok((name, Some(port)))
}

fn expand(name: &str, hosts: &mut Vec<String>) -> Result<(), Error> {
    let Some((head, rest)) = name.split_once('[') else {
        if hosts.len() == MOST {
            return Err(Error::TooMany);
        }
        hosts.push(name.to_owned());
        return Ok(());
    };
    let (range, tail) = rest.split_once(']').ok_or(Error::Form)?;
    for part in parts(range)? {
        expand(&format!("{head}{part}{tail}"), hosts)?;
    }
    Ok(())
}

/// What a range stands for, each in its turn.
fn parts(range: &str) -> Result<Vec<String>, Error> {
    let bounds: Vec<&str> = range.split(':').collect();
    let (first, last, step) = match bounds[..] {
        [first, last] => (first, last, 1),
        [first, last, step] => (first, last, step.parse().map_err(|_| Error::Form)?),
        _ => return Err(Error::Form),
    };
    if step == 0 {
        return Err(Error::Order);
    }
    let first = if first.is_empty() { "0" } else { first };
    if let (Some(first), Some(last)) = (letter(first), letter(last)) {
        if first > last {
            return Err(Error::Order);
        }
        return Ok((first..=last)
            .step_by(step)
            .map(|index| char::from(LETTERS[index]).to_string())
            .collect());
    }
    let width = if first.len() > 1 && first.starts_with('0') { first.len() } else { 0 };
    if width > 0 && last.len() != width {
        return Err(Error::Length);
    }
    let number = |text: &str| text.parse::<usize>().map_err(|_| Error::Form);
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(Error::Order);
    }
    if (last - first) / step >= MOST {
        return Err(Error::TooMany);
    }
    Ok((first..=last).step_by(step).map(|number| format!("{number:0width$}")).collect())
}

/// Small letters come before capitals.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

fn letter(text: &str) -> Option<usize> {
    let [byte] = text.as_bytes() else { return None };
    LETTERS.iter().position(|letter| letter == byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_expanded() {
        for (pattern, names) in [
            ("leaf01", &["leaf01"][..]),
            ("leaf[09:11]", &["leaf09", "leaf10", "leaf11"]),
            (
                "leaf[1:5:2]-[a:b]",
                &["leaf1-a", "leaf1-b", "leaf3-a", "leaf3-b", "leaf5-a", "leaf5-b"],
            ),
            ("x[:2]", &["x0", "x1", "x2"]),
            ("10.0.[0:1].1", &["10.0.0.1", "10.0.1.1"]),
            ("fe80::1", &["fe80::1"]),
        ] {
            assert_eq!(
                hosts(pattern),
                Ok((names.iter().map(|it| (*it).to_owned()).collect(), None))
            );
        }
    }

    #[test]
    fn a_port_stands_behind_the_name() {
        for (pattern, name, port) in
            [("a:22", "a", 22), ("[fe80::1]:2222", "fe80::1", 2222), ("a[1:1]:5", "a1", 5)]
        {
            assert_eq!(hosts(pattern), Ok((vec![name.to_owned()], Some(port))));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (pattern, error) in [
            ("a[1]", Error::Form),
            ("a[1:2", Error::Form),
            ("a[1:x]", Error::Form),
            ("a[1:2:3:4]", Error::Form),
            ("a[01:100]", Error::Length),
            ("a[2:1]", Error::Order),
            ("a[b:a]", Error::Order),
            ("a[1:2:0]", Error::Order),
            ("a[0:99999999]", Error::TooMany),
            ("a[0:999]b[0:999]", Error::TooMany),
            ("a:", Error::NoPort),
            ("a:0", Error::Port),
        ] {
            assert_eq!(hosts(pattern), Err(error), "{pattern}");
        }
    }
}
