//! `wait`: what must be so before a job has succeeded.

use std::fmt::Display;

use super::job;
use crate::ast::{Check, Probe, Text, Wait};
use crate::diagnostic::{Code, Report, quoted};
use crate::fields::Fields;
use crate::keys;
use crate::limits;
use crate::probe::{self, Status, Url};
use crate::quantity;
use crate::source::Spanned;
use crate::template::is_template;
use crate::yaml::{Entry, Node, Value};

const HELP: &str = "list probes, such as `wait: [{ tcp: \"leaf01:22\", timeout: 15m }]`";

const KINDS_HELP: &str = "write one of `tcp: HOST:PORT`, `ssh: HOST:PORT`, `ssh: { device: leaf01 }`, \
                          `http: https://…`, `tls: HOST:PORT` and `run: COMMAND`";

/// The kinds of probes.
const KINDS: &[&str] = &["tcp", "ssh", "http", "tls", "run"];

/// Keys that only some kinds have.
const OPTIONS: &[(&str, &[&str])] = &[
    ("status", &["http"]),
    ("body", &["http"]),
    ("ca", &["http", "tls"]),
    ("server_name", &["tls"]),
    ("issuer", &["tls"]),
    ("valid_for", &["tls"]),
    ("output", &["run"]),
];

/// What a text of a probe must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Address,
    Url,
    Pattern,
    Path,
    /// Anything.
    Any,
}

/// Reads a job's `wait`.
pub(super) fn wait(report: &mut Report<'_>, entry: &Entry) -> Option<Wait> {
    let items = report.list(&entry.value, "`wait`", HELP)?;
    // More of them are refused whatever they are.
    let some = items.iter().take(limits::PROBES);
    let probes = some.filter_map(|item| probe(report, item)).collect();
    Some(Wait { span: entry.key.span, count: items.len(), probes })
}

fn probe(report: &mut Report<'_>, node: &Node) -> Option<Probe> {
    report.entries(node, "an entry of `wait`", KINDS_HELP)?;
    let fields = report.fields(node, node.span, &keys::PROBE)?;
    let kind = kind(report, &fields)?;
    options(report, &fields, kind);
    let seconds = |report: &mut Report<'_>, key: &str| {
        let (code, help) = (Code::InvalidDuration, quantity::DURATION_HELP);
        report.scalar(fields.node(key)?, &quoted(key), code, help, quantity::duration)
    };
    let interval_s = seconds(report, "interval").map(|interval| interval.value);
    let timeout_s = seconds(report, "timeout");
    let check = check(report, &fields, kind)?;
    Some(Probe { span: kind.key.span, check, interval_s, timeout_s })
}

fn kind<'n>(report: &mut Report<'_>, fields: &Fields<'n>) -> Option<&'n Entry> {
    let mut kinds: Vec<_> = KINDS.iter().filter_map(|kind| fields.entry(kind)).collect();
    kinds.sort_by_key(|entry| entry.key.span);
    match kinds.as_slice() {
        [] if fields.has_refused(KINDS) => None,
        [] => {
            let message = "an entry of `wait` says nothing to wait for";
            report.error(Code::NotOneProbe, fields.owner, message, KINDS_HELP);
            None
        }
        [only] => Some(*only),
        [first, more @ ..] => {
            for entry in more {
                let (one, other) = (quoted(&first.key.text), quoted(&entry.key.text));
                let message = format!("an entry of `wait` has both {one} and {other}");
                let help = "make two entries of it: they are waited for one after the other";
                report.error(Code::NotOneProbe, entry.key.span, message, help);
            }
            None
        }
    }
}

/// Reports keys that other kinds have.
fn options(report: &mut Report<'_>, fields: &Fields<'_>, kind: &Entry) {
    let kind = kind.key.text.as_str();
    for (key, kinds) in OPTIONS {
        let Some(entry) = fields.entry(key).filter(|_| !kinds.contains(&kind)) else { continue };
        let message = format!("a probe with {} has no {}", quoted(kind), quoted(key));
        let kinds: Vec<_> = kinds.iter().copied().map(quoted).collect();
        let help = format!("remove it: it goes with {}", kinds.join(" and "));
        report.error(Code::ProbeOption, entry.key.span, message, help);
    }
}

