//! An alert: Falco's JSON and text forms of one match, with a stable identity.

use std::sync::Arc;

use highway::{HighwayHash, HighwayHasher, Key};

use crate::correlate::{State, Who};
use crate::engine::format::{self, push_escaped, push_json_string};
use crate::engine::{Rule, Run};
use crate::event::time::Civil;
use crate::event::{Priority, Source, Timestamp};
use crate::fields::{View, evt::Host};

/// A finding on its way to the outputs, rendered once in both of its forms; outputs choose one and copy nothing.
///
/// Both forms end without a newline, hold no raw control characters, and are valid UTF-8.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Stable for the same event and rule, so delivering it twice is harmless.
    pub uuid: [u8; 16],
    /// When the event happened, nanoseconds since the Unix epoch.
    pub time: Timestamp,
    pub rule: Arc<str>,
    pub priority: Priority,
    pub source: Source,
    /// One JSON object on one line, with Falco's keys and ours.
    pub json: Box<str>,
    /// `HH:MM:SS.nnnnnnnnn: Priority message`.
    pub text: Box<str>,
}

/// The identity of an alert: the same event's bytes and the same rule give the same one, anywhere and any time.
///
/// It names an alert and decides nothing: an event is never taken for another because of it.
pub fn identity(event: &[u8], rule: &str) -> [u8; 16] {
    let mut hasher = HighwayHasher::new(Key([0x5341_4b45_5221, 2, 3, 4]));
    hasher.append(event);
    hasher.append(rule.as_bytes());
    let [high, low] = hasher.finalize128();
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&high.to_be_bytes());
    uuid[8..].copy_from_slice(&low.to_be_bytes());
    // RFC 9562 version 8: an identity of the application's own making.
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

impl Alert {
    /// Says that it waited for what a runtime has to say of its container, whether that came or not.
    #[must_use]
    pub fn late(mut self) -> Alert {
        // Keys are in alphabetical order, and no quote inside a value is bare.
        if let Some(at) = self.json.find(",\"output\":") {
            let (head, tail) = self.json.split_at(at);
            self.json = format!("{head},\"metadata\":\"late\"{tail}").into();
        }
        self
    }

    /// Says who is behind the process, where that is known: in the text, and as `actor.*` in the output fields.
    #[must_use]
    pub fn attributed(mut self, who: &Who) -> Alert {
        let mut text = Vec::new();
        // What is about the session itself says so in its own words.
        if self.source != Source::K8sExec {
            push_escaped(describe(who).as_bytes(), &mut text);
        }
        let text = into_text(text);
        self.text = format!("{}{text}", self.text).into();
        // No quote inside a value is bare, so that this stands between the message and the fields only.
        if let Some((before, after)) = self.json.split_once("\",\"output_fields\":{") {
            let end = after.find("},\"priority\":").unwrap_or(after.len());
            let (fields, rest) = after.split_at(end);
            let mut all = fields.to_owned();
            for (name, value) in actor_fields(who) {
                let nothing = format!("\"{name}\":null");
                if all.contains(&nothing) {
                    all = all.replace(&nothing, &format!("\"{name}\":{value}"));
                } else if !fields.contains(&format!("\"{name}\":")) {
                    if !all.is_empty() {
                        all.push(',');
                    }
                    all.push_str(&format!("\"{name}\":{value}"));
                }
            }
            self.json = format!("{before}{text}\",\"output_fields\":{{{all}{rest}").into();
        }
        self
    }

    /// Names earlier alerts that this one is about.
    #[must_use]
    pub fn related(mut self, uuids: &[[u8; 16]]) -> Alert {
        if let Some(at) = self.json.find(",\"rule\":").filter(|_| !uuids.is_empty()) {
            let mut list = Vec::new();
            for uuid in uuids {
                list.extend_from_slice(if list.is_empty() { b"\"" } else { b",\"" });
                push_uuid(*uuid, &mut list);
                list.push(b'"');
            }
            let (head, tail) = self.json.split_at(at);
            self.json = format!("{head},\"related\":[{}]{tail}", into_text(list)).into();
        }
        self
    }
}

