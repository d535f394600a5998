//! Masking: no form of a secret's value reaches the disk, however the output is cut into reads.
//!
//! A byte is masked if any form covers it; each run of such bytes becomes [`MARKER`]. What is held
//! back between reads is only a tail that is a proper prefix of a form, so that a prompt without
//! a line's end shows at once.
//! Invariant: what comes out does not depend on where the input was cut.

mod forms;

use std::fmt;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError, MatchKind};

/// What stands in the output for a secret.
pub const MARKER: &[u8] = b"[masked]";

/// Values and lines shorter than this, in bytes, are left alone: masking them would only harm.
pub const SHORTEST: usize = 4;

/// The forms of all secrets of one job; cheap to clone. Its `Debug` shows none of them.
#[derive(Clone)]
pub struct Secrets(Arc<Inner>);

struct Inner {
    automaton: AhoCorasick,
    /// Sorted.
    forms: Vec<Vec<u8>>,
    longest: usize,
}

/// Masks one stream.
pub struct Masker {
    secrets: Secrets,
    held: Vec<u8>,
    /// How many bytes at the start of `held` a form covers that begins before it.
    covered: usize,
    /// Whether the last byte that went out was a masked one.
    masking: bool,
}

/// More or longer secrets than can be searched for.
#[derive(Debug, thiserror::Error)]
#[error("secrets cannot be masked: {0}")]
pub struct Error(#[from] BuildError);

impl Secrets {
    /// All forms of `values`, each of them UTF-8 and possibly of several lines.
    pub fn new(values: &[String]) -> Result<Self, Error> {
        let forms = forms::of_all(values);
        let automaton = AhoCorasick::builder()
            // A DFA would take megabytes for one private key.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .match_kind(MatchKind::Standard)
            .build(&forms)?;
        let longest = forms.iter().map(Vec::len).max().unwrap_or(0);
        Ok(Self(Arc::new(Inner { automaton, forms, longest })))
    }

    /// Masks a text that is complete in itself.
    pub fn mask(&self, text: &[u8]) -> Vec<u8> {
        let mut masker = Masker::new(self.clone());
        let mut out = Vec::with_capacity(text.len());
        masker.push(text, &mut out);
        masker.flush(&mut out);
        out
    }

    /// Where the longest tail of `text` starts that is a proper prefix of a form.
    fn unfinished(&self, text: &[u8]) -> usize {
        let first = text.len().saturating_sub(self.0.longest.saturating_sub(1));
        (first..text.len()).find(|start| self.is_prefix(&text[*start..])).unwrap_or(text.len())
    }

    fn is_prefix(&self, text: &[u8]) -> bool {
        let next = self.0.forms.partition_point(|form| form.as_slice() <= text);
        self.0.forms.get(next).is_some_and(|form| form.starts_with(text))
    }
}

impl Masker {
    /// A masker at the start of a stream.
    pub fn new(secrets: Secrets) -> Self {
        Self { secrets, held: Vec::new(), covered: 0, masking: false }
    }

    /// Takes `input` and appends to `out` what can be shown.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        if self.secrets.0.forms.is_empty() {
            return out.extend_from_slice(input);
        }
        self.held.extend_from_slice(input);
        let end = self.secrets.unfinished(&self.held);
        self.release(end, out);
    }

    /// Appends what was held back: the stream ends here.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        self.release(self.held.len(), out);
    }

    /// Appends the first `end` bytes of what is held, masked; no form that is not yet whole begins
    /// in them.
    fn release(&mut self, end: usize, out: &mut Vec<u8>) {
        if end == 0 {
            return;
        }
        let covers = self.covers();
        self.covered = 0;
        let mut at = 0;
        // What begins at `end` or behind it is found again with what follows.
        for (start, stop) in covers.into_iter().take_while(|(start, _)| *start < end) {
            self.show(at..start, out);
            self.hide(out);
            at = stop.min(end);
            self.covered = stop - at;
        }
        self.show(at..end, out);
        self.held.drain(..end);
    }

    /// The runs of covered bytes in what is held: in order, apart from each other.
    fn covers(&self) -> Vec<(usize, usize)> {
        let mut found: Vec<_> = self
            .secrets
            .0
            .automaton
            .find_overlapping_iter(&self.held)
            .map(|found| (found.start(), found.end()))
            .collect();
        if self.covered > 0 {
            found.push((0, self.covered));
        }
        found.sort_unstable();
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for (start, end) in found {
            match runs.last_mut() {
                Some(run) if start <= run.1 => run.1 = run.1.max(end),
                _ => runs.push((start, end)),
            }
        }
        runs
    }

    fn show(&mut self, range: std::ops::Range<usize>, out: &mut Vec<u8>) {
        if !range.is_empty() {
            out.extend_from_slice(&self.held[range]);
            self.masking = false;
        }
    }

    fn hide(&mut self, out: &mut Vec<u8>) {
        if !self.masking {
            out.extend_from_slice(MARKER);
            self.masking = true;
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Masker(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secrets(values: &[&str]) -> Secrets {
        let values: Vec<_> = values.iter().map(|value| (*value).to_owned()).collect();
        Secrets::new(&values).unwrap()
    }

    fn masked(values: &[&str], text: &str) -> String {
        String::from_utf8(secrets(values).mask(text.as_bytes())).unwrap()
    }

    fn masked_in_parts(secrets: &Secrets, parts: &[&[u8]]) -> Vec<u8> {
        let (mut masker, mut out) = (Masker::new(secrets.clone()), Vec::new());
        for part in parts {
            masker.push(part, &mut out);
        }
        masker.flush(&mut out);
        out
    }

    #[test]
    fn forms_that_overlap_leave_nothing_of_either() {
        assert_eq!(masked(&["hunter2", "2345"], "a hunter2345 b"), "a [masked] b");
        assert_eq!(masked(&["hunter2"], "hunter2hunter2"), "[masked]");
        assert_eq!(
            masked(&["abcd", "abcdefgh"], "abcd abcdefg abcdefgh"),
            "[masked] [masked]efg [masked]"
        );
    }

    #[test]
    fn only_a_possible_beginning_is_held_back() {
        let mut masker = Masker::new(secrets(&["hunter2"]));
        let mut out = Vec::new();
        masker.push(b"login: hunt", &mut out);
        assert_eq!(out, b"login: ");
        masker.push(b"ing", &mut out);
        assert_eq!(out, b"login: hunting");
        masker.push(b" hunter", &mut out);
        assert_eq!(out, b"login: hunting ");
        masker.push(b"2", &mut out);
        assert_eq!(out, b"login: hunting [masked]");
        masker.push(b"hun", &mut out);
        masker.flush(&mut out);
        assert_eq!(out, b"login: hunting [masked]hun");
    }

    #[test]
    fn neither_secrets_nor_what_is_held_show_in_debug() {
        let mut masker = Masker::new(secrets(&["hunter2"]));
        masker.push(b"hunter", &mut Vec::new());
        assert_eq!(format!("{masker:?} {:?}", masker.secrets), "Masker(…) Secrets(…)");
    }

    #[test]
    fn short_values_are_left_alone() {
        assert_eq!(masked(&["abc", "", "\n\n"], "abc\n\n"), "abc\n\n");
    }

    /// Values whose forms cannot arise from the marker and what stands beside it.
    fn value() -> impl Strategy<Value = String> {
        "[xyzXYZ019/+=& \n\"<é]{4,40}"
    }

    /// Random text with forms of the values in it, and where it is cut.
    fn text() -> impl Strategy<Value = (Vec<String>, Vec<u8>, Vec<usize>)> {
        prop::collection::vec(value(), 1..4).prop_flat_map(|values| {
            let forms = forms::of_all(&values);
            let form = match forms.len() {
                0 => Just(Vec::new()).boxed(),
                _ => prop::sample::select(forms).boxed(),
            };
            let piece = prop_oneof![
                form.clone(),
                form.prop_flat_map(
                    |form| (0..=form.len()).prop_map(move |end| form[..end].to_vec())
                ),
                "[xyzXYZ019/+=& \n]{0,12}".prop_map(String::into_bytes),
            ];
            let pieces = prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
            (Just(values), pieces, prop::collection::vec(0..400usize, 0..12))
        })
    }

    proptest! {
        #[test]
        fn no_form_comes_through_and_cuts_make_no_difference((values, text, cuts) in text()) {
            let secrets = Secrets::new(&values).unwrap();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let parts: Vec<_> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            let out = masked_in_parts(&secrets, &parts);
            prop_assert_eq!(&out, &secrets.mask(&text));
            for form in &secrets.0.forms {
                prop_assert!(!out.windows(form.len()).any(|window| window == &form[..]));
            }
        }

        #[test]
        fn text_without_secrets_is_unchanged(text in "[a-w \n]{0,300}", cut: prop::sample::Index, values in prop::collection::vec("[xyz]{4,20}", 0..3)) {
            let secrets = Secrets::new(&values).unwrap();
            let (head, tail) = text.as_bytes().split_at(cut.index(text.len() + 1));
            prop_assert_eq!(masked_in_parts(&secrets, &[head, tail]), text.as_bytes());
        }
    }
}
