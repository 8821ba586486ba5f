//! Text patterns of the language: shell globs, path prefixes, and regular expressions in RE2's POSIX syntax.

/// A glob as fnmatch(3) reads it without flags: `*` and `?` cross slashes, `[..]` and `[!..]` are sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    tokens: Vec<Token>,
    ignore_case: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Any,
    Star,
    Set { negated: bool, ranges: Vec<(u8, u8)> },
}

impl Glob {
    pub fn new(pattern: &[u8], ignore_case: bool) -> Glob {
        let mut tokens = Vec::new();
        let mut i = 0;
        let fold = |b: u8| if ignore_case { b.to_ascii_lowercase() } else { b };
        while i < pattern.len() {
            match pattern[i] {
                b'*' => {
                    if tokens.last() != Some(&Token::Star) {
                        tokens.push(Token::Star);
                    }
                }
                b'?' => tokens.push(Token::Any),
                b'\\' if i + 1 < pattern.len() => {
                    i += 1;
                    tokens.push(Token::Byte(fold(pattern[i])));
                }
                b'[' => match set(&pattern[i..], ignore_case) {
                    Some((token, len)) => {
                        tokens.push(token);
                        i += len - 1;
                    }
                    // A bracket that is never closed stands for itself.
                    None => tokens.push(Token::Byte(b'[')),
                },
                byte => tokens.push(Token::Byte(fold(byte))),
            }
            i += 1;
        }
        Glob { tokens, ignore_case }
    }

    /// The text that the glob stands for, when it has no wildcard.
    pub fn literal(&self) -> Option<Vec<u8>> {
        self.tokens
            .iter()
            .map(|t| if let Token::Byte(b) = t { Some(*b) } else { None })
            .collect()
    }

    pub fn matches(&self, text: &[u8]) -> bool {
        // Going back only to the latest star keeps this linear in text times stars.
        let (mut t, mut p) = (0, 0);
        let mut back: Option<(usize, usize)> = None;
        while t < text.len() {
            let byte = if self.ignore_case {
                text[t].to_ascii_lowercase()
            } else {
                text[t]
            };
            match self.tokens.get(p) {
                Some(Token::Star) => {
                    back = Some((p, t));
                    p += 1;
                    continue;
                }
                Some(token) if token.accepts(byte) => {
                    // `?` and sets take a whole character, as in a UTF-8 locale.
                    t += 1;
                    if !matches!(token, Token::Byte(_)) {
                        while t < text.len() && text[t] & 0xC0 == 0x80 {
                            t += 1;
                        }
                    }
                    p += 1;
                    continue;
                }
                _ => {}
            }
            let Some((star, from)) = back else { return false };
            back = Some((star, from + 1));
            p = star + 1;
            t = from + 1;
        }
        self.tokens[p..].iter().all(|t| *t == Token::Star)
    }
}

impl Token {
    fn accepts(&self, byte: u8) -> bool {
        match self {
            Token::Byte(b) => *b == byte,
            Token::Any => true,
            Token::Star => false,
            Token::Set { negated, ranges } => ranges.iter().any(|(lo, hi)| (*lo..=*hi).contains(&byte)) != *negated,
        }
    }
}

/// A bracket expression at the start of `pattern`, with its length.
fn set(pattern: &[u8], ignore_case: bool) -> Option<(Token, usize)> {
    let mut i = 1;
    let negated = matches!(pattern.get(i), Some(b'!' | b'^'));
    if negated {
        i += 1;
    }
    let first = i;
    let mut ranges = Vec::new();
    loop {
        let byte = *pattern.get(i)?;
        if byte == b']' && i > first {
            return Some((Token::Set { negated, ranges }, i + 1));
        }
        if byte == b'[' && pattern.get(i + 1) == Some(&b':') {
            let end = i + 2 + pattern[i + 2..].iter().position(|&b| b == b':')?;
            if pattern.get(end + 1) == Some(&b']') {
                ranges.extend_from_slice(class(&pattern[i + 2..end])?);
                i = end + 2;
                continue;
            }
        }
        let fold = |b: u8| if ignore_case { b.to_ascii_lowercase() } else { b };
        if pattern.get(i + 1) == Some(&b'-') && pattern.get(i + 2).is_some_and(|&b| b != b']') {
            ranges.push((fold(byte), fold(pattern[i + 2])));
            i += 3;
        } else {
            ranges.push((fold(byte), fold(byte)));
            i += 1;
        }
    }
}

