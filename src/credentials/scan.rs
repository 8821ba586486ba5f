//! One pass over a text: runs of characters, and what stands before and behind them.
//!
//! Every run is looked at once. What can begin a token is compared with the forms; what a separator follows is a name,
//! whose last word says what its value is; a long run that looks drawn at random is held against the words before it. All
//! look-ahead is bounded, so that the time is linear in the length of the text.

use super::decode::{self, Decoded};
use super::kinds::{Kind, Other};
use super::names::{self, Name, Words};
use super::pairs::{
    Ahead, LONGEST, Separator, bare_or_quoted, block, is_quote, quoted, separator, skip_spaces, starts_line, trim_range,
};
use super::runs::{Next, Runs};
use super::values::{self, Value};
use super::{Confidence, forms, tokens};

/// What was found in a text.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    pub start: usize,
    pub end: usize,
    /// The name that it stands behind, where it has one.
    pub name: (usize, usize),
    pub kind: &'static Kind,
    pub confidence: Confidence,
    /// Characters at its beginning that say only what it is.
    pub shown: usize,
}

impl Hit {
    pub fn new(kind: &'static Kind, start: usize, end: usize) -> Hit {
        Hit {
            start,
            end,
            name: (start, start),
            kind,
            confidence: kind.confidence,
            shown: 0,
        }
    }
}

/// What may stand right behind a name.
const FOLLOWS: [bool; 256] = {
    let mut table = [false; 256];
    let signs = b":= \t\"'`\\]>|!?+,)";
    let mut at = 0;
    while at < signs.len() {
        table[signs[at] as usize] = true;
        at += 1;
    }
    table
};

/// What stands in a text in another form.
pub struct Wrapped {
    pub at: usize,
    /// The form: `base64`.
    pub form: &'static str,
    pub bytes: Decoded,
}

/// Scans a text. `layer` is given what stands there in base64, hexadecimal digits and such.
pub fn text(t: &[u8], hits: &mut Vec<Hit>, layer: &mut dyn FnMut(Wrapped)) {
    let mut scan = Scan {
        t,
        hits,
        layer,
        until: 0,
        is_jwk: false,
        ahead: Ahead::of(t),
    };
    let mut runs = Runs::new(t);
    let mut at = 0;
    loop {
        match runs.next(at) {
            Next::Run(start, end, digits) => at = scan.run(start, end, digits).max(end),
            Next::Sign(sign) if t[sign] == b'\\' => at = sign + scan.escape(sign),
            Next::Sign(sign) => {
                scan.token(sign);
                at = sign + 1;
            }
            Next::End => return,
        }
    }
}

/// A pass over one text.
pub(super) struct Scan<'a, 't> {
    pub(super) t: &'t [u8],
    hits: &'a mut Vec<Hit>,
    pub(super) layer: &'a mut dyn FnMut(Wrapped),
    /// Long runs that begin before this were looked at.
    pub(super) until: usize,
    is_jwk: bool,
    ahead: Ahead,
}

impl Scan<'_, '_> {
    pub(super) fn at(&self, i: usize) -> u8 {
        self.t.get(i).copied().unwrap_or(0)
    }

