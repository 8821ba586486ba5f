//! Subjects and ids of messages.

use std::fmt::Write;

use ring::digest::{Context, SHA256};

use crate::bus::{Kind, Message};

/// Stands where there is no name.
const NONE: &str = "_";

/// A name is cut here, so that nobody can make a subject that the server refuses for its length.
const LONGEST_NAME: usize = 253;

/// `PREFIX.CLUSTER.NAMESPACE.POD`.
pub(super) fn of(prefix: &str, message: &Message) -> String {
    let mut subject = String::from(prefix);
    let pod = message.pod.as_ref();
    for name in [
        message.cluster.as_deref(),
        pod.map(|(namespace, _)| &**namespace),
        pod.map(|(_, name)| &**name),
    ] {
        subject.push('.');
        push(&mut subject, name);
    }
    subject
}

/// The subjects of one cluster, or of all.
pub(super) fn filter(prefix: &str, cluster: Option<&str>) -> String {
    let mut subject = String::from(prefix);
    if let Some(cluster) = cluster {
        subject.push('.');
        push(&mut subject, Some(cluster));
    }
    subject.push_str(".>");
    subject
}

/// A name as one token. Different names give different tokens, as far as they are not cut.
fn push(subject: &mut String, name: Option<&str>) {
    let Some(name) = name else {
        subject.push_str(NONE);
        return;
    };
    if name.is_empty() {
        // No token is empty, and a lone `%` escapes nothing.
        subject.push('%');
    }
    for byte in name.bytes().take(LONGEST_NAME) {
        if byte.is_ascii_alphanumeric() || byte == b'-' || (byte == b'_' && name != NONE) {
            subject.push(char::from(byte));
        } else {
            let _ = write!(subject, "%{byte:02X}");
        }
    }
}

/// Whether everything that `wanted` stands for is also in `subject`.
pub(super) fn covers(subject: &str, wanted: &str) -> bool {
    let mut wanted = wanted.split('.');
    for token in subject.split('.') {
        match (token, wanted.next()) {
            (">", Some(_)) => return true,
            (_, None | Some(">")) => return false,
            ("*", Some(_)) => {}
            (token, Some(other)) if token == other => {}
            _ => return false,
        }
    }
    wanted.next().is_none()
}

/// The same for each delivery of the same thing, and for nothing else: the Audit-ID is the client's choice, so the id is
/// a hash of all that the message says, except for when it arrived.
pub(super) fn id(message: &Message) -> String {
    let mut hash = Context::new(&SHA256);
    let mut add = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(match message.kind {
        Kind::Audit => b"audit",
        Kind::Review => b"review",
        Kind::Heard => b"heard",
    });
    if message.kind == Kind::Heard {
        // They all say the same, and each is news.
        add(&message.at.to_le_bytes());
    }
    let pod = message.pod.as_ref();
    for name in [
        message.cluster.as_deref(),
        pod.map(|(namespace, _)| &**namespace),
        pod.map(|(_, name)| &**name),
    ] {
        add(&[u8::from(name.is_some())]);
        add(name.unwrap_or_default().as_bytes());
    }
    add(message.id.as_bytes());
    add(&message.body);
    let mut text = String::new();
    for byte in hash.finish().as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(cluster: Option<&str>, pod: Option<(&str, &str)>) -> Message {
        Message {
            kind: Kind::Audit,
            cluster: cluster.map(Into::into),
            pod: pod.map(|(namespace, name)| (namespace.into(), name.into())),
            id: "audit/stage".into(),
            at: 1,
            body: Box::from(*b"{}"),
        }
    }

    #[test]
    fn names_become_tokens() {
        for (cluster, pod, subject) in [
            (Some("prod"), Some(("web", "web-1")), "s.prod.web.web-1"),
            (None, None, "s._._._"),
            (Some("a.b c"), Some(("*", ">")), "s.a%2Eb%20c.%2A.%3E"),
            (Some("_"), Some(("", "%")), "s.%5F.%.%25"),
            (Some("a_b"), Some(("é", "\n")), "s.a_b.%C3%A9.%0A"),
        ] {
            assert_eq!(of("s", &message(cluster, pod)), subject);
        }
        let long = "é".repeat(5000);
        assert!(of("s", &message(Some(&long), Some((&long, &long)))).len() < 3000);
    }

    #[test]
    fn filters_name_a_cluster_or_none() {
        assert_eq!(filter("s", None), "s.>");
        assert_eq!(filter("s.t", Some("a.b")), "s.t.a%2Eb.>");
    }

    #[test]
    fn a_subject_covers_another() {
        for (subject, wanted, covers_it) in [
            ("saker.>", "saker.>", true),
            (">", "saker.>", true),
            ("*.>", "saker.prod.>", true),
            ("saker.prod.>", "saker.prod.>", true),
            ("saker.prod.>", "saker.>", false),
            ("saker.*.*.*", "saker.>", false),
            ("saker", "saker.>", false),
            ("other.>", "saker.>", false),
            ("saker.*", "saker.a", true),
            ("saker.a.b", "saker.a", false),
            ("saker.a", "saker.a.b", false),
        ] {
            assert_eq!(covers(subject, wanted), covers_it, "{subject} {wanted}");
        }
    }

    #[test]
    fn ids_are_of_all_that_is_said() {
        let first = message(Some("a"), Some(("n", "p")));
        let again = Message { at: 2, ..first.clone() };
        assert_eq!(id(&first), id(&again));
        assert_eq!(id(&first).len(), 64);

        let forged = Message {
            body: Box::from(*b"{ }"),
            ..first.clone()
        };
        let elsewhere = message(Some("b"), Some(("n", "p")));
        let moved = message(Some("a"), Some(("np", "")));
        for other in [&forged, &elsewhere, &moved, &message(Some("a"), None)] {
            assert_ne!(id(&first), id(other));
        }
        let heard = |at| Message {
            kind: Kind::Heard,
            at,
            ..message(None, None)
        };
        assert_ne!(id(&heard(1)), id(&heard(2)));
    }
}
