//! Finds credentials in configuration, and tells of them without telling them.
//!
//! Text is scanned in one pass ([`scan`]): tokens by their form ([`tokens`], [`kinds`]), values by their names ([`names`],
//! [`values`]), structures such as PEM blocks, URLs and command lines ([`forms`]). What is wrapped, in base64, gzip or
//! UTF-16, is unwrapped within bounds ([`decode`]) and scanned again. A [`Finding`] holds no secret: its excerpt is masked
//! ([`mask`]), and whether two are the same says a keyed hash.
//!
//! Everything here is pure: bytes in, findings out.

pub mod allow;
mod context;
pub mod decode;
pub mod forms;
pub mod inspection;
pub mod kinds;
pub mod mask;
pub mod names;
pub mod pairs;
pub mod random;
pub mod runs;
pub mod scan;
pub mod tokens;
pub mod values;
pub mod words;

use std::fmt;

use ring::hmac;
use serde::Serialize;

pub use kinds::Kind;
use kinds::Other;
use scan::{Hit, Wrapped};

/// The annotation in which `kubectl apply` keeps the object, as JSON: a second copy of every value.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// It looks like one, and the words before it say so.
    Low,
    /// Its name says so, or its form does and the check sum does not.
    Medium,
    /// Its form or structure leaves no doubt.
    High,
}

impl Confidence {
    pub fn name(self) -> &'static str {
        match self {
            Confidence::Low => "low",
            Confidence::Medium => "medium",
            Confidence::High => "high",
        }
    }
}

/// A credential, told without telling it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: &'static str,
    pub title: &'static str,
    pub confidence: Confidence,
    /// Line of the value that was scanned, from 1. Of what was unwrapped, the line where the wrapping begins.
    pub line: u32,
    /// The text around it, with this and every other secret masked.
    pub excerpt: Box<str>,
    /// What it was wrapped in, the outermost first: `base64`, `gzip`.
    pub layers: Vec<&'static str>,
    /// The same for the same secret, and only within this process.
    pub tag: Tag,
}

/// A keyed hash of a secret. It does not print.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag([u8; 16]);

impl Tag {
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tag")
    }
}

/// Findings of one value; more say nothing new, and somebody has to read them.
const MOST: usize = 64;
/// Wrapped parts of one text that are looked into.
const WRAPPED: usize = 256;
/// Bytes that are scanned of one value, all layers together.
const BUDGET: usize = 16 << 20;

/// Finds credentials. Holds the key of the hash and nothing else.
pub struct Detector {
    key: hmac::Key,
}

impl fmt::Debug for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Detector")
    }
}

impl Detector {
    /// A detector whose hash has this key, which nobody else should know.
    pub fn new(key: &[u8; 32]) -> Detector {
        Detector {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
        }
    }

    /// Scans the value of a name: an entry of `data`, a file. Findings are in the order of the text.
    pub fn scan(&self, name: &str, value: &[u8], findings: &mut Vec<Finding>) {
        let from = findings.len();
        let mut work = Work {
            detector: self,
            name,
            findings,
            from,
            left: BUDGET,
        };
        work.layer(value, &mut Layers::default());
    }

    fn tag(&self, secret: &[u8]) -> Tag {
        let full = hmac::sign(&self.key, secret);
        let mut tag = [0; 16];
        tag.copy_from_slice(&full.as_ref()[..16]);
        Tag(tag)
    }
}

/// Where credentials are in the value of a name, in order; of what is wrapped, the whole of it.
pub fn ranges(name: &str, t: &[u8]) -> Vec<(usize, usize)> {
    let (hits, wrapped) = hits(name, t, true);
    let mut ranges: Vec<(usize, usize)> = hits.iter().map(|hit| (hit.start, hit.end)).collect();
    let detector = Detector::new(&[0; 32]);
    let mut findings = Vec::new();
    for Wrapped { at, bytes, .. } in wrapped {
        detector.scan("", &bytes, &mut findings);
        if !std::mem::take(&mut findings).is_empty() {
            let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-' | b'_' | b'\n');
            ranges.push((at, at + t[at..].iter().take_while(|b| is_part(b)).count()));
        }
    }
    if ranges.is_empty() {
        detector.scan(name, t, &mut findings);
        if !findings.is_empty() {
            ranges.push((0, t.len()));
        }
    }
    ranges.sort_unstable();
    ranges
}

