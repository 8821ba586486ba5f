//! One item of a rule file: its keys in order, each with its own lines.

use super::condition::{self, WIDTH};
use super::lines::{Kind, Lines, shift};
use crate::engine::yaml::{Node, NodeKind};

/// Column of keys, and of what lies deeper.
const KEY: usize = 2;
const VALUE: usize = 4;

/// Keys that have a place of their own; others come before the last two, in the order in which they are written.
const ORDER: [(&str, usize); 14] = [
    ("rule", 0),
    ("macro", 0),
    ("list", 0),
    ("desc", 1),
    ("condition", 2),
    ("items", 2),
    ("output", 3),
    ("priority", 4),
    ("source", 5),
    ("tags", 6),
    ("exceptions", 7),
    ("enabled", 8),
    ("append", 10),
    ("override", 11),
];
const OTHER: usize = 9;

/// A key with its value.
struct Entry {
    rank: usize,
    /// Comments above it.
    above: Vec<String>,
    /// From the key on; only the lines after the first begin with their indentation.
    lines: Vec<String>,
}

/// The canonical lines of the item whose dash is on line `first`.
pub fn lay_out(lines: &Lines<'_>, first: usize, end: usize, node: &Node) -> Vec<String> {
    keys(lines, first, end, node).unwrap_or_else(|| {
        let delta = -(lines.indent(first) as isize);
        (first..end).map(|line| moved(lines, line, delta, 0)).collect()
    })
}

/// The item with its keys in order, if each key begins a line.
fn keys(lines: &Lines<'_>, first: usize, end: usize, node: &Node) -> Option<Vec<String>> {
    let NodeKind::Mapping(pairs) = &node.kind else {
        return None;
    };
    let places: Vec<(usize, usize)> = pairs.iter().map(|(k, _)| lines.place(k.at.start as usize)).collect();
    let column = places.first()?.1;
    let alone = |(i, &(line, at)): (usize, &(usize, usize))| {
        let before = lines.text(line)[..at].trim();
        at == column
            && if i == 0 {
                line == first && before == "-"
            } else {
                before.is_empty()
            }
    };
    if !places.iter().enumerate().all(alone) {
        return None;
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut above = Vec::new();
    for (i, (key, value)) in pairs.iter().enumerate() {
        let start = places[i].0;
        let next = places.get(i + 1).map_or(end, |p| p.0);
        let stop = value_end(lines, start, next, column);
        entries.push(Entry {
            rank: rank(key),
            above: std::mem::take(&mut above),
            lines: entry(lines, start, stop, key, value, column)?,
        });
        above = comments(lines, stop, next);
    }
    let is_known = pairs.iter().any(|(key, _)| rank(key) == 0);
    if is_known {
        entries.sort_by_key(|e| e.rank);
    }
    let mut out = Vec::new();
    for (i, entry) in entries.into_iter().enumerate() {
        let (margin, bullet) = if i == 0 { ("", "- ") } else { ("  ", "  ") };
        out.extend(entry.above.into_iter().map(|c| margin.to_owned() + &c));
        let mut written = entry.lines.into_iter();
        out.extend(written.next().map(|l| bullet.to_owned() + &l));
        out.extend(written);
    }
    out.extend(above.into_iter().map(|c| "  ".to_owned() + &c));
    Some(out)
}

fn rank(key: &Node) -> usize {
    let name = key.scalar().map_or("", |t| t.as_str());
    ORDER.iter().find(|(k, _)| *k == name).map_or(OTHER, |(_, rank)| *rank)
}

/// The line after a value: with comments that are written as a part of it.
fn value_end(lines: &Lines<'_>, start: usize, next: usize, column: usize) -> usize {
    let last = (start..next).rfind(|&l| lines.is_content(l)).unwrap_or(start);
    let mut end = last + 1;
    if lines.keeps_blanks(end) {
        while end < next && lines.kind(end) == Kind::Blank {
            end += 1;
        }
    } else if lines.kind(last) != Kind::Block {
        while end < next && lines.kind(end) == Kind::Comment && lines.indent(end) > column {
            end += 1;
        }
    }
    end
}

fn comments(lines: &Lines<'_>, start: usize, end: usize) -> Vec<String> {
    let comments = (start..end).filter(|&l| lines.kind(l) == Kind::Comment);
    comments.map(|l| lines.text(l).trim().to_owned()).collect()
}

/// A key's lines, moved to where they belong.
fn entry(lines: &Lines<'_>, start: usize, end: usize, key: &Node, value: &Node, column: usize) -> Option<Vec<String>> {
    let line = lines.text(start);
    let (key_end_line, key_end) = lines.place(key.at.end as usize);
    let name = line.get(column..key_end)?.trim_end();
    let after = line.get(key_end..)?.trim_start().strip_prefix(':')?.trim();
    // Anchors and tags would have to be moved along; rule files have none.
    if key_end_line != start || after.starts_with(['&', '*', '!', '?']) {
        return None;
    }
    let is_condition = key.scalar().is_some_and(|k| k.as_str() == "condition");
    if is_condition
        && let Some(folded) = fold(
            lines,
            start,
            end,
            value,
            name.chars().count() + 2 + after.chars().count(),
        )
    {
        return Some(folded);
    }
    let first = match after {
        "" => format!("{name}:"),
        _ => format!("{name}: {after}"),
    };
    let inside = (start + 1..end).find(|&l| lines.is_content(l));
    let header = after.split(' ').next().unwrap_or(after);
    let is_block = header.starts_with(['|', '>']);
    let moves = KEY as isize - column as isize;
    let delta = match inside {
        // An indentation given as a number is measured from the key.
        Some(_) if is_block && header.contains(|c: char| c.is_ascii_digit()) => moves,
        Some(line) if is_block || after.is_empty() || after.starts_with('#') => {
            VALUE as isize - lines.indent(line) as isize
        }
        _ => moves,
    };
    let mut out = vec![first];
    out.extend((start + 1..end).map(|l| moved(lines, l, delta, VALUE)));
    Some(out)
}

/// A line moved; comments at least to column `least`.
fn moved(lines: &Lines<'_>, line: usize, delta: isize, least: usize) -> String {
    let text = lines.text(line);
    match lines.kind(line) {
        Kind::Blank => String::new(),
        Kind::Block => shift(text, delta),
        Kind::Text => shift(text.trim_end(), delta),
        Kind::Comment => {
            let indent = lines.indent(line).saturating_add_signed(delta).max(least);
            " ".repeat(indent) + text.trim()
        }
    }
}

/// A condition on one line that is too long for it, as a folded block.
fn fold(lines: &Lines<'_>, start: usize, end: usize, value: &Node, width: usize) -> Option<Vec<String>> {
    let text = value.scalar()?.as_str();
    let value_end = lines.place(value.at.end as usize);
    let first = lines.text(start);
    let (header, folded) = if end == start + 1 {
        let whole = value_end.0 == start && first[value_end.1..].trim().is_empty();
        if !whole || KEY + width <= WIDTH {
            return None;
        }
        (">-", condition::fold(text, WIDTH - VALUE)?)
    } else {
        let header = first.split_once(':')?.1.trim();
        let length = lines.text(start + 1).trim().chars().count();
        let single = matches!(header, ">" | ">-") && end == start + 2 && lines.kind(start + 1) == Kind::Block;
        if !single || VALUE + length <= WIDTH {
            return None;
        }
        (header, condition::fold(text.trim_end_matches('\n'), WIDTH - VALUE)?)
    };
    let mut out = vec![format!("condition: {header}")];
    out.extend(folded.into_iter().map(|line| " ".repeat(VALUE) + &line));
    Some(out)
}
