//! Jobs that make a file of a template of the commit, in the runner itself.
//!
//! The language is that of minijinja with all that it has built in, strict about what is not there;
//! includes are found below the working directory alone. What is rendered is an artifact, so it must
//! hold nothing that output would not show.

use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, UndefinedBehavior, Value};
use pipelines::order::Order;
use pipelines::outcome::{Exit, Outcome};
use pipelines::plan;
use sha2::{Digest, Sha256};

use super::{Context, Executor};

/// Largest template, and most bytes that one file becomes.
const TEMPLATE_BYTES: u64 = 1 << 20;
const RENDERED_BYTES: usize = 4 << 20;

/// Most steps that it may take.
const FUEL: u64 = 1_000_000;

/// Deepest nesting of includes and macros.
const DEPTH: usize = 20;

/// Renders this file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Render<'a>(pub(super) &'a plan::Render);

impl Executor for Render<'_> {
    async fn run(&self, _: &Order, context: &mut Context) -> Outcome {
        let mut stop = context.stop.clone();
        let (render, workspace) = (self.0.clone(), context.workspace.clone());
        let rendering = tokio::task::spawn_blocking(move || rendered(&render, &workspace));
        let rendered = tokio::select! {
            // A cancel that is there already wins.
            biased;
            reason = stop.requested() => return reason.outcome(),
            rendered = rendering => rendered.unwrap_or_else(|panic| Err(panic.to_string())),
        };
        match rendered.and_then(|bytes| self.checked(bytes, context)) {
            Ok(bytes) => self.leave(&bytes, context),
            Err(problem) => {
                let problem = context.output.masked(&problem);
                Outcome::Failed { exit: Exit::Render(problem) }
            }
        }
    }
}

impl Render<'_> {
    /// Refuses what holds a value that output would not show.
    fn checked(&self, bytes: Vec<u8>, context: &Context) -> Result<Vec<u8>, String> {
        let text = String::from_utf8_lossy(&bytes);
        match context.output.masked(&text) == text {
            true => Ok(bytes),
            false => Err(format!(
                "{} would hold a secret, and whoever sees the run could read it; have a script put \
                 it in on the device instead",
                self.0.to
            )),
        }
    }

    fn leave(&self, bytes: &[u8], context: &mut Context) -> Outcome {
        let to = &self.0.to;
        let written = write(&context.workspace, to, bytes);
        let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let line = format!("render: {to}, {} bytes, SHA-256 {hash}", bytes.len());
        match written.and_then(|()| context.output.say(&line)) {
            Ok(()) => Outcome::Succeeded,
            Err(error) => Outcome::InfraError {
                reason: format!("cannot write {to}: {error}; see the disk of the agent's state"),
            },
        }
    }
}

/// Why there can be no file of that path: the commit has a folder, or a link to one, in its place.
fn in_the_way(root: &Path, to: &str) -> Option<String> {
    let path = root.join(to);
    let folders = path.ancestors().skip(1).take_while(|folder| *folder != root);
    for folder in folders {
        if folder.symlink_metadata().is_ok_and(|it| !it.is_dir()) {
            let folder = folder.strip_prefix(root).unwrap_or(folder).display();
            return Some(format!("{to} cannot be made: {folder} is no folder in the commit"));
        }
    }
    let is_folder = path.symlink_metadata().is_ok_and(|it| it.is_dir());
    is_folder.then(|| format!("{to} cannot be made: it is a folder in the commit"))
}

/// A link in the place of the file is not written through.
fn write(workspace: &Path, to: &str, bytes: &[u8]) -> io::Result<()> {
    let path = workspace.join(to);
    fs::create_dir_all(path.parent().unwrap_or(workspace))?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::File::create_new(&path)?.write_all(bytes)
}

/// What the template becomes; or why nothing, in words.
fn rendered(render: &plan::Render, workspace: &Path) -> Result<Vec<u8>, String> {
    let root = workspace.canonicalize().map_err(|error| error.to_string())?;
    if let Some(problem) = in_the_way(&root, &render.to) {
        return Err(problem);
    }
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_syntax(syntax());
    environment.set_recursion_limit(DEPTH);
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(|out, _, value| print(out, value));
    environment.set_loader(move |name| load(&root, name));
    let mut out = Bounded(Vec::new());
    let values = Value::from(Serde(&render.values));
    let template = environment.get_template(&render.template);
    let done =
        template.and_then(|template| template.render_captured_to(values, &mut out).map(drop));
    done.map_err(|error| told(&error))?;
    Ok(out.0)
}

/// As Ansible has it: a line that holds a statement alone leaves nothing.
fn syntax() -> SyntaxConfig {
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).keep_trailing_newline(true);
    syntax.build().expect("the delimiters are the usual ones")
}

/// A template by its path from the working directory; none if there is no such file.
fn load(root: &Path, name: &str) -> Result<Option<String>, Error> {
    let cannot = |reason: String| Error::new(ErrorKind::InvalidOperation, reason);
    let Ok(path) = root.join(name).canonicalize() else { return Ok(None) };
    if !path.starts_with(root) {
        return Err(cannot(format!("{name} is not among the files of the commit")));
    }
    read(&path).map(Some).map_err(|error| cannot(format!("{name} cannot be read: {error}")))
}

fn read(path: &PathBuf) -> io::Result<String> {
    let about = path.metadata()?;
    if !about.is_file() || about.len() > TEMPLATE_BYTES {
        return Err(io::Error::other("it is no file of at most 1 MiB"));
    }
    fs::read_to_string(path)
}

