//! Excerpts without secrets.

use super::decode::Decoded;
use super::scan::{Hit, line_start};
use super::{random, values};
use crate::json::tape::unescape;
use crate::json::{Kind, Span, Tape};

/// What stands for a secret.
const MASK: &str = "***";
/// Characters of the line before a secret.
const BEFORE: usize = 64;

/// What stands before a secret on its line, as far as it helps, and a mask for it. What else is a secret there, or a part
/// of one, or looks drawn at random is masked too.
pub fn excerpt(t: &[u8], hit: &Hit, hits: &[Hit]) -> Box<str> {
    let line = line_start(t, hit.start);
    let named = hit.name.0 < hit.start && hit.name.0 >= line && hit.start - hit.name.0 <= BEFORE;
    let from = if named {
        hit.name.0
    } else {
        line.max(hit.start.saturating_sub(BEFORE))
    };
    let mut out = String::new();
    if from > line && !named {
        out.push('…');
    }
    let mut at = from;
    while at < hit.start {
        if let Some(other) = hits.iter().find(|other| (other.start..other.end).contains(&at)) {
            out.push_str(MASK);
            at = other.end.min(hit.start);
            continue;
        }
        let stop = hits
            .iter()
            .map(|other| other.start)
            .filter(|start| *start > at)
            .min()
            .unwrap_or(hit.start);
        push_runs(&t[at..stop], t, hits, &mut out);
        at = stop;
    }
    out.push_str(&String::from_utf8_lossy(&t[hit.start..hit.start + hit.shown]));
    out.push_str(MASK);
    out.trim().into()
}

fn push_runs(text: &[u8], t: &[u8], hits: &[Hit], out: &mut String) {
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || *b >= 0x80;
    let mut at = 0;
    while at < text.len() {
        let run = text[at..].iter().take_while(|b| is_part(b)).count();
        if run == 0 {
            let c = text[at];
            out.push(if c.is_ascii_control() { ' ' } else { char::from(c) });
            at += 1;
            continue;
        }
        let part = &text[at..at + run];
        if is_telling(part, t, hits) {
            out.push_str(MASK);
        } else {
            out.push_str(&String::from_utf8_lossy(part));
        }
        at += run;
    }
}

/// Part of a secret somewhere in the text, or something that may be one that nobody has found.
fn is_telling(part: &[u8], t: &[u8], hits: &[Hit]) -> bool {
    let digits = part.iter().filter(|b| b.is_ascii_digit()).count();
    let mixed = digits > 0 && digits < part.len() && part.len() >= 8;
    if part.len() >= 10 && (mixed || random::is_random(part)) || mixed && random::score(part) > -3.0 {
        return true;
    }
    part.len() >= 3
        && hits.iter().any(|hit| {
            let secret = &t[hit.start..hit.end];
            secret.len() < 4096
                && (values::find(secret, part).is_some() && part.len() * 2 >= secret.len().min(12)
                    || values::find(part, secret).is_some())
        })
}

/// A text with every credential in it masked; nothing where there is none. JSON stays JSON: each of its strings is the
/// value of its name.
pub fn text(text: &[u8]) -> Option<Decoded> {
    let mut tape = Tape::default();
    if matches!(text.first(), Some(b'{' | b'['))
        && tape.parse(text, 0).is_ok()
        && let Some(root) = tape.root()
    {
        let mut out = Json {
            tape: &tape,
            text,
            out: Decoded::new(Vec::with_capacity(text.len())),
            at: 0,
            is_masked: false,
        };
        out.node(root, "");
        out.out.extend_from_slice(&text[out.at..]);
        return out.is_masked.then_some(out.out);
    }
    value("", text)
}

/// The value of a name with every credential masked; nothing where there is none.
fn value(name: &str, text: &[u8]) -> Option<Decoded> {
    let ranges = super::ranges(name, text);
    if ranges.is_empty() {
        return None;
    }
    let mut out = Decoded::new(Vec::with_capacity(text.len()));
    let mut at = 0;
    for &(start, end) in &ranges {
        if start >= at {
            push_without(&text[at..start], text, &ranges, &mut out);
            out.extend_from_slice(MASK.as_bytes());
            at = end;
        }
    }
    push_without(&text[at..], text, &ranges, &mut out);
    Some(out)
}

/// JSON on its way to its masked form.
struct Json<'t> {
    tape: &'t Tape,
    text: &'t [u8],
    out: Decoded,
    /// What is before this is in `out`.
    at: usize,
    is_masked: bool,
}

impl Json<'_> {
    fn node(&mut self, node: u32, name: &str) {
        let here = self.tape.node(node);
        match here.kind {
            Kind::String => self.string(here.span, name),
            Kind::Array => self.tape.children(node).for_each(|child| self.node(child, name)),
            Kind::Object => {
                let tape = self.tape;
                for (key, child) in tape.keys(node).zip(tape.children(node)) {
                    let mut name = Vec::new();
                    unescape(tape.node(key).span.of(self.text), &mut name);
                    self.node(child, &String::from_utf8_lossy(&name));
                }
            }
            _ => {}
        }
    }

    fn string(&mut self, span: Span, name: &str) {
        let raw = span.of(self.text);
        let mut text = Decoded::new(Vec::with_capacity(raw.len()));
        unescape(raw, &mut text);
        let Some(masked) = value(name, &text) else { return };
        self.is_masked = true;
        self.out.extend_from_slice(&self.text[self.at..span.start as usize]);
        let masked = serde_json::to_string(&String::from_utf8_lossy(&masked)).unwrap_or_default();
        self.out.extend_from_slice(
            masked
                .get(1..masked.len().saturating_sub(1))
                .unwrap_or_default()
                .as_bytes(),
        );
        self.at = span.end as usize;
    }
}

/// Appends a text without what is the same as a secret elsewhere.
fn push_without(part: &[u8], text: &[u8], ranges: &[(usize, usize)], out: &mut Decoded) {
    let found = ranges
        .iter()
        .map(|&(start, end)| &text[start..end])
        .filter(|secret| secret.len() >= 6 && secret.len() < 4096)
        .find_map(|secret| values::find(part, secret).map(|at| (at, secret)));
    match found {
        Some((at, secret)) => {
            push_without(&part[..at], text, ranges, out);
            out.extend_from_slice(MASK.as_bytes());
            push_without(&part[at + secret.len()..], text, ranges, out);
        }
        None => out.extend_from_slice(part),
    }
}
