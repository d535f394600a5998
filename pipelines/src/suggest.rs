//! "Did you mean …?" for a word that is close to one that exists.

use crate::diagnostic::quoted;

/// How many candidates are looked at, so that a hostile file cannot buy much time.
const CANDIDATES: usize = 500;

/// The candidate that `word` was probably meant to be, if one is close; the first of equals.
pub(crate) fn nearest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .take(CANDIDATES)
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= allowed)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Advice for a word that does not exist: the nearest one, or all when they are few, or `otherwise`.
pub(crate) fn advice<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str> + Clone,
    otherwise: &str,
) -> String {
    if let Some(nearest) = nearest(word, candidates.clone()) {
        return format!("did you mean {}?", quoted(nearest));
    }
    let few: Vec<_> = candidates.into_iter().take(FEW + 1).map(quoted).collect();
    match few.len() {
        1..=FEW => format!("{otherwise}: {}", few.join(", ")),
        _ => otherwise.to_owned(),
    }
}

/// Most candidates that advice lists.
const FEW: usize = 12;

/// How many characters must be added, dropped, changed or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_are_close() {
        let keys = ["container", "needs", "run", "timeout"];
        assert_eq!(nearest("contianer", keys), Some("container"));
        assert_eq!(nearest("need", keys), Some("needs"));
        assert_eq!(nearest("rum", keys), Some("run"));
        assert_eq!(nearest("time-out", keys), Some("timeout"));
        assert_eq!(nearest("image", keys), None);
        assert_eq!(nearest("", keys), None);
    }

    #[test]
    fn advice_lists_the_few_or_says_otherwise() {
        assert_eq!(advice("x", ["one", "two"], "possible are"), "possible are: `one`, `two`");
        assert_eq!(advice("on", ["one", "two"], "possible are"), "did you mean `one`?");
        assert_eq!(advice("x", [], "there is none"), "there is none");
    }
}
