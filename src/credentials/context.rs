//! Long runs: what they are wrapped in, and what the words before them make of them.

use super::decode::{self, Decoded};
use super::kinds::Other;
use super::names::{self, Name, Words};
use super::runs::is_word;
use super::scan::{Hit, Scan, Wrapped, line_start, longest_part};
use super::values::{self, Value};
use super::{forms, random};

/// Words before a value are looked for in so many bytes.
const CONTEXT: usize = 72;

impl Scan<'_, '_> {
    /// A run that may be a secret by itself: what it is wrapped in, or the words before it.
    pub(super) fn long(&mut self, start: usize, end: usize) -> usize {
        let t = self.t;
        // As base64 the run goes on over `+`, `/` and `=`.
        let mut wide = end;
        while wide < t.len() && (is_word(t[wide]) || matches!(t[wide], b'+' | b'/' | b'=' | b'~')) {
            wide += 1;
        }
        self.until = self.until.max(wide);
        let run = &t[start..wide];
        if run.len() >= 24 {
            self.wrapped(start, wide);
        }
        if (run.len() >= 34 || run.starts_with(b"PuTTY"))
            && let Some(hit) = forms::marked(t, start, wide)
        {
            self.push(hit);
            return wide;
        }
        self.in_context(start, end, wide);
        end
    }

    /// What the run is in another form.
    fn wrapped(&mut self, start: usize, end: usize) {
        let run = &self.t[start..end];
        let run = run.strip_suffix(b".").unwrap_or(run);
        let (head, length) = decode::base64_head(run);
        if length >= 16 && decode::is_known(&head[..length]) {
            // Lines of one block belong together.
            let mut to = end;
            while run.len() >= 60 && self.at(to) == b'\n' {
                let line = self.t[to + 1..]
                    .iter()
                    .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
                    .count();
                if line == 0 || line > run.len() {
                    break;
                }
                to += 1 + line;
            }
            if let Some(bytes) = decode::base64(&self.t[start..to])
                && bytes.len() >= 12
            {
                self.give(start, "base64", bytes);
                self.until = self.until.max(to);
                return;
            }
        }
        let digits = run.iter().take(64).all(u8::is_ascii_hexdigit);
        if digits && run.len() >= 32 && run.len().is_multiple_of(2) && run.iter().all(u8::is_ascii_hexdigit) {
            if let Some(bytes) = decode::hex(run)
                && decode::is_known(&bytes)
            {
                self.give(start, "hex", bytes);
            }
        } else if run.len() >= 32
            && run.iter().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7' | b'='))
            && let Some(bytes) = decode::base32(run)
            && decode::is_known(&bytes)
        {
            self.give(start, "base32", bytes);
        }
    }

    fn give(&mut self, at: usize, form: &'static str, bytes: Decoded) {
        (self.layer)(Wrapped { at, form, bytes });
    }

    /// Whether the words before a run, on its line, make it a secret.
    fn in_context(&mut self, start: usize, end: usize, wide: usize) {
        let t = self.t;
        let run = &t[start..wide];
        let holds_its_name = t[start..end].contains(&b'-');
        if !may_be_strong(run) || !(holds_its_name || is_strong(run)) {
            return;
        }
        let line = line_start(t, start).max(start.saturating_sub(CONTEXT));
        if !may_tell(&t[line..end]) {
            return;
        }
        // A run may hold its own name: `codakey-0edf46b0-…`.
        let mut from = start;
        let mut inner = Vec::new();
        if holds_its_name {
            let mut at = start;
            for part in t[start..end].split(|b| *b == b'-') {
                let stop = at + part.len();
                if stop >= end
                    || part.is_empty()
                    || part.len() > 20
                    || part.iter().any(u8::is_ascii_digit)
                    || (part.len() >= 8 && random::score(part) > 0.0 && names::classify(part) == Name::Other)
                {
                    break;
                }
                inner.push((at, stop));
                from = stop + 1;
                at = from;
            }
            let tells = inner.iter().any(|&(a, b)| names::classify(&t[a..b]) >= Name::Service);
            if !tells {
                from = start;
                inner.clear();
            }
        }
        let mut to = wide;
        while to > from && matches!(t[to - 1], b'.' | b'-' | b'_') && to > end {
            to -= 1;
        }
        let value = &t[from..to];
        if value.len() < 11
            || !is_strong(value)
            || values::is_reference_by_words(value)
            || values::classify(value) != Value::Literal
        {
            return;
        }
        let mut best = Name::Other;
        let mut near = 0;
        for &(a, b) in inner.iter().rev() {
            match context(&t[a..b]) {
                Some(class) => best = best.max(class),
                None => return,
            }
        }
        // From the nearest word on; what is between must be separators.
        let mut at = start;
        if inner.is_empty() || best < Name::Secret {
            for _ in 0..5 {
                let gap = t[line..at]
                    .iter()
                    .rev()
                    .take_while(|b| {
                        matches!(
                            b,
                            b' ' | b'\t' | b'=' | b':' | b'"' | b'\'' | b'>' | b'`' | b'(' | b',' | b'|' | b'[' | b'{'
                        )
                    })
                    .count();
                if gap == 0 && at != start || gap > 8 {
                    break;
                }
                let stop = at - gap;
                let word = t[line..stop].iter().rev().take_while(|b| is_word(**b)).count();
                if word == 0 {
                    break;
                }
                match context(&t[stop - word..stop]) {
                    Some(class) => best = best.max(class),
                    None => return,
                }
                near += 1;
                if best == Name::Secret && near >= 2 {
                    break;
                }
                at = stop - word;
            }
        }
        let enough = match best {
            Name::Secret => true,
            Name::Service => value.len() >= 16 && values::has_digit(value) && near + inner.len() <= 4,
            _ => false,
        };
        if enough {
            let mut hit = Hit::new(Other::Context.kind(), from, to);
            hit.name = (at, start);
            self.push(hit);
        }
    }
}

/// Whether a line can hold a word that makes what is behind it a secret.
fn may_tell(line: &[u8]) -> bool {
    names::may_matter(line) || names::may_serve(line)
}

/// What a word before a value makes of it; nothing if it says that the value is for everybody.
fn context(name: &[u8]) -> Option<Name> {
    let words = Words::of(name);
    if names::is_identifier(&words) || names::of_words(&words) == Name::Public {
        return None;
    }
    let class = words.iter().map(|word| {
        let ends = [&b"secret"[..], b"token", b"apikey", b"password"]
            .iter()
            .any(|end| word.ends_with(end));
        let of_service = word.strip_suffix(b"key").is_some_and(names::is_service);
        if names::is_secret_word(word) || ends || of_service {
            Name::Secret
        } else if names::is_service(word) {
            Name::Service
        } else {
            Name::Other
        }
    });
    Some(class.max().unwrap_or(Name::Other))
}

/// Without digits or some length, and without a part that is long enough, nothing shows that it was drawn at random.
fn may_be_strong(run: &[u8]) -> bool {
    longest_part(run) >= if values::has_digit(run) { 10 } else { 18 }
}

/// Hardly anything but a secret: long, and drawn at random.
fn is_strong(value: &[u8]) -> bool {
    let digits = values::has_digit(value);
    let score = random::score(value);
    let strong = (digits
        && (score > 0.0
            || random::is_hex(value)
            || random::is_uuid(value)
            || values::is_grouped(value)
            || values::parts_random(value)))
        || (value.len() >= 18 && score > 1.5);
    strong && !random::is_repetitive(value)
}
