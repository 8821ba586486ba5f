//! What looking for credentials costs, as ratios in one run: `cargo bench --bench credentials`.
//!
//! ConfigMaps without credentials, of which real ones are taken where `../shared` has them; writes that a busy cluster
//! repeats; and text that is made to be slow.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use saker::credentials::{Detector, Finding};
use saker::engine::{Options, RuleFile, RuleSet, load};
use saker::fields::evt::Host;
use saker::replay::Replay;
use serde_json::{Value, json};

const ROUNDS: usize = 9;

fn main() {
    let clean = clean();
    let values: Vec<(&str, &str)> = clean.iter().flat_map(entries).collect();
    let bytes: usize = values.iter().map(|(_, value)| value.len()).sum();
    println!(
        "{} clean ConfigMaps, {} values, {} KiB",
        clean.len(),
        values.len(),
        bytes >> 10
    );

    let detector = Detector::new(&[1; 32]);
    let mut findings = Vec::new();
    let events: Vec<String> = clean.iter().map(|map| event("update", map).to_string()).collect();
    let size: usize = events.iter().map(String::len).sum();
    let mut with = Replay::new(rules(CREDENTIALS), host(), None, true);
    let mut without = Replay::new(rules(NOTHING), host(), None, true);
    let [mut scan, mut parse, mut end, mut rest] = [Duration::MAX; 4];
    for _ in 0..ROUNDS {
        scan = scan.min(timed(|| {
            for (name, value) in &values {
                detector.scan(name, value.as_bytes(), &mut findings);
            }
        }));
        parse = parse.min(timed(|| {
            for event in &events {
                black_box(serde_json::from_str::<Value>(event).expect("JSON"));
            }
        }));
        end = end.min(timed(|| replay(&mut with, &events)));
        rest = rest.min(timed(|| replay(&mut without, &events)));
    }
    assert!(findings.is_empty(), "{findings:?}");
    let rate = |bytes: usize, time: Duration| bytes as f64 / time.as_secs_f64() / 1e6;
    println!("| what | MB/s | × serde_json |\n|---|---|---|");
    for (what, bytes, time) in [
        ("serde_json parses the events", size, parse),
        ("the detector reads the values", bytes, scan),
        ("events through the rule, from bytes to no alert", size, end),
        ("the same events and a rule that reads no data", size, rest),
    ] {
        println!(
            "| {what} | {:.0} | {:.2} |",
            rate(bytes, time),
            rate(bytes, time) / rate(size, parse)
        );
    }

    println!("\n| a write that is repeated | ns without the rule | ns with it | × |\n|---|---|---|---|");
    for (what, map) in [
        ("leader election", leader()),
        ("kube-root-ca.crt", certificate(1)),
        ("a bundle of 140 certificates", certificate(140)),
    ] {
        let events = vec![event("update", &map).to_string(); 200];
        let [mut on, mut off] = [Duration::MAX; 2];
        for _ in 0..ROUNDS {
            on = on.min(timed(|| replay(&mut with, &events)));
            off = off.min(timed(|| replay(&mut without, &events)));
        }
        let each = |time: Duration| time.as_nanos() as f64 / events.len() as f64;
        println!(
            "| {what} | {:.0} | {:.0} | {:.2} |",
            each(off),
            each(on),
            each(on) / each(off)
        );
    }

    println!("\n| hostile text | 64 KiB ns/byte | 256 KiB | 1 MiB | findings |\n|---|---|---|---|---|");
    for (what, make) in HOSTILE {
        let mut row = String::new();
        let mut count = 0;
        for size in [64 << 10, 256 << 10, 1 << 20] {
            let text = make(size);
            let mut best = Duration::MAX;
            let mut findings: Vec<Finding> = Vec::new();
            for _ in 0..3 {
                findings.clear();
                best = best.min(timed(|| detector.scan("app.env", &text, &mut findings)));
            }
            count = findings.len();
            write!(row, " {:.1} |", best.as_nanos() as f64 / text.len() as f64).expect("written");
        }
        println!("| {what} |{row} {count} |");
    }
}

type Make = fn(usize) -> Vec<u8>;

fn repeat(text: &str, size: usize) -> Vec<u8> {
    text.bytes().cycle().take(size).collect()
}

const HOSTILE: [(&str, Make); 14] = [
    ("colons", |n| repeat(":", n)),
    ("dashes", |n| repeat("-", n)),
    ("one word", |n| repeat("a", n)),
    ("base64 of nothing", |n| repeat("QUJD", n)),
    ("words that matter", |n| repeat("password ", n)),
    ("names without values", |n| repeat("password=", n)),
    ("names and colons", |n| repeat("token:", n)),
    ("beginnings of keys", |n| repeat("-----BEGIN PRIVATE KEY-----\n", n)),
    ("beginnings of tokens", |n| repeat("ghp_ glpat- eyJ ", n)),
    ("URLs", |n| repeat("http://a:b", n)),
    ("quotes", |n| repeat("password=\"", n)),
    ("backslashes", |n| repeat("\\u0041\\", n)),
    ("base64 in base64", |n| {
        let mut text = repeat("some text: that is long enough\n", n / 4);
        while text.len() < n {
            text = saker::base64::encode(&text).into_bytes();
        }
        text.truncate(n);
        text
    }),
    ("gzip of zeros", |n| {
        let mut encoder =
            flate2::read::GzEncoder::new(std::io::repeat(0).take(n as u64 * 900), flate2::Compression::best());
        let mut out = Vec::new();
        encoder.read_to_end(&mut out).expect("compressed");
        out
    }),
];

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn replay(replay: &mut Replay, events: &[String]) {
    for event in events {
        replay.text(event.as_bytes());
        black_box(&replay.out);
        replay.out.clear();
    }
}

