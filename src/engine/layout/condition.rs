//! Breaks long conditions into lines.

/// Columns of a line that may be used.
pub const WIDTH: usize = 120;

/// The lines of a condition that is too long for its key's line, broken after `and` and `or` as far outside of parentheses as
/// possible. Folding them gives the text back; nothing if that cannot be.
pub fn fold(text: &str, width: usize) -> Option<Vec<String>> {
    if text.trim() != text || text.chars().any(char::is_control) {
        return None;
    }
    let breaks = breaks(text);
    let mut lines = Vec::new();
    let mut start = 0;
    loop {
        let rest = &text[start..];
        if rest.chars().count() <= width {
            break;
        }
        let ahead = || breaks.iter().filter(|b| b.at > start);
        let fits = |b: &&Break| text[start..b.at].chars().count() <= width;
        let depth = ahead().take_while(fits).map(|b| b.depth).min();
        let best = ahead().take_while(fits).filter(|b| Some(b.depth) == depth).last();
        let Some(best) = best.or_else(|| ahead().next()) else {
            break;
        };
        lines.push(text[start..best.at].to_owned());
        start = best.at + 1;
    }
    lines.push(text[start..].to_owned());
    (lines.len() > 1 || text.chars().count() <= width).then_some(lines)
}

/// A blank after `and` or `or`.
struct Break {
    at: usize,
    depth: usize,
}

fn breaks(text: &str) -> Vec<Break> {
    let mut breaks = Vec::new();
    let mut depth = 0_usize;
    let mut quote = None;
    let mut word = 0;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            // More than one blank would not survive the fold.
            (None, ' ') if matches!(&text[word..at], "and" | "or") && !text[at + 1..].starts_with(' ') => {
                breaks.push(Break { at, depth });
            }
            _ => {}
        }
        if c == ' ' || c == '(' {
            word = at + 1;
        }
    }
    breaks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, width: usize, lines: Option<&[&str]>) {
        let folded = fold(text, width);
        assert_eq!(
            folded.as_deref(),
            lines
                .map(|l| l.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
                .as_deref()
        );
        if let Some(folded) = folded {
            assert_eq!(folded.join(" "), text);
        }
    }

    #[test]
    fn breaks_outside_of_parentheses_first() {
        check("a = 1 and b = 2", 20, Some(&["a = 1 and b = 2"]));
        check("a = 1 and b = 2 and c", 16, Some(&["a = 1 and", "b = 2 and c"]));
        check("a and (b or c or d) and e", 20, Some(&["a and", "(b or c or d) and e"]));
        check("(a and b and c)", 9, Some(&["(a and", "b and c)"]));
        check(
            "a = \"x and y and z\" and b",
            12,
            Some(&["a = \"x and y and z\" and", "b"]),
        );
        check("a and  b and c", 8, Some(&["a and  b and", "c"]));
        check("evt.type=open_by_handle_at", 8, None);
    }
}
