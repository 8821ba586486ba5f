//! Names and values as they are written: what separates them, and where a value ends.
//!
//! One grammar for all of YAML, JSON, INI, properties, TOML, XML, dotenv, shell, options, calls and tables: they differ in
//! less than people think, and configuration mixes them.

use super::scan::line_start;

/// Values are looked at as far as this.
pub const LONGEST: usize = 1024;
/// Values are always looked at as far as this.
const SHORT: usize = 128;

/// How much of a text may still be looked at ahead of the pass, so that the whole stays linear in its length.
#[derive(Clone, Copy, Debug)]
pub struct Ahead(usize);

impl Ahead {
    pub fn of(text: &[u8]) -> Ahead {
        Ahead(2 * text.len() + (16 << 10))
    }

    /// How far a value may be looked for.
    pub fn reach(self) -> usize {
        if self.0 >= LONGEST { LONGEST } else { SHORT }
    }

    pub fn spend(&mut self, bytes: usize) {
        self.0 = self.0.saturating_sub(bytes);
    }
}

/// What stands between a name and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    Colon,
    Equals,
    /// `<name>value</name>`
    Tag,
    /// `define('NAME', 'value')`
    Comma,
    Space,
    /// `| name | value |`
    Cell,
}

/// The separator behind a name, and where the value begins.
pub fn separator(t: &[u8], start: usize, end: usize) -> Option<(Separator, usize)> {
    let at = |i: usize| t.get(i).copied().unwrap_or(0);
    let mut i = end;
    let mut closed = false;
    if at(i) == b'\\' && matches!(at(i + 1), b'"' | b'\'') {
        i += 2;
        closed = true;
    } else if matches!(at(i), b'"' | b'\'' | b'`') {
        i += 1;
        closed = true;
    }
    // `config["password"] =`, `creds[password] =`
    if at(i) == b']' || (closed && at(i) == b')') {
        i += 1;
    }
    let before = i;
    i = skip_spaces(t, i);
    // A type in between: `password: str = "…"`, `var token string = "…"`.
    let typed = |i: usize| {
        let i = i + t[i..].iter().take(2).take_while(|b| matches!(b, b'&' | b'*')).count();
        let word = t[i..].iter().take(12).take_while(|b| b.is_ascii_alphabetic()).count();
        let known = matches!(
            &t[i..i + word],
            b"string" | b"str" | b"String" | b"text" | b"bytes" | b"char" | b"varchar"
        );
        let next = skip_spaces(t, i + word);
        (known && at(next) == b'=' && at(next + 1) != b'=').then_some(next)
    };
    match at(i) {
        b':' => {
            if at(i + 1) == b':' || t[i..].starts_with(b"://") {
                return None;
            }
            i += 1;
            if at(i) == b'=' {
                i += 1;
            }
            let value = skip_spaces(t, i);
            match typed(value) {
                Some(next) => Some((Separator::Equals, skip_spaces(t, next + 1))),
                None => Some((Separator::Colon, value)),
            }
        }
        b'=' => {
            i += 1;
            while matches!(at(i), b'=' | b'>' | b'~') && i < end + 8 {
                i += 1;
            }
            Some((Separator::Equals, skip_spaces(t, i)))
        }
        b'!' | b'?' | b'+' if at(i + 1) == b'=' => Some((
            Separator::Equals,
            skip_spaces(t, i + if at(i + 2) == b'=' { 3 } else { 2 }),
        )),
        b'>' if start > 0 && t[start - 1] == b'<' => Some((Separator::Tag, i + 1)),
        b',' if closed => Some((Separator::Comma, skip_spaces(t, i + 1))),
        b'|' if i > before || closed => Some((Separator::Cell, skip_spaces(t, i + 1))),
        _ if i > before => match typed(i) {
            Some(next) => Some((Separator::Equals, skip_spaces(t, next + 1))),
            // `the password is "…"`
            None => match [&b"is "[..], b"to ", b"was ", b"BY ", b"by "]
                .iter()
                .find(|word| t[i..].starts_with(word))
            {
                Some(word) if is_quote(t, skip_spaces(t, i + word.len())) => {
                    Some((Separator::Space, skip_spaces(t, i + word.len())))
                }
                _ => Some((Separator::Space, i)),
            },
        },
        _ => None,
    }
}

pub fn skip_spaces(t: &[u8], mut i: usize) -> usize {
    while i < t.len() && matches!(t[i], b' ' | b'\t') {
        i += 1;
    }
    i
}

