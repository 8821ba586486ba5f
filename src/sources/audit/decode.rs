//! From bytes to events: single events, EventLists, arrays of events, one after another in one buffer.

use crate::event::audit::{AuditEvent, BadEvent, Member};
use crate::json::scan::{JsonError, Scanner};

/// A whole buffer that is not JSON; nothing after the place can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    #[error("empty body")]
    Empty,
    #[error("body is not UTF-8: bad byte at {0}")]
    Utf8(usize),
    #[error("body is not JSON: {0}")]
    Json(JsonError),
    #[error("body is over 4 GiB")]
    TooLong,
    #[error("body is JSON of another kind: an Event or EventList of audit.k8s.io/v1 is due")]
    Kind,
}

/// One item of a batch: an event, or what is wrong with it and its text.
pub type Item<'a> = Result<AuditEvent<'a>, (BadEvent, &'a [u8])>;

/// Reads a whole body, all or nothing: several documents may follow each other.
///
/// An item that is JSON and no event fails alone; text that is not JSON fails the body.
///
/// # Errors
/// When the body as a whole cannot be read.
pub fn body<'a>(text: &'a [u8], items: &mut Vec<Item<'a>>) -> Result<(), BadBody> {
    items.clear();
    let mut scanner = start(text)?;
    let first = scanner;
    while !scanner.at_end() {
        document(text, &mut scanner, &mut |item| items.push(item)).map_err(BadBody::Json)?;
        scanner.skip_whitespace();
    }
    // A body of one document that is nothing we know is a wrong body, not a bad item.
    if let [Err((_, only))] = items.as_slice()
        && !is_audit(only)
        && only.len() == text[first.pos()..].trim_ascii_end().len()
    {
        return Err(BadBody::Kind);
    }
    Ok(())
}

/// Reads a piece of a log: what is not JSON costs the rest of its line, and everything else is given out.
///
/// # Errors
/// When the piece is not text at all.
pub fn lines<'a>(text: &'a [u8], mut item: impl FnMut(Item<'a>)) -> Result<(), BadBody> {
    let mut scanner = start(text)?;
    while !scanner.at_end() {
        let begin = scanner.pos();
        if let Err(e) = document(text, &mut scanner, &mut item) {
            let end = memchr::memchr(b'\n', &text[begin..]).map_or(text.len(), |n| begin + n);
            item(Err((BadEvent::Json(e), text[begin..end].trim_ascii_end())));
            scanner = Scanner::new(text, end);
        }
        scanner.skip_whitespace();
    }
    Ok(())
}

fn start(text: &[u8]) -> Result<Scanner<'_>, BadBody> {
    if u32::try_from(text.len()).is_err() {
        return Err(BadBody::TooLong);
    }
    if simdutf8::basic::from_utf8(text).is_err() {
        let at = simdutf8::compat::from_utf8(text).map_or_else(|e| e.valid_up_to(), |t| t.len());
        return Err(BadBody::Utf8(at));
    }
    let bom = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let mut scanner = Scanner::new(text, bom);
    scanner.skip_whitespace();
    if scanner.at_end() {
        Err(BadBody::Empty)
    } else {
        Ok(scanner)
    }
}

/// One document: an Event, an EventList, or an array of Events.
#[inline]
fn document<'a>(text: &'a [u8], scanner: &mut Scanner<'a>, item: &mut impl FnMut(Item<'a>)) -> Result<(), JsonError> {
    let begin = *scanner;
    match scanner.peek() {
        b'[' => array(text, scanner, false, item),
        b'{' => {
            if is_list(text, *scanner) {
                return list(text, scanner, item);
            }
            let event = AuditEvent::scan(text, scanner)?;
            let kind = event.raw(Member::Kind);
            // A list whose kind comes after its items.
            if kind == br#""EventList""# {
                *scanner = begin;
                return list(text, scanner, item);
            }
            followed_by_document(*scanner)?;
            give(event, false, item);
            Ok(())
        }
        _ => {
            scanner.value()?;
            followed_by_document(*scanner)?;
            item(Err((BadEvent::NotAnObject, &text[begin.pos()..scanner.pos()])));
            Ok(())
        }
    }
}

/// What follows a document can only be another one; otherwise the document is not what it seems.
#[inline]
fn followed_by_document(mut scanner: Scanner<'_>) -> Result<(), JsonError> {
    scanner.skip_whitespace();
    if scanner.at_end() || matches!(scanner.peek(), b'{' | b'[') {
        return Ok(());
    }
    Err(JsonError {
        at: scanner.pos(),
        what: "the text goes on after a document",
    })
}

/// Items of a list have no kind of their own; other events must say what they are.
#[inline]
fn give<'a>(event: AuditEvent<'a>, in_list: bool, item: &mut impl FnMut(Item<'a>)) {
    if !in_list && event.member(Member::Kind).is_empty() {
        return item(Err((BadEvent::NotAnEvent, event.bytes())));
    }
    item(event.with_time().map_err(|e| (e, event.bytes())));
}

