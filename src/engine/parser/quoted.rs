//! Escape sequences of quoted strings.

/// The bytes that a quoted string stands for; errors carry the offset of the escape.
///
/// # Errors
/// An escape that the language does not have.
pub fn unescape(quoted: &str) -> Result<Vec<u8>, (usize, String)> {
    let quote = quoted.chars().next().unwrap_or('"');
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    let mut out = Vec::with_capacity(inner.len());
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let unsupported = |c: char| (at + 1, format!("unsupported string escape sequence: \\{c}"));
        match chars.next().map(|(_, c)| c) {
            Some('b') => out.push(8),
            Some('f') => out.push(12),
            Some('n') => out.push(b'\n'),
            Some('r') => out.push(b'\r'),
            Some('t') => out.push(b'\t'),
            Some('\\') => out.push(b'\\'),
            Some('/') => out.push(b'/'),
            // An old habit of rule files: a backslash before a blank stands for itself.
            Some(' ') => out.push(b'\\'),
            Some('x') => {
                let digits: String = chars.by_ref().take(2).map(|(_, c)| c).collect();
                match u8::from_str_radix(&digits, 16) {
                    Ok(byte) if digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit()) => out.push(byte),
                    _ => return Err(unsupported('x')),
                }
            }
            Some(c) if c == quote => out.push(c as u8),
            Some(c) => return Err(unsupported(c)),
            None => return Err(unsupported(' ')),
        }
    }
    Ok(out)
}
