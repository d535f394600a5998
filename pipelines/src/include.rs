//! `include`: parts of a pipeline that stand in other files, of the same commit or of another repository.
//!
//! It is done on the YAML trees, before anything is read, and before templates: a pipeline is what it
//! includes, one file after the other, with its own keys in it, mapping in mapping; everything else it
//! replaces. What came from another file keeps its place there.

use std::collections::BTreeMap;
use std::fmt;

use crate::diagnostic::{Code, Diagnostics, Report, quoted};
use crate::fields::Fields;
use crate::glob::Glob;
use crate::keys;
use crate::limits;
use crate::load::{Found, UNREADABLE, Unavailable};
use crate::name::RepositoryName;
use crate::source::{File, FileIndex, Source, Span, Spanned};
use crate::yaml::{self, Document, Entry, Node, Value};

const HELP: &str = "name files of this repository, such as `.garrison/include/base.yaml`, or \
                    `{ repository: shared, ref: v1.4.0, file: base.yaml }`";

const REF_HELP: &str = "name a tag such as `v1.4.0`, or a commit by its whole hash";

/// A file that is included.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Include {
    /// Where it stands, when that is not the pipeline's own commit.
    pub pinned: Option<Pinned>,
    /// Its path from the repository's root.
    pub file: String,
}

/// Another repository, at something that does not move.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pinned {
    /// The repository, as the coordinator calls it.
    pub repository: RepositoryName,
    /// A tag without `refs/tags/`, or a commit in hex.
    pub reference: String,
}

impl fmt::Display for Include {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pinned {
            Some(Pinned { repository, reference }) => {
                write!(f, "{repository}@{reference}:{}", self.file)
            }
            None => f.write_str(&self.file),
        }
    }
}

/// What a file includes; files that it names without a repository are of its own.
pub(crate) fn named(
    document: &Document,
    own: Option<&Pinned>,
    report: &mut Report<'_>,
) -> Vec<Include> {
    let Value::Map(entries) = &document.root.value else { return Vec::new() };
    let entry = entries.iter().find(|entry| entry.key.text == "include");
    let includes = entry.map(|entry| read(report, &entry.value, own)).unwrap_or_default();
    includes.into_iter().map(|include| include.value).collect()
}

fn read(report: &mut Report<'_>, node: &Node, own: Option<&Pinned>) -> Vec<Spanned<Include>> {
    let Some(items) = report.list(node, "`include`", HELP) else { return Vec::new() };
    items.iter().filter_map(|item| one(report, item, own)).collect()
}

fn one(report: &mut Report<'_>, node: &Node, own: Option<&Pinned>) -> Option<Spanned<Include>> {
    let Value::Map(_) = node.value else {
        let file = file(report, node)?;
        return Some(Spanned::new(Include { pinned: own.cloned(), file }, node.span));
    };
    let fields = report.fields(node, node.span, &keys::INCLUDE)?;
    let include = place(report, &fields, "the entry of `include`", own)?;
    Some(Spanned::new(include, node.span))
}

/// Where a file stands, by `file`, `repository` and `ref`.
pub(crate) fn place(
    report: &mut Report<'_>,
    fields: &Fields<'_>,
    of: &str,
    own: Option<&Pinned>,
) -> Option<Include> {
    let file = report.required(fields, "file", of, HELP);
    let file = file.and_then(|entry| self::file(report, &entry.value));
    let (repository, reference) = (fields.entry("repository"), fields.entry("ref"));
    let (lacking, other) = match (repository, reference) {
        (None, None) => return Some(Include { pinned: own.cloned(), file: file? }),
        (Some(repository), Some(reference)) => {
            let repository = report.name(&repository.value, "the repository's name");
            let reference = pinning(report, &reference.value);
            let pinned = Pinned { repository: repository?.value, reference: reference? };
            return Some(Include { pinned: Some(pinned), file: file? });
        }
        (Some(repository), None) => ("ref", repository),
        (None, Some(reference)) => ("repository", reference),
    };
    let message = format!("{} stands here without `{lacking}`", quoted(&other.key.text));
    report.error(Code::MissingKey, other.key.span, message, HELP);
    None
}

