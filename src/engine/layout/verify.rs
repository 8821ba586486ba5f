//! Proof that two texts say the same: equal values, and the same comments.

use super::LayoutError;
use crate::engine::yaml::{self, Node, NodeKind};

/// Compares a text with its canonical layout.
///
/// # Errors
/// The first item whose values differ, or the comment that is lost.
pub fn same(before: &str, after: &str) -> Result<(), LayoutError> {
    let old = yaml::parse(before, 0).map_err(LayoutError::Yaml)?;
    let new = yaml::parse(after, 0).map_err(|e| refused("the file", format!("would be no YAML: {}", e.message)))?;
    let (old, new) = (items(&old), items(&new));
    for (i, node) in old.iter().enumerate() {
        if !new.get(i).is_some_and(|other| equal(node, other)) {
            return Err(refused(&name(node, i), "a value would change".to_owned()));
        }
    }
    if new.len() != old.len() {
        return Err(refused("the file", "items would be added".to_owned()));
    }
    let (old, mut new) = (comments(before), comments(after));
    for comment in old {
        match new.iter().position(|c| *c == comment) {
            Some(found) => new.swap_remove(found),
            None => return Err(refused("the file", format!("a comment would be lost: {comment}"))),
        };
    }
    match new.first() {
        None => Ok(()),
        Some(comment) => Err(refused("the file", format!("a text would become a comment: {comment}"))),
    }
}

/// Compares a layout with the layout of itself.
///
/// # Errors
/// The first item whose lines differ.
pub fn stable(once: &str, twice: &str) -> Result<(), LayoutError> {
    let different = once.lines().zip(twice.lines()).position(|(a, b)| a != b);
    if once == twice {
        return Ok(());
    }
    let lines = once.lines().take(different.unwrap_or(usize::MAX).saturating_add(1));
    let item = lines.filter(|l| l.starts_with("- ")).last();
    Err(refused(
        item.map_or("the file", |l| l.trim_start_matches("- ")),
        "its layout would change with every run".to_owned(),
    ))
}

fn refused(place: &str, what: String) -> LayoutError {
    LayoutError::Unsafe {
        place: place.to_owned(),
        what,
    }
}

/// Items of all documents; documents that are no lists count as an item.
fn items(documents: &[Node]) -> Vec<&Node> {
    let items = documents.iter().map(|document| match &document.kind {
        NodeKind::Sequence(items) => items.as_slice(),
        _ => std::slice::from_ref(document),
    });
    items.flatten().collect()
}

fn name(item: &Node, index: usize) -> String {
    let named = ["rule", "macro", "list"].into_iter().find_map(|kind| {
        let name = item.get(kind)?.scalar()?;
        Some(format!("{kind} `{}`", name.as_str()))
    });
    named.unwrap_or_else(|| format!("item {}", index + 1))
}

/// Equal but for the order of keys; of two equal keys the first counts, so these keep their order.
fn equal(a: &Node, b: &Node) -> bool {
    match (&a.kind, &b.kind) {
        (NodeKind::Scalar { text: x, quoted: p }, NodeKind::Scalar { text: y, quoted: q }) => {
            // A plain text that becomes a block stays a text if it has blanks.
            x.as_str() == y.as_str() && (p == q || x.as_str().contains(' '))
        }
        (NodeKind::Sequence(x), NodeKind::Sequence(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| equal(x, y))
        }
        (NodeKind::Mapping(x), NodeKind::Mapping(y)) => {
            let sorted = |entries: &[(Node, Node)]| {
                let mut order: Vec<usize> = (0..entries.len()).collect();
                order.sort_by_key(|&i| entries[i].0.scalar().map(|t| t.as_str().to_owned()));
                order
            };
            let (i, j) = (sorted(x), sorted(y));
            let pairs = || i.iter().zip(&j).map(|(&i, &j)| (&x[i], &y[j]));
            x.len() == y.len() && pairs().all(|((k, v), (l, w))| equal(k, l) && equal(v, w))
        }
        _ => false,
    }
}

fn comments(text: &str) -> Vec<String> {
    let marks = yaml::marks(text);
    let comment = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default().trim_end().to_owned();
    marks.comments.into_iter().map(comment).collect()
}
