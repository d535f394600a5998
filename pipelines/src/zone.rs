//! Names of time zones, by the IANA database that is compiled in.

use jiff::tz::TimeZoneDatabase;

use crate::diagnostic::{Code, Report, quoted};
use crate::suggest;
use crate::yaml::Node;

const HELP: &str = "write a name of the IANA database, such as `Europe/Berlin` or `UTC`";

/// Reads `timezone`.
pub(crate) fn read(report: &mut Report<'_>, node: &Node) -> Option<String> {
    let text = report.text(node, "`timezone`", HELP)?;
    let zones = TimeZoneDatabase::bundled();
    // The database does not care for capitals; other programs do.
    let zone = zones.get(text).ok();
    let name = zone.as_ref().and_then(|zone| zone.iana_name());
    if name == Some(text) {
        return Some(text.to_owned());
    }
    let help = match name {
        Some(name) => format!("write {}", quoted(name)),
        None => advice(text, &zones),
    };
    let message = format!("there is no time zone {}", quoted(text));
    report.error(Code::UnknownTimeZone, node.span, message, help);
    None
}

fn advice(text: &str, zones: &TimeZoneDatabase) -> String {
    let names: Vec<String> = zones.available().map(|name| name.to_string()).collect();
    // What is misspelt mostly begins rightly.
    let begin = text.chars().next();
    let alike = names.iter().filter(|name| name.chars().next() == begin).map(String::as_str);
    suggest::nearest(text, alike)
        .map_or_else(|| HELP.to_owned(), |name| format!("did you mean {}?", quoted(name)))
}