/// A file's path from its repository's root.
pub(crate) fn file(report: &mut Report<'_>, node: &Node) -> Option<String> {
    let text = report.text(node, "the file's path", HELP)?;
    let path: Result<Glob, _> = text.parse();
    let message = match path {
        Ok(_) if text.contains('*') => "one file is meant, and it holds `*`".to_owned(),
        Ok(_) if text.ends_with('/') => "it ends with a slash".to_owned(),
        Ok(_) => return Some(text.to_owned()),
        Err(error) => error.to_string(),
    };
    let message = format!("{} is no file of a repository: {message}", quoted(text));
    report.error(Code::InvalidInclude, node.span, message, HELP);
    None
}

/// A tag or a commit: a branch would give another pipeline tomorrow.
fn pinning(report: &mut Report<'_>, node: &Node) -> Option<String> {
    let Some(text) = node.value.scalar() else {
        return report.wrong_type(node, "`ref`", "a tag or a commit", REF_HELP);
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/+-".contains(c);
    let bad = if text.is_empty() || text.len() > limits::REF_BYTES {
        Some(format!("it has {} bytes; 1 to {} fit", text.len(), limits::REF_BYTES))
    } else if let Some(c) = text.chars().find(|&c| !is_plain(c)) {
        Some(format!("it holds {c:?}"))
    } else if text.starts_with("refs/") {
        Some("a tag is named without `refs/tags/`, and a branch moves".to_owned())
    } else if text.starts_with(['-', '.', '/']) || text.contains("..") {
        Some("no tag is called so".to_owned())
    } else {
        None
    };
    let Some(bad) = bad else { return Some(text.to_owned()) };
    let message = format!("{} cannot be used as `ref`: {bad}", quoted(text));
    report.error(Code::InvalidInclude, node.span, message, REF_HELP);
    None
}

/// A pipeline with what it includes, and the texts of all its files, its own first; files that it names without a
/// repository are of its own. None if one of them
/// is not to be had: what it holds would be missed everywhere.
pub(crate) fn resolve(
    document: Document,
    own: Option<&Pinned>,
    included: &BTreeMap<Include, Found>,
    found: &mut Diagnostics,
) -> Option<(Node, Vec<Source>)> {
    let Document { source, root } = document;
    let mut includer =
        Includer { included, texts: vec![source], nodes: 0, bytes: 0, is_whole: true };
    let root = includer.merged(root, own, &mut Vec::new(), found);
    includer.is_whole.then_some((root, includer.texts))
}

struct Includer<'i> {
    included: &'i BTreeMap<Include, Found>,
    texts: Vec<Source>,
    /// How many nodes, and how many bytes, were included.
    nodes: usize,
    bytes: usize,
    is_whole: bool,
}

impl<'i> Includer<'i> {
    /// A file's root with what it includes. `path` leads from the pipeline to it.
    fn merged(
        &mut self,
        root: Node,
        own: Option<&Pinned>,
        path: &mut Vec<Include>,
        found: &mut Diagnostics,
    ) -> Node {
        let Node { span, value: Value::Map(mut entries) } = root else { return root };
        let at = entries.iter().position(|entry| entry.key.text == "include");
        let Some(include) = at.map(|at| entries.remove(at)) else {
            return Node { span, value: Value::Map(entries) };
        };
        let includes = read(&mut Report::among(&self.texts, found), &include.value, own);
        let mut merged = Vec::new();
        for include in includes {
            if let Some(entries) = self.entries(&include, path, found) {
                yaml::merge(&mut merged, entries);
            } else {
                self.is_whole = false;
            }
        }
        yaml::merge(&mut merged, entries);
        Node { span, value: Value::Map(merged) }
    }

