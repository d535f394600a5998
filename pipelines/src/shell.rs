//! Shell scripts, as far as their commands can be told without running them.
//!
//! What a script does depends on values that are known only when it runs. This reads its words, and
//! says of each whether it stands for itself. Whatever it cannot tell it leaves out, so that it must not
//! be used to decide what a script cannot do.

/// A command with what follows it, up to the next `;`, `|`, `&`, parenthesis or line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Command<'s> {
    /// Its name and arguments, and what stands before the name.
    pub(crate) words: Vec<Word<'s>>,
    /// Files that it writes to by `>`.
    pub(crate) writes: Vec<Word<'s>>,
    /// In how many parentheses it stands.
    pub(crate) depth: usize,
}

/// A word as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word<'s> {
    pub(crate) raw: &'s str,
    /// Offset in the script, in bytes.
    pub(crate) at: usize,
}

/// The commands of a script, in the order in which they are written.
pub(crate) fn commands(script: &str) -> Vec<Command<'_>> {
    let mut reader = Reader { script, at: 0, command: Command::default(), found: Vec::new() };
    reader.read();
    reader.found
}

impl<'s> Word<'s> {
    /// The word without its quotes.
    pub(crate) fn value(&self) -> String {
        let words = shlex::split(self.raw).unwrap_or_default();
        words.into_iter().next().unwrap_or_default()
    }

    /// The same, if the shell puts nothing else into its place, nor a plan's template.
    pub(crate) fn literal(&self) -> Option<String> {
        let value = self.value();
        let is_filled_in = value.contains(['$', '`', '*', '?', '[', '{']);
        (!value.is_empty() && !is_filled_in).then_some(value)
    }

    /// What stands behind the first of this character.
    pub(crate) fn behind(&self, mark: char) -> Option<Word<'s>> {
        let index = self.raw.find(mark)? + mark.len_utf8();
        Some(Word { raw: &self.raw[index..], at: self.at + index })
    }

    /// The name and the value of `NAME=VALUE`.
    pub(crate) fn assignment(&self) -> Option<(&'s str, Word<'s>)> {
        let (name, _) = self.raw.split_once('=')?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let names = !name.is_empty() && name.chars().all(is_name);
        (names && !name.starts_with(|c: char| c.is_ascii_digit())).then_some(())?;
        Some((name, self.behind('=')?))
    }
}

struct Reader<'s> {
    script: &'s str,
    at: usize,
    command: Command<'s>,
    found: Vec<Command<'s>>,
}

impl<'s> Reader<'s> {
    fn read(&mut self) {
        // What ends each text that is given in the lines below.
        let mut ends: Vec<String> = Vec::new();
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' if self.peek(1) == Some(b'\n') => self.at += 2,
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'#' => self.at = self.end_of_line(),
                b'\n' => {
                    self.at += 1;
                    self.end();
                    ends.drain(..).for_each(|end| self.skip_lines_to(&end));
                }
                b';' | b'&' | b'|' => {
                    self.at += 1;
                    self.end();
                }
                b'(' => {
                    self.at += 1;
                    self.end();
                    self.command.depth += 1;
                }
                b')' => {
                    self.at += 1;
                    self.end();
                    self.command.depth = self.command.depth.saturating_sub(1);
                }
                b'<' | b'>' => ends.extend(self.redirection()),
                _ => {
                    let word = self.word();
                    let is_number = word.raw.bytes().all(|byte| byte.is_ascii_digit());
                    if !(is_number && matches!(self.peek(0), Some(b'<' | b'>'))) {
                        self.command.words.push(word);
                    }
                }
            }
        }
        self.end();
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.script.as_bytes().get(self.at + ahead).copied()
    }

    fn end(&mut self) {
        let next = Command { depth: self.command.depth, ..Command::default() };
        let command = std::mem::replace(&mut self.command, next);
        if !command.words.is_empty() || !command.writes.is_empty() {
            self.found.push(command);
        }
    }

    fn end_of_line(&self) -> usize {
        let rest = &self.script[self.at..];
        rest.find('\n').map_or(self.script.len(), |length| self.at + length)
    }

    fn skip_lines_to(&mut self, end: &str) {
        while self.at < self.script.len() {
            let line = &self.script[self.at..self.end_of_line()];
            self.at = (self.end_of_line() + 1).min(self.script.len());
            if line.trim() == end {
                return;
            }
        }
    }

    /// `<`, `>` and their kin; the word that ends a text which follows in the lines below.
    fn redirection(&mut self) -> Option<String> {
        let operator = self.at;
        while matches!(self.peek(0), Some(b'<' | b'>' | b'&' | b'|')) {
            self.at += 1;
        }
        let operator = &self.script[operator..self.at];
        if operator == "<<" && self.peek(0) == Some(b'-') {
            self.at += 1;
        }
        while matches!(self.peek(0), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        if self.peek(0) == Some(b'(') {
            self.at = balanced(self.script.as_bytes(), self.at + 1);
            return None;
        }
        let word = self.word();
        match operator {
            "<<" => return Some(word.value()),
            ">" | ">>" | ">|" | "&>" | "&>>" => self.command.writes.push(word),
            _ => {}
        }
        None
    }

    /// The word that begins here; empty where none does.
    fn word(&mut self) -> Word<'s> {
        let from = self.at;
        let bytes = self.script.as_bytes();
        while let Some(byte) = self.peek(0) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>' => {
                    break;
                }
                _ => self.at = piece(bytes, self.at),
            }
        }
        Word { raw: &self.script[from..self.at], at: from }
    }
}