fn class(name: &[u8]) -> Option<&'static [(u8, u8)]> {
    Some(match name {
        b"alpha" => &[(b'a', b'z'), (b'A', b'Z')],
        b"digit" => &[(b'0', b'9')],
        b"alnum" => &[(b'a', b'z'), (b'A', b'Z'), (b'0', b'9')],
        b"upper" => &[(b'A', b'Z')],
        b"lower" => &[(b'a', b'z')],
        b"space" => &[(9, 13), (b' ', b' ')],
        b"blank" => &[(9, 9), (b' ', b' ')],
        b"punct" => &[(33, 47), (58, 64), (91, 96), (123, 126)],
        b"xdigit" => &[(b'0', b'9'), (b'a', b'f'), (b'A', b'F')],
        b"cntrl" => &[(0, 31), (127, 127)],
        b"print" => &[(32, 126)],
        b"graph" => &[(33, 126)],
        _ => return None,
    })
}

/// `*` stands for any text; everything else for itself.
pub fn wildcard(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = rest.split('*').collect();
    let (last, middle) = parts.split_last().map_or(("", &[][..]), |(l, m)| (*l, m));
    for part in middle {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(last)
}

/// Path prefixes for `pmatch`, by components: `/opt/dir` covers `/opt/dir/x` and not `/opt/dir2`.
#[derive(Clone, Debug, Default)]
pub struct PathPrefixes {
    root: PathNode,
}

#[derive(Clone, Debug, Default)]
struct PathNode {
    ends: bool,
    children: std::collections::HashMap<Box<[u8]>, PathNode>,
    globs: Vec<(Glob, PathNode)>,
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|c| !c.is_empty())
}

impl PathPrefixes {
    pub fn new<'a>(paths: impl IntoIterator<Item = &'a [u8]>) -> PathPrefixes {
        let mut prefixes = PathPrefixes::default();
        for path in paths {
            let mut node = &mut prefixes.root;
            for component in components(path) {
                let glob = Glob::new(component, false);
                node = match glob.literal() {
                    Some(literal) => node.children.entry(literal.into()).or_default(),
                    None => {
                        let at = node.globs.iter().position(|(g, _)| *g == glob).unwrap_or_else(|| {
                            node.globs.push((glob, PathNode::default()));
                            node.globs.len() - 1
                        });
                        &mut node.globs[at].1
                    }
                };
            }
            node.ends = true;
        }
        prefixes
    }

    pub fn matches(&self, path: &[u8]) -> bool {
        self.root.covers(path)
    }
}

impl PathNode {
    fn covers(&self, rest: &[u8]) -> bool {
        if self.ends {
            return true;
        }
        let start = rest.iter().position(|&b| b != b'/').unwrap_or(rest.len());
        let rest = &rest[start..];
        if rest.is_empty() {
            return false;
        }
        let end = memchr::memchr(b'/', rest).unwrap_or(rest.len());
        let (component, rest) = rest.split_at(end);
        self.children.get(component).is_some_and(|child| child.covers(rest))
            || self
                .globs
                .iter()
                .any(|(glob, child)| glob.matches(component) && child.covers(rest))
    }
}

/// Why a regular expression is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegexError {
    /// Perl syntax, which the language's dialect does not have.
    #[error("`{0}` is Perl syntax; regular expressions here have RE2's POSIX syntax")]
    Perl(String),
    #[error("{0}")]
    Syntax(String),
}

/// Largest compiled size of one expression, in bytes.
const REGEX_SIZE: usize = 4 << 20;