    /// What an included file holds.
    fn entries(
        &mut self,
        Spanned { value: include, span }: &Spanned<Include>,
        path: &mut Vec<Include>,
        found: &mut Diagnostics,
    ) -> Option<Vec<Entry>> {
        let file = self.file(include, *span, path, &mut Report::among(&self.texts, found))?;
        let root = self.root(file, *span, found)?;
        path.push(include.clone());
        let merged = self.merged(root, include.pinned.as_ref(), path, found);
        path.pop();
        match merged.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The file, if it is there and may be included once more.
    fn file(
        &self,
        include: &Include,
        span: Span,
        path: &[Include],
        report: &mut Report<'_>,
    ) -> Option<&'i File> {
        if path.contains(include) {
            let names: Vec<_> = path.iter().chain([include]).map(ToString::to_string).collect();
            let message = format!("these files include each other: {}", quoted(&names.join(" → ")));
            report.error(Code::IncludeCycle, span, message, "remove one of these entries");
            return None;
        }
        if self.texts.len() > limits::INCLUDES {
            let message = format!("the pipeline includes more than {} files", limits::INCLUDES);
            let help = "put what is always used together into one file";
            report.error(Code::TooManyIncludes, span, message, help);
            return None;
        }
        match self.included.get(include) {
            Some(Ok(file)) => return Some(file),
            Some(Err(unavailable)) => not_to_be_had(include, span, unavailable, report),
            None => not_to_be_had(include, span, &Unavailable::NotAtHand, report),
        }
        None
    }

    /// The root of a file, with no keys that only a pipeline may have.
    fn root(&mut self, file: &File, span: Span, found: &mut Diagnostics) -> Option<Node> {
        self.bytes += file.bytes.len();
        let mut root = None;
        if self.bytes <= limits::EXPANDED_BYTES {
            let document = yaml::read(file, found)?;
            let index = FileIndex(self.texts.len() as u16);
            self.texts.push(document.source);
            self.nodes += document.root.size();
            root = (self.nodes <= limits::NODES).then_some((document.root, index));
        }
        let mut report = Report::among(&self.texts, found);
        let Some((mut root, index)) = root else {
            let (bytes, nodes) = (limits::EXPANDED_BYTES, limits::NODES);
            let message =
                format!("the pipeline includes more than {bytes} bytes or {nodes} values");
            let help = "move long scripts into files of their own, or write several pipelines";
            report.error(Code::TooManyIncludes, span, message, help);
            return None;
        };
        root.mark(index);
        report.fields(&root, root.span.start_of_file(), &keys::INCLUDED)?;
        if let Value::Map(entries) = &mut root.value {
            // What was refused is told here alone.
            entries.retain(|entry| keys::INCLUDED.keys.contains(&entry.key.text.as_str()));
        }
        Some(root)
    }
}

/// Reports that a file which is included, or started, cannot be read.
pub(crate) fn not_to_be_had(
    include: &Include,
    span: Span,
    why: &Unavailable,
    report: &mut Report<'_>,
) {
    let name = quoted(&include.to_string());
    let (message, help) = match (why, &include.pinned) {
        (Unavailable::NotAllowed | Unavailable::NotBound { .. }, Some(pinned)) => (
            format!(
                "this repository may not include files of {}",
                quoted(pinned.repository.as_str())
            ),
            "have it listed under `included_by` of that repository in the coordinator's configuration",
        ),
        (Unavailable::NotAtHand, _) => (
            format!("{name} is not at hand"),
            "name a checkout of its repository with `--include NAME=FOLDER`",
        ),
        (Unavailable::Failed(reason), _) => (
            format!("{name} cannot be fetched: {reason}"),
            "check the reference and try again; if it stays so, tell who runs the coordinator",
        ),
        (Unavailable::Unreadable(reason), _) => {
            (format!("{name} cannot be read: {reason}"), UNREADABLE)
        }
        (Unavailable::NotFound | Unavailable::NotAllowed | Unavailable::NotBound { .. }, _) => (
            format!("there is no file {name}"),
            "check the path, which begins at the repository's root, and the reference",
        ),
    };
    report.error(Code::IncludeUnavailable, span, message, help);
}