/// Behind the piece of a word that begins here: a quoted text, what is filled in, or one byte.
fn piece(bytes: &[u8], at: usize) -> usize {
    let until = |from: usize, end: &[u8]| {
        let rest = bytes.get(from..).unwrap_or_default();
        let found = rest.windows(end.len()).position(|it| it == end);
        found.map_or(bytes.len(), |index| from + index + end.len())
    };
    match (bytes[at], bytes.get(at + 1)) {
        (b'\\', _) => (at + 2).min(bytes.len()),
        (b'\'', _) => until(at + 1, b"'"),
        (b'`', _) => until(at + 1, b"`"),
        (b'"', _) => double_quoted(bytes, at + 1),
        (b'$', Some(b'(')) => balanced(bytes, at + 2),
        (b'$', Some(b'{')) => until(at + 2, b"}"),
        // Of a plan's template.
        (b'{', Some(b'{')) => until(at + 2, b"}}"),
        (b'{', Some(b'%')) => until(at + 2, b"%}"),
        _ => at + 1,
    }
}

/// Behind the quote that ends what begins here.
fn double_quoted(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        at = match byte {
            b'"' => return at + 1,
            b'\'' => at + 1,
            b'$' | b'\\' | b'`' => piece_in_quotes(bytes, at),
            _ => at + 1,
        };
    }
    bytes.len()
}

/// As [`piece`], where a command may be filled in that has quotes of its own.
fn piece_in_quotes(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at + 1) {
        Some(b'(') if bytes[at] == b'$' => balanced(bytes, at + 2),
        _ if bytes[at] == b'\\' => (at + 2).min(bytes.len()),
        _ => at + 1,
    }
}

/// Behind the parenthesis that closes what begins here; quoted ones do not count.
fn balanced(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 1_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'\'' => {
                let rest = &bytes[at + 1..];
                at += 1 + rest.iter().position(|it| *it == b'\'').unwrap_or(rest.len());
            }
            b'\\' => at += 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(script: &str) -> Vec<Vec<String>> {
        let values = |it: Command<'_>| it.words.iter().map(Word::value).collect();
        commands(script).into_iter().map(values).collect()
    }

    #[test]
    fn commands_end_where_the_shell_says() {
        let script = "cd a && (b 'c d;e' \"f|g\"; h) | i\\\n  j # k\nl=1 m &\n";
        let expected: [&[&str]; 6] =
            [&["cd", "a"], &["b", "c d;e", "f|g"], &["h"], &["i", "j"], &["l=1", "m"], &[]];
        assert_eq!(words(script), expected[..5]);
        let depths: Vec<_> = commands(script).iter().map(|it| it.depth).collect();
        assert_eq!(depths, [0, 1, 1, 0, 0]);
    }

    #[test]
    fn what_is_filled_in_is_one_word_and_does_not_stand_for_itself() {
        let script = "a $(b \"c d\" ')' ) \"x $(y \"z\") w\" {{ it | lower }}.yaml ${v:-p q} e*";
        let found = commands(script);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].words.len(), 6, "{found:?}");
        assert!(found[0].words[1..].iter().all(|word| word.literal().is_none()));
        assert_eq!(found[0].words[0].literal().as_deref(), Some("a"));
    }

    #[test]
    fn redirections_and_texts_in_lines_below_are_no_arguments() {
        let script = "cat > out.txt <<'END' 2>&1 -\nrm x\nEND\nnext < in.txt 2>>err <(p q) z\n";
        assert_eq!(words(script), [vec!["cat", "-"], vec!["next", "z"]]);
        let found = commands(script);
        assert_eq!(found[0].writes[0].raw, "out.txt");
        assert_eq!(found[1].writes[0].raw, "err");
    }

    #[test]
    fn no_text_is_too_odd() {
        for odd in ["'", "\"", "$(", "${", "`", "\\", "<<", "<<E", "{{", "((((", "))", ">", "é\\é"]
        {
            commands(odd);
            commands(&format!("{odd}\n{odd} a"));
        }
    }
}
