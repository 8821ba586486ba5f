//! Credentials that were told before: an update sends the whole object again.

use super::seen::{Digest, Seen};
use crate::engine::{Rule, Run};
use crate::event::audit::{AuditEvent, Member};
use crate::fields::Extractor;
use crate::fields::ka::{AuditView, Computed, push_target};

/// Whether a match tells anything that no alert has told.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// Each of its credentials was told of this object, by this rule.
    Before,
    /// Tell it, and keep these.
    New(Vec<Digest>),
}

/// What a match of a rule about credentials tells; any other match is new and keeps nothing.
///
/// A created object is told anew: it is another one. Secrets themselves are not kept, only keyed hashes of keyed hashes.
pub fn of(rule: &Rule, run: &mut Run<'_, AuditView<'_>>, event: &AuditEvent<'_>, told: &Seen) -> Told {
    let is_about = |extractor: &Extractor| {
        matches!(
            extractor,
            Extractor::Audit {
                what: Computed::Credentials(..),
                ..
            }
        )
    };
    if run.view.tapes.inspections.found().next().is_none() || !run.program.reads(rule, &is_about) {
        return Told::New(Vec::new());
    }
    let mut text = event.cluster.unwrap_or_default().as_bytes().to_vec();
    push_target(event, run.view.tapes, &mut text);
    let object = text.len();
    let found = run.view.tapes.inspections.found();
    let digests: Vec<Digest> = found
        .map(|found| {
            text.truncate(object);
            text.extend_from_slice(found.key.as_bytes());
            text.push(0);
            text.extend_from_slice(found.finding.kind.as_bytes());
            text.extend_from_slice(found.finding.tag.bytes());
            told.key(&text, &rule.name)
        })
        .collect();
    let is_created = event.raw(Member::Verb) == br#""create""#;
    if !is_created && digests.iter().all(|digest| told.has(*digest)) {
        return Told::Before;
    }
    Told::New(digests)
}
