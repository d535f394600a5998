//! Names of the journal's segments.

use super::batch::Seq;

/// The file's name: the number of its first batch.
pub(super) fn name(first: Seq) -> String {
    format!("{:016}.log", first.0)
}

/// The number of the first batch of the segment with that name; none if it is no segment.
pub(super) fn parse(file: &str) -> Option<Seq> {
    let digits = file.strip_suffix(".log")?;
    let all_digits = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_digit());
    if all_digits { digits.parse().ok().map(Seq) } else { None }
}