    /// How many bytes an escape of a string takes.
    fn escape(&self, i: usize) -> usize {
        match self.at(i + 1) {
            b'n' | b'r' | b't' | b'"' | b'\'' | b'\\' | b'/' => 2,
            b'u' if self
                .t
                .get(i + 2..i + 6)
                .is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)) =>
            {
                6
            }
            _ => 1,
        }
    }

    /// A token that begins here. Returns whether there is one.
    fn token(&mut self, start: usize) -> bool {
        if !tokens::may_begin(&self.t[start..]) {
            return false;
        }
        if start > 0 && self.t[start - 1].is_ascii_alphanumeric() {
            return false;
        }
        let Some(token) = tokens::at(self.t, start) else {
            return false;
        };
        self.take_token(start, token);
        true
    }

    fn take_token(&mut self, start: usize, token: tokens::Token) {
        let mut hit = Hit::new(token.kind, start, token.end);
        hit.shown = token.prefix.min(4);
        if !token.checked {
            hit.confidence = Confidence::Medium;
        }
        self.push(hit);
    }

    pub(super) fn push(&mut self, hit: Hit) {
        self.hits.push(hit);
        self.until = self.until.max(hit.end);
    }

    /// Looks at the run `start..end`; returns where to go on.
    fn run(&mut self, start: usize, end: usize, digits: bool) -> usize {
        let t = self.t;
        let next = self.at(end);
        // Most of a text is words, and most words say nothing.
        if next == b' ' && !digits && end - start < 18 && t[start].is_ascii_alphabetic() {
            let word = &t[start..end];
            if !(names::is_stem(word) | forms::may_be_program(word)) {
                return end;
            }
        }
        if t[start] == b'-'
            && (t[start..end].starts_with(b"-----BEGIN") || t[start..].starts_with(b"---- BEGIN SSH2 ENC"))
        {
            let (hit, end) = forms::pem(t, start);
            if let Some(hit) = hit {
                self.push(hit);
            }
            return end;
        }
        if t[start] == b'-' && t[start..end].starts_with(b"-----END") {
            if let Some(hit) = forms::pem_end(t, start, self.hits) {
                self.push(hit);
            }
            return end;
        }
        // Long options and list items: `--password`, `-pSECRET`.
        let dashes = t[start..end].iter().take_while(|b| **b == b'-').count();
        let name = start + dashes;
        let length = end - start;
        // A token has digits, or goes on behind a sign.
        let token = ((length >= 10 && (digits || length >= 30))
            || next == b'/' && (digits || length >= 10 || t[start].is_ascii_uppercase())
            || matches!(next, b'+' | b'$' | b'!' | b'~')
            || next == b':' && (length == 6 || length >= 10))
            && (self.token(start) || (dashes > 0 && name < end && self.token(name)));
        if digits
            && !token
            && (length >= 32 || (length >= 8 && matches!(next, b':' | b'|') && t[start].is_ascii_digit()))
            && let Some(token) = tokens::open_at(t, start)
        {
            self.take_token(start, token);
        }
        if next == b':'
            && &t[start..end] == b"thin"
            && let Some(hit) = forms::oracle(t, end + 1)
        {
            self.push(hit);
        }
        if next == b':' && t[end..].starts_with(b"://") {
            self.host(end + 3);
            if let Some(hit) = forms::authority(t, start, end + 3) {
                self.push(hit);
            }
            return end + 3;
        }
        if length == 3 && &t[start..end] == b"kty" && !self.is_jwk {
            self.is_jwk = true;
            self.hits.extend(forms::jwk(t));
        }
        if end - name >= 2 {
            if FOLLOWS[usize::from(next)] {
                self.assignment(name, end);
            }
            if end - name <= 12 {
                let before = self.hits.len();
                forms::command(t, name, end, self.hits);
                for at in before..self.hits.len() {
                    self.until = self.until.max(self.hits[at].end);
                }
            }
        }
        if start >= self.until && self.is_long(start, end, digits) {
            return self.long(start, end);
        }
        end
    }

    /// Whether a run is long enough to say something by itself. Without a digit nothing is drawn at random, but for letters
    /// in one piece; base64 may begin with a few before a sign of its own.
    fn is_long(&self, start: usize, end: usize, digits: bool) -> bool {
        let run = &self.t[start..end];
        match self.at(end) {
            b'+' | b'/' | b'=' | b'~' if run.len() >= 3 => {
                digits || run.len() >= 18 || run.iter().any(u8::is_ascii_uppercase)
            }
            _ if run.len() < 10 => false,
            _ if digits => run.len() >= 20 || longest_part(run) >= 10,
            _ => run.len() >= 18 && run[..18].iter().all(u8::is_ascii_alphanumeric),
        }
    }

    /// Addresses that hold a secret, below whatever name of a customer: `contoso.webhook.office.com`.
    fn host(&mut self, start: usize) {
        let t = self.t;
        let mut at = start;
        for _ in 0..6 {
            self.token(at);
            let label = t[at..]
                .iter()
                .take(64)
                .take_while(|b| b.is_ascii_alphanumeric() || **b == b'-')
                .count();
            if self.at(at + label) != b'.' {
                return;
            }
            at += label + 1;
        }
    }

    /// A name and what it is the name of.
    fn assignment(&mut self, start: usize, end: usize) {
        let t = self.t;
        let name = &t[start..end];
        // Behind a space only a name whose last word says it counts; prose is full of others.
        if matches!(self.at(end), b' ' | b'\t')
            && !names::may_end(name)
            && !matches!(self.at(skip_spaces(t, end)), b':' | b'=' | b'!' | b'?' | b'+')
        {
            return;
        }
        let Some((separator, value)) = separator(t, start, end) else {
            return;
        };
        // What opens a structure, is a word of the format or a small number is no secret.
        match t.get(value..).unwrap_or_default() {
            [] | [b'{' | b'}' | b',' | b']' | b')' | b'=', ..] => return,
            [b't', b'r', b'u', b'e', ..] | [b'f', b'a', b'l', b's', b'e', ..] | [b'n', b'u', b'l', b'l', ..] => return,
            [b'0'..=b'9', b',' | b'\n' | b' ' | b'}', ..] => return,
            _ => {}
        }
        if is_pair(name) && self.pair(value) {
            return;
        }
        let matters = match separator {
            Separator::Space | Separator::Comma | Separator::Cell => names::may_end(name),
            _ => names::may_matter(name),
        };
        if !matters || matches!(t[..start], [.., b'$'] | [.., b'$', b'{' | b'(']) {
            return;
        }
        let mut class = names::of_words(&Words::of(name));
        if class == Name::Other {
            return;
        }
        // Of a call, not of a list: `define('NAME', 'value')`.
        if separator == Separator::Comma && (start < 2 || !t[..start - 1].trim_ascii_end().ends_with(b"(")) {
            class = Name::Other;
        }
        self.values(class, (start, end), separator, value);
    }

    /// `name: DB_PASSWORD` and, after it, `value: …`.
    fn pair(&mut self, value: usize) -> bool {
        let t = self.t;
        let (from, to) = bare_or_quoted(t, value, Separator::Colon, false, self.ahead.reach());
        self.ahead.spend(to - from);
        if to - from < 2 || to - from > 96 {
            return false;
        }
        let name = &t[from..to];
        let class = names::classify(name);
        if class <= Name::Public {
            return false;
        }
        // The partner is near: on this line, or on the next.
        let window = &t[to..t.len().min(to + 96)];
        let mut lines = 0;
        let mut at = 0;
        while at < window.len() {
            let rest = &window[at..];
            if rest[0] == b'\n' {
                lines += 1;
                if lines > 2 {
                    return false;
                }
            }
            let word = [&b"value"[..], b"Value", b"content", b"VALUE", b"secret", b"data"]
                .into_iter()
                .find(|word| rest.starts_with(word));
            if let Some(word) = word
                && at > 0
                && !window[at - 1].is_ascii_alphanumeric()
            {
                let end = to + at + word.len();
                if let Some((separator, value)) = separator(t, to + at, end) {
                    self.values(class, (from, to), separator, value);
                    return true;
                }
            }
            if rest[0] == b'>' && at <= 40 && lines == 0 {
                self.values(class, (from, to), Separator::Tag, to + at + 1);
                return true;
            }
            if rest[0] == b'}' {
                return false;
            }
            at += 1;
        }
        false
    }

    /// The value, or the values of a list.
    fn values(&mut self, class: Name, name: (usize, usize), separator: Separator, value: usize) {
        let t = self.t;
        let mut value = skip_spaces(t, value);
        // `**Password:** x`, a line that goes on behind a backslash, `<Password><Value>x</Value>`.
        if t[value..].starts_with(b"** ") {
            value = skip_spaces(t, value + 2);
        }
        if t[value..].starts_with(b"\\\n") {
            value = skip_spaces(t, value + 2);
        }
        if separator == Separator::Tag {
            let inner = [&b"<value>"[..], b"<string>", b"<Value>"];
            value += inner
                .into_iter()
                .find(|tag| t[value..].starts_with(tag))
                .map_or(0, <[u8]>::len);
        }
        // `keys: ["…", "…"]`
        let first = self.at(skip_spaces(t, value + 1));
        if self.at(value) == b'[' && separator != Separator::Space && matches!(first, b'"' | b'\'' | b'\n') {
            let stop = t[value..t.len().min(value + self.ahead.reach())]
                .iter()
                .position(|b| *b == b']')
                .map_or(value, |at| value + at);
            let mut at = value + 1;
            let mut items = 0;
            while at < stop && items < 64 {
                if matches!(t[at], b'"' | b'\'') {
                    let (from, to) = quoted(t, at, self.ahead.reach());
                    self.value(class, name, separator, from, to, true);
                    at = to + 1;
                    items += 1;
                } else {
                    at += 1;
                }
            }
            return;
        }
        if matches!(separator, Separator::Colon) && (matches!(self.at(value), b'\n' | b'\r')) {
            return self.sequence(class, name, value);
        }
        if matches!(self.at(value), b'|' | b'>') && separator == Separator::Colon {
            if let Some((from, to)) = block(t, value) {
                self.value(class, name, separator, from, to, true);
            }
            return;
        }
        let at_line_start = starts_line(t, name.0);
        let is_quoted = is_quote(t, value);
        let (from, to) = bare_or_quoted(t, value, separator, at_line_start, self.ahead.reach());
        if separator == Separator::Tag && !t[to..].starts_with(b"</") {
            return;
        }
        self.value(class, name, separator, from, to, is_quoted);
    }

    /// Items of a YAML sequence below a name: `passwords:` and lines with `- …`.
    fn sequence(&mut self, class: Name, name: (usize, usize), mut at: usize) {
        let t = self.t;
        for _ in 0..16 {
            while matches!(self.at(at), b'\n' | b'\r' | b' ' | b'\t') {
                at += 1;
            }
            if self.at(at) != b'-' || self.at(at + 1) != b' ' {
                return;
            }
            let (from, to) = bare_or_quoted(t, skip_spaces(t, at + 1), Separator::Colon, true, self.ahead.reach());
            if memchr::memmem::find(&t[from..to], b": ").is_some() {
                return;
            }
            self.value(class, name, Separator::Colon, from, to, false);
            at = to.max(at + 1);
            while at < t.len() && t[at] != b'\n' {
                at += 1;
            }
        }
    }

    fn value(
        &mut self,
        class: Name,
        name: (usize, usize),
        separator: Separator,
        from: usize,
        to: usize,
        is_quoted: bool,
    ) {
        let t = self.t;
        self.ahead.spend(to - from);
        let (mut from, to) = trim_range(t, from, to);
        if from >= to || to - from > LONGEST * 2 {
            return;
        }
        // `Bearer …`, `Basic …`, `base64:…`, `{noop}…`.
        let mut scheme = false;
        for start in [
            &b"Bearer "[..],
            b"bearer ",
            b"Basic ",
            b"basic ",
            b"Token ",
            b"token ",
            b"ApiKey ",
            b"Bot ",
            b"SSWS ",
            b"!!str ",
            b"!!binary ",
            b"base64:",
            b"{noop}",
            b"plain:",
            b"raw:",
            b"text:",
            b"AWS4-HMAC ",
        ] {
            if t[from..to].starts_with(start) && to - from > start.len() {
                from += start.len();
                scheme = !start.ends_with(b":");
            }
        }
        let value = &t[from..to];
        if class == Name::Public || values::classify(value) != Value::Literal {
            // What it is was said; words before it do not make it a secret.
            self.until = self.until.max(to);
            return;
        }
        let kind = match class {
            Name::Password => {
                if !values::is_secret(class, value) {
                    return;
                }
                let plain = match separator {
                    // Prose and tables: only what nobody would write as a word.
                    Separator::Space | Separator::Comma if !is_quoted && !self.is_directive(name, from, to) => {
                        values::looks_secret(value)
                    }
                    Separator::Cell => values::looks_secret(value),
                    Separator::Space => value.len() >= 4,
                    _ => true,
                };
                if !plain {
                    return;
                }
                Other::Password
            }
            Name::Secret => {
                let basic = matches!(
                    last_word(&t[name.0..name.1]),
                    b"auth" | b"Authorization" | b"authorization" | b"AUTH"
                ) && is_basic(value);
                if basic {
                    Other::BasicAuth
                } else if scheme && value.len() >= 16 && values::looks_secret(value) {
                    Other::Bearer
                } else if values::is_secret(class, value) {
                    let words = Words::of(&t[name.0..name.1]);
                    if names::is_identifier(&words) {
                        return;
                    }
                    if value.len() == 40
                        && words.iter().any(|w| w == b"aws" || w == b"access")
                        && value
                            .iter()
                            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
                    {
                        Other::AwsSecretKey
                    } else if matches!(words.get(0), b"key" | b"keys" | b"apikey") {
                        Other::ApiKey
                    } else {
                        Other::Secret
                    }
                } else {
                    return;
                }
            }
            Name::Service => {
                let words = Words::of(&t[name.0..name.1]);
                if !values::is_secret(class, value) || names::is_identifier(&words) {
                    return;
                }
                Other::ApiKey
            }
            Name::Other | Name::Public => return,
        };
        let mut hit = Hit::new(kind.kind(), from, to);
        hit.name = name;
        if class == Name::Service {
            hit.confidence = Confidence::Low;
        }
        self.push(hit);
    }

    /// A line of a configuration that has its names and values side by side: `requirepass hunter2`, `--password x`, or
    /// one of netrc(5).
    fn is_directive(&self, name: (usize, usize), from: usize, to: usize) -> bool {
        let t = self.t;
        if t[..name.0].ends_with(b"-") {
            return true;
        }
        let before = t[line_start(t, name.0)..name.0].trim_ascii();
        let rest = t[to..t.len().min(to + 128)]
            .split(|b| *b == b'\n')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        if !rest.is_empty() || t[name.0..name.1].contains(&b'-') && before.len() > 80 {
            return false;
        }
        let mut words = before.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let of_user = words.any(|w| matches!(w, b"login" | b"user" | b"machine" | b"username" | b"account"));
        // Words of a language stand side by side as well: `Passwort eingeben`.
        of_user && before.len() <= 80
            || before.is_empty() && !t[from..to].iter().all(u8::is_ascii_lowercase)
            || before.is_empty() && names_login(t, name.0)
    }
}