pub fn is_quote(t: &[u8], i: usize) -> bool {
    let at = |i: usize| t.get(i).copied().unwrap_or(0);
    matches!(at(i), b'"' | b'\'' | b'`') || at(i) == b'\\' && matches!(at(i + 1), b'"' | b'\'')
}

/// What is between quotes; without the closing one it goes to the end of the line.
pub fn quoted(t: &[u8], open: usize, reach: usize) -> (usize, usize) {
    let escaped = t[open] == b'\\';
    let quote = if escaped { t[open + 1] } else { t[open] };
    let from = open + 1 + usize::from(escaped);
    let most = t.len().min(from + reach);
    let mut i = from;
    while i < most {
        let b = t[i];
        if b == b'\\' {
            if escaped && t.get(i + 1) == Some(&quote) {
                return (from, i);
            }
            i += 2;
            continue;
        }
        if b == quote && !escaped {
            return (from, i);
        }
        if b == b'\n' && (escaped || quote == b'\'' || quote == b'`') {
            return (from, i);
        }
        i += 1;
    }
    (from, most)
}

/// Which of the three sorts of brackets one is.
fn bracket(b: u8) -> usize {
    match b {
        b'{' | b'}' => 0,
        b'[' | b']' => 1,
        _ => 2,
    }
}

/// Where a value ends.
pub fn bare_or_quoted(
    t: &[u8],
    value: usize,
    separator: Separator,
    at_line_start: bool,
    reach: usize,
) -> (usize, usize) {
    if is_quote(t, value) {
        return quoted(t, value, reach);
    }
    let most = t.len().min(value + reach);
    // Brackets that the value itself has opened are its own.
    let mut opened = [false; 3];
    let mut stop = |at: usize| -> bool {
        let b = t[at];
        match b {
            b'\n' | b'\r' => true,
            b'"' | b'`' => true,
            b'\'' => t.get(at + 1).is_none_or(|b| !b.is_ascii_alphanumeric()),
            b'\\' => matches!(t.get(at + 1), Some(b'n' | b'r' | b't' | b'"')),
            b'<' => separator == Separator::Tag || t.get(at + 1) == Some(&b'/'),
            _ if separator == Separator::Tag => false,
            b'#' => at > value && matches!(t[at - 1], b' ' | b'\t'),
            b' ' | b'\t' => separator != Separator::Colon,
            b'&' | b';' => !at_line_start || separator == Separator::Space,
            b',' => !at_line_start || matches!(t.get(at + 1), None | Some(b' ' | b'\n' | b'"' | b'\'')),
            b'{' | b'[' | b'(' => {
                opened[bracket(b)] = true;
                false
            }
            b'}' | b']' | b')' => !at_line_start && !opened[bracket(b)],
            b'|' => separator == Separator::Cell,
            _ => false,
        }
    };
    let mut i = value;
    while i < most && !stop(i) {
        i += 1;
    }
    (value, i)
}

/// The first lines of a YAML block scalar (YAML 1.2.2, section 8.1).
pub fn block(t: &[u8], value: usize) -> Option<(usize, usize)> {
    let mut i = value + 1;
    while i < t.len() && matches!(t[i], b'-' | b'+' | b'0'..=b'9' | b' ') {
        i += 1;
    }
    if t.get(i) == Some(&b'\r') {
        i += 1;
    }
    if t.get(i) != Some(&b'\n') {
        return None;
    }
    let from = i + 1;
    let end = t[from..].iter().position(|b| *b == b'\n').map_or(t.len(), |n| from + n);
    Some((from, end))
}

pub fn trim_range(t: &[u8], mut from: usize, mut to: usize) -> (usize, usize) {
    while from < to && t[from].is_ascii_whitespace() {
        from += 1;
    }
    while to > from && t[to - 1].is_ascii_whitespace() {
        to -= 1;
    }
    // One more pair of quotes: `'"…"'`.
    while to - from >= 2 && t[from] == t[to - 1] && matches!(t[from], b'"' | b'\'') {
        from += 1;
        to -= 1;
    }
    (from, to)
}

/// Only white space, `export`, `-` and comment signs are before it on its line.
pub fn starts_line(t: &[u8], at: usize) -> bool {
    let line = line_start(t, at);
    let mut before = t[line..at].trim_ascii();
    for word in [
        &b"#"[..],
        b"//",
        b";",
        b"- ",
        b"-",
        b"export",
        b"set",
        b"SET",
        b"ENV",
        b"ARG",
    ] {
        before = before.strip_prefix(word).unwrap_or(before).trim_ascii();
    }
    before.is_empty()
}
