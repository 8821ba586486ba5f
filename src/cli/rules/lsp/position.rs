//! Places as editors count them: lines, and UTF-16 units within a line.

use serde_json::{Value, json};

/// The byte offset of a place; what lies beyond the text or a line's end is its end.
pub fn offset(text: &str, line: u64, character: u64) -> usize {
    let mut start = 0;
    for _ in 0..line {
        match next_line(text, start) {
            Some(next) => start = next,
            None => return text.len(),
        }
    }
    let mut units = 0;
    for (at, c) in text[start..].char_indices() {
        if matches!(c, '\n' | '\r') || units >= character {
            return start + at;
        }
        units += c.len_utf16() as u64;
    }
    text.len()
}

/// The place of a byte offset.
pub fn position(text: &str, offset: usize) -> Value {
    let offset = boundary(text, offset);
    let (mut line, mut start) = (0, 0);
    while let Some(next) = next_line(text, start).filter(|next| *next <= offset) {
        line += 1;
        start = next;
    }
    json!({"line": line, "character": text[start..offset].encode_utf16().count()})
}

/// The last place between characters at or before an offset.
pub fn boundary(text: &str, offset: usize) -> usize {
    let mut at = offset.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A range of byte offsets.
pub fn range(text: &str, start: usize, end: usize) -> Value {
    json!({"start": position(text, start), "end": position(text, end)})
}

/// Where the next line begins; the protocol ends lines with `\n`, `\r\n` and `\r`.
fn next_line(text: &str, from: usize) -> Option<usize> {
    let end = from + text[from..].find(['\n', '\r'])?;
    let long = text[end..].starts_with("\r\n");
    Some(end + if long { 2 } else { 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_utf_16() {
        let text = "aé𝄞b\r\nsecond\rthird\n";
        for (line, character, want) in [
            (0, 0, "aé𝄞b"),
            (0, 2, "𝄞b"),
            (0, 4, "b"),
            (0, 99, "\r\n"),
            (1, 3, "ond"),
            (2, 0, "third"),
            (3, 0, ""),
            (u64::MAX, 7, ""),
        ] {
            let at = offset(text, line, character);
            assert!(text[at..].starts_with(want), "{line}:{character} is {:?}", &text[at..]);
        }
        let b = text.find('b').expect("there");
        assert_eq!(position(text, b), json!({"line": 0, "character": 4}));
        assert_eq!(position(text, text.len()), json!({"line": 3, "character": 0}));
        assert_eq!(position(text, usize::MAX), position(text, text.len()));
    }
}
