//! From the parser's events to the tree, within the limits.

use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::position::{self, Positions};
use super::{Entry, Key, Node, Value, scalar, syntax};
use crate::diagnostic::{Code, Report, quoted};
use crate::limits;
use crate::source::Span;

/// The tree of the report's source, or none when it cannot be read to its end.
pub(super) fn tree(report: &mut Report<'_>) -> Option<Node> {
    let text = report.source().text();
    let mut builder = Builder::new(text, report);
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let outcome = match event {
            Ok((event, mark)) => {
                let span = builder.positions.span(&mark);
                builder.handle(event, span)
            }
            Err(error) => {
                let advice = syntax::advice(error.info());
                let at = builder.positions.character(error.marker());
                builder.stop(advice.place(at, builder.report.source()), advice)
            }
        };
        match outcome {
            Ok(()) => {}
            Err(Stop::Unreadable) => return None,
            Err(Stop::Enough) => break,
        }
    }
    builder.finish()
}

struct Builder<'t, 'r, 's> {
    text: &'t str,
    positions: Positions,
    report: &'r mut Report<'s>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchored>,
    spent: Size,
    root: Option<Node>,
}

/// A list or mapping whose end has not been seen.
struct Open {
    span: Span,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, keys: BTreeSet<String>, pending: Pending },
}

/// What the last node of a mapping was.
enum Pending {
    /// A value, or nothing: a key comes next.
    Nothing,
    Key(Key),
    /// A key that was refused; its value is dropped.
    Refused,
}

struct Anchored {
    node: Node,
    size: Size,
}

/// What a node costs.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

/// Why no more events are taken.
enum Stop {
    Unreadable,
    /// The first document is complete.
    Enough,
}

impl<'t, 'r, 's> Builder<'t, 'r, 's> {
    fn new(text: &'t str, report: &'r mut Report<'s>) -> Self {
        Self {
            text,
            positions: Positions::new(text),
            report,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            spent: Size::default(),
            root: None,
        }
    }

    fn handle(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.scalar(&text, style, anchor, span)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.begin(Content::List(Vec::new()), anchor, span)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                let (entries, keys) = (Vec::new(), BTreeSet::new());
                self.begin(Content::Map { entries, keys, pending: Pending::Nothing }, anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::DocumentStart(_) if self.root.is_some() => {
                let message = "a second YAML document begins here";
                let help = "keep one document to a file, and remove this `---`";
                self.report.error(Code::SeveralDocuments, span, message, help);
                Err(Stop::Enough)
            }
            Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::StreamStart
            | Event::StreamEnd
            | Event::Nothing => Ok(()),
        }
    }

    fn finish(self) -> Option<Node> {
        if self.root.as_ref().is_none_or(|root| root.value == Value::Null) {
            let help = "write something into it, or remove it";
            self.report.error(Code::EmptyFile, Span::START, "the file holds nothing", help);
            return None;
        }
        self.root
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        span: Span,
    ) -> Result<(), Stop> {
        if text.contains('\0') {
            let help = "remove the escape sequence that makes it";
            self.report.error(Code::NulCharacter, span, "this text holds a NUL character", help);
            return Err(Stop::Unreadable);
        }
        self.spend(Size { nodes: 1, bytes: text.len(), depth: 0 }, span)?;
        let text = text.to_owned();
        let node = match style {
            // An empty value has no place of its own; the parser gives that of the next token.
            ScalarStyle::Plain if text.is_empty() => {
                Node { span: Span { end: span.start, ..span }, value: Value::Null }
            }
            ScalarStyle::Plain => Node { span, value: scalar::plain(text) },
            ScalarStyle::SingleQuoted => self.quoted_text(text, span, '\''),
            ScalarStyle::DoubleQuoted => self.quoted_text(text, span, '"'),
            ScalarStyle::Literal | ScalarStyle::Folded => Node { span, value: Value::Str(text) },
        };
        self.complete(node, anchor)
    }

    fn quoted_text(&self, text: String, span: Span, quote: char) -> Node {
        let span = position::end_of_quoted(self.text, span, quote);
        Node { span, value: Value::Str(text) }
    }

    fn begin(&mut self, content: Content, anchor: usize, span: Span) -> Result<(), Stop> {
        self.spend(Size { nodes: 1, bytes: 0, depth: 0 }, span)?;
        if self.open.len() >= limits::DEPTH {
            return self.stop(span, syntax::too_deep());
        }
        self.open.push(Open { span, anchor, content });
        Ok(())
    }