const CREDENTIALS: &str =
    "ka.verb in (create, update, patch) and ka.target.resource = configmaps and ka.req.configmap.count > 0";
const NOTHING: &str =
    "ka.verb in (create, update, patch) and ka.target.resource = configmaps and ka.user.name = nobody";

fn rules(condition: &str) -> RuleSet {
    let text = format!(
        "- rule: r\n  desc: d\n  condition: {condition}\n  output: '%ka.req.configmap.name'\n  priority: INFO\n  source: k8s_audit\n"
    );
    let file = RuleFile {
        name: "generated.yaml".to_owned(),
        text,
    };
    let loaded = load(vec![file], &Options::default()).expect("fields");
    loaded.rules.expect("a rule set")
}

fn host() -> Host {
    Host {
        name: "bench".into(),
        zone: jiff::tz::TimeZone::UTC,
    }
}

fn entries(map: &Value) -> impl Iterator<Item = (&str, &str)> {
    let data = map["data"].as_object().into_iter().flatten();
    data.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

/// Real ConfigMaps without credentials, or some of our own in their manner; and the certificates of every namespace.
fn clean() -> Vec<Value> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/credentials/dev.jsonl.gz");
    let mut maps: Vec<Value> = match std::fs::read(corpus) {
        Ok(bytes) => {
            let mut text = String::new();
            let mut reader = flate2::read::MultiGzDecoder::new(&bytes[..]);
            reader.read_to_string(&mut text).expect("text");
            let rows = text
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).expect("a row"));
            let is_real = |label: &Value| {
                label["item_origin"]
                    .as_str()
                    .is_some_and(|origin| origin.starts_with("repo"))
            };
            rows.filter(|row| {
                row["labels"]
                    .as_array()
                    .is_some_and(|labels| labels.iter().all(is_real))
            })
            .map(|row| row["configmap"].clone())
            .collect()
        }
        Err(_) => {
            println!("no corpus in ../shared: generated ConfigMaps only");
            (0..100).map(generated).collect()
        }
    };
    maps.extend((0..20).map(|_| certificate(1)));
    maps
}

fn generated(n: usize) -> Value {
    let mut yaml = String::new();
    for line in 0..200 {
        writeln!(
            yaml,
            "service-{line}:\n  replicas: {}\n  image: registry/app-{n}:v1.{line}\n  path: /var/lib/app",
            line % 7
        )
        .expect("written");
    }
    json!({"kind": "ConfigMap", "metadata": {"name": "app", "namespace": "web"}, "data": {"config.yaml": yaml}})
}

fn leader() -> Value {
    let record = r#"{"holderIdentity":"controller-7d4b9c6f5-x2x9p_3f6c","leaseDurationSeconds":15,"acquireTime":"2026-11-22T07:00:00Z","renewTime":"2026-11-22T08:00:00Z","leaderTransitions":3}"#;
    json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "controller-leader", "namespace": "kube-system",
        "annotations": {"control-plane.alpha.kubernetes.io/leader": record}}})
}

fn certificate(count: usize) -> Value {
    let line = "MIIDBTCCAe2gAwIBAgIIaJBrOckcLW0wDQYJKoZIhvcNAQELBQAwFTETMBEGA1UE\n";
    let one = format!(
        "-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n",
        line.repeat(17)
    );
    json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "kube-root-ca.crt", "namespace": "web"},
        "data": {"ca.crt": one.repeat(count)}})
}

fn event(verb: &str, map: &Value) -> Value {
    let name = &map["metadata"]["name"];
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Request", "auditID": "5a3e6c35-81fb-434a-8f86-5b93d607f480",
        "stage": "ResponseComplete", "requestURI": format!("/api/v1/namespaces/web/configmaps/{}", name.as_str().unwrap_or_default()),
        "verb": verb, "user": {"username": "dev@example.com", "groups": ["system:authenticated"]}, "sourceIPs": ["10.0.0.9"],
        "userAgent": "kubectl/v1.33.1",
        "objectRef": {"resource": "configmaps", "namespace": "web", "name": name, "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 200}, "requestObject": map,
        "requestReceivedTimestamp": "2026-11-22T07:00:00.000000Z", "stageTimestamp": "2026-11-22T07:00:00.010000Z",
    })
}
