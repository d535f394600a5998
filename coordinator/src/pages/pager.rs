//! A log in pages of lines, cut as it is read.
//!
//! Where pages begin depends on what stands before them alone, so that a line is on the same page
//! whoever looks, and whenever. Lines are counted from 1, by line ends, whatever stream they are of.

use proto::log::{Frame, Stream};

/// Most lines of a page.
const LINES: u64 = 500;

/// A page that has this many bytes takes no further line.
const BYTES: usize = 32 << 10;

/// Most bytes of a line that are shown.
const LINE: usize = 16 << 10;

/// What stands where the rest of a line is left out.
const LEFT_OUT: &str = " … (the line goes on: see the raw log)";

/// Some lines of a log, one after the other.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Page {
    /// The number of the first.
    pub(super) first: u64,
    /// Their output, each frame a part of one line; the rest of lines that are too long is left out.
    pub(super) frames: Vec<Frame>,
    /// How many are ended.
    ended: u64,
    size: usize,
}

/// Cuts frames into pages; keeps the last two, and the one with the wanted line.
#[derive(Debug, Clone)]
pub(super) struct Pager {
    wanted: Option<u64>,
    found: Option<Page>,
    previous: Option<Page>,
    page: Page,
    /// The first lines of all pages.
    starts: Vec<u64>,
    /// Where in the output the line that is not ended starts.
    line_start: u64,
    /// Its bytes so far.
    line_size: usize,
}

/// What is shown of a log.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Window {
    /// The lines.
    pub(super) page: Page,
    /// The first line of the page before, if there is one.
    pub(super) earlier: Option<u64>,
    /// The first line of the page after, if there is one.
    pub(super) later: Option<u64>,
}

impl Page {
    fn starting(first: u64) -> Page {
        Page { first, ..Page::default() }
    }

    /// The number of the line after the last that is ended.
    fn next(&self) -> u64 {
        self.first + self.ended
    }

    fn is_full(&self) -> bool {
        self.ended >= LINES || self.size >= BYTES
    }

    /// The number of the last line, ended or not.
    pub(super) fn last(&self) -> u64 {
        let is_open = self.frames.last().is_some_and(|last| !last.data.ends_with(b"\n"));
        if is_open { self.next() } else { self.next() - 1 }
    }

    fn append(&mut self, other: Page) {
        self.frames.extend(other.frames);
        self.ended += other.ended;
        self.size += other.size;
    }
}

impl Pager {
    /// For a log from its start; `wanted` is a line, none for the newest.
    pub(super) fn new(wanted: Option<u64>) -> Pager {
        Pager { wanted: wanted.map(|line| line.max(1)), ..Pager::at(1, 0) }
    }

    /// From the start of line `line` on, which stands at `offset` in the output.
    pub(super) fn at(line: u64, offset: u64) -> Pager {
        Pager {
            wanted: None,
            found: None,
            previous: None,
            page: Page::starting(line),
            starts: vec![line],
            line_start: offset,
            line_size: 0,
        }
    }

    /// Takes the frame that follows.
    pub(super) fn push(&mut self, mut frame: Frame) {
        while !frame.data.is_empty() {
            if self.line_size == 0 && self.page.is_full() {
                self.turn();
            }
            let ends = memchr::memchr(b'\n', &frame.data);
            let piece = frame.data.split_to(ends.map_or(frame.data.len(), |at| at + 1));
            let piece = Frame { data: piece, ..frame.clone() };
            frame.offset = piece.end();
            self.push_piece(piece, ends.is_some());
        }
    }

    /// Takes a piece of a line, with its end or without.
    fn push_piece(&mut self, mut piece: Frame, is_end: bool) {
        let (end, length) = (piece.end(), piece.data.len());
        let (text, line_end) = (length - usize::from(is_end), piece.data.slice(length - 1..));
        let room = LINE.saturating_sub(self.line_size);
        if text > room {
            piece.data.truncate(room);
            self.keep(piece);
            if self.line_size <= LINE {
                self.keep(note(LEFT_OUT.into()));
            }
            if is_end {
                self.keep(note(line_end));
            }
        } else {
            self.keep(piece);
        }
        self.line_size += length;
        if is_end {
            self.page.ended += 1;
            (self.line_start, self.line_size) = (end, 0);
        }
    }

    fn keep(&mut self, piece: Frame) {
        if !piece.data.is_empty() {
            self.page.size += piece.data.len();
            self.page.frames.push(piece);
        }
    }

    /// Begins the next page.
    fn turn(&mut self) {
        let next = self.page.next();
        let full = std::mem::replace(&mut self.page, Page::starting(next));
        self.starts.push(next);
        if let Some(previous) = self.previous.replace(full) {
            let is_wanted = |line| (previous.first..previous.next()).contains(&line);
            if self.wanted.is_some_and(is_wanted) {
                self.found = Some(previous);
            }
        }
    }

    /// Number and place of the line that is not ended: where to read on.
    pub(super) fn position(&self) -> (u64, u64) {
        (self.page.next(), self.line_start)
    }

    /// How many lines there are, the one that is not ended included.
    pub(super) fn lines(&self) -> u64 {
        self.page.last()
    }