    fn end(&mut self, span: Span) -> Result<(), Stop> {
        let Some(Open { span: start, anchor, content }) = self.open.pop() else { return Ok(()) };
        // A block ends where the next line begins; its last child says where its text ends.
        let is_block = span.start == span.end;
        let (value, last) = match content {
            Content::List(items) => {
                let last = items.last().map(|item| item.span);
                (Value::List(items), last)
            }
            Content::Map { entries, .. } => {
                let last = entries.last().map(|entry| entry.key.span.to(entry.value.span));
                (Value::Map(entries), last)
            }
        };
        let end = if is_block { last.unwrap_or(start) } else { span };
        self.complete(Node { span: start.to(end), value }, anchor)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Stop> {
        let Some(Anchored { size, .. }) = self.anchors.get(&anchor) else {
            let message = "this alias stands inside the value that it stands for";
            let help = "write the inner value out";
            self.report.error(Code::RecursiveAlias, span, message, help);
            return Err(Stop::Unreadable);
        };
        let size = *size;
        self.spend(size, span)?;
        if self.open.len() + size.depth > limits::DEPTH {
            return self.stop(span, syntax::too_deep());
        }
        let node = self.anchors[&anchor].node.clone();
        self.complete(node, 0)
    }

    /// Hands a node that is complete to the list or mapping around it.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        if anchor != 0 {
            let size = size(&node);
            // The copy that the anchor keeps costs memory as any other node does.
            self.spend(size, node.span)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), size });
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, keys, pending }) => {
                *pending = match std::mem::replace(pending, Pending::Nothing) {
                    Pending::Nothing => key(self.report, keys, node),
                    Pending::Refused => Pending::Nothing,
                    Pending::Key(key) => {
                        entries.push(Entry { key, value: node });
                        Pending::Nothing
                    }
                };
            }
        }
        Ok(())
    }

    fn refuse_tag(&mut self, tagged: bool, span: Span) {
        if tagged {
            let message = "YAML tags, which begin with `!`, have no meaning here";
            let help = "remove the tag; a text that begins with `!` must stand in quotes";
            self.report.error(Code::Tag, span, message, help);
        }
    }

    fn spend(&mut self, size: Size, span: Span) -> Result<(), Stop> {
        self.spent.nodes += size.nodes;
        self.spent.bytes += size.bytes;
        if self.spent.nodes <= limits::NODES && self.spent.bytes <= limits::EXPANDED_BYTES {
            return Ok(());
        }
        let message = format!(
            "the file grows beyond {} values or {} MiB here, with its aliases expanded",
            limits::NODES,
            limits::EXPANDED_BYTES >> 20
        );
        let help = "split the file, or use fewer aliases";
        self.report.error(Code::TooManyNodes, span, message, help);
        Err(Stop::Unreadable)
    }

    fn stop(&mut self, span: Span, advice: syntax::Advice) -> Result<(), Stop> {
        self.report.error(advice.code, span, advice.message, advice.help);
        Err(Stop::Unreadable)
    }
}

/// Takes a node as a mapping's key, unless it cannot be one or stands there already.
fn key(report: &mut Report<'_>, keys: &mut BTreeSet<String>, node: Node) -> Pending {
    let span = node.span;
    let Some(text) = node.value.scalar().map(str::to_owned) else {
        let help = "write `key: value`; a text with `{` or `[` at its start must stand in quotes";
        report.error(Code::KeyNotText, span, "a key must be a text", help);
        return Pending::Refused;
    };
    if text == "<<" {
        let help = "write the keys out, or give a whole value an anchor and use it by an alias";
        report.error(Code::MergeKey, span, "merging mappings with `<<` is not supported", help);
        return Pending::Refused;
    }
    if !keys.insert(text.clone()) {
        let message = format!("the key {} stands twice in this mapping", quoted(&text));
        report.error(Code::DuplicateKey, span, message, "remove or rename one of the two");
        return Pending::Refused;
    }
    Pending::Key(Key { span, text })
}

fn size(node: &Node) -> Size {
    match &node.value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => {
            Size { nodes: 1, bytes: node.value.scalar().map_or(0, str::len), depth: 0 }
        }
        Value::List(items) => {
            let own = Size { nodes: 1, bytes: 0, depth: 1 };
            items.iter().map(size).fold(own, Size::with_child)
        }
        Value::Map(entries) => {
            let bytes = entries.iter().map(|entry| entry.key.text.len()).sum();
            let own = Size { nodes: 1 + entries.len(), bytes, depth: 1 };
            entries.iter().map(|entry| size(&entry.value)).fold(own, Size::with_child)
        }
    }
}

impl Size {
    fn with_child(self, child: Size) -> Size {
        Size {
            nodes: self.nodes + child.nodes,
            bytes: self.bytes + child.bytes,
            depth: self.depth.max(child.depth + 1),
        }
    }
}
