//! A job's lines as text for `/bin/sh -e`.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Writes the lines as one script into the attempt's directory `dir`, behind a `head` that is not
/// shown. All may read it, since a container's user may be any; nobody else gets as far as the
/// directory.
pub(super) fn write(dir: &Path, head: &str, lines: &[String]) -> io::Result<PathBuf> {
    let script = dir.join("script");
    fs::write(&script, head.to_owned() + &of(lines))?;
    fs::set_permissions(&script, Permissions::from_mode(0o644))?;
    Ok(script)
}

/// The lines as one script that shows each before it runs it.
pub(super) fn of(lines: &[String]) -> String {
    lines
        .iter()
        .map(|line| format!("printf '%s\\n' {}\n{line}\n", quoted(&format!("$ {line}"))))
        .collect()
}

/// `text` as one word that stands for itself, whatever is in it.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_script_shows_its_lines_as_they_are_written() {
        let script = of(&["echo 'it''s' \"$HOME\" % \\n".into(), "true".into()]);
        let out = Command::new("/bin/sh").args(["-e", "-c", &script]).env("HOME", "/h").output();
        assert_eq!(
            String::from_utf8(out.unwrap().stdout).unwrap(),
            "$ echo 'it''s' \"$HOME\" % \\n\nits /h % n\n$ true\n"
        );
    }
}
