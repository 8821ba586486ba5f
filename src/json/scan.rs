//! The validating scanner: checks RFC 8259's grammar and says where a value ends, without storing anything.

/// Objects and arrays may nest this deep; the API server itself refuses deeper requests.
pub const MAX_DEPTH: usize = 512;

/// Where and why a text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct JsonError {
    pub at: usize,
    pub what: &'static str,
}

const fn error<T>(at: usize, what: &'static str) -> Result<T, JsonError> {
    Err(JsonError { at, what })
}

/// A cursor over JSON text that is already known to be UTF-8.
#[derive(Clone, Copy, Debug)]
pub struct Scanner<'a> {
    text: &'a [u8],
    pos: usize,
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// High bits set in the bytes of `word` that end a plain run of string text: quote, backslash, control characters.
///
/// Borrows of the subtraction can set bits only above the first true hit, and only the lowest is used.
#[inline(always)]
const fn string_stops(word: u64) -> u64 {
    let quote = word ^ (LOW * b'"' as u64);
    let slash = word ^ (LOW * b'\\' as u64);
    let control = word.wrapping_sub(LOW * 0x20);
    ((quote.wrapping_sub(LOW) & !quote) | (slash.wrapping_sub(LOW) & !slash) | (control & !word)) & HIGH
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a [u8], pos: usize) -> Self {
        Scanner { text, pos }
    }

    #[inline]
    pub fn pos(&self) -> usize {
        self.pos
    }

    /// The byte at the cursor; 0, which no token starts with, at the end.
    #[inline(always)]
    pub fn peek(&self) -> u8 {
        match self.text.get(self.pos) {
            Some(&b) => b,
            None => 0,
        }
    }

    #[inline(always)]
    pub fn advance(&mut self) {
        self.pos += 1;
    }

    #[inline(always)]
    pub fn skip_whitespace(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.pos += 1;
        }
    }

    pub fn at_end(&self) -> bool {
        self.pos >= self.text.len()
    }

    #[inline]
    pub fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), JsonError> {
        if self.peek() == byte {
            self.pos += 1;
            Ok(())
        } else {
            error(self.pos, what)
        }
    }

    /// Passes a string whose opening quote is at the cursor; true when it holds an escape.
    #[inline(always)]
    pub fn string(&mut self) -> Result<bool, JsonError> {
        let mut i = self.pos + 1;
        let mut escaped = false;
        loop {
            if let Some(word) = self.text.get(i..).and_then(|rest| rest.first_chunk::<8>()) {
                let stops = string_stops(u64::from_le_bytes(*word));
                if stops == 0 {
                    i += 8;
                    continue;
                }
                i += (stops.trailing_zeros() / 8) as usize;
            }
            match self.text.get(i) {
                Some(b'"') => {
                    self.pos = i + 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    i = self.escape(i)?;
                }
                Some(&b) if b >= 0x20 => i += 1,
                Some(_) => return error(i, "unescaped control character in a string"),
                None => return error(i, "string without an end"),
            }
        }
    }

    /// Checks the escape sequence at `i` and returns the position after it.
    fn escape(&self, i: usize) -> Result<usize, JsonError> {
        match self.text.get(i + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(i + 2),
            Some(b'u') => match self.text.get(i + 2..i + 6) {
                Some(hex) if hex.iter().all(u8::is_ascii_hexdigit) => Ok(i + 6),
                _ => error(i, "bad \\u escape"),
            },
            _ => error(i, "bad escape"),
        }
    }

    #[inline]
    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.pos;
        if self.peek() == b'-' {
            self.pos += 1;
        }
        match self.peek() {
            b'0' => self.pos += 1,
            b'1'..=b'9' => self.digits(),
            _ => return error(start, "not a JSON value"),
        }
        if self.peek() == b'.' {
            self.pos += 1;
            if !self.peek().is_ascii_digit() {
                return error(start, "bad number");
            }
            self.digits();
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.pos += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.pos += 1;
            }
            if !self.peek().is_ascii_digit() {
                return error(start, "bad number");
            }
            self.digits();
        }
        Ok(())
    }

    #[inline]
    fn digits(&mut self) {
        while self.peek().is_ascii_digit() {
            self.pos += 1;
        }
    }

    #[inline]
    fn literal(&mut self, word: &'static [u8]) -> Result<(), JsonError> {
        if self.text.get(self.pos..self.pos + word.len()) == Some(word) {
            self.pos += word.len();
            Ok(())
        } else {
            error(self.pos, "not a JSON value")
        }
    }

    /// Passes a string, number or literal.
    #[inline]
    pub fn scalar(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            b'"' => self.string().map(|_| ()),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ if self.at_end() => error(self.pos, "text ends where a value is due"),
            _ => self.number(),
        }
    }

    /// Passes the key at the cursor and the colon after it; the cursor is left at the member's value.
    #[inline(always)]
    fn key(&mut self) -> Result<(), JsonError> {
        if self.peek() != b'"' {
            return error(self.pos, "a member's name is due");
        }
        self.string()?;
        self.colon()
    }

    /// Passes a colon and the blanks around it.
    #[inline(always)]
    pub fn colon(&mut self) -> Result<(), JsonError> {
        if self.peek() != b':' {
            self.skip_whitespace();
            self.expect(b':', "`:` is due")?;
        } else {
            self.pos += 1;
        }
        if self.peek() <= b' ' {
            self.skip_whitespace();
        }
        Ok(())
    }

    /// Passes one whole value, which starts at the cursor.
    pub fn value(&mut self) -> Result<(), JsonError> {
        // One bit a level: set for an object. Two words of it are enough for what clusters send.
        let mut kinds = [0u64; MAX_DEPTH / 64];
        let mut depth = 0usize;
        'value: loop {
            match self.peek() {
                b'"' => {
                    self.string()?;
                }
                open @ (b'{' | b'[') => {
                    let at = self.pos;
                    self.pos += 1;
                    if self.peek() <= b' ' {
                        self.skip_whitespace();
                    }
                    let object = open == b'{';
                    if self.peek() == open + 2 {
                        self.pos += 1;
                    } else {
                        if depth == MAX_DEPTH {
                            return error(at, "nested too deep");
                        }
                        let bit = 1u64 << (depth % 64);
                        if object {
                            kinds[depth / 64] |= bit;
                            self.key()?;
                        } else {
                            kinds[depth / 64] &= !bit;
                        }
                        depth += 1;
                        continue 'value;
                    }
                }
                _ => self.scalar()?,
            }
            // After a value: the next one of the innermost container, or its end.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                if self.peek() <= b' ' {
                    self.skip_whitespace();
                }
                let level = depth - 1;
                let object = kinds[level / 64] >> (level % 64) & 1 == 1;
                match self.peek() {
                    b',' => {
                        self.pos += 1;
                        if self.peek() <= b' ' {
                            self.skip_whitespace();
                        }
                        if object {
                            self.key()?;
                        }
                        continue 'value;
                    }
                    b'}' if object => depth = level,
                    b']' if !object => depth = level,
                    _ if self.at_end() => return error(self.pos, "text ends inside an object or array"),
                    _ => {
                        return error(
                            self.pos,
                            if object {
                                "`,` or `}` is due"
                            } else {
                                "`,` or `]` is due"
                            },
                        );
                    }
                }
                self.pos += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts(text: &[u8]) -> bool {
        let mut scanner = Scanner::new(text, 0);
        scanner.skip_whitespace();
        let value = scanner.value();
        scanner.skip_whitespace();
        value.is_ok() && scanner.at_end()
    }

    #[test]
    fn accepts_what_serde_json_accepts() {
        for text in [
            "{}",
            "[]",
            "0",
            "-0",
            "1.5e+3",
            "\"\"",
            "null",
            " { \"a\" : [ 1 , true ] } ",
            "\"\\u00e9\\n\"",
            "[[[]]]",
            "{\"a\":{}}",
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "{\"a\":1,}",
            "{a:1}",
            "01",
            "1.",
            "1e",
            "+1",
            ".5",
            "tru",
            "nul",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\u{1}\"",
            "\"a",
            "[1 2]",
            "{\"a\":1 \"b\":2}",
            "[1}",
            "{\"a\":1]",
            "]",
            "'a'",
            "NaN",
            "\"\t\"",
            "[1]x",
            "-",
            "--1",
        ] {
            assert_eq!(
                accepts(text.as_bytes()),
                serde_json::from_str::<serde_json::Value>(text).is_ok(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(accepts(nested(MAX_DEPTH).as_bytes()));
        assert!(!accepts(nested(MAX_DEPTH + 2).as_bytes()));
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_noise(text in r#"[\[\]{}",:\\ a-c0-9.eE+tfn\-]{0,24}"#) {
            // serde_json checks the range of numbers and pairs of surrogates as well; the noise has neither.
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(accepts(text.as_bytes()), theirs);
        }

        #[test]
        fn string_stops_finds_the_first_stop(bytes in proptest::array::uniform8(any::<u8>())) {
            let want = bytes.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20);
            let stops = string_stops(u64::from_le_bytes(bytes));
            let got = (stops != 0).then(|| (stops.trailing_zeros() / 8) as usize);
            prop_assert_eq!(got, want);
        }
    }
}
