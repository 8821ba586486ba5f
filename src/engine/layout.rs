//! The canonical layout of rule files: text to text, with every value and every comment kept.
//!
//! Lines are moved, not written anew: the YAML tree only says where items and keys begin. What is not understood keeps its
//! lines, and [`canonical`] compares what comes out with what went in before anybody writes it to a file.

mod condition;
mod item;
mod lines;
mod verify;

use super::yaml::{self, Node, NodeKind, YamlError};
use lines::{Kind, Lines};

/// Why a text has no canonical layout.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("not YAML: {}", .0.message)]
    Yaml(YamlError),
    /// The layout would have changed what the file says.
    #[error("{place}: {what}; the file is left as it is")]
    Unsafe { place: String, what: String },
}

/// Lays a rule file out.
///
/// # Errors
/// Texts that are not YAML, and those of which a value or a comment would not survive.
pub fn canonical(text: &str) -> Result<String, LayoutError> {
    // A final line break is part of the layout, so that block scalars at the end have one in both texts.
    let mut before = text.replace("\r\n", "\n");
    if !before.is_empty() && !before.ends_with('\n') {
        before.push('\n');
    }
    let after = lay_out(&before).map_err(LayoutError::Yaml)?;
    verify::same(&before, &after)?;
    verify::stable(&after, &lay_out(&after).map_err(LayoutError::Yaml)?)?;
    Ok(if text.contains("\r\n") {
        after.replace('\n', "\r\n")
    } else {
        after
    })
}

/// The text laid out once, unchecked.
fn lay_out(text: &str) -> Result<String, YamlError> {
    let documents = yaml::parse(text, 0)?;
    let lines = Lines::new(text, &yaml::marks(text));
    let items = documents.iter().flat_map(|document| match &document.kind {
        NodeKind::Sequence(items) => items.as_slice(),
        _ => &[],
    });
    let Some(items) = items.map(|node| dash(&lines, node).map(|at| (at, node))).collect() else {
        return Ok(text.to_owned());
    };
    let items: Vec<(usize, &Node)> = items;
    if items.is_empty() {
        return Ok(text.to_owned());
    }
    let mut page = Page::default();
    page.between(&lines, 0, items[0].0);
    for (i, &(first, node)) in items.iter().enumerate() {
        let next = items.get(i + 1).map_or(lines.len(), |&(next, _)| next);
        let end = item_end(&lines, first, next);
        page.item(item::lay_out(&lines, first, end, node), lines.keeps_blanks(end));
        page.between(&lines, end, next);
    }
    Ok(page.finish())
}

/// The line with a top-level item's dash, if items are written line by line.
fn dash(lines: &Lines<'_>, node: &Node) -> Option<usize> {
    let (mut line, column) = lines.place(node.at.start as usize);
    let before = lines.text(line)[..column].trim();
    if before.is_empty() {
        // The item begins on a line after its dash.
        line = (0..line).rev().find(|&l| lines.kind(l) == Kind::Text)?;
    }
    let text = lines.text(line).trim_start();
    (text.starts_with("- ") || text == "-").then_some(line)
}

/// The line after an item: what lies between there and the next item belongs to neither, or to the next.
fn item_end(lines: &Lines<'_>, first: usize, next: usize) -> usize {
    let marker = |&l: &usize| lines.kind(l) == Kind::Text && lines.text(l).starts_with(['-', '.', '%']);
    let limit = (first + 1..next).find(marker).unwrap_or(next);
    let last = (first..limit).rfind(|&l| lines.is_content(l)).unwrap_or(first);
    let mut end = last + 1;
    if lines.keeps_blanks(end) {
        while end < limit && lines.kind(end) == Kind::Blank {
            end += 1;
        }
    }
    let column = lines.indent(first);
    while end < limit && lines.kind(end) == Kind::Comment && lines.indent(end) > column {
        end += 1;
    }
    end
}

/// The lines written so far.
#[derive(Default)]
struct Page {
    lines: Vec<String>,
    /// Whether the next blank line is due to be left out: it would become part of a block scalar.
    no_gap: bool,
    /// Comments that stand directly above the next item.
    attached: bool,
}

impl Page {
    fn gap(&mut self) {
        if !self.lines.is_empty() && !self.no_gap {
            self.lines.push(String::new());
        }
        self.no_gap = false;
    }

    /// What lies between items: comments, and marks of documents.
    fn between(&mut self, lines: &Lines<'_>, start: usize, end: usize) {
        let mut open = false;
        for line in start..end {
            if lines.kind(line) == Kind::Blank {
                open = false;
                continue;
            }
            if !open {
                self.gap();
            }
            open = true;
            self.lines.push(match lines.kind(line) {
                Kind::Comment => lines.text(line).trim().to_owned(),
                _ => lines.text(line).trim_end().to_owned(),
            });
        }
        self.attached = open;
    }

    fn item(&mut self, lines: Vec<String>, keeps_blanks: bool) {
        if !self.attached {
            self.gap();
        }
        self.lines.extend(lines);
        self.no_gap = keeps_blanks;
        self.attached = false;
    }

    fn finish(self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

#[cfg(test)]
mod tests;
