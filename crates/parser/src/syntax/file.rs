//! Lines of a Dockerfile, joined to instructions.

use super::directive::{self, DirectiveReader};
use super::heredoc::{Mark, chomp};
use super::node::Node;
use crate::text::Text;
use crate::{Diagnostic, Directives, Heredoc, Span};

/// An unknown instruction may announce a heredoc whose body must not be taken for instructions;
/// after so many of them nobody looks any more.
const MAX_UNKNOWN_HEREDOCS: usize = 20;

/// A Dockerfile, not yet understood.
#[derive(Debug)]
pub(crate) struct File {
    /// Parser directives.
    pub(crate) directives: Directives,
    /// The instructions, in their order.
    pub(crate) nodes: Vec<Node>,
    /// The first empty line inside each instruction that has one.
    pub(crate) empty_lines: Vec<Span>,
    /// What is wrong with the syntax.
    pub(crate) errors: Vec<Diagnostic>,
}

/// What is done with an instruction that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// It has no heredocs, as in BuildKit.
    Plain,
    /// It is a mistake, and what looks like its heredocs is left out.
    Mistake,
}

/// Reads all instructions of `source`.
pub(crate) fn parse_file(source: &str, escape: char, unknown: Unknown) -> File {
    let mut reader = Reader {
        lines: Lines { source, position: 0 },
        directive_reader: DirectiveReader::default(),
        comments: Vec::new(),
        after_shebang: source.starts_with("#!"),
        unknown,
        unknown_heredocs: 0,
        file: File {
            directives: Directives { syntax: None, escape, check: None },
            nodes: Vec::new(),
            empty_lines: Vec::new(),
            errors: Vec::new(),
        },
    };
    while reader.instruction() {}
    reader.file
}

/// Lines with their line ends.
#[derive(Debug, Clone)]
struct Lines<'a> {
    source: &'a str,
    position: usize,
}

/// A line and where it begins.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    raw: &'a str,
    start: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let start = self.position;
        let rest = &self.source[start..];
        let length = rest.find('\n').map_or(rest.len(), |at| at + 1);
        self.position += length;
        (length > 0).then_some(Line { raw: &rest[..length], start })
    }
}

impl<'a> Line<'a> {
    /// Without its line end.
    fn content(self) -> &'a str {
        self.raw.trim_end_matches(['\r', '\n'])
    }

    fn span(self) -> Span {
        Span { start: self.start, end: self.start + self.content().len() }
    }

    /// The comment's text, if the line is one.
    fn comment(self) -> Option<&'a str> {
        if !self.raw.trim_start().starts_with('#') {
            return None;
        }
        // BuildKit cuts the first character even of an indented comment, whose `#` stays.
        let mut chars = self.raw.chars();
        chars.next();
        Some(chars.as_str().trim())
    }
}

struct Reader<'a> {
    lines: Lines<'a>,
    directive_reader: DirectiveReader,
    /// Comments since the last instruction or empty comment.
    comments: Vec<String>,
    /// The first line is `#!…`: behind it, `# check=` and `# syntax=` still count.
    after_shebang: bool,
    unknown: Unknown,
    unknown_heredocs: usize,
    file: File,
}

impl<'a> Reader<'a> {
    /// Reads up to the end of one instruction; false at the end of the file.
    fn instruction(&mut self) -> bool {
        let Some(line) = self.lines.next() else { return false };
        if !(self.after_shebang && line.start == 0) && self.directive(line) {
            return true;
        }
        match line.comment() {
            Some("") => self.comments.clear(),
            Some(comment) => self.comments.push(comment.to_owned()),
            None => self.instruction_at(line),
        }
        true
    }

    /// Whether `line` is a directive; if so, it is applied.
    fn directive(&mut self, line: Line<'a>) -> bool {
        let content = line.content();
        let indent = content.len() - content.trim_start().len();
        let (name, value, at) = match self.directive_reader.read(content.trim_start()) {
            directive::Line::Other => return false,
            directive::Line::Repeated(_) if self.after_shebang => return false,
            directive::Line::Repeated(name) => {
                let message = format!("only one {name} parser directive can be used");
                self.file.errors.push(Diagnostic::error(line.span(), message));
                return true;
            }
            directive::Line::Directive { name, value, at } => (name, value, at),
        };
        // BuildKit looks for these two in another way, which heeds `#!` but not indented lines.
        let heeded = if name == "escape" { !self.after_shebang } else { indent == 0 };
        if heeded {
            let start = line.start + indent + at;
            let span = Span { start, end: start + value.len() };
            let applied = directive::apply(&mut self.file.directives, name, value, span);
            self.file.errors.extend(applied.err());
        }
        !self.after_shebang
    }