/// Compiles an expression in RE2's POSIX syntax, anchored at both ends.
///
/// In that syntax `^` and `$` also stand at line breaks and `.` does not match one; classes such as `\d`, flags and
/// lazy repetition do not exist.
///
/// # Errors
/// Syntax that the dialect does not have, or that compiles too large.
pub fn regex(pattern: &str) -> Result<regex::bytes::Regex, RegexError> {
    let translated = format!(r"\A(?m:{})\z", translate(pattern)?);
    regex::bytes::RegexBuilder::new(&translated)
        .size_limit(REGEX_SIZE)
        .build()
        .map_err(|e| match e {
            regex::Error::CompiledTooBig(limit) => {
                RegexError::Syntax(format!("the expression compiles to more than {limit} bytes"))
            }
            other => {
                let text = other.to_string();
                RegexError::Syntax(
                    text.lines()
                        .last()
                        .unwrap_or_default()
                        .trim_start_matches("error: ")
                        .to_owned(),
                )
            }
        })
}

/// The same expression in the `regex` crate's syntax.
fn translate(pattern: &str) -> Result<String, RegexError> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.char_indices().peekable();
    let mut in_class = false;
    // True when what comes next could repeat something.
    let mut repeatable = false;
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, c)| *c);
        if in_class {
            match c {
                ']' => {
                    in_class = false;
                    repeatable = true;
                    out.push(']');
                }
                '[' if next == Some(':') => {
                    let Some(len) = pattern[at..].find(":]") else {
                        return Err(RegexError::Syntax("character class without its end".to_owned()));
                    };
                    out.push_str(&pattern[at..at + len + 2]);
                    while chars.peek().is_some_and(|(i, _)| *i < at + len + 2) {
                        chars.next();
                    }
                }
                // Characters with a meaning inside the crate's classes and none here.
                '[' | '&' | '~' => {
                    out.push('\\');
                    out.push(c);
                }
                '\\' => out.push_str(&escape(pattern, at, &mut chars)?),
                other => out.push(other),
            }
            continue;
        }
        let was_repeatable = repeatable;
        repeatable = !matches!(c, '(' | '|');
        match c {
            '\\' => out.push_str(&escape(pattern, at, &mut chars)?),
            '[' => {
                in_class = true;
                out.push('[');
                if next == Some('^') {
                    chars.next();
                    out.push('^');
                }
                // A bracket directly after the start is an ordinary character.
                if chars.peek().is_some_and(|(_, c)| *c == ']') {
                    chars.next();
                    out.push_str("\\]");
                }
            }
            '(' if next == Some('?') => return Err(RegexError::Perl("(?".to_owned())),
            '*' | '+' | '?' => {
                if !was_repeatable {
                    return Err(RegexError::Syntax(format!("no argument for repetition operator: {c}")));
                }
                if matches!(next, Some('?')) {
                    return Err(RegexError::Perl(format!("{c}?")));
                }
                if matches!(next, Some('*' | '+')) {
                    return Err(RegexError::Syntax(format!(
                        "bad repetition operator: {c}{}",
                        next.unwrap_or(c)
                    )));
                }
                out.push(c);
            }
            '{' => {
                let body = pattern[at + 1..].split('}').next().unwrap_or_default();
                let numbers = pattern[at + 1..].contains('}')
                    && body.starts_with(|c: char| c.is_ascii_digit())
                    && body.bytes().all(|b| b.is_ascii_digit() || b == b',')
                    && body.bytes().filter(|&b| b == b',').count() <= 1;
                // What is no repetition is text.
                out.push_str(if numbers { "{" } else { "\\{" });
            }
            '}' => {
                let open = out
                    .rfind('{')
                    .is_some_and(|i| !out[..i].ends_with('\\') && !out[i..].contains('}'));
                out.push_str(if open { "}" } else { "\\}" });
            }
            other => out.push(other),
        }
    }
    if in_class {
        return Err(RegexError::Syntax("missing closing ]".to_owned()));
    }
    Ok(out)
}