/// What stands in a text as it is, and what is wrapped there. `is_value`: the text is all of the value of its name.
fn hits(name: &str, t: &[u8], is_value: bool) -> (Vec<Hit>, Vec<Wrapped>) {
    let (mut hits, mut wrapped) = (Vec::new(), Vec::new());
    if is_value {
        whole(name, t, &mut hits);
        forms::file(name.as_bytes(), t, &mut hits);
    }
    scan::text(t, &mut hits, &mut |part| {
        if wrapped.len() < WRAPPED {
            wrapped.push(part);
        }
    });
    if !hits.is_empty() {
        settle(&mut hits);
    }
    (hits, wrapped)
}

/// What has been taken off, and where it began.
#[derive(Clone, Debug, Default)]
struct Layers {
    names: Vec<&'static str>,
    line: Option<u32>,
}

struct Work<'a> {
    detector: &'a Detector,
    name: &'a str,
    findings: &'a mut Vec<Finding>,
    from: usize,
    left: usize,
}

impl Work<'_> {
    /// Scans bytes, whatever they are.
    fn layer(&mut self, bytes: &[u8], layers: &mut Layers) {
        if layers.names.len() > usize::from(decode::DEPTH) || bytes.len() > self.left {
            return;
        }
        self.left -= bytes.len();
        if let Some(container) = decode::Container::of(bytes) {
            use decode::Container as C;
            let name = match container {
                C::JavaKeystore | C::Der => return self.binary(container, bytes, layers),
                C::Gzip => "gzip",
                C::Zlib => "zlib",
                C::Zip => "zip",
                C::Utf16Little | C::Utf16Big => "utf-16",
                C::Utf8Mark => "utf-8",
            };
            layers.names.push(name);
            layers.line.get_or_insert(1);
            decode::unwrap(container, bytes, |inner| self.layer(inner, layers));
            layers.names.pop();
            return;
        }
        self.text(bytes, layers);
    }

    fn text(&mut self, t: &[u8], layers: &mut Layers) {
        let before = self.findings.len();
        let (hits, wrapped) = hits(self.name, t, layers.names.is_empty());
        self.tell(t, &hits, layers);
        let mut line = LineCount::default();
        for Wrapped { at, form, bytes } in wrapped {
            let outer = layers.line;
            layers.line.get_or_insert_with(|| line.of(t, at));
            layers.names.push(form);
            self.layer(&bytes, layers);
            layers.names.pop();
            layers.line = outer;
        }
        if self.findings.len() == before && layers.names.len() < 2 {
            self.unescape(t, layers);
        }
    }

    /// Key stores and keys in DER.
    fn binary(&mut self, container: decode::Container, bytes: &[u8], layers: &Layers) {
        let kind = match container {
            decode::Container::JavaKeystore => Other::Keystore,
            _ => match der(bytes) {
                Some(kind) => kind,
                None => return,
            },
        };
        let excerpt = format!("{} of {} bytes", kind.kind().title, bytes.len());
        self.push(
            kind.kind(),
            kind.kind().confidence,
            layers.line.unwrap_or(1),
            excerpt.into(),
            layers,
            bytes,
        );
    }

    /// The hits of a text become findings.
    fn tell(&mut self, t: &[u8], hits: &[Hit], layers: &Layers) {
        let mut line = LineCount::default();
        for hit in hits {
            let at = layers.line.unwrap_or_else(|| line.of(t, hit.start));
            let excerpt = mask::excerpt(t, hit, hits);
            self.push(hit.kind, hit.confidence, at, excerpt, layers, &t[hit.start..hit.end]);
        }
    }

    fn push(
        &mut self,
        kind: &'static Kind,
        confidence: Confidence,
        line: u32,
        excerpt: Box<str>,
        layers: &Layers,
        secret: &[u8],
    ) {
        if self.findings.len() - self.from >= MOST {
            return;
        }
        let tag = self.detector.tag(secret);
        let same = |other: &Finding| other.tag == tag && other.kind == kind.name;
        if self.findings[self.from..].iter().any(same) {
            return;
        }
        self.findings.push(Finding {
            kind: kind.name,
            title: kind.title,
            confidence,
            line,
            excerpt,
            layers: layers.names.clone(),
            tag,
        });
    }

    /// Names and values that are written with escapes are read without them.
    fn unescape(&mut self, t: &[u8], layers: &mut Layers) {
        let mut again = |name: &'static str, text: decode::Decoded| {
            if text.len() != t.len() {
                layers.names.push(name);
                layers.line.get_or_insert(1);
                self.layer(&text, layers);
                layers.names.pop();
            }
        };
        if memchr::memchr(b'\\', t).is_some() && (has_code(t, b"\\u") || has_code(t, b"\\x")) {
            again("escapes", decode::escapes(t));
        }
        let marked = memchr::memchr(b'&', t).is_some()
            && (memchr::memmem::find(t, b"&#").is_some() || memchr::memmem::find(t, b"&amp;").is_some());
        if marked || percent_heavy(t) {
            again("references", decode::references(t));
        }
    }
}