/// Who is behind a process, in words; empty where there is nothing to say.
fn describe(who: &Who) -> String {
    let Some(actor) = &who.actor else {
        return String::new();
    };
    let joined = |texts: &[Box<str>]| texts.iter().map(|text| &**text).collect::<Vec<_>>().join(", ");
    let mut text = match (&actor.person, who.state) {
        (Some(person), _) => {
            let mut text = format!(" | actor {}", person.user);
            if let Some(real) = &person.impersonator {
                text.push_str(&format!(" (impersonated by {real})"));
            }
            if !person.groups.is_empty() {
                text.push_str(&format!(" [{}]", joined(&person.groups)));
            }
            text
        }
        (None, State::Ambiguous) => format!(" | actor one of {}", joined(&actor.candidates)),
        _ => return String::new(),
    };
    if let Some(address) = actor.source_ips.last() {
        text.push_str(&format!(" from {address}"));
    }
    if let Some(agent) = &actor.user_agent {
        text.push_str(&format!(" with {agent}"));
    }
    if let Some(via) = actor.via {
        text.push_str(&format!(" by {}", via.name()));
    }
    text.push_str(&format!(", evidence {}", actor.evidence.name()));
    if let Some(session) = &actor.session {
        text.push_str(&format!(", session {session}"));
    }
    text
}

/// The fields of `actor.*` that have a value, as JSON.
fn actor_fields(who: &Who) -> Vec<(&'static str, String)> {
    let string = |text: &str| {
        let mut out = Vec::new();
        push_json_string(text.as_bytes(), &mut out);
        String::from(into_text(out))
    };
    let list = |texts: &[Box<str>]| {
        let items: Vec<String> = texts.iter().map(|text| string(text)).collect();
        (!items.is_empty()).then(|| format!("[{}]", items.join(",")))
    };
    let actor = who.actor.as_deref();
    let person = actor.and_then(|actor| actor.person.as_ref());
    let text = |value: Option<&Box<str>>| value.map(|value| string(value));
    let fields = [
        ("actor.user", text(person.map(|p| &p.user))),
        ("actor.groups", person.and_then(|p| list(&p.groups))),
        ("actor.impersonator", text(person.and_then(|p| p.impersonator.as_ref()))),
        ("actor.source_ips", actor.and_then(|a| list(&a.source_ips))),
        ("actor.user_agent", text(actor.and_then(|a| a.user_agent.as_ref()))),
        ("actor.via", actor.and_then(|a| a.via).map(|via| string(via.name()))),
        ("actor.session", text(actor.and_then(|a| a.session.as_ref()))),
        ("actor.evidence", actor.map(|a| string(a.evidence.name()))),
        ("actor.candidates", actor.and_then(|a| list(&a.candidates))),
        ("actor.state", Some(string(who.state.name()))),
    ];
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// Renders matches. Its buffer is reused.
#[derive(Debug)]
pub struct Renderer {
    pub host: Arc<Host>,
    message: Vec<u8>,
    hostname: Vec<u8>,
}

impl Renderer {
    pub fn new(host: Arc<Host>) -> Renderer {
        let mut hostname = Vec::new();
        push_json_string(host.name.as_bytes(), &mut hostname);
        Renderer {
            host,
            message: Vec::new(),
            hostname,
        }
    }

    /// `HH:MM:SS.nnnnnnnnn: Priority message`, unescaped.
    fn line<V: View>(&mut self, rule: &Rule, time: Timestamp, run: &mut Run<'_, V>) {
        self.message.clear();
        let local = Civil::local(time, &self.host.zone);
        local.push_time(&mut self.message);
        local.push_nanos(&mut self.message);
        self.message.extend_from_slice(b": ");
        self.message.extend_from_slice(rule.priority.name().as_bytes());
        self.message.push(b' ');
        format::message(&rule.output.pieces, run, &mut self.message);
    }

    /// Appends the text form.
    pub fn text<V: View>(&mut self, rule: &Rule, time: Timestamp, run: &mut Run<'_, V>, out: &mut Vec<u8>) {
        self.line(rule, time, run);
        push_escaped(&self.message, out);
    }

    /// Appends the JSON form: keys in alphabetical order, as upstream prints them.
    pub fn json<V: View>(
        &mut self,
        rule: &Rule,
        time: Timestamp,
        uuid: [u8; 16],
        run: &mut Run<'_, V>,
        out: &mut Vec<u8>,
    ) {
        self.line(rule, time, run);
        out.extend_from_slice(b"{\"hostname\":");
        out.extend_from_slice(&self.hostname);
        out.extend_from_slice(b",\"output\":\"");
        push_escaped(&self.message, out);
        out.extend_from_slice(b"\",\"output_fields\":{");
        for (i, field) in rule.output.fields.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(field.json_key.as_bytes());
            format::json_value(&field.source, time, run, out);
        }
        out.extend_from_slice(b"},\"priority\":\"");
        out.extend_from_slice(rule.priority.name().as_bytes());
        out.extend_from_slice(b"\",\"rule\":");
        push_json_string(rule.name.as_bytes(), out);
        if let Some(runbook) = &rule.runbook {
            out.extend_from_slice(b",\"runbook\":");
            push_json_string(runbook.as_bytes(), out);
        }
        out.extend_from_slice(b",\"source\":\"");
        out.extend_from_slice(rule.source.name().as_bytes());
        out.extend_from_slice(b"\",\"tags\":[");
        for (i, tag) in rule.tags.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            push_json_string(tag.as_bytes(), out);
        }
        out.extend_from_slice(b"],\"time\":\"");
        Civil::utc(time).push_iso8601(out);
        out.extend_from_slice(b"Z\",\"uuid\":\"");
        push_uuid(uuid, out);
        out.extend_from_slice(b"\"}");
    }

    /// An alert of saker's own, which no rule file has: `fields` are its numbers.
    pub fn internal(&mut self, name: &str, time: Timestamp, message: &str, fields: &[(&str, u64)]) -> Alert {
        let numbers: serde_json::Map<String, serde_json::Value> = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect();
        let mut stamp = Vec::new();
        Civil::utc(time).push_iso8601(&mut stamp);
        let mut uuid = Vec::new();
        let id = identity(&time.to_be_bytes(), name);
        push_uuid(id, &mut uuid);
        let priority = Priority::Critical;
        let json = serde_json::json!({
            "hostname": &*self.host.name,
            "output": format!("{} {message}", priority.name()),
            "output_fields": numbers,
            "priority": priority.name(),
            "rule": name,
            "source": Source::Internal.name(),
            "tags": ["saker"],
            "time": format!("{}Z", String::from_utf8_lossy(&stamp)),
            "uuid": String::from_utf8_lossy(&uuid),
        });
        let mut text = Vec::new();
        let local = Civil::local(time, &self.host.zone);
        local.push_time(&mut text);
        local.push_nanos(&mut text);
        text.extend_from_slice(format!(": {} {message}", priority.name()).as_bytes());
        Alert {
            uuid: id,
            time,
            rule: name.into(),
            priority,
            source: Source::Internal,
            json: json.to_string().into(),
            text: into_text(text),
        }
    }

    /// Both forms as an alert.
    pub fn alert<V: View>(&mut self, rule: &Rule, time: Timestamp, uuid: [u8; 16], run: &mut Run<'_, V>) -> Alert {
        let (mut json, mut text) = (Vec::with_capacity(1024), Vec::with_capacity(512));
        self.json(rule, time, uuid, run, &mut json);
        self.text(rule, time, run, &mut text);
        Alert {
            uuid,
            time,
            rule: rule.name.clone(),
            priority: rule.priority,
            source: rule.source,
            json: into_text(json),
            text: into_text(text),
        }
    }
}

