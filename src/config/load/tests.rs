//! What loads, what does not, and how the report reads.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::config::{AlertFormat, BusKind, Matching, OutputKind, SourceName, StartAt, WhenFull};
use crate::event::Priority;

/// Loads `text` as `saker.yaml` of a directory that also has `tls.crt`, `tls.key`, `ca.crt` and `rules/`.
fn try_load(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        fs::write(dir.path().join(name), "").expect("a file");
    }
    fs::create_dir(dir.path().join("rules")).expect("a directory");
    let path = dir.path().join("saker.yaml");
    fs::write(&path, text).expect("a file");
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let prefix = format!("{}/", dir.path().display());
    super::load(Some(&path), env).map_err(|e| e.to_string().replace(&prefix, ""))
}

#[track_caller]
fn good(text: &str, env: &[(&str, &str)]) -> Config {
    match try_load(text, env) {
        Ok(config) => config,
        Err(report) => panic!("{report}"),
    }
}

#[track_caller]
fn report(text: &str, env: &[(&str, &str)]) -> String {
    match try_load(text, env) {
        Ok(_) => panic!("it loads"),
        Err(report) => report,
    }
}

#[test]
fn nothing_gives_the_defaults() {
    let defaults = format!("{:?}", Config::default());
    for text in [
        "",
        "\n# only a comment\n",
        "---\n",
        "{}",
        "webhook:\nrules: {}\nstatus: ~\n",
    ] {
        assert_eq!(format!("{:?}", good(text, &[])), defaults, "{text:?}");
    }
    let without_file = super::load(None, std::iter::empty()).expect("defaults");
    assert_eq!(format!("{without_file:?}"), defaults);
}

#[test]
fn every_kind_of_value_arrives() {
    let config = good(
        r#"
sources: [k8s_audit]
cluster: 1234
rules:
  builtin: false
  files: [rules]
  matching: all
  priority: WARNING
  select:
    - disable: {tag: noisy}
    - enable: {rule: "Terminal*"}
  append_output:
    - match: {source: k8s_audit, tags: [a]}
      extra_fields: [ka.verb, {who: "%ka.user.name"}]
  static_fields: {team: "7", empty: }
fields:
  - {name: ka.my.group, path: "$.objectRef.apiGroup", list: true}
webhook:
  listen: "[::]:19443"
  tls: {cert: tls.crt, key: tls.key, client_ca: ca.crt, allowed_names: [kube-apiserver], clusters: {a.example: prod}}
  max_body: 1024
  head_timeout: 1500ms
files:
  - {path: later.log, start: beginning}
  - path: "-"
outputs:
  - {kind: http, url: "https://h/", headers: {Authorization: "Bearer ${TOKEN}"}, max_tries: 3, timeout: 2m}
  - {kind: file, path: alerts.log, when_full: wait, queue: 5}
  - {kind: syslog, address: "udp://[::1]:514", protocol: rfc5424, facility: local3}
  - {kind: program, command: "cat >/dev/null"}
  - {kind: stdout, format: json, priority: info}
shutdown: {grace: 1s}
"#,
        &[("TOKEN", "s3cret")],
    );
    assert_eq!(config.sources, [SourceName::K8sAudit]);
    assert_eq!(config.cluster.as_deref(), Some("1234"));
    assert_eq!(config.rules.matching, Matching::All);
    assert_eq!(config.rules.priority, Priority::Warning);
    assert_eq!(config.rules.select.len(), 2);
    assert_eq!(config.rules.static_fields["empty"], "");
    assert_eq!(config.rules.append_output[0].extra_fields.len(), 2);
    assert!(config.rules.files[0].is_absolute() && config.rules.files[0].ends_with("rules"));
    assert!(config.fields[0].list);
    assert_eq!(
        config.webhook.listen,
        SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 19443))
    );
    assert_eq!(config.webhook.max_body, 1024);
    assert_eq!(config.webhook.head_timeout, Duration::from_millis(1500));
    assert_eq!(config.webhook.tls.clusters["a.example"], "prod");
    assert_eq!(config.files[0].start, StartAt::Beginning);
    assert_eq!(config.files[1].path, Path::new("-"));
    assert_eq!(config.shutdown.grace, Duration::from_secs(1));
    let OutputKind::Http(http) = &config.outputs[0].kind else {
        panic!("{:?}", config.outputs[0])
    };
    assert_eq!(http.headers["Authorization"], "Bearer s3cret");
    assert_eq!((http.max_tries, http.timeout), (3, Duration::from_secs(120)));
    assert_eq!(
        (config.outputs[1].queue, config.outputs[1].when_full),
        (5, Some(WhenFull::Wait))
    );
    let OutputKind::Stdout(stdout) = &config.outputs[4].kind else {
        panic!("{:?}", config.outputs[4])
    };
    assert_eq!(
        (stdout.format, config.outputs[4].priority),
        (AlertFormat::Json, Priority::Informational)
    );
}