    fn instruction_at(&mut self, first: Line<'a>) {
        let content = first.content().trim_start();
        let mut start = first.start + first.content().len() - content.len();
        let (mut kept, mut continued) = self.cut_continuation(content);
        if kept.is_empty() && !continued {
            return;
        }
        let mut text = Text::at(start);
        let mut last = first;
        let mut empty_line = None;
        loop {
            text.push(kept, start);
            if !continued {
                break;
            }
            let Some(next) = self.continuation(&mut last, &mut empty_line) else { break };
            start = next.start;
            (kept, continued) = self.cut_continuation(next.content());
        }
        self.file.empty_lines.extend(empty_line);
        self.finish(text, last);
    }

    /// The next line of the instruction. Comments and empty lines are skipped.
    fn continuation(&mut self, last: &mut Line<'a>, empty_line: &mut Option<Span>) -> Option<Line<'a>> {
        loop {
            let line = self.lines.next()?;
            *last = line;
            if line.comment().is_some() {
                continue;
            }
            if line.content().trim().is_empty() {
                empty_line.get_or_insert(line.span());
                continue;
            }
            return Some(line);
        }
    }

    /// The line without its continuation character, and whether it had one: the escape character
    /// at the end, blanks behind it aside, unless another one stands right before it.
    fn cut_continuation<'l>(&self, line: &'l str) -> (&'l str, bool) {
        let escape = self.escape();
        match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
            Some(before) if !before.ends_with(escape) => (before, true),
            _ => (line, false),
        }
    }

    fn escape(&self) -> char {
        self.file.directives.escape
    }

    /// Reads the instruction `text`, which ends with the line `last`, and its heredocs.
    fn finish(&mut self, text: Text, last: Line<'a>) {
        let start = text.part(text.trimmed_range()).start;
        let comments = std::mem::take(&mut self.comments);
        let mut end = last.span().end;
        match Node::read(text, self.escape(), 0) {
            Err(error) => self.file.errors.push(error),
            Ok(mut node) => {
                match node.heredoc_marks() {
                    Err(error) => self.file.errors.push(error),
                    Ok(marks) => {
                        for mark in marks {
                            let Some(body) = self.heredoc(&node, &mark) else { return };
                            end = body.1.end;
                            node.heredocs.push(heredoc(mark, body.0));
                        }
                    }
                }
                if node.command.is_none() && self.unknown == Unknown::Mistake {
                    self.skip_heredocs(&node);
                }
                node.comments = comments;
                node.span = Span { start, end };
                self.file.nodes.push(node);
            }
        }
    }

    /// The body of a heredoc and the place of the line that ends it.
    fn heredoc(&mut self, node: &Node, mark: &Mark) -> Option<(&'a str, Span)> {
        let start = self.lines.position;
        let mut near_miss = None;
        for line in self.lines.by_ref() {
            let content = line.content();
            if content == mark.name || (mark.chomp && content.trim_start_matches('\t') == mark.name) {
                return Some((&self.lines.source[start..line.start], line.span()));
            }
            if near_miss.is_none() && content.trim() == mark.name {
                near_miss = Some(line);
            }
        }
        let at = node.line.find("<<").unwrap_or_default();
        let end = node.line[at..].find(char::is_whitespace).map_or(node.line.len(), |length| at + length);
        let mut error = Diagnostic::error(node.line.part(at..end), "unterminated heredoc")
            .label(format!("no line `{}` follows", mark.name));
        error = match near_miss {
            Some(line) => {
                let tabs = !mark.chomp && content_is_tabbed(line.content(), &mark.name);
                error.related(line.span(), "this line has white space around it").help(if tabs {
                    "with `<<-` the name may be indented by tabs"
                } else {
                    "the name must stand alone on its line"
                })
            }
            None => error.help(format!("end the heredoc with a line `{}`", mark.name)),
        };
        self.file.errors.push(error);
        None
    }

    /// Skips what looks like the heredocs of an unknown instruction, such as `RUNN <<EOF`.
    fn skip_heredocs(&mut self, node: &Node) {
        if self.unknown_heredocs >= MAX_UNKNOWN_HEREDOCS {
            return;
        }
        let marks = super::heredoc::heredoc_marks(&node.line).unwrap_or_default();
        self.unknown_heredocs += usize::from(!marks.is_empty());
        let mut ahead = self.lines.clone();
        if marks
            .iter()
            .all(|mark| ahead.by_ref().any(|line| line.content().trim_start_matches('\t') == mark.name))
        {
            self.lines = ahead;
        }
    }
}

fn content_is_tabbed(content: &str, name: &str) -> bool {
    content.trim_start_matches('\t') == name
}

fn heredoc(mark: Mark, body: &str) -> Heredoc {
    let content = if mark.chomp { chomp(body) } else { body.to_owned() };
    let raw = body.to_owned();
    Heredoc { name: mark.name, expand: mark.expand, chomp: mark.chomp, fd: mark.fd, content, raw }
}

#[cfg(test)]
mod tests;