fn into_text(bytes: Vec<u8>) -> Box<str> {
    // Escaping has replaced what is not UTF-8 already, so nothing is copied here.
    String::from_utf8(bytes)
        .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
        .into_boxed_str()
}

/// Appends an identity in its usual form, 8-4-4-4-12 hexadecimal digits.
pub fn push_uuid(uuid: [u8; 16], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (i, byte) in uuid.into_iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::correlate::{Actor, Evidence, Person, Via};

    /// With these output fields, as a rule would have rendered them.
    fn alert(source: Source, fields: &str) -> Alert {
        let json = format!(
            r#"{{"hostname":"h","output":"03:04:05.0: Notice ran","output_fields":{{{fields}}},"priority":"Notice","rule":"r","source":"{}","tags":[],"time":"t","uuid":"u"}}"#,
            source.name()
        );
        Alert {
            uuid: [0; 16],
            time: 0,
            rule: "r".into(),
            priority: Priority::Notice,
            source,
            json: json.into(),
            text: "03:04:05.0: Notice ran".into(),
        }
    }

    fn who(state: State, actor: Actor) -> Who {
        Who {
            actor: Some(Arc::new(actor)),
            state,
            ..Who::waiting(0)
        }
    }

    /// Of whom all is known.
    fn dev() -> Actor {
        Actor {
            person: Some(Person {
                user: "dev@example.com".into(),
                groups: vec!["dev".into(), "system:authenticated".into()],
                impersonator: Some("root@example.com".into()),
            }),
            source_ips: vec!["192.0.2.7".into(), "10.1.2.3".into()],
            user_agent: Some("kubectl/v1.33.1".into()),
            via: Some(Via::Exec),
            session: Some("s-1".into()),
            evidence: Evidence::Unique,
            ..Actor::default()
        }
    }

    fn parsed(alert: &Alert) -> Value {
        serde_json::from_str(&alert.json).unwrap()
    }

    #[test]
    fn words_of_who_it_is() {
        let named = |user: &str| Actor {
            person: Some(Person {
                user: user.into(),
                groups: Vec::new(),
                impersonator: None,
            }),
            ..Actor::default()
        };
        let candidates = |evidence| Actor {
            evidence,
            candidates: vec!["dev".into(), "ops".into()],
            ..Actor::default()
        };
        for (who, words) in [
            (
                who(State::Attributed, dev()),
                " | actor dev@example.com (impersonated by root@example.com) [dev, system:authenticated] from 10.1.2.3 \
                 with kubectl/v1.33.1 by exec, evidence unique, session s-1",
            ),
            (who(State::Attributed, named("dev")), " | actor dev, evidence none"),
            (who(State::Closed, named("dev")), " | actor dev, evidence none"),
            (
                who(State::Attributed, named("d\"\\\n\u{202e}")),
                r#" | actor d\"\\\n\u202e, evidence none"#,
            ),
            (
                who(State::Ambiguous, candidates(Evidence::Ambiguous)),
                " | actor one of dev, ops, evidence ambiguous",
            ),
            (who(State::Unattributed, candidates(Evidence::None)), ""),
            (who(State::Unknown, Actor::default()), ""),
            (Who::waiting(0), ""),
        ] {
            let all = alert(Source::Syscall, "").attributed(&who);
            assert_eq!(*all.text, format!("03:04:05.0: Notice ran{words}"));
            let output = format!(r#""output":"03:04:05.0: Notice ran{words}","output_fields":"#);
            assert!(all.json.contains(&output), "{}", all.json);
            parsed(&all);
            // Its own words say it.
            let own = alert(Source::K8sExec, "").attributed(&who);
            assert_eq!(*own.text, *alert(Source::K8sExec, "").text);
            assert_eq!(parsed(&own)["output"], "03:04:05.0: Notice ran");
            assert_eq!(parsed(&own)["output_fields"], parsed(&all)["output_fields"]);
        }
    }

    #[test]
    fn fields_of_who_it_is() {
        let dev = who(State::Attributed, dev());
        let mut all = json!({
            "actor.user": "dev@example.com", "actor.groups": ["dev", "system:authenticated"],
            "actor.impersonator": "root@example.com", "actor.source_ips": ["192.0.2.7", "10.1.2.3"],
            "actor.user_agent": "kubectl/v1.33.1", "actor.via": "exec", "actor.session": "s-1",
            "actor.evidence": "unique", "actor.state": "attributed",
        });
        let fields =
            |fields: &str, who: &Who| parsed(&alert(Source::Syscall, fields).attributed(who))["output_fields"].take();
        assert_eq!(fields("", &dev), all);
        // One that the rule has and that had no value gets it; others stay as they are.
        assert_eq!(fields(r#""actor.user":null"#, &dev), all);
        all["actor.user"] = "ops".into();
        all["proc.pid"] = 7.into();
        assert_eq!(fields(r#""proc.pid":7,"actor.user":"ops""#, &dev), all);
        // What looks like a field in a value is none.
        let odd = json!({"proc.cmdline": r#""actor.user":null},"priority":"#, "actor.state": "waiting"});
        let like = r#""proc.cmdline":"\"actor.user\":null},\"priority\":""#;
        assert_eq!(fields(like, &Who::waiting(0)), odd);
        for (who, want) in [
            (Who::waiting(0), json!({"actor.state": "waiting"})),
            (
                who(State::Unknown, Actor::default()),
                json!({"actor.state": "unknown", "actor.evidence": "none"}),
            ),
            (
                who(
                    State::Ambiguous,
                    Actor {
                        candidates: vec!["a\"b".into()],
                        ..Actor::default()
                    },
                ),
                json!({"actor.state": "ambiguous", "actor.evidence": "none", "actor.candidates": ["a\"b"]}),
            ),
        ] {
            assert_eq!(fields("", &who), want);
        }
    }

    #[test]
    fn earlier_alerts_are_named() {
        let plain = alert(Source::K8sExec, r#""proc.cmdline":",\"rule\":""#);
        assert_eq!(plain.clone().related(&[]).json, plain.json);
        let two = plain.clone().related(&[[0x0a; 16], [0xff; 16]]);
        let mut want = parsed(&plain);
        want["related"] = json!([
            "0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a",
            "ffffffff-ffff-ffff-ffff-ffffffffffff"
        ]);
        assert_eq!(parsed(&two), want);
        // Keys stay in alphabetical order.
        assert!(
            two.json.contains(r#""priority":"Notice","related":["0a0"#),
            "{}",
            two.json
        );
        assert_eq!(two.text, plain.text);
    }
}
