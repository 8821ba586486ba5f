//! What an event is to everything behind a source: where it came from, when, and how severe a rule calls it.

use std::fmt;

pub mod audit;
pub mod bytes;
pub mod syscall;
pub mod time;

/// Nanoseconds since the Unix epoch.
pub type Timestamp = u64;

/// The event source a rule names (`source:`), as in Falco.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// kube-apiserver audit events, `audit.k8s.io/v1`.
    K8sAudit,
    /// System calls and process events of the node.
    Syscall,
    /// State changes of exec sessions, from the correlator.
    K8sExec,
    /// Saker's own messages (losses, source failures).
    Internal,
}

impl Source {
    /// Every source that a rule may name.
    pub const RULE_SOURCES: [Source; 3] = [Source::K8sAudit, Source::Syscall, Source::K8sExec];

    /// The name used in rules, alerts and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Source::K8sAudit => "k8s_audit",
            Source::Syscall => "syscall",
            Source::K8sExec => "k8s_exec",
            Source::Internal => "internal",
        }
    }

    /// The source a rule file calls `name`.
    pub fn from_name(name: &str) -> Option<Source> {
        Source::RULE_SOURCES.into_iter().find(|s| s.name() == name)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Severity of a rule: syslog's eight levels, the most severe first (RFC 5424 section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Priority {
    Emergency = 0,
    Alert = 1,
    Critical = 2,
    Error = 3,
    Warning = 4,
    Notice = 5,
    Informational = 6,
    Debug = 7,
}

impl Priority {
    /// All levels, the most severe first.
    pub const ALL: [Priority; 8] = [
        Priority::Emergency,
        Priority::Alert,
        Priority::Critical,
        Priority::Error,
        Priority::Warning,
        Priority::Notice,
        Priority::Informational,
        Priority::Debug,
    ];

    /// The name as alerts print it.
    pub const fn name(self) -> &'static str {
        match self {
            Priority::Emergency => "Emergency",
            Priority::Alert => "Alert",
            Priority::Critical => "Critical",
            Priority::Error => "Error",
            Priority::Warning => "Warning",
            Priority::Notice => "Notice",
            Priority::Informational => "Informational",
            Priority::Debug => "Debug",
        }
    }

    /// Parses a level in any case; `info` stands for `informational`.
    pub fn parse(text: &str) -> Option<Priority> {
        if text.eq_ignore_ascii_case("info") {
            return Some(Priority::Informational);
        }
        Priority::ALL.into_iter().find(|p| p.name().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Priority {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        Priority::parse(&text).ok_or_else(|| {
            serde::de::Error::unknown_variant(
                &text,
                &[
                    "emergency",
                    "alert",
                    "critical",
                    "error",
                    "warning",
                    "notice",
                    "informational",
                    "debug",
                ],
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_parse_in_any_case() {
        for (text, want) in [
            ("WARNING", Some(Priority::Warning)),
            ("info", Some(Priority::Informational)),
            ("INFORMATIONAL", Some(Priority::Informational)),
            ("warn", None),
            ("", None),
        ] {
            assert_eq!(Priority::parse(text), want, "{text}");
        }
    }

    #[test]
    fn sources_have_one_name_each() {
        for source in Source::RULE_SOURCES {
            assert_eq!(Source::from_name(source.name()), Some(source));
        }
        assert_eq!(Source::from_name("internal"), None);
    }
}