#[test]
fn variables_override_the_file() {
    let config = good(
        "cluster: ${CLUSTER:-none}\nwebhook: {listen: '127.0.0.1:1'}\n",
        &[
            ("SAKER_WEBHOOK__LISTEN", "0.0.0.0:9443"),
            ("SAKER_WEBHOOK__TLS__ALLOWED_NAMES", "[a, 'b c']"),
            ("SAKER_WEBHOOK__TLS__CLIENT_CA", "/dev/null"),
            ("SAKER_RULES__STATIC_FIELDS__TEAM", "blue"),
            ("SAKER_RULES__BUILTIN", "false"),
            ("SAKER_OUTPUTS", "[{kind: stdout, format: json}]"),
            ("SAKER_SOURCES", "[syscall]"),
            ("SAKER_STATUS__ENABLED", ""),
        ],
    );
    assert_eq!(config.cluster.as_deref(), Some("none"));
    assert_eq!(config.webhook.listen, SocketAddr::from(([0, 0, 0, 0], 9443)));
    assert_eq!(config.webhook.tls.allowed_names, ["a", "b c"]);
    assert_eq!(config.rules.static_fields["team"], "blue");
    assert!(!config.rules.builtin && config.status.enabled);
    assert_eq!(config.outputs.len(), 1);
    assert_eq!(config.sources, [SourceName::Syscall]);
}

#[test]
fn a_value_of_a_variable_is_not_expanded_again() {
    let config = good("", &[("SAKER_CLUSTER", "${HOME}"), ("HOME", "/root")]);
    assert_eq!(config.cluster.as_deref(), Some("${HOME}"));
}

#[test]
fn variables_of_others_are_left_alone() {
    good(
        "",
        &[
            ("SAKER_LOG", "debug"),
            ("SAKER_EXECS", "/x"),
            ("SAKER_CONFORMANCE_DIR", "/x"),
            ("SAKER_ADMISSION", "/x"),
            ("SAKER_CREDENTIALS_CASES", "/x"),
            ("SAKER_PORT", "tcp://10.0.0.1:9443"),
            ("SAKER_SERVICE_HOST", "10.0.0.1"),
            ("SAKER_SERVICE_PORT", "9443"),
            ("SAKER_SERVICE_PORT_WEBHOOK", "9443"),
            ("SAKER_PORT_9443_TCP", "tcp://10.0.0.1:9443"),
            ("SAKER_PORT_9443_TCP_ADDR", "10.0.0.1"),
            ("SAKER_WEBHOOK_SERVICE_HOST", "10.0.0.1"),
            ("SAKER_WEBHOOK_PORT_9443_TCP_PROTO", "tcp"),
            ("OTHER_WEBHOOK__LISTEN", "x"),
        ],
    );
}

#[test]
fn all_problems_are_reported_with_their_place() {
    insta::assert_snapshot!(report(
        r#"clustr: prod
webhook:
  lisen: 127.0.0.1:9443
  path: /k8s/{cluster}
  retry_after: soon
  head_timeout: 10
  max_body: 512MiB
  tls:
    cert: nope.crt
    allowed_names: kube-apiserver
rules:
  builtin: yes
  files:
    - rules
    - missing/rules.yaml
  priority: loud
  select:
    - enable: {rule: a, tag: b}
    - {}
fields:
  - name: my.team
    path: "$.objectRef["
  - path: $.verb
status:
  listen: localhost:9444
files:
  - path: nowhere/audit.log
log: debug
"#,
        &[]
    ));
}

