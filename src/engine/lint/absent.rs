//! Output fields that never have a value, because of what the condition requires.

use std::collections::BTreeSet;

use super::Linted;
use crate::engine::diagnostic::{Code, Diagnostic};
use crate::engine::format::FieldSource;
use crate::engine::program::{Slot, SlotId};
use crate::fields::{Catalog, Origin};

/// Verbs whose requests have no object.
const READS: [&str; 3] = ["get", "list", "watch"];
/// Verbs whose requests have at most options for their object.
const DELETES: [&str; 2] = ["delete", "deletecollection"];
/// The members of those options (`meta.k8s.io` DeleteOptions).
const DELETE_OPTIONS: [&str; 8] = [
    "kind",
    "apiVersion",
    "gracePeriodSeconds",
    "preconditions",
    "orphanDependents",
    "propagationPolicy",
    "dryRun",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
];

impl Linted<'_> {
    pub(super) fn absent_outputs(&self, catalog: &Catalog, found: &mut Vec<Diagnostic>) {
        let verbs = self.verbs(catalog).unwrap_or_default();
        for field in &self.output.fields {
            let FieldSource::Slot(printed) = &field.source else {
                continue;
            };
            let absent = BTreeSet::from([None]);
            let why = if self.require(printed.slot) == Some(absent) {
                "the condition requires that it is absent".to_owned()
            } else if !verbs.is_empty() && verbs.iter().all(|verb| never_sent(verb, &field.key, catalog)) {
                format!("requests with verb {} carry no object that has it", verbs.join(" or "))
            } else {
                continue;
            };
            let message = format!("output field `{}` never has a value: {why}", field.key);
            let text = self.rule.output.as_str();
            let at = text
                .find(&format!("%{}", field.key))
                .map_or(self.rule.output.whole(), |i| {
                    self.rule.output.at(i, i + 1 + field.key.len())
                });
            let help = Some("leave it out of the output".to_owned());
            found.push(Diagnostic::new(Code::OutputFieldAbsent, message, at).with_help(help));
        }
    }

    /// The verbs that the condition is limited to; nothing when it may be without one.
    fn verbs(&self, catalog: &Catalog) -> Option<Vec<String>> {
        let verb = catalog.resolve(catalog.get("ka.verb")?, None).ok()?;
        let slot = self
            .slots
            .iter()
            .position(|s| matches!(s, Slot::Field(e) if *e == verb))?;
        let verbs = self.require(slot as SlotId)?;
        verbs
            .iter()
            .map(|v| v.as_deref().map(|v| String::from_utf8_lossy(v).into_owned()))
            .collect()
    }
}

/// True for fields that read a part of the request's object which requests with that verb do not have.
fn never_sent(verb: &str, key: &str, catalog: &Catalog) -> bool {
    let name = key.split('[').next().unwrap_or(key);
    let path = match catalog.get(name).map(|f| &f.origin) {
        Some(Origin::JsonPath(path) | Origin::PodPath(path)) => path,
        _ => return false,
    };
    let Some(path) = path.strip_prefix("$.requestObject.") else {
        return false;
    };
    let member = path.split(['.', '[']).next().unwrap_or(path);
    let plain = !member.is_empty() && member.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    READS.contains(&verb) || DELETES.contains(&verb) && plain && !DELETE_OPTIONS.contains(&member)
}
