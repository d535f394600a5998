//! Diagnostics as text, in the manner of the Rust compiler.

use std::fmt::Write;

use super::{Diagnostic, Diagnostics};

/// All of them, with an empty line after each.
pub(super) fn all(found: &Diagnostics) -> String {
    let mut out = String::new();
    for diagnostic in found {
        out.push_str(&one(diagnostic));
        out.push('\n');
    }
    if found.omitted() > 0 {
        line(&mut out, format_args!("and {} more", found.omitted()));
    }
    out
}

/// Message, place, the line with what is meant underlined, and what to do.
pub(super) fn one(found: &Diagnostic) -> String {
    let mut out = String::new();
    line(&mut out, format_args!("{}[{}]: {}", found.severity, found.code, found.message));
    let start = found.span.start;
    let gutter = " ".repeat(start.line.to_string().len());
    match &found.excerpt {
        Some(excerpt) => {
            let before = " ".repeat(excerpt.offset as usize);
            let mark = "^".repeat(excerpt.width as usize);
            let place = format_args!("{gutter}--> {}:{}:{}", found.file, start.line, start.column);
            line(&mut out, place);
            line(&mut out, format_args!("{gutter} |"));
            line(&mut out, format_args!("{} | {}", start.line, excerpt.text.trim_end()));
            line(&mut out, format_args!("{gutter} | {before}{mark}"));
        }
        None => line(&mut out, format_args!("{gutter}--> {}", found.file)),
    }
    if let Some(help) = &found.help {
        line(&mut out, format_args!("{gutter} = help: {help}"));
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("writing to a string does not fail");
}
