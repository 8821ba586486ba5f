//! Whom a certificate signing request is for: the subject inside its `spec.request`.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::object::object;
use crate::event::audit::{AuditEvent, Member, Tapes};
use crate::fields::{Scratch, Value};

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// The common name: the user that the certificate will be.
    User,
    /// The organisations: the groups that the certificate will be in.
    Groups,
}

/// The value of a fact; absent when the event holds no request or it cannot be read.
pub fn extract(fact: Fact, event: &AuditEvent<'_>, tapes: &mut Tapes, scratch: &mut Scratch) -> Option<Value> {
    let mut text = Vec::new();
    [Member::RequestObject, Member::ResponseObject]
        .iter()
        .find_map(|member| {
            object(event, tapes, *member)?
                .at(&["spec", "request"])?
                .push_text(&mut text);
            Some(())
        })?;
    let pem = base64(&text)?;
    let body = pem.strip_prefix(b"-----BEGIN CERTIFICATE REQUEST-----")?;
    let end = memchr::memmem::find(body, b"-----END")?;
    let der = base64(&body[..end])?;
    let (_, request) = X509CertificationRequest::from_der(&der).ok()?;
    let subject = &request.certification_request_info.subject;
    let push =
        |name: &str, scratch: &mut Scratch| Value::Text(scratch.text(|out| out.extend_from_slice(name.as_bytes())));
    match fact {
        Fact::User => Some(push(subject.iter_common_name().next()?.as_str().ok()?, scratch)),
        Fact::Groups => {
            let start = scratch.items.len();
            for name in subject.iter_organization().filter_map(|o| o.as_str().ok()) {
                let value = push(name, scratch);
                scratch.items.push(value);
            }
            Some(scratch.list_from(start))
        }
    }
}

/// Decodes standard base64, ignoring line ends.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut count) = (0u32, 0);
    for &byte in text {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' | b'\n' | b'\r' => continue,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::audit::AuditEvent;
    use crate::json::scan::Scanner;

    #[test]
    fn the_subject_of_a_request_is_read() {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, "system:node:n1");
        parameters
            .distinguished_name
            .push(rcgen::DnType::OrganizationName, "system:nodes");
        let key = rcgen::KeyPair::generate().expect("key");
        let pem = parameters.serialize_request(&key).expect("request").pem().expect("pem");
        let outer = {
            const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            pem.as_bytes()
                .chunks(3)
                .map(|chunk| {
                    let bits = chunk.iter().fold(0u32, |all, b| all << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
                    (0..4)
                        .map(|i| match i <= chunk.len() {
                            true => ALPHABET[(bits >> (18 - 6 * i) & 63) as usize] as char,
                            false => '=',
                        })
                        .collect::<String>()
                })
                .collect::<String>()
        };
        for (request, user) in [
            (outer.as_str(), Some("system:node:n1")),
            ("bm90IGEgcGVt", None),
            ("%", None),
        ] {
            let text = format!(r#"{{"requestObject":{{"spec":{{"request":"{request}"}}}}}}"#);
            let event = AuditEvent::scan(text.as_bytes(), &mut Scanner::new(text.as_bytes(), 0)).expect("json");
            let (mut tapes, mut scratch) = (Tapes::default(), Scratch::default());
            tapes.begin();
            let found = extract(Fact::User, &event, &mut tapes, &mut scratch).map(|value| match value {
                Value::Text(t) => String::from_utf8_lossy(scratch.bytes_of(event.text, t)).into_owned(),
                _ => panic!("no text"),
            });
            assert_eq!(found.as_deref(), user);
            let groups = extract(Fact::Groups, &event, &mut tapes, &mut scratch);
            assert_eq!(groups.is_some_and(|g| matches!(g, Value::List(_))), user.is_some());
        }
    }
}
