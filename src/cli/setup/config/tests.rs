//! The printed saker.yaml is true: complete, loadable, and its defaults are the defaults.

use std::collections::BTreeSet;
use std::fs;

use super::TEMPLATE;
use crate::config::{self, Config};

/// The template with every setting switched on: `#key: …` becomes `key: …`, text stays a comment.
fn all_settings() -> String {
    let uncommented = TEMPLATE.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if is_setting(rest) => rest,
        _ => line,
    });
    uncommented.collect::<Vec<_>>().join("\n")
}

/// Text follows its `#` after exactly one space; nested settings follow after two or more.
fn is_setting(rest: &str) -> bool {
    !rest.is_empty() && (!rest.starts_with(' ') || rest.starts_with("  "))
}

/// A directory with the files that the examples name.
fn surroundings() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("rules.d")).expect("a directory");
    fs::create_dir(dir.path().join("certs")).expect("a directory");
    for name in [
        "server.crt",
        "server.key",
        "ca.crt",
        "client.crt",
        "client.key",
        "nats.creds",
        "nats.token",
    ] {
        fs::write(dir.path().join("certs").join(name), "").expect("a file");
    }
    fs::write(dir.path().join("tokens"), "").expect("a file");
    dir
}

#[track_caller]
fn load(text: &str) -> Config {
    let dir = surroundings();
    let path = dir.path().join("saker.yaml");
    fs::write(&path, text).expect("a file");
    match config::load(Some(&path), std::iter::empty()) {
        Ok(config) => config,
        Err(error) => panic!("{error}\n{text}"),
    }
}

#[test]
fn as_printed_it_gives_the_defaults() {
    assert_eq!(format!("{:?}", load(TEMPLATE)), format!("{:?}", Config::default()));
}

#[test]
fn with_everything_switched_on_it_loads_and_shows_the_defaults() {
    let all = load(&all_settings());
    let default = Config::default();
    assert_eq!(all.outputs.len(), 5);

    // Compared as the structs print themselves, after the examples (which have no default) are taken out.
    let mut shown = all.clone();
    shown.cluster = None;
    shown.fields.clear();
    shown.files.clear();
    shown.outputs.clear();
    shown.rules.files.clear();
    shown.rules.select.clear();
    shown.rules.append_output.clear();
    shown.rules.static_fields.clear();
    shown.webhook.tls = default.webhook.tls.clone();
    shown.webhook.token_file = None;
    shown.webhook.dead_letter.file = None;
    shown.syscall.containerd_state.clear();
    shown.syscall.cri = None;
    shown.syscall.record = None;
    shown.attribution.node = None;
    shown.attribution.socket = None;
    shown.bus.servers.clear();
    shown.bus.tls = default.bus.tls.clone();
    (shown.bus.credentials, shown.bus.token_file) = (None, None);
    shown.credentials.allow.clear();
    (shown.bus.user, shown.bus.password) = (None, None);
    assert_eq!(format!("{shown:?}"), format!("{default:?}"));

    // The defaults inside lists: the same entries with only their required keys.
    let bare = load(
        r#"
files: [{path: audit.log}]
outputs:
  - kind: stdout
  - {kind: file, path: alerts.jsonl}
  - kind: syslog
  - {kind: program, command: "logger -t saker"}
  - {kind: http, url: "https://falcosidekick.example.org:2801/"}
"#,
    );
    assert_eq!(
        (all.files[0].start, all.files[0].follow),
        (bare.files[0].start, bare.files[0].follow)
    );
    for (mut shown, default) in all.outputs.into_iter().zip(bare.outputs) {
        use config::OutputKind::*;
        shown.name = None;
        shown.when_full = None;
        match &mut shown.kind {
            Http(http) => {
                http.headers.clear();
                (http.ca, http.client_cert, http.client_key) = (None, None, None);
            }
            File(file) => file.path = "".into(),
            Stdout(_) | Syslog(_) | Program(_) => {}
        }
        let mut default = default;
        if let File(file) = &mut default.kind {
            file.path = "".into();
        }
        assert_eq!(format!("{shown:?}"), format!("{default:?}"));
    }
}

#[test]
fn every_key_is_in_it() {
    let all: serde_json::Value = serde_yaml::from_str(&all_settings()).expect("YAML");
    let mut there = BTreeSet::new();
    collect(&all, "", &mut there);
    let missing: Vec<_> = config::key_paths()
        .into_iter()
        .filter(|path| !there.contains(path))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

/// Key paths of a document, in the notation of [`config::key_paths`]: `outputs[http].url`, `files[].path`.
fn collect(value: &serde_json::Value, path: &str, out: &mut BTreeSet<String>) {
    out.insert(path.to_owned());
    match value {
        serde_json::Value::Object(map) => {
            for (key, inner) in map {
                let dot = if path.is_empty() { "" } else { "." };
                collect(inner, &format!("{path}{dot}{key}"), out);
            }
        }
        serde_json::Value::Array(items) => {
            for item in items {
                let kind = item.get("kind").and_then(|k| k.as_str()).unwrap_or_default();
                if !kind.is_empty() {
                    // Keys of every output need to be shown once.
                    collect(item, &format!("{path}[]"), out);
                }
                collect(item, &format!("{path}[{kind}]"), out);
            }
        }
        _ => {}
    }
}