#[test]
fn outputs_are_checked_by_kind() {
    insta::assert_snapshot!(report(
        r#"outputs:
  - kind: sdtout
  - format: json
  - kind: stdout
    url: https://example.org
  - kind: file
  - {kind: http, url: "https://h", hedaers: {a: b}}
  - {kind: stdout, queue: 0}
  - just text
"#,
        &[]
    ));
}

#[test]
fn the_meaning_of_outputs_is_checked() {
    insta::assert_snapshot!(report(
        r#"outputs:
  - kind: http
    url: ftp://example.org
    client_cert: tls.crt
  - kind: http
    url: http://example.org
    ca: ca.crt
    headers:
      Authorization: "a\nb"
      "b d": x
  - kind: syslog
    address: udp://host
    facility: locale0
  - kind: program
    name: "a b"
    command: " "
"#,
        &[]
    ));
}

#[test]
fn the_bus_is_checked() {
    let config = good(
        "bus: {kind: nats, servers: [a.example.org, 'tls://b:4222', 'nats://[::1]:1'], user: a, password: b}",
        &[],
    );
    assert_eq!((config.bus.kind, config.bus.servers.len()), (BusKind::Nats, 3));

    insta::assert_snapshot!(report(
        r#"
bus:
  kind: nats
  servers: ["http://a", "nats://me:secret@host", "nats://"]
  tls: {cert: tls.crt}
  credentials: tls.key
  user: saker
  stream: "a.b"
  subject: saker.>
  max_age: 10s
  max_bytes: 1KiB
  replicas: 7
"#,
        &[],
    ));
    assert!(report("bus: {kind: nats}", &[]).contains("names no server"));
}

#[test]
fn the_allow_list_is_checked() {
    let config = good(
        "credentials: {allow: [{kind: '*_token', key: a*}, {file: tests/*}]}",
        &[],
    );
    let [first, second] = &config.credentials.allow[..] else {
        panic!("{:?}", config.credentials)
    };
    assert_eq!(
        (first.kind.as_deref(), first.key.as_deref(), first.file.as_deref()),
        (Some("*_token"), Some("a*"), None)
    );
    assert_eq!(second.file.as_deref(), Some("tests/*"));
    let overridden = good("", &[("SAKER_CREDENTIALS__ALLOW", "[{kind: jwt}]")]);
    assert_eq!(overridden.credentials.allow[0].kind.as_deref(), Some("jwt"));

    insta::assert_snapshot!(report(
        r#"
credentials:
  alow: []
  allow:
    - {}
    - namespce: shop
    - {name: x, kind: pasword}
    - kind: nothing_like_it
    - {kind: "x*"}
    - {namespace: [a]}
    - namespace:
"#,
        &[],
    ));
}

#[test]
fn variables_are_checked() {
    insta::assert_snapshot!(report(
        "cluster: a-${NOT_SET}\nlog:\n  level: '${LEVEL'\n",
        &[
            ("SAKER_WEBHOOK_LISTEN", "0.0.0.0:9443"),
            ("SAKER_WEBHOOK__LISTENS", "0.0.0.0:9443"),
            ("SAKER_WEBHOOK", "x"),
            ("SAKER_ANYTHING", "x"),
            ("SAKER_STATUS__LISTEN", "9444"),
            ("SAKER_RULES__FILES", "[/does/not/exist]"),
            ("SAKER_OUTPUTS__0__URL", "https://h"),
            ("SAKER_CLUSTER", "[unclosed"),
        ],
    ));
}

