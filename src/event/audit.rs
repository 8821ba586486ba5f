//! One `audit.k8s.io/v1` Event as spans of the bytes it came in.

use std::sync::Arc;

use crate::credentials::inspection::{Inspections, Inspector};
use crate::event::Timestamp;
use crate::json::scan::{JsonError, Scanner};
use crate::json::{Span, Tape};

/// The members of an Event that have a place of their own (k8s.io/apiserver, apis/audit/v1 `Event`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Member {
    AuditId,
    Stage,
    Level,
    RequestUri,
    Verb,
    User,
    ImpersonatedUser,
    SourceIps,
    UserAgent,
    ObjectRef,
    ResponseStatus,
    RequestObject,
    ResponseObject,
    RequestReceivedTimestamp,
    StageTimestamp,
    Annotations,
    Kind,
    ApiVersion,
}

/// How many members there are.
pub const MEMBERS: usize = Member::ApiVersion as usize + 1;

impl Member {
    /// The member with that JSON name.
    #[inline]
    pub fn from_name(name: &[u8]) -> Option<Member> {
        Some(match name {
            b"auditID" => Member::AuditId,
            b"stage" => Member::Stage,
            b"level" => Member::Level,
            b"requestURI" => Member::RequestUri,
            b"verb" => Member::Verb,
            b"user" => Member::User,
            b"impersonatedUser" => Member::ImpersonatedUser,
            b"sourceIPs" => Member::SourceIps,
            b"userAgent" => Member::UserAgent,
            b"objectRef" => Member::ObjectRef,
            b"responseStatus" => Member::ResponseStatus,
            b"requestObject" => Member::RequestObject,
            b"responseObject" => Member::ResponseObject,
            b"requestReceivedTimestamp" => Member::RequestReceivedTimestamp,
            b"stageTimestamp" => Member::StageTimestamp,
            b"annotations" => Member::Annotations,
            b"kind" => Member::Kind,
            b"apiVersion" => Member::ApiVersion,
            _ => return None,
        })
    }
}

/// A decoded event. It borrows its text; nothing inside a member has been read yet.
#[derive(Clone, Copy, Debug)]
pub struct AuditEvent<'a> {
    /// The text that all spans refer to.
    pub text: &'a [u8],
    /// The event itself within `text`.
    pub span: Span,
    members: [Span; MEMBERS],
    /// `stageTimestamp`, the event's time.
    pub time: Timestamp,
    /// The cluster that the receiver knows the event to come from.
    pub cluster: Option<&'a str>,
    /// 1-based number among the events of this run.
    pub number: u64,
}

/// Why an item is not an audit event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEvent {
    #[error("{0}")]
    Json(JsonError),
    #[error("not a JSON object")]
    NotAnObject,
    #[error("kind is not Event")]
    NotAnEvent,
    #[error("stageTimestamp is missing")]
    NoTime,
    #[error("stageTimestamp is not an RFC 3339 time")]
    BadTime,
}

impl From<JsonError> for BadEvent {
    fn from(e: JsonError) -> Self {
        BadEvent::Json(e)
    }
}

impl<'a> AuditEvent<'a> {
    /// Reads the object at the scanner's cursor, checking all of its grammar, and leaves the cursor after it.
    ///
    /// The first of several members with one name counts. The time is not looked at: see [`AuditEvent::with_time`].
    ///
    /// # Errors
    /// When the text is not JSON; the cursor is then undefined.
    #[inline]
    pub fn scan(text: &'a [u8], scanner: &mut Scanner<'a>) -> Result<AuditEvent<'a>, JsonError> {
        let start = scanner.pos();
        let mut members = [Span::default(); MEMBERS];
        scanner.expect(b'{', "an object is due")?;
        scanner.skip_whitespace();
        if scanner.peek() == b'}' {
            scanner.advance();
        } else {
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
                let value_start = scanner.pos();
                scanner.value()?;
                if let Some(member) = Member::from_name(key) {
                    let slot = &mut members[member as usize];
                    if slot.is_empty() {
                        *slot = Span {
                            start: value_start as u32,
                            end: scanner.pos() as u32,
                        };
                    }
                }
                scanner.skip_whitespace();
                match scanner.peek() {
                    b',' => {
                        scanner.advance();
                        scanner.skip_whitespace();
                    }
                    b'}' => {
                        scanner.advance();
                        break;
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
        let span = Span {
            start: start as u32,
            end: scanner.pos() as u32,
        };
        Ok(AuditEvent {
            text,
            span,
            members,
            time: 0,
            cluster: None,
            number: 0,
        })
    }

    /// Checks that the object is an Event and takes its time.
    ///
    /// # Errors
    /// When the kind is another, or `stageTimestamp` is absent or unreadable.
    pub fn with_time(mut self) -> Result<AuditEvent<'a>, BadEvent> {
        let kind = self.raw(Member::Kind);
        if !kind.is_empty() && kind != br#""Event""# {
            return Err(BadEvent::NotAnEvent);
        }
        let raw = self.raw(Member::StageTimestamp);
        if raw.is_empty() {
            return Err(BadEvent::NoTime);
        }
        let text = raw
            .strip_prefix(b"\"")
            .and_then(|r| r.strip_suffix(b"\""))
            .ok_or(BadEvent::BadTime)?;
        self.time = crate::event::time::parse_rfc3339(text).ok_or(BadEvent::BadTime)?;
        Ok(self)
    }

