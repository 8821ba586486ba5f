//! A text's lines, and what each of them is.

use std::ops::Range;

use crate::engine::yaml::Marks;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Blank,
    /// Nothing but a comment.
    Comment,
    /// Inside a block scalar: blanks count, and `#` begins no comment.
    Block,
    Text,
}

#[derive(Debug)]
pub struct Lines<'a> {
    lines: Vec<(&'a str, Kind)>,
    starts: Vec<usize>,
    /// Line numbers after block scalars that keep the blank lines behind them.
    keeping: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a str, marks: &Marks) -> Lines<'a> {
        let mut starts = Vec::new();
        let mut lines = Vec::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            starts.push(at);
            at += line.len();
            let line = line.trim_end_matches('\n');
            let blank = line.trim().is_empty();
            lines.push((line, if blank { Kind::Blank } else { Kind::Text }));
        }
        let mut this = Lines {
            lines,
            starts,
            keeping: Vec::new(),
        };
        for comment in &marks.comments {
            let (line, column) = this.place(comment.start);
            if this.lines[line].0[..column].trim().is_empty() {
                this.lines[line].1 = Kind::Comment;
            }
        }
        for block in &marks.blocks {
            this.mark_block(block);
        }
        this
    }

    /// Marks the content of a block scalar; its span may begin at the header or at the content.
    fn mark_block(&mut self, block: &Range<usize>) {
        let (first, column) = self.place(block.start);
        let header = self.text(first)[column..].starts_with(['|', '>']);
        let first = first + usize::from(header);
        // The span may reach to the next key or comment.
        let inside = |line: &usize| {
            let begins = self.starts[*line] + self.indent(*line);
            self.kind(*line) == Kind::Blank || begins < block.end && self.kind(*line) != Kind::Comment
        };
        let mut end = first;
        for line in (first..self.len()).take_while(inside).collect::<Vec<_>>() {
            if self.kind(line) != Kind::Blank {
                self.lines[line].1 = Kind::Block;
                end = line + 1;
            }
        }
        let header = self.header(first);
        if end > first && header.is_some_and(|h| h.contains('+')) {
            self.keeping.push(end);
        }
    }

    /// The header of a block scalar that begins at a line: `|`, `>-`, `>2+`.
    fn header(&self, first: usize) -> Option<&'a str> {
        let line = (0..first).rev().find(|&l| self.kind(l) != Kind::Blank)?;
        let text = self.text(line);
        let text = text.split(" #").next().unwrap_or(text).trim_end();
        text.rsplit(' ').next().filter(|h| h.starts_with(['|', '>']))
    }

    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn text(&self, line: usize) -> &'a str {
        self.lines.get(line).map_or("", |l| l.0)
    }

    pub fn kind(&self, line: usize) -> Kind {
        self.lines.get(line).map_or(Kind::Blank, |l| l.1)
    }

    /// True for what is neither blank nor a comment.
    pub fn is_content(&self, line: usize) -> bool {
        matches!(self.kind(line), Kind::Text | Kind::Block)
    }

    /// Blanks at the beginning of a line.
    pub fn indent(&self, line: usize) -> usize {
        let text = self.text(line);
        text.len() - text.trim_start_matches(' ').len()
    }

    /// The line of a byte, and the byte's offset in it.
    pub fn place(&self, byte: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|&s| s <= byte).saturating_sub(1);
        let column = byte - self.starts.get(line).copied().unwrap_or(0);
        (line, column.min(self.text(line).len()))
    }

    /// True if a block scalar ends before `end` whose value has the blank lines that follow it.
    pub fn keeps_blanks(&self, end: usize) -> bool {
        let content = (0..end).rfind(|&l| self.kind(l) != Kind::Blank).map_or(0, |l| l + 1);
        self.keeping.contains(&content)
    }
}

/// A line moved by `delta` columns.
pub fn shift(text: &str, delta: isize) -> String {
    let body = text.trim_start_matches(' ');
    let indent = (text.len() - body.len()).saturating_add_signed(delta);
    " ".repeat(indent) + body
}
