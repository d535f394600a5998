//! A program's options and what is none, by a table of which options there are.

use crate::shell::Word;

/// A program's options, each as `-x` or `--long`.
pub(super) struct Options {
    /// Those that a value follows.
    pub(super) valued: &'static [&'static str],
    /// Those that stand alone.
    pub(super) flags: &'static [&'static str],
}

/// What a program is given.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Argument<'s> {
    /// An option, with its value if it has one.
    Option(&'s str, Option<Word<'s>>),
    /// Anything else.
    Plain(Word<'s>),
    /// What may be the value of an option that the table does not have.
    Unclear,
}

impl Options {
    /// Reads what stands behind a program's name.
    pub(super) fn read<'s>(&self, words: &[Word<'s>]) -> Vec<Argument<'s>> {
        let mut found = Vec::new();
        let mut words = words.iter().copied().peekable();
        while let Some(word) = words.next() {
            match word.raw {
                "--" => {
                    found.extend(words.map(Argument::Plain));
                    return found;
                }
                long if long.starts_with("--") => match long.split_once('=') {
                    Some((name, _)) => found.push(Argument::Option(name, word.behind('='))),
                    None if self.valued.contains(&long) => {
                        found.push(Argument::Option(long, words.next()));
                    }
                    None => {
                        found.push(Argument::Option(long, None));
                        let is_unknown = !self.flags.contains(&long);
                        let may_be_value = words.peek().is_some_and(|it| !it.raw.starts_with('-'));
                        if is_unknown && may_be_value {
                            words.next();
                            found.push(Argument::Unclear);
                        }
                    }
                },
                short if short.len() > 1 && short.starts_with('-') => {
                    if let Some(last) = self.cluster(word, &mut found) {
                        found.push(Argument::Option(last, words.next()));
                    }
                }
                _ => found.push(Argument::Plain(word)),
            }
        }
        found
    }

    /// The same for a program whose arguments end with the first that is no option: the options, and what
    /// follows them.
    pub(super) fn read_leading<'s, 'w>(
        &self,
        words: &'w [Word<'s>],
    ) -> (Vec<Argument<'s>>, &'w [Word<'s>]) {
        let mut at = 0;
        while let Some(word) = words.get(at) {
            if !word.raw.starts_with('-') || word.raw == "-" {
                break;
            }
            at += 1;
            let name = word.raw;
            let is_long = name.starts_with("--");
            let takes_next = match is_long {
                true => !name.contains('=') && !self.flags.contains(&name),
                false => self.cluster(*word, &mut Vec::new()).is_some(),
            };
            at += usize::from(takes_next);
        }
        let (options, rest) = words.split_at(at.min(words.len()));
        (self.read(options), rest)
    }

    /// Reads letters behind one `-`; the last, if its value is the next word.
    fn cluster<'s>(&self, word: Word<'s>, found: &mut Vec<Argument<'s>>) -> Option<&'s str> {
        for (index, letter) in word.raw.char_indices().skip(1) {
            let behind = index + letter.len_utf8();
            let known = self.valued.iter().find(|it| it[1..] == word.raw[index..behind]);
            match known {
                None => found.push(Argument::Option(&word.raw[index..behind], None)),
                Some(name) if behind < word.raw.len() => {
                    let value = Word { raw: &word.raw[behind..], at: word.at + behind };
                    found.push(Argument::Option(name, Some(value)));
                    return None;
                }
                Some(name) => return Some(name),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell;

    const OPTIONS: Options =
        Options { valued: &["-e", "-i", "--tags"], flags: &["--check", "--diff"] };

    fn told(script: &str) -> Vec<String> {
        let commands = shell::commands(script);
        let found = OPTIONS.read(&commands[0].words);
        let told = found.into_iter().map(|argument| match argument {
            Argument::Option(name, Some(value)) => format!("{name}:{}", value.raw),
            Argument::Option(name, None) => name.to_owned(),
            Argument::Plain(word) => format!("={}", word.raw),
            Argument::Unclear => "?".to_owned(),
        });
        told.collect()
    }

    #[test]
    fn values_of_options_are_no_arguments() {
        assert_eq!(
            told("-i a -e@b --tags=c --check d"),
            ["-i:a", "-e:@b", "--tags:c", "--check", "=d"]
        );
        assert_eq!(told("-vvCe x y"), ["v", "v", "C", "-e:x", "=y"]);
        assert_eq!(told("--new what a -- -b"), ["--new", "?", "=a", "=-b"]);
    }
}
