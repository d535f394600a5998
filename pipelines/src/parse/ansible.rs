//! `inventory` and `recap`: what a job's Ansible is given, and asked for.

use crate::ast::Ansible;
use crate::diagnostic::{Report, quoted};
use crate::fields::Fields;
use crate::source::Span;

/// Whose inventories and recaps are known.
pub(crate) const TOOLS: &[(&str, ())] = &[("ansible", ())];

/// Reads a job's `inventory` and `recap`.
pub(super) fn ansible(report: &mut Report<'_>, fields: &Fields<'_>) -> Ansible {
    let mut asked = |key: &str| -> Option<Span> {
        let entry = fields.entry(key)?;
        report.choice(&entry.value, &quoted(key), TOOLS)?;
        Some(entry.key.span)
    };
    Ansible { inventory: asked("inventory"), recap: asked("recap") }
}
