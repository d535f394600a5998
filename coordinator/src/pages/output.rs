//! Lines of output as HTML: escaped, numbered, coloured by classes.

use anstyle_parse::{Params, Parser, Perform};
use proto::log::{Frame, Stream};

use super::style::Style;

/// Turns lines into HTML, one after the other; colours go on from line to line.
#[derive(Debug, Clone)]
pub(super) struct Renderer {
    /// The number of the next line.
    number: u64,
    style: Style,
}

/// Lines as HTML.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rendered {
    /// Those that are ended.
    pub(super) lines: String,
    /// The last, if it is not.
    pub(super) open: String,
}

impl Renderer {
    /// For lines from number `number` on.
    pub(super) fn new(number: u64) -> Renderer {
        Renderer { number, style: Style::default() }
    }

    /// The HTML of lines in frames, each of which is a part of one line. A line that is not ended
    /// is expected to come again.
    pub(super) fn render(&mut self, frames: &[Frame]) -> Rendered {
        let mut rendered = Rendered::default();
        for line in frames.split_inclusive(|frame| frame.data.ends_with(b"\n")) {
            let mut text = Line { style: self.style, ..Line::default() };
            for piece in pieces(line) {
                text.push(&piece);
            }
            let is_ended = line.last().is_some_and(|last| last.data.ends_with(b"\n"));
            let out = if is_ended { &mut rendered.lines } else { &mut rendered.open };
            let (number, class) = (self.number, class(line));
            out.push_str(&format!(
                "<span class=\"{class}\"><a id=L{number} href=?line={number}#L{number}>{number}</a>"
            ));
            let style = text.finish(out);
            out.push_str("\n</span>");
            if is_ended {
                (self.number, self.style) = (number + 1, style);
            }
        }
        rendered
    }
}