/// True when the object begins as the API server writes a list: kind first.
fn is_list(text: &[u8], scanner: Scanner<'_>) -> bool {
    text[scanner.pos()..].starts_with(br#"{"kind":"EventList""#)
}

/// The object of a list: its items are read in place, everything else is checked and passed over.
fn list<'a>(text: &'a [u8], scanner: &mut Scanner<'a>, item: &mut impl FnMut(Item<'a>)) -> Result<(), JsonError> {
    scanner.expect(b'{', "an object is due")?;
    scanner.skip_whitespace();
    if scanner.peek() == b'}' {
        scanner.advance();
        return Ok(());
    }
    loop {
        let key_start = scanner.pos() + 1;
        if scanner.peek() != b'"' {
            return Err(JsonError {
                at: scanner.pos(),
                what: "a member's name is due",
            });
        }
        scanner.string()?;
        let key = &text[key_start..scanner.pos() - 1];
        scanner.colon()?;
        if key == b"items" && scanner.peek() == b'[' {
            array(text, scanner, true, item)?;
        } else {
            scanner.value()?;
        }
        scanner.skip_whitespace();
        match scanner.peek() {
            b',' => {
                scanner.advance();
                scanner.skip_whitespace();
            }
            b'}' => {
                scanner.advance();
                return Ok(());
            }
            _ => {
                return Err(JsonError {
                    at: scanner.pos(),
                    what: "`,` or `}` is due",
                });
            }
        }
    }
}

fn array<'a>(
    text: &'a [u8],
    scanner: &mut Scanner<'a>,
    in_list: bool,
    item: &mut impl FnMut(Item<'a>),
) -> Result<(), JsonError> {
    scanner.advance();
    scanner.skip_whitespace();
    if scanner.peek() == b']' {
        scanner.advance();
        return Ok(());
    }
    loop {
        if scanner.peek() == b'{' {
            give(AuditEvent::scan(text, scanner)?, in_list, item);
        } else {
            let before = scanner.pos();
            scanner.value()?;
            item(Err((BadEvent::NotAnObject, &text[before..scanner.pos()])));
        }
        scanner.skip_whitespace();
        match scanner.peek() {
            b',' => {
                scanner.advance();
                scanner.skip_whitespace();
            }
            b']' => {
                scanner.advance();
                return Ok(());
            }
            _ => {
                return Err(JsonError {
                    at: scanner.pos(),
                    what: "`,` or `]` is due",
                });
            }
        }
    }
}

/// True for an object that calls itself an audit event, whatever is wrong with it.
fn is_audit(text: &[u8]) -> bool {
    let Ok(event) = AuditEvent::scan(text, &mut Scanner::new(text, 0)) else {
        return false;
    };
    let kind = event.raw(Member::Kind);
    event.raw(Member::ApiVersion).starts_with(br#""audit.k8s.io/"#)
        || kind == br#""Event""#
        || !event.raw(Member::AuditId).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"kind":"Event","auditID":"a","stageTimestamp":"2026-01-02T03:04:05Z"}"#;
    const ITEM: &str = r#"{"auditID":"a","stageTimestamp":"2026-01-02T03:04:05Z"}"#;

    fn count(text: &str) -> Result<(usize, usize), BadBody> {
        let mut items = Vec::new();
        body(text.as_bytes(), &mut items)?;
        let good = items.iter().filter(|i| i.is_ok()).count();
        Ok((good, items.len() - good))
    }

    #[test]
    fn every_shape_is_read() {
        for (text, want) in [
            (EVENT.to_owned(), (1, 0)),
            (format!("{EVENT}\n{EVENT}\n"), (2, 0)),
            (format!("{EVENT}{EVENT}"), (2, 0)),
            (
                format!(
                    r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{{}},"items":[{ITEM},{ITEM}]}}"#
                ),
                (2, 0),
            ),
            (
                format!(r#"{{ "apiVersion":"audit.k8s.io/v1", "items" : [ {ITEM} ], "kind" : "EventList" }}"#),
                (1, 0),
            ),
            (format!("[{EVENT},{ITEM}]"), (1, 1)),
            ("[]".to_owned(), (0, 0)),
            (
                format!(r#"{{"kind":"EventList","items":[{ITEM},5,null,{{}},{ITEM}]}}"#),
                (2, 3),
            ),
            (r#"{"kind":"EventList","items":null}"#.to_owned(), (0, 0)),
            (r#"{"kind":"EventList","items":[]}"#.to_owned(), (0, 0)),
            (format!("\u{feff}{EVENT}"), (1, 0)),
            (
                r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"x"}"#.to_owned(),
                (0, 1),
            ),
        ] {
            assert_eq!(count(&text), Ok(want), "{text}");
        }
    }

    #[test]
    fn bodies_that_are_not_json_fail_whole() {
        for text in [
            "",
            " \n",
            "{",
            "not json",
            r#"{"kind":"EventList","items":[{}"#,
            r#"[{"a":}]"#,
            "{}x",
        ] {
            assert!(count(text).is_err(), "{text}");
        }
        assert_eq!(body(b"{\"a\":\"\xff\"}", &mut Vec::new()), Err(BadBody::Utf8(6)));
        for text in [r#"{"kind":"Pod","apiVersion":"v1"}"#, "5", r#"{"hello":"world"}"#] {
            assert_eq!(count(text), Err(BadBody::Kind), "{text}");
        }
    }

    #[test]
    fn a_broken_line_costs_itself() {
        let text = format!("{EVENT}\n{{broken\n{EVENT} trailing\n\n{EVENT}\n");
        let (mut good, mut bad) = (0, Vec::new());
        lines(text.as_bytes(), |item| match item {
            Ok(_) => good += 1,
            Err((_, text)) => bad.push(String::from_utf8_lossy(text).into_owned()),
        })
        .expect("text");
        assert_eq!(good, 2);
        assert_eq!(bad, ["{broken".to_owned(), format!("{EVENT} trailing")]);
    }
}
