//! `upload` and `download`: files that are carried to a device, and from it.

use crate::ast::{Text, Transfer, Transfers};
use crate::diagnostic::{Code, Report, quoted};
use crate::fields::Fields;
use crate::keys;
use crate::limits;
use crate::source::{Span, Spanned};
use crate::template::is_template;
use crate::yaml::{Entry, Node};

const UPLOAD_HELP: &str =
    "list files, such as `upload: [{ from: conf/leaf01.json, to: /etc/sonic/config_db.json }]`";

const DOWNLOAD_HELP: &str =
    "list files, such as `download: [{ from: /var/log/boot.log, to: logs/ }]`";

const MODE_HELP: &str = "write permissions as octal digits in quotes, such as `\"0640\"`";

const HERE_HELP: &str = "write a path below the working directory, such as `conf/leaf01.json`";

const THERE_HELP: &str =
    "write an absolute path such as `/etc/motd`, or one in the home of the user who logs in";

/// Where a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// A file in the job's working directory.
    File,
    /// A file in the job's working directory, or a folder that ends with `/`.
    FileOrFolder,
    /// A file on the device.
    RemoteFile,
    /// A file on the device, or a folder that ends with `/`.
    RemoteFileOrFolder,
}

/// Reads `upload`.
pub(super) fn upload(report: &mut Report<'_>, entry: &Entry) -> Option<Transfers> {
    let read = |report: &mut Report<'_>, node: &Node| {
        let fields = report.fields(node, node.span, &keys::UPLOAD)?;
        let mode = fields.node("mode").and_then(|node| mode(report, node));
        let from = path(report, &fields, "from", Side::File, UPLOAD_HELP);
        let to = path(report, &fields, "to", Side::RemoteFileOrFolder, UPLOAD_HELP);
        Some(Transfer { from: from?, to: to?, mode })
    };
    transfers(report, entry, "`upload`", UPLOAD_HELP, read)
}

/// Reads `download`.
pub(super) fn download(report: &mut Report<'_>, entry: &Entry) -> Option<Transfers> {
    let read = |report: &mut Report<'_>, node: &Node| {
        let fields = report.fields(node, node.span, &keys::DOWNLOAD)?;
        let from = path(report, &fields, "from", Side::RemoteFile, DOWNLOAD_HELP);
        let to = path(report, &fields, "to", Side::FileOrFolder, DOWNLOAD_HELP);
        Some(Transfer { from: from?, to: to?, mode: None })
    };
    transfers(report, entry, "`download`", DOWNLOAD_HELP, read)
}

fn transfers(
    report: &mut Report<'_>,
    entry: &Entry,
    what: &str,
    help: &str,
    read: impl Fn(&mut Report<'_>, &Node) -> Option<Transfer>,
) -> Option<Transfers> {
    let items = report.list(&entry.value, what, help)?;
    if items.len() > limits::TRANSFERS {
        let message =
            format!("{what} has {} files; at most {} fit", items.len(), limits::TRANSFERS);
        let help = "pack them into one file, and unpack that in the script";
        report.error(Code::InvalidTransfer, entry.key.span, message, help);
        return None;
    }
    let transfers = items.iter().filter_map(|item| read(report, item)).collect();
    Some(Transfers { span: entry.key.span, transfers })
}

fn path(
    report: &mut Report<'_>,
    fields: &Fields<'_>,
    key: &str,
    side: Side,
    help: &str,
) -> Option<Text> {
    let entry = report.required(fields, key, "this entry", help)?;
    let text = report.text(&entry.value, &quoted(key), help)?;
    let text = Spanned::new(text.to_owned(), entry.value.span);
    if is_template(&text.value) {
        return Some(text);
    }
    check_path(report, &text.value, side, text.span).then_some(text)
}

/// Whether the text can be a path there; reported if not.
pub(crate) fn check_path(report: &mut Report<'_>, text: &str, side: Side, span: Span) -> bool {
    let (folder_fits, is_here) = match side {
        Side::File => (false, true),
        Side::FileOrFolder => (true, true),
        Side::RemoteFile => (false, false),
        Side::RemoteFileOrFolder => (true, false),
    };
    let name = text.rsplit('/').next().unwrap_or_default();
    let problem = if text.is_empty() {
        "it is empty"
    } else if text.len() > limits::PATH_BYTES {
        "it is too long"
    } else if text.contains(char::is_control) {
        "it holds a line break or another control character"
    } else if is_here && text.starts_with('/') {
        "it does not begin in the working directory"
    } else if is_here && text.split('/').any(|part| part == "..") {
        "it leads upwards"
    } else if !is_here && text.starts_with('~') {
        "`~` stands for no home here: a path without `/` in front begins there"
    } else if name.is_empty() && !folder_fits {
        "it names a folder, and one file is carried"
    } else if matches!(name, "." | "..") {
        "its last part is no name"
    } else {
        return true;
    };
    let message = format!("the path {} cannot be used: {problem}", quoted(text));
    let help = if is_here { HERE_HELP } else { THERE_HELP };
    report.error(Code::InvalidTransfer, span, message, help);
    false
}

fn mode(report: &mut Report<'_>, node: &Node) -> Option<u32> {
    let read = |text: &str| {
        let is_octal = (3..=4).contains(&text.len()) && text.chars().all(|c| c.is_digit(8));
        let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_octal);
        mode.ok_or("it is not made of three or four octal digits")
    };
    Some(report.scalar(node, "`mode`", Code::InvalidTransfer, MODE_HELP, read)?.value)
}