/// The value as a whole is the value of its name, as an environment variable is.
fn whole(name: &str, t: &[u8], hits: &mut Vec<Hit>) {
    let value = t.trim_ascii();
    if value.len() > 8192 || value.is_empty() || value.contains(&b'\n') {
        return;
    }
    let class = names::classify(name.as_bytes());
    if class <= names::Name::Public {
        return;
    }
    let inner = values::trim(value);
    let inner = [&b"Bearer "[..], b"Basic ", b"Token ", b"base64:"]
        .iter()
        .fold(inner, |v, start| v.strip_prefix(*start).unwrap_or(v));
    if values::classify(inner) != values::Value::Literal || !values::is_secret(class, inner) {
        return;
    }
    // `key: {"a": 1}`, `auth: user=x` are texts with names of their own.
    if class != names::Name::Password
        && (inner.contains(&b' ')
            || inner.iter().any(|b| matches!(b, b'{' | b'=' | b','))
                && !inner.ends_with(b"=")
                && !inner.contains(&b':'))
    {
        return;
    }
    if inner.contains(&b'{') || memchr::memmem::find(inner, b"://").is_some() {
        return;
    }
    let words = names::Words::of(name.as_bytes());
    if class != names::Name::Password && names::is_identifier(&words) {
        return;
    }
    let kind = match class {
        names::Name::Password => Other::Password,
        names::Name::Secret if inner.len() == 40 && words.iter().any(|w| w == b"aws") => Other::AwsSecretKey,
        _ if matches!(words.get(0), b"key" | b"keys") => Other::ApiKey,
        _ => Other::Secret,
    };
    let start = inner.as_ptr() as usize - t.as_ptr() as usize;
    hits.push(Hit::new(kind.kind(), start, start + inner.len()));
}

/// An escape with digits behind it.
fn has_code(t: &[u8], start: &[u8]) -> bool {
    memchr::memmem::find_iter(t, start).take(64).any(|at| {
        let digits = t.get(at + start.len()..at + start.len() + 2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// More than the odd `%20`.
fn percent_heavy(t: &[u8]) -> bool {
    let escapes = memchr::memchr_iter(b'%', t)
        .filter(|at| {
            t.get(at + 1..at + 3)
                .is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit))
        })
        .count();
    escapes >= 2
}

/// Of hits that overlap the surest stays, and of those the longest.
fn settle(hits: &mut Vec<Hit>) {
    hits.sort_by(|a, b| {
        b.confidence
            .cmp(&a.confidence)
            .then((b.end - b.start).cmp(&(a.end - a.start)))
    });
    let mut kept: Vec<Hit> = Vec::with_capacity(hits.len().min(MOST));
    for hit in hits.iter().take(4 * MOST) {
        if kept.len() < MOST
            && kept
                .iter()
                .all(|other| hit.end <= other.start || hit.start >= other.end)
        {
            kept.push(*hit);
        }
    }
    kept.sort_by_key(|hit| hit.start);
    *hits = kept;
}

/// What a DER structure is: a private key (RFC 5958, RFC 8017, RFC 5915) or a PKCS#12 store (RFC 7292) that has one.
fn der(bytes: &[u8]) -> Option<Other> {
    let body = match bytes {
        [0x30, 0x82, _, _, body @ ..] => body,
        [0x30, 0x81, _, body @ ..] => body,
        _ => return None,
    };
    let has = |part: &[u8]| memchr::memmem::find(bytes, part).is_some();
    match body {
        // Version 3 and then a ContentInfo of type data.
        [2, 1, 3, 0x30, ..] => Some(Other::Keystore),
        // Version 0, then the algorithm (PKCS#8) or the modulus (PKCS#1); version 1, then the key (SEC 1).
        [2, 1, 0, 0x30 | 2, ..] | [2, 1, 1, 4 | 0x30, ..] => Some(Other::PrivateKey),
        // An algorithm of PBES2 first: an encrypted PKCS#8 key.
        [0x30, ..] if has(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d]) => Some(Other::PrivateKey),
        _ => None,
    }
}

/// Line numbers of growing positions.
#[derive(Default)]
struct LineCount {
    at: usize,
    line: u32,
}

impl LineCount {
    fn of(&mut self, t: &[u8], at: usize) -> u32 {
        if at < self.at {
            *self = LineCount::default();
        }
        self.line += memchr::memchr_iter(b'\n', &t[self.at..at.min(t.len())]).count() as u32;
        self.at = at.min(t.len());
        self.line + 1
    }
}

#[cfg(test)]
mod tests;
