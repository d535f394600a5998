//! The last lines that a service wrote.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Most lines that are kept.
const LINES: usize = 100;

/// Most bytes of a line that are kept.
const LINE: usize = 4 << 10;

/// A handle on them; a clone is the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Vec<u8>>,
    /// The last line goes on with what comes next.
    is_open: bool,
}

impl Tail {
    /// Takes what was read.
    pub(super) fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !kept.is_open {
                if kept.lines.len() == LINES {
                    kept.lines.pop_front();
                }
                kept.lines.push_back(Vec::new());
            }
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            kept.is_open = text.len() == part.len();
            if let Some(line) = kept.lines.back_mut() {
                let room = LINE.saturating_sub(line.len()).min(text.len());
                line.extend_from_slice(&text[..room]);
            }
        }
    }

    /// What is kept, without the lines' ends.
    pub(super) fn lines(&self) -> Vec<Vec<u8>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.lines.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept_and_only_so_much_of_each() {
        let tail = Tail::default();
        (0..LINES + 5).for_each(|n| tail.push(format!("line {n}\n").as_bytes()));
        tail.push(b"in ");
        tail.push(b"pieces\n\n");
        tail.push(&vec![b'x'; 3 * LINE]);
        let lines = tail.lines();
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines[0], b"line 8");
        assert_eq!(lines[LINES - 3], b"in pieces");
        assert_eq!(lines[LINES - 2], b"");
        assert_eq!(lines[LINES - 1].len(), LINE);
    }
}