/// The text of each piece of a line; a character that two frames of one stream share is whole.
fn pieces(line: &[Frame]) -> impl Iterator<Item = String> {
    line.chunk_by(|one, next| one.stream == next.stream).map(|piece| {
        let bytes: Vec<u8> = piece.iter().flat_map(|frame| frame.data.iter().copied()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The class of a line: which stream it is of.
fn class(line: &[Frame]) -> &'static str {
    match line.iter().map(Frame::stream).find(|stream| *stream != Stream::Stdout) {
        None | Some(Stream::Stdout) => "l",
        Some(Stream::Stderr) => "l err",
        Some(Stream::System | Stream::Gap) => "l sys",
    }
}

/// One line, as a terminal would have it in the end.
#[derive(Debug, Default)]
struct Line {
    html: String,
    style: Style,
    /// The style of the span that is open; the default one needs none.
    shown: Style,
    /// Whether the next character begins the line anew.
    is_returned: bool,
    parser: Parser,
}

impl Line {
    fn push(&mut self, text: &str) {
        // A sequence that does not end hides no more than its line: the parser is the line's own.
        let mut parser = std::mem::take(&mut self.parser);
        text.bytes().for_each(|byte| parser.advance(self, byte));
        self.parser = parser;
    }

    fn finish(mut self, out: &mut String) -> Style {
        self.close();
        out.push_str(&self.html);
        self.style
    }

    fn close(&mut self) {
        if self.shown != Style::default() {
            self.html.push_str("</span>");
        }
    }
}

impl Perform for Line {
    fn print(&mut self, character: char) {
        if self.is_returned {
            self.html.clear();
            (self.shown, self.is_returned) = (Style::default(), false);
        }
        if self.style != self.shown {
            self.close();
            if self.style != Style::default() {
                let classes = self.style.classes();
                self.html.push_str(&format!("<span class=\"{classes}\">"));
            }
            self.shown = self.style;
        }
        match character {
            '&' => self.html.push_str("&amp;"),
            '<' => self.html.push_str("&lt;"),
            '>' => self.html.push_str("&gt;"),
            _ if character.is_control() && character != '\t' => {}
            _ => self.html.push(character),
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\t' => self.print('\t'),
            b'\r' => self.is_returned = true,
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _: bool, action: u8) {
        if action == b'm' && intermediates.is_empty() {
            self.style = self.style.after(params);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(parts: &[(Stream, &[u8])]) -> Vec<Frame> {
        let frame = |(stream, data): &(Stream, &[u8])| Frame {
            data: data.to_vec().into(),
            stream: (*stream).into(),
            ..Frame::default()
        };
        parts.iter().map(frame).collect()
    }

    /// What stands in the lines, without their numbers.
    fn rendered(parts: &[(Stream, &[u8])]) -> String {
        let Rendered { lines, open } = Renderer::new(1).render(&frames(parts));
        let all = format!("{lines}{open}");
        let lines = all.split_inclusive("\n</span>").map(|line| {
            let (_, text) = line.split_once("</a>").unwrap();
            text.trim_end_matches("</span>").to_owned()
        });
        lines.collect()
    }

    #[test]
    fn lines_are_numbered_and_marked_by_stream() {
        let parts: [(Stream, &[u8]); 4] = [
            (Stream::Stdout, b"out\n"),
            (Stream::Stderr, b"err\n"),
            (Stream::System, b"sys\n"),
            (Stream::Stdout, b"open"),
        ];
        let Rendered { lines, open } = Renderer::new(9).render(&frames(&parts));
        let expected = "<span class=\"l\"><a id=L9 href=?line=9#L9>9</a>out\n</span>\
                        <span class=\"l err\"><a id=L10 href=?line=10#L10>10</a>err\n</span>\
                        <span class=\"l sys\"><a id=L11 href=?line=11#L11>11</a>sys\n</span>";
        assert_eq!(lines, expected);
        assert_eq!(open, "<span class=\"l\"><a id=L12 href=?line=12#L12>12</a>open\n</span>");
    }

    #[test]
    fn output_cannot_become_markup() {
        let attacks: [&[u8]; 3] = [
            b"<script>alert(\"1\")</script> & more\n",
            b"\x1b[31;<b>m\x1b]8;;javascript:x\x07<a>\x1b]8;;\x07\n",
            b"\x1b[38;5;\"><img>m\n",
        ];
        for attack in attacks {
            let html = rendered(&[(Stream::Stdout, attack)]);
            let text = html.replace("<span class=\"t1\">", "").replace("</span>", "");
            assert!(!text.contains(['<', '>']), "{html}");
        }
        let html = rendered(&[(Stream::Stdout, attacks[0])]);
        assert_eq!(html, "&lt;script&gt;alert(\"1\")&lt;/script&gt; &amp; more\n");
    }

    #[test]
    fn colours_become_classes_and_go_on_over_lines() {
        let parts: [(Stream, &[u8]); 2] =
            [(Stream::Stdout, b"\x1b[1;31mred\n"), (Stream::Stdout, b"still\x1b[0m plain\n")];
        let expected = "<span class=\"t1 bold\">red</span>\n\
                        <span class=\"t1 bold\">still</span> plain\n";
        assert_eq!(rendered(&parts), expected);
        let one = |code: &str| {
            let html = rendered(&[(Stream::Stdout, format!("\x1b[{code}mx\n").as_bytes())]);
            html.split('"').nth(1).unwrap_or_default().to_owned()
        };
        let colours = [
            ("97", "t15"),
            ("101", "k9"),
            ("38;5;9", "t9"),
            ("38;5;196", "t9"),
            ("38;5;244", "t8"),
            ("48;2;0;200;0", "k2"),
            ("38:2::250:0:0", "t9"),
            ("38:5:3", "t3"),
            ("7;31;40", "t0 k1"),
            ("7", "inverse"),
            ("2;3;4;9", "dim italic underlined struck"),
            ("38;5", ""),
            ("38;5;300", ""),
            ("1;22", ""),
            ("4:0", ""),
        ];
        for (code, classes) in colours {
            assert_eq!(one(code), classes, "{code}");
        }
    }

    #[test]
    fn other_sequences_are_left_out_and_hide_no_more_than_their_line() {
        let parts: [(Stream, &[u8]); 5] = [
            (Stream::Stdout, b"\x1b]0;title\x07\x1b(Bplain\x07\x1b"),
            (Stream::Stdout, b"[2K\r\n"),
            (Stream::Stdout, b"\x1b]never ended\n"),
            (Stream::Stdout, b"next\x08\x00\n"),
            (Stream::Stdout, b"tab\there\xc2\x9b\n"),
        ];
        assert_eq!(rendered(&parts), "plain\n\nnext\ntab\there\n");
    }

    #[test]
    fn a_carriage_return_begins_the_line_anew() {
        let progress = b"\x1b[32m10 %\r\x1b[2K20 %\x1b[0m\r\n";
        assert_eq!(rendered(&[(Stream::Stdout, progress)]), "<span class=\"t2\">20 %</span>\n");
    }

    #[test]
    fn a_character_in_two_frames_is_one() {
        let text = "a\u{20ac}b\n".as_bytes();
        let parts = [(Stream::Stdout, &text[..2]), (Stream::Stdout, &text[2..])];
        assert_eq!(rendered(&parts), "a\u{20ac}b\n");
        assert_eq!(rendered(&[(Stream::Stdout, b"a\xff\xfeb\n")]), "a\u{fffd}\u{fffd}b\n");
    }
}