#[test]
fn the_whole_file_can_be_wrong() {
    let mut all = String::new();
    for text in [
        "webhook: {listen: '1.2.3.4:5'\nlog: {}\n",
        "- a\n- b\n",
        "just text",
        "a: 1\n---\nb: 2\n",
        "cluster: a\ncluster: b\n",
        "cluster: *nowhere\n",
        "? [a]\n: b\n",
        "status: {listen: '127.0.0.1:9443'}\n",
        "webhook: {tls: {key: tls.key, clusters: {a: b}}}\n",
        "webhook: {max_buffered: 1MiB}\n",
        "outputs: [{kind: stdout}, {kind: stdout}]\n",
        "files: [{path: '-'}, {path: '-'}, {path: x, follow: false}]\n",
        "cluster: \"\\u001b[31m\"\n",
        "\"a\\u001b\": 1\n",
    ] {
        all.push_str(&format!("{text}=> {}\n\n", report(text, &[])));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_missing_file_is_named() {
    let error = super::load(Some(Path::new("/no/such/saker.yaml")), std::iter::empty());
    let message = error.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(
        message.starts_with("cannot read the configuration `/no/such/saker.yaml`: "),
        "{message}"
    );
}

mod keys {
    //! The table of keys and the structs must name the same keys.

    use serde::de::{self, Deserialize, Deserializer, Visitor};

    use crate::config::schema::{self, Key};
    use crate::config::*;

    /// Never gives a value; tells which fields a struct asked for.
    struct Probe<'a>(&'a mut Vec<&'static str>);

    impl<'de> Deserializer<'de> for Probe<'_> {
        type Error = de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(de::Error::custom("probe"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Self::Error> {
            self.0.extend(fields);
            Err(de::Error::custom("probe"))
        }

        fn deserialize_enum<V: Visitor<'de>>(
            self,
            _: &'static str,
            variants: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Self::Error> {
            self.0.extend(variants);
            Err(de::Error::custom("probe"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map identifier ignored_any
        }
    }

    #[track_caller]
    fn same<T: for<'de> Deserialize<'de>>(keys: &[Key]) {
        let mut fields = Vec::new();
        let _ = T::deserialize(Probe(&mut fields));
        let mut names: Vec<_> = keys.iter().map(|k| k.name).collect();
        names.sort_unstable();
        fields.sort_unstable();
        assert_eq!(names, fields);
    }

    #[test]
    fn the_table_has_the_keys_of_the_structs() {
        same::<Config>(schema::ROOT);
        same::<RulesConfig>(schema::RULES);
        same::<Selection>(schema::SELECTION);
        same::<SelectBy>(schema::SELECT_BY);
        same::<AppendOutput>(schema::APPEND_OUTPUT);
        same::<AppendMatch>(schema::APPEND_MATCH);
        same::<UserField>(schema::FIELD);
        same::<WebhookConfig>(schema::WEBHOOK);
        same::<TlsConfig>(schema::TLS);
        same::<DeadLetterConfig>(schema::DEAD_LETTER);
        same::<AdmissionConfig>(schema::ADMISSION);
        same::<FileSourceConfig>(schema::FILE_SOURCE);
        same::<StatusConfig>(schema::STATUS);
        same::<LogConfig>(schema::LOG);
        for (kind, keys) in schema::OUTPUT_KINDS {
            match *kind {
                "stdout" => same::<StdoutConfig>(keys),
                "file" => same::<FileOutputConfig>(keys),
                "syslog" => same::<SyslogConfig>(keys),
                "program" => same::<ProgramConfig>(keys),
                "http" => same::<HttpConfig>(keys),
                other => panic!("no struct is known for `{other}`"),
            }
        }
    }

    #[test]
    fn names_of_outputs_are_the_variants() {
        for (kind, _) in schema::OUTPUT_KINDS {
            let known = serde_json::json!({"kind": kind, "path": "x", "command": "x", "url": "x"});
            assert!(serde_json::from_value::<OutputConfig>(known).is_ok(), "{kind}");
        }
        let unknown = serde_json::json!({"kind": "nope"});
        let error = serde_json::from_value::<OutputConfig>(unknown)
            .expect_err("unknown")
            .to_string();
        let listed = error.matches('`').count() / 2 - 1;
        assert_eq!(listed, schema::OUTPUT_KINDS.len(), "{error}");
    }
}
