//! Findings that are known and meant to be where they are.

use serde::Deserialize;

use super::kinds::{OTHERS, TOKENS};
use crate::engine::pattern::wildcard;

/// Findings that are not told: those that fit all that is given here. `*` stands for any text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AllowEntry {
    /// Namespace of the object.
    pub namespace: Option<String>,
    /// Name of the object.
    pub name: Option<String>,
    /// What it is called in the object: an entry of `data`, a variable, an annotation.
    pub key: Option<String>,
    pub kind: Option<String>,
    /// The file as it is printed. Fits nothing that does not come from a file.
    pub file: Option<String>,
}

impl AllowEntry {
    /// Nothing is given; such an entry fits nothing.
    pub fn is_empty(&self) -> bool {
        *self == AllowEntry::default()
    }
}

/// The allow-list.
#[derive(Clone, Debug, Default)]
pub struct Allow {
    pub entries: Vec<AllowEntry>,
}

impl Allow {
    /// Whether a finding is not to be told. What has no name is the empty text.
    pub fn allows(&self, namespace: &str, name: &str, key: &str, kind: &str, file: Option<&str>) -> bool {
        let fits = |pattern: &Option<String>, text: Option<&str>| {
            pattern
                .as_deref()
                .is_none_or(|pattern| text.is_some_and(|text| wildcard(pattern, text)))
        };
        self.entries.iter().any(|entry| {
            !entry.is_empty()
                && fits(&entry.namespace, Some(namespace))
                && fits(&entry.name, Some(name))
                && fits(&entry.key, Some(key))
                && fits(&entry.kind, Some(kind))
                && fits(&entry.file, file)
        })
    }
}

/// Names of all kinds, each once, in the order of the table.
pub fn kind_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for kind in TOKENS.iter().chain(OTHERS) {
        if !names.contains(&kind.name) {
            names.push(kind.name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `namespace|name|key|kind|file`; `-` is left out.
    fn entry(text: &str) -> AllowEntry {
        let mut parts = text.split('|').map(|part| (part != "-").then(|| part.to_owned()));
        let mut next = || parts.next().expect("five parts");
        AllowEntry {
            namespace: next(),
            name: next(),
            key: next(),
            kind: next(),
            file: next(),
        }
    }

    #[test]
    fn all_that_is_given_has_to_fit() {
        for (given, want) in [
            ("shop|-|-|-|-", true),
            ("shop|app|db.url|password|charts/a.yaml", true),
            ("sh*|*|db.*|*word|*.yaml", true),
            ("-|-|-|-|charts/*", true),
            ("-|-|-|-|a.yaml", false),
            ("Shop|-|-|-|-", false),
            ("sho|-|-|-|-", false),
            ("shop|other|-|-|-", false),
            ("shop|app|url|-|-", false),
            ("shop|app|db.url|secret|-", false),
            ("|-|-|-|-", false),
            ("-|-|-|-|-", false),
        ] {
            let allow = Allow {
                entries: vec![entry(given)],
            };
            let got = allow.allows("shop", "app", "db.url", "password", Some("charts/a.yaml"));
            assert_eq!(got, want, "{given}");
        }
    }

    #[test]
    fn one_entry_is_enough_and_files_need_a_file() {
        let allow = Allow {
            entries: vec![entry("a|-|-|-|-"), entry("-|-|-|jwt|*")],
        };
        for (namespace, kind, file, want) in [
            ("a", "jwt", None, true),
            ("a", "password", Some("f"), true),
            ("b", "jwt", Some("f"), true),
            ("b", "jwt", None, false),
            ("b", "password", Some("f"), false),
        ] {
            let got = allow.allows(namespace, "", "", kind, file);
            assert_eq!(got, want, "{namespace} {kind} {file:?}");
        }
        assert!(!Allow::default().allows("", "", "", "", None));
    }

    #[test]
    fn kinds_are_named_once() {
        let names = kind_names();
        assert!(names.contains(&"github_token") && names.contains(&"password"));
        let several: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(several.len(), names.len());
    }
}