    /// Where a member's value is; empty when the event has none.
    #[inline]
    pub fn member(&self, member: Member) -> Span {
        self.members[member as usize]
    }

    /// A member's value as it stands in the text.
    #[inline]
    pub fn raw(&self, member: Member) -> &'a [u8] {
        let span = self.member(member);
        self.text
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default()
    }

    /// The event as it stands in the text.
    pub fn bytes(&self) -> &'a [u8] {
        self.text
            .get(self.span.start as usize..self.span.end as usize)
            .unwrap_or_default()
    }
}

/// The tapes of the members that rules have read into, reused from event to event.
#[derive(Debug, Default)]
pub struct Tapes {
    members: [Tape; MEMBERS],
    whole: Tape,
    parsed: u32,
    /// Credentials that were found in the event at hand.
    pub inspections: Inspections,
}

/// Bit of `parsed` for the whole event.
const WHOLE: u32 = 1 << 31;

impl Tapes {
    /// Tapes whose event is inspected by the same one as those of others.
    pub fn new(inspector: Arc<Inspector>) -> Tapes {
        Tapes {
            inspections: Inspections::new(inspector),
            ..Tapes::default()
        }
    }

    /// Forgets the event before.
    #[inline]
    pub fn begin(&mut self) {
        self.parsed = 0;
        self.inspections.begin();
    }

    /// The tape of one member, parsed at the first call for an event.
    pub fn member(&mut self, event: &AuditEvent<'_>, member: Member) -> &Tape {
        let tape = &mut self.members[member as usize];
        let bit = 1 << member as u32;
        if self.parsed & bit == 0 {
            self.parsed |= bit;
            fill(tape, event.text, event.member(member));
        }
        tape
    }

    /// The tape of the event itself, for members that have no place of their own.
    pub fn whole(&mut self, event: &AuditEvent<'_>) -> &Tape {
        if self.parsed & WHOLE == 0 {
            self.parsed |= WHOLE;
            fill(&mut self.whole, event.text, event.span);
        }
        &self.whole
    }
}

fn fill(tape: &mut Tape, text: &[u8], span: Span) {
    // The scanner has accepted the text before, so a failure here means that there is nothing to parse.
    if span.is_empty() || tape.parse(text, span.start as usize).is_err() {
        tape.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Result<AuditEvent<'_>, JsonError> {
        AuditEvent::scan(text.as_bytes(), &mut Scanner::new(text.as_bytes(), 0))
    }

    #[test]
    fn members_are_spans_of_the_text() {
        let event =
            scan(r#"{ "verb" : "get", "objectRef":{"name":"x"}, "verb":"second", "other": [1] }"#).expect("json");
        assert_eq!(event.raw(Member::Verb), br#""get""#);
        assert_eq!(event.raw(Member::ObjectRef), br#"{"name":"x"}"#);
        assert_eq!(event.raw(Member::Stage), b"");
        let mut tapes = Tapes::default();
        tapes.begin();
        let tape = tapes.member(&event, Member::ObjectRef);
        assert!(tape.member(event.text, 0, "name").is_some());
        assert!(tapes.member(&event, Member::Stage).root().is_none());
        assert!(tapes.whole(&event).member(event.text, 0, "other").is_some());
    }

    #[test]
    fn time_and_kind_are_checked() {
        for (text, want) in [
            (
                r#"{"stageTimestamp":"2026-01-02T03:04:05.000006Z"}"#,
                Ok(1767323045000006000),
            ),
            (
                r#"{"kind":"Event","stageTimestamp":"2026-01-02T03:04:05Z"}"#,
                Ok(1767323045000000000),
            ),
            (
                r#"{"kind":"Pod","stageTimestamp":"2026-01-02T03:04:05Z"}"#,
                Err(BadEvent::NotAnEvent),
            ),
            (r#"{}"#, Err(BadEvent::NoTime)),
            (r#"{"stageTimestamp":5}"#, Err(BadEvent::BadTime)),
            (r#"{"stageTimestamp":"yesterday"}"#, Err(BadEvent::BadTime)),
        ] {
            assert_eq!(scan(text).expect("json").with_time().map(|e| e.time), want, "{text}");
        }
    }
}
