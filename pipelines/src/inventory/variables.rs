//! Variables of a partition or a device: the same as those of a pipeline.

use super::Variables;
use crate::diagnostic::Report;
use crate::parse;
use crate::yaml::Node;

/// Reads `variables`.
pub(super) fn read(report: &mut Report<'_>, node: &Node) -> Variables {
    let variables = parse::variables(report, node);
    variables.into_iter().map(|(name, value)| (name, value.value)).collect()
}

/// Whether a variable can have this name.
///
/// # Errors
/// Why it cannot, as the end of a sentence.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    parse::variable_name(name)
}
