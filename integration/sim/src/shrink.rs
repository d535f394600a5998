//! Makes a story that breaks a rule as short as it can be told.

use crate::act::Act;
use crate::ledger::Rule;
use crate::mutant::Mutant;
use crate::story::Story;

/// Tries at most this often.
const TRIES: u32 = 4000;

/// Leaves out acts, in chunks and then one by one, as long as the same rule stays broken.
pub fn shrink(acts: &[Act], rule: Rule, mutant: Option<Mutant>) -> Vec<Act> {
    let mut acts = acts.to_vec();
    let mut tries = 0;
    let mut chunk = acts.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut shorter = false;
        while at < acts.len() {
            let mut fewer = acts.clone();
            fewer.drain(at..(at + chunk).min(acts.len()));
            tries += 1;
            let found = Story::again(&fewer, mutant, false).finding;
            if found.is_some_and(|finding| finding.rule == rule) {
                (acts, shorter) = (fewer, true);
            } else {
                at += chunk;
            }
            if tries >= TRIES {
                return acts;
            }
        }
        if chunk == 1 && !shorter {
            return acts;
        }
        if !shorter || chunk > 1 {
            chunk = (chunk / 2).max(1);
        }
    }
}
