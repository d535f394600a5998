//! What a script leaves as outputs: `NAME=VALUE` lines in a file, read once it has succeeded.
//!
//! The file is the job's: it may hold anything by then, and be something else than a file.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::OFlag;
use pipelines::outcome::{Exit, Outcome};
use pipelines::output::{self, Outputs};

use crate::executor;
use crate::output::Output;

/// Most bytes of the file: each output may be written several times.
const MOST: u64 = 1 << 20;

/// Makes the file in the attempt's directory `dir`, if the job has outputs.
pub(super) fn prepare(dir: &Path, declared: &[String]) -> io::Result<()> {
    if declared.is_empty() {
        return Ok(());
    }
    let file = File::create(executor::outputs(dir))?;
    // A container's user may be any; nobody else gets as far as the directory.
    file.set_permissions(Permissions::from_mode(0o666))
}

/// Reads the outputs of a script that has succeeded; how the attempt ends then.
pub(super) fn take(dir: &Path, declared: &[String], output: &mut Output) -> (Outcome, Outputs) {
    if declared.is_empty() {
        return (Outcome::Succeeded, Outputs::new());
    }
    let holds_secret = |text: &str| output.masked(text) != text;
    let read = read(&executor::outputs(dir)).and_then(|text| parse(&text, declared, holds_secret));
    let (line, result) = match read {
        Ok(outputs) => {
            (format!("outputs: {} taken", declared.join(", ")), (Outcome::Succeeded, outputs))
        }
        Err(problem) => {
            // Of what it quotes the script has written a part.
            let problem = output.masked(&problem);
            let exit = Exit::Outputs(problem.clone());
            (format!("outputs: {problem}"), (Outcome::Failed { exit }, Outputs::new()))
        }
    };
    match output.say(&line) {
        Ok(()) => result,
        Err(error) => (super::incomplete(result.0, &error), Outputs::new()),
    }
}

/// Opens a file that was the job's to write; none if it is no file any more.
pub(super) fn open(path: &Path) -> io::Result<Option<File>> {
    // A pipe must not be waited for, and a link could lead anywhere.
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    Ok(Some(file).filter(|file| file.metadata().is_ok_and(|it| it.is_file())))
}

fn read(path: &Path) -> Result<String, String> {
    let unreadable =
        |error: io::Error| format!("the file $GARRISON_OUTPUTS cannot be read: {error}");
    let Some(file) = open(path).map_err(unreadable)? else {
        return Err("$GARRISON_OUTPUTS is no file any more".to_owned());
    };
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MOST {
        return Err(format!("the file $GARRISON_OUTPUTS holds more than {} KiB", MOST >> 10));
    }
    String::from_utf8(bytes).map_err(|_| "the file $GARRISON_OUTPUTS is not UTF-8".to_owned())
}

/// The outputs that `text` gives; of several lines about one, the last counts.
fn parse(
    text: &str,
    declared: &[String],
    holds_secret: impl Fn(&str) -> bool,
) -> Result<Outputs, String> {
    let mut outputs = Outputs::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let Some((name, value)) = line.split_once('=') else {
            return Err(format!(
                "line {} of $GARRISON_OUTPUTS is not of the form NAME=VALUE; a value is one line",
                index + 1
            ));
        };
        if !declared.iter().any(|it| it == name) {
            let name: String = name.chars().take(40).collect();
            return Err(format!("the output `{name}` is not among the job's `outputs`"));
        }
        output::check(value).map_err(|problem| format!("the output `{name}` {problem}"))?;
        if holds_secret(value) {
            return Err(format!("the output `{name}` holds a secret, and everybody could read it"));
        }
        outputs.insert(name.to_owned(), value.to_owned());
    }
    if let Some(missing) = declared.iter().find(|name| !outputs.contains_key(*name)) {
        return Err(format!(
            "the output `{missing}` is missing: the script wrote no such line into $GARRISON_OUTPUTS"
        ));
    }
    output::check_together(&outputs)?;
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Outputs, String> {
        let declared = ["version".to_owned(), "image".to_owned()];
        parse(text, &declared, |value| value.contains("hunter2"))
    }

    #[test]
    fn the_last_line_about_an_output_counts() {
        let outputs = parsed("version=1\n\nimage=a=b\nversion= 2 \n").unwrap();
        assert_eq!(outputs["version"], " 2 ");
        assert_eq!(outputs["image"], "a=b");
    }

    #[test]
    fn what_is_not_as_it_should_be_is_named() {
        let long = format!("version={}\nimage=a\n", "x".repeat(4097));
        for (text, words) in [
            ("version=1\n", "`image` is missing"),
            ("version=1\nimage=a\nother=1\n", "`other` is not among"),
            ("version=1\nimage=a\n more\n", "line 3"),
            ("version=1\nimage=\u{7}\n", "`image` holds a control character"),
            ("version=hunter2!\nimage=a\n", "`version` holds a secret"),
            (&long, "`version` has 4097 bytes"),
        ] {
            let problem = parsed(text).unwrap_err();
            assert!(problem.contains(words) && !problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn only_a_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outputs");
        assert!(read(&path).unwrap_err().contains("cannot be read"));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&path).unwrap_err().contains("no file any more"));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(read(&path).unwrap_err().contains("cannot be read"));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, [b'a', b'=', 0xff]).unwrap();
        assert!(read(&path).unwrap_err().contains("not UTF-8"));
        std::fs::write(&path, vec![b'a'; MOST as usize + 1]).unwrap();
        assert!(read(&path).unwrap_err().contains("more than 1024 KiB"));
    }
}