/// Whether the line before is one of netrc(5), which may be written one word a line.
fn names_login(t: &[u8], at: usize) -> bool {
    let before = t[..line_start(t, at)].trim_ascii_end();
    let line = &before[line_start(before, before.len())..];
    line.trim_ascii().starts_with(b"login ") || line.trim_ascii().starts_with(b"machine ")
}

/// The most letters and digits in one piece.
pub(super) fn longest_part(run: &[u8]) -> usize {
    let (mut part, mut longest) = (0, 0);
    for b in run {
        part = if b.is_ascii_alphanumeric() { part + 1 } else { 0 };
        longest = longest.max(part);
    }
    longest
}

/// Names of names: the value of another is what matters.
fn is_pair(name: &[u8]) -> bool {
    let Some((first, last)) = name.first().zip(name.last()) else {
        return false;
    };
    if name.len() > 11
        || !matches!(first | 0x20, b'n' | b'k' | b'p' | b'h' | b'i' | b'o' | b'v' | b'f')
        || !matches!(last | 0x20, b'e' | b'y' | b'r' | b'd' | b'n')
    {
        return false;
    }
    matches!(
        name,
        b"name"
            | b"key"
            | b"Name"
            | b"Key"
            | b"property"
            | b"header"
            | b"header_name"
            | b"id"
            | b"option"
            | b"variable"
            | b"field"
            | b"KEY"
            | b"NAME"
    )
}

/// Base64 of a name, `:` and a password.
fn is_basic(value: &[u8]) -> bool {
    value.len() >= 8
        && decode::base64(value).is_some_and(|text| {
            decode::is_text(&text)
                && text
                    .iter()
                    .position(|b| *b == b':')
                    .is_some_and(|at| at > 0 && at + 2 < text.len())
        })
}

fn last_word(name: &[u8]) -> &[u8] {
    let from = name
        .iter()
        .rposition(|b| matches!(b, b'_' | b'.' | b'-'))
        .map_or(0, |at| at + 1);
    &name[from..]
}

/// Where the line begins, as far as anybody looks.
pub fn line_start(t: &[u8], at: usize) -> usize {
    let from = at.saturating_sub(512);
    memchr::memrchr(b'\n', &t[from..at]).map_or(from, |n| from + n + 1)
}