    /// Whether lines were passed that are not kept.
    pub(super) fn has_dropped(&self) -> bool {
        self.starts.len() > 2
    }

    /// The page with the wanted line; or the last two in one.
    pub(super) fn window(self) -> Window {
        let page = match (self.wanted, self.found, self.previous) {
            (Some(_), Some(found), _) => found,
            (Some(line), None, Some(previous)) if line < self.page.first => previous,
            (None, _, Some(mut previous)) => {
                previous.append(self.page);
                previous
            }
            (_, _, _) => self.page,
        };
        let earlier = self.starts.iter().rev().find(|start| **start < page.first).copied();
        let last = page.last().max(page.first);
        let later = self.starts.iter().find(|start| **start > last).copied();
        Window { page, earlier, later }
    }

    /// A pager for what follows: it starts with the line that is not ended.
    pub(super) fn go_on(&self) -> Pager {
        let (line, offset) = self.position();
        let mut next = Pager::at(line, offset);
        let frames = &self.page.frames;
        let open = frames.iter().rposition(|it| it.data.ends_with(b"\n")).map_or(0, |at| at + 1);
        for frame in &frames[open..] {
            next.push(frame.clone());
        }
        next
    }
}

/// Our own words within a log.
fn note(data: bytes::Bytes) -> Frame {
    Frame { data, stream: Stream::System.into(), ..Frame::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(data: &str) -> Frame {
        Frame { data: data.to_owned().into(), ..Frame::default() }
    }

    /// A pager that got a log in frames of `size` bytes.
    fn paged(wanted: Option<u64>, log: &str, size: usize) -> Pager {
        let mut pager = Pager::new(wanted);
        for (at, data) in log.as_bytes().chunks(size).enumerate() {
            let offset = (at * size) as u64;
            pager.push(Frame { offset, data: data.to_vec().into(), ..Frame::default() });
        }
        pager
    }

    fn text(page: &Page) -> String {
        let bytes: Vec<u8> = page.frames.iter().flat_map(|it| it.data.to_vec()).collect();
        String::from_utf8(bytes).unwrap()
    }

    fn numbers(lines: std::ops::RangeInclusive<u64>) -> String {
        lines.map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn a_line_is_on_one_page_however_the_log_comes() {
        let log = numbers(1..=1720);
        for size in [1, 7, 4096, log.len()] {
            let window = paged(Some(720), &log, size).window();
            assert_eq!((window.page.first, window.page.last()), (501, 1000));
            assert_eq!((window.earlier, window.later), (Some(1), Some(1001)));
            assert_eq!(text(&window.page), numbers(501..=1000));
            let newest = paged(None, &log, size);
            assert_eq!(newest.lines(), 1720);
            let newest = newest.window();
            assert_eq!(text(&newest.page), numbers(1001..=1720));
            assert_eq!((newest.earlier, newest.later), (Some(501), None));
        }
        for (wanted, first) in [(0, 1), (1, 1), (500, 1), (1500, 1001), (1501, 1501), (9999, 1501)]
        {
            assert_eq!(paged(Some(wanted), &log, 999).window().page.first, first, "{wanted}");
        }
    }

    #[test]
    fn an_empty_log_and_an_open_line_are_counted_right() {
        assert_eq!(paged(None, "", 1).lines(), 0);
        let pager = paged(None, "one\ntwo", 2);
        assert_eq!((pager.lines(), pager.position()), (2, (2, 4)));
        for log in ["one", &format!("{}open", numbers(1..=500))] {
            let window = paged(None, log, 99).window();
            assert_eq!((window.page.first, window.earlier, window.later), (1, None, None));
        }
        let window = paged(None, "", 1).window();
        assert_eq!((window.earlier, window.later, window.page.frames.len()), (None, None, 0));
    }

    #[test]
    fn long_lines_are_cut_and_fill_pages() {
        let long = "x".repeat(LINE + 1);
        let pager = paged(None, &format!("{long}\nnext\n"), 1000);
        assert_eq!(pager.lines(), 2);
        let expected = format!("{}{LEFT_OUT}\nnext\n", &long[1..]);
        assert_eq!(text(&pager.window().page), expected);
        let whole = paged(None, &format!("{}\n", &long[1..]), 1000).window();
        assert_eq!(text(&whole.page), format!("{}\n", &long[1..]));
        let window = paged(Some(1), &format!("{long}\n").repeat(9), 5000).window();
        assert_eq!((window.page.first, window.page.last(), window.later), (1, 2, Some(3)));
    }

    #[test]
    fn what_follows_starts_with_the_open_line() {
        let mut pager = paged(None, "one\ntwo", 3).go_on();
        assert_eq!(pager.position(), (2, 4));
        pager.push(Frame { offset: 7, ..frame(" more\nthree") });
        assert_eq!(pager.position(), (3, 13));
        assert_eq!(text(&pager.window().page), "two more\nthree");
        let long = "x".repeat(LINE + 1);
        let mut pager = paged(None, &long, 999).go_on().go_on();
        pager.push(Frame { offset: long.len() as u64, ..frame("y\nz") });
        assert_eq!(text(&pager.window().page), format!("{}{LEFT_OUT}\nz", &long[1..]));
    }
}