fn escape(
    pattern: &str,
    at: usize,
    chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>,
) -> Result<String, RegexError> {
    let Some((_, c)) = chars.next() else {
        return Err(RegexError::Syntax("trailing \\".to_owned()));
    };
    match c {
        'a' => Ok("\\x07".to_owned()),
        'f' | 'n' | 'r' | 't' | 'v' | 'A' => Ok(format!("\\{c}")),
        'C' => Err(RegexError::Perl("\\C".to_owned())),
        'x' => {
            let rest = &pattern[at + 2..];
            let (digits, width) = match rest.strip_prefix('{') {
                Some(inner) => inner
                    .split('}')
                    .next()
                    .map_or(("", 1), |digits| (digits, digits.len() + 2)),
                None => (rest.get(..2).unwrap_or_default(), 2),
            };
            match u32::from_str_radix(digits, 16).ok().and_then(char::from_u32) {
                Some(value) => {
                    chars.by_ref().take(width).for_each(drop);
                    Ok(format!("\\x{{{:x}}}", value as u32))
                }
                None => Err(RegexError::Syntax("invalid escape sequence: \\x".to_owned())),
            }
        }
        '0' => Ok("\\x00".to_owned()),
        c if c.is_ascii_punctuation() => Ok(regex::escape(&c.to_string())),
        c if c.is_alphanumeric() => Err(RegexError::Perl(format!("\\{c}"))),
        other => Ok(other.to_string()),
    }
}

/// True when an expression is plain text that a simpler operator could look for.
pub fn is_plain_text(pattern: &str) -> bool {
    let inner = pattern.strip_prefix('^').unwrap_or(pattern);
    let inner = inner.strip_suffix('$').unwrap_or(inner);
    let rest = [".*", ".+", ".?"];
    let inner = rest.iter().find_map(|r| inner.strip_prefix(r)).unwrap_or(inner);
    let inner = rest.iter().find_map(|r| inner.strip_suffix(r)).unwrap_or(inner);
    !inner.contains(['.', '*', '+', '?', '(', ')', '[', ']', '{', '}', '|', '\\', '^', '$'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_fnmatch_does() {
        for (pattern, text, want) in [
            ("*.so", "/lib/x.so", true),
            ("a*b*c", "aXbYbZc", true),
            ("a?c", "abc", true),
            ("a?c", "aéc", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[", "[", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("", "", true),
            ("*", "", true),
            ("[[:digit:]]*", "7x", true),
        ] {
            assert_eq!(
                Glob::new(pattern.as_bytes(), false).matches(text.as_bytes()),
                want,
                "{pattern} {text}"
            );
        }
        assert!(Glob::new(b"A*Z", true).matches(b"a1z"));
    }

    #[test]
    fn stars_stay_linear() {
        let text = vec![b'a'; 20_000];
        assert!(!Glob::new(b"*a*a*a*a*a*b", false).matches(&text));
    }

    #[test]
    fn path_prefixes_go_by_component() {
        let paths = PathPrefixes::new([&b"/opt/dir"[..], b"/etc/*/x", b"//var//log/"]);
        for (path, want) in [
            ("/opt/dir", true),
            ("/opt/dir/sub", true),
            ("/opt/dir2", false),
            ("/opt", false),
            ("/etc/a/x/y", true),
            ("/etc/a/y", false),
            ("/var/log/syslog", true),
            ("opt//dir", true),
        ] {
            assert_eq!(paths.matches(path.as_bytes()), want, "{path}");
        }
        assert!(PathPrefixes::new([&b"/"[..]]).matches(b"/anything"));
    }

    #[test]
    fn regexes_are_anchored_posix() {
        for (pattern, text, want) in [
            ("pods", "pods", true),
            ("pods", "/pods", false),
            ("^[A-Z]+$", "ABC", true),
            ("a{2}", "aa", true),
            ("a{x}", "a{x}", true),
            ("[[:alpha:]]+", "abc", true),
            ("[]a]+", "]a", true),
            ("[a&&b]+", "&ab", true),
            ("a|b", "b", true),
            (".*", "a\nb", false),
            (r"\.", ".", true),
            (r"\x41", "A", true),
        ] {
            assert_eq!(
                regex(pattern).expect(pattern).is_match(text.as_bytes()),
                want,
                "{pattern} {text}"
            );
        }
        for pattern in ["(?i)a", r"\d", "a*?", r"(g)\1", "(?:a)", "a**", "*a", "[a", "(a", r"\b"] {
            assert!(regex(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn wildcards() {
        for (pattern, name, want) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "anything", true),
            ("*exec*", "Attach/exec Pod", true),
            ("a*c", "abc", true),
            ("a*c", "ab", false),
            ("a*b*c", "a1b2c", true),
        ] {
            assert_eq!(wildcard(pattern, name), want, "{pattern} {name}");
        }
    }
}