fn check(report: &mut Report<'_>, fields: &Fields<'_>, kind: &Entry) -> Option<Check> {
    let value = &kind.value;
    let option = |report: &mut Report<'_>, key: &str, form: Form| {
        fields.node(key).map(|node| text(report, node, &quoted(key), form))
    };
    match kind.key.text.as_str() {
        "tcp" => Some(Check::Tcp(text(report, value, "`tcp`", Form::Address)?)),
        "ssh" => match value.value {
            Value::Str(_) => Some(Check::Ssh(text(report, value, "`ssh`", Form::Address)?)),
            _ => device(report, kind),
        },
        "http" => {
            let status = fields.node("status").map(|node| statuses(report, node));
            let body = option(report, "body", Form::Pattern);
            let ca = option(report, "ca", Form::Path);
            let url = text(report, value, "`http`", Form::Url)?;
            let status = status.unwrap_or_else(|| vec![Status::Code(200)]);
            Some(Check::Http { url, status, body: wanted(body)?, ca: wanted(ca)? })
        }
        "tls" => {
            let server_name = option(report, "server_name", Form::Any);
            let issuer = option(report, "issuer", Form::Any);
            let ca = option(report, "ca", Form::Path);
            let valid_for_s = fields.node("valid_for").and_then(|node| {
                let (code, help) = (Code::InvalidDuration, quantity::KEEPING_HELP);
                Some(report.scalar(node, "`valid_for`", code, help, quantity::keeping)?.value)
            });
            let address = text(report, value, "`tls`", Form::Address)?;
            let (server_name, issuer, ca) = (wanted(server_name)?, wanted(issuer)?, wanted(ca)?);
            Some(Check::Tls { address, server_name, issuer, valid_for_s, ca })
        }
        _ => {
            let output = option(report, "output", Form::Pattern);
            let line = job::command(report, value)?;
            Some(Check::Run { line, output: wanted(output)? })
        }
    }
}

/// None if it was written and cannot be used.
fn wanted(option: Option<Option<Text>>) -> Option<Option<Text>> {
    match option {
        Some(text) => text.map(Some),
        None => Some(None),
    }
}

fn device(report: &mut Report<'_>, kind: &Entry) -> Option<Check> {
    let help = "write `HOST:PORT`, a device of the partition's inventory as `{ device: leaf01 }`, or \
                `{}` for the job's own";
    report.entries(&kind.value, "`ssh`", help)?;
    let fields = report.fields(&kind.value, kind.key.span, &keys::PROBE_DEVICE)?;
    match fields.node("device") {
        Some(node) => Some(Check::HostKey(Some(report.name(node, "the device's name")?))),
        None => Some(Check::HostKey(None)),
    }
}

fn statuses(report: &mut Report<'_>, node: &Node) -> Vec<Status> {
    let help = "write a status such as `200`, a class such as `2xx`, or a list of them";
    let items = match &node.value {
        Value::List(_) => report.list(node, "`status`", help).unwrap_or_default(),
        _ => std::slice::from_ref(node),
    };
    let status = |item: &Node| {
        let read = |text: &str| text.parse::<Status>();
        Some(report.scalar(item, "`status`", Code::InvalidProbe, help, read)?.value)
    };
    items.iter().filter_map(status).collect()
}

fn text(report: &mut Report<'_>, node: &Node, what: &str, form: Form) -> Option<Text> {
    let text = report.text(node, what, form.help())?;
    if text.trim().is_empty() {
        report.error(Code::Empty, node.span, format!("{what} is empty"), form.help());
        return None;
    }
    let text = Spanned::new(text.to_owned(), node.span);
    (is_template(&text.value) || form.check(report, &text.value, &text)).then_some(text)
}

impl Form {
    /// Whether `filled` is of this form, as which `written` was filled in; reported if not.
    pub(crate) fn check(self, report: &mut Report<'_>, filled: &str, written: &Text) -> bool {
        let told = |reason: &dyn Display| reason.to_string();
        let (what, read) = match self {
            Form::Address => {
                let read = probe::host_and_port(filled).map(|_| ());
                ("be an address", read.map_err(|reason| told(&reason)))
            }
            Form::Url => {
                let read = filled.parse::<Url>().map(|_| ());
                ("be asked for", read.map_err(|reason| told(&reason)))
            }
            Form::Pattern => ("be a regular expression", probe::check_pattern(filled)),
            Form::Path => ("be a path", probe::check_path(filled).map_err(|reason| told(&reason))),
            Form::Any => return true,
        };
        let Err(reason) = read else { return true };
        let message = format!("{} cannot {what}: {reason}", quoted(filled));
        report.error(Code::InvalidProbe, written.span, message, self.help());
        false
    }

    fn help(self) -> &'static str {
        match self {
            Form::Address => "write host and port, such as `leaf01:22` or `[fd00::1]:443`",
            Form::Url => "write a URL such as `https://api.example.com/-/ready`",
            Form::Pattern => {
                "write a regular expression that the text must match somewhere, such as \
                 `\"Established\"`"
            }
            Form::Path => "write a path below the working directory, such as `files/ca.pem`",
            Form::Any => "write a text",
        }
    }
}