fn print(out: &mut Output<'_>, value: &Value) -> Result<(), Error> {
    if value.is_undefined() || value.is_none() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    match value.kind() {
        // As in the pipeline's own texts.
        ValueKind::Bool => Ok(write!(out, "{}", value.is_true())?),
        ValueKind::Map | ValueKind::Seq => {
            let help = "this is no single value: write `tojson` behind it, or a loop";
            Err(Error::new(ErrorKind::InvalidOperation, help))
        }
        _ => Ok(write!(out, "{value}")?),
    }
}

/// Names file, line and what is meant there, of the innermost file that was included.
fn told(error: &Error) -> String {
    if error.kind() == ErrorKind::BadInclude
        && let Some(inner) = std::error::Error::source(error).and_then(|it| it.downcast_ref())
    {
        return told(inner);
    }
    let place = match (error.name(), error.line()) {
        (Some(name), Some(line)) => format!("{name}, line {line}: "),
        (Some(name), None) => format!("{name}: "),
        (None, _) => String::new(),
    };
    let meant = error.range().and_then(|range| meant(error.template_source()?, range));
    let meant = meant.unwrap_or("this");
    let detail = error.detail().unwrap_or_default();
    match error.kind() {
        ErrorKind::UndefinedError => format!("{place}`{meant}` is not there"),
        ErrorKind::TemplateNotFound => {
            format!("{place}there is no such file in the commit: {detail}")
        }
        ErrorKind::OutOfFuel => format!("{place}the template takes too much work"),
        ErrorKind::WriteFailure => {
            format!("{place}the file would have more than {} MiB", RENDERED_BYTES >> 20)
        }
        kind if detail.is_empty() => format!("{place}{kind}"),
        _ => format!("{place}{detail}"),
    }
}

/// The part of a template that is told, with the name that it is read from.
fn meant(source: &str, range: Range<usize>) -> Option<&str> {
    let is_of_name = |c: char| c.is_alphanumeric() || "_.".contains(c);
    let before = source.get(..range.start)?.trim_end_matches(is_of_name).len();
    Some(source.get(before..range.end)?.trim())
}

/// Takes what is written, up to a limit.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > RENDERED_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered_of(files: &[(&str, &str)]) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let values = serde_json::json!({
            "partition": "fra-equ01",
            "check": true,
            "devices": { "leaf01": { "address": "10.0.0.11" }, "leaf02": { "address": "10.0.0.12" } },
        });
        let values = values.as_object().unwrap().clone();
        let render = plan::Render { template: files[0].0.into(), to: "out".into(), values };
        rendered(&render, dir.path()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_file_is_made_of_a_template_and_what_it_includes() {
        let main = "# {{ partition }} {{ check }}\n{% for name in devices %}\n{% include 'parts/device' %}\n{% endfor %}\n{# no #}{{ devices | tojson }}\n";
        let part = "host {{ name }} { {{ devices[name].address }} }\n";
        assert_eq!(
            rendered_of(&[("main.json.j2", main), ("parts/device", part)]).unwrap(),
            "# fra-equ01 true\nhost leaf01 { 10.0.0.11 }\nhost leaf02 { 10.0.0.12 }\n\
             {\"leaf01\": {\"address\": \"10.0.0.11\"}, \"leaf02\": {\"address\": \"10.0.0.12\"}}\n"
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let told = |files: &[(&str, &str)]| rendered_of(files).unwrap_err();
        assert_eq!(
            told(&[("a.j2", "x\n{{ partitoin }}")]),
            "a.j2, line 2: `partitoin` is not there"
        );
        let included =
            [("a.j2", "{% include 'b.j2' %}"), ("b.j2", "\n\n{{ devices.leaf03.address }}")];
        assert_eq!(told(&included), "b.j2, line 3: `devices.leaf03.address` is not there");
        assert_eq!(
            told(&[("a.j2", "{{ devices }}")]),
            "a.j2, line 1: this is no single value: write `tojson` behind it, or a loop"
        );
        let missing = told(&[("a.j2", "\n{% include 'c.j2' %}")]);
        assert!(missing.starts_with("a.j2, line 2: there is no such file"), "{missing}");
        let syntax = told(&[("a.j2", "\n{% if %}")]);
        assert!(syntax.starts_with("a.j2, line 2: "), "{syntax}");
    }

    #[test]
    fn nothing_outside_of_the_commit_is_read() {
        for path in ["../../../../etc/passwd", "/etc/passwd"] {
            let error = rendered_of(&[("a.j2", &format!("{{% include '{path}' %}}"))]).unwrap_err();
            assert!(!error.contains("root:"), "{error}");
        }
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("link")).unwrap();
        assert!(load(dir.path(), "link/passwd").is_err());
        let told = in_the_way(dir.path(), "link/a/garrison-test").unwrap();
        assert_eq!(told, "link/a/garrison-test cannot be made: link is no folder in the commit");
        assert!(in_the_way(dir.path(), "link").is_none());
        assert!(in_the_way(dir.path(), "").is_some());
    }

    #[test]
    fn no_small_template_costs_much() {
        let told = |text: &str| rendered_of(&[("a.j2", text)]).unwrap_err();
        let loops = "{% for a in range(1000) %}".repeat(3);
        let text = format!("{loops}{{{{ a }}}}{}", "{% endfor %}".repeat(3));
        assert!(told(&text).ends_with("the template takes too much work"));
        let error = told("{% for a in range(1000) %}{{ 'aaaaaaaaaa' * 1000 }}{% endfor %}");
        assert!(error.ends_with("the file would have more than 4 MiB"), "{error}");
        assert!(rendered_of(&[("a.j2", "{% include 'a.j2' %}")]).is_err());
    }
}
