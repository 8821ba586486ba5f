//! The table of keys: what saker.yaml may say. A new key is a row here, beside its field in the structs of [`super`];
//! tests hold both, and the printed saker.yaml, together.

/// What the value of a key may be.
#[derive(Debug)]
pub(super) enum Kind {
    Text,
    Bool,
    Whole {
        min: u64,
        max: u64,
    },
    Duration,
    Size,
    Address,
    Severity,
    Choice(&'static [&'static str]),
    /// A file or directory that is read: it must exist.
    Input,
    /// As `Input`, but may also be `-`, or a file that does not exist yet in a directory that does.
    Stream,
    /// A file that is written: its directory must exist.
    Written,
    List(&'static Kind),
    /// Any keys, text values.
    Map,
    Section(&'static [Key]),
    /// A section in which exactly one key is given.
    OneOf(&'static [Key]),
    /// The name of a field, or names with a format.
    ExtraField,
    Output,
}

#[derive(Debug)]
pub(super) struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
}

const fn key(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        kind,
        required: false,
    }
}

const fn required(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        kind,
        required: true,
    }
}

const fn count(max: u64) -> Kind {
    Kind::Whole { min: 1, max }
}

pub(super) const ROOT: &[Key] = &[
    key("sources", Kind::List(&Kind::Choice(&["k8s_audit", "syscall"]))),
    key("cluster", Kind::Text),
    key("rules", Kind::Section(RULES)),
    key("fields", Kind::List(&Kind::Section(FIELD))),
    key("webhook", Kind::Section(WEBHOOK)),
    key("files", Kind::List(&Kind::Section(FILE_SOURCE))),
    key("syscall", Kind::Section(SYSCALL)),
    key("attribution", Kind::Section(ATTRIBUTION)),
    key("bus", Kind::Section(BUS)),
    key("credentials", Kind::Section(CREDENTIALS)),
    key("status", Kind::Section(STATUS)),
    key("outputs", Kind::List(&Kind::Output)),
    key("log", Kind::Section(LOG)),
    key("shutdown", Kind::Section(&[key("grace", Kind::Duration)])),
];

pub(super) const RULES: &[Key] = &[
    key("builtin", Kind::Bool),
    key("files", Kind::List(&Kind::Input)),
    key("matching", Kind::Choice(&["first", "all"])),
    key("priority", Kind::Severity),
    key("select", Kind::List(&Kind::OneOf(SELECTION))),
    key("append_output", Kind::List(&Kind::Section(APPEND_OUTPUT))),
    key("static_fields", Kind::Map),
    key("mask_credentials", Kind::Bool),
];

pub(super) const SELECTION: &[Key] = &[
    key("enable", Kind::OneOf(SELECT_BY)),
    key("disable", Kind::OneOf(SELECT_BY)),
];

pub(super) const SELECT_BY: &[Key] = &[key("rule", Kind::Text), key("tag", Kind::Text)];

pub(super) const APPEND_OUTPUT: &[Key] = &[
    key("match", Kind::Section(APPEND_MATCH)),
    key("extra_output", Kind::Text),
    key("extra_fields", Kind::List(&Kind::ExtraField)),
    key("suggested_output", Kind::Bool),
];

pub(super) const APPEND_MATCH: &[Key] = &[
    key("rule", Kind::Text),
    key("source", Kind::Choice(&["k8s_audit", "syscall", "k8s_exec"])),
    key("tags", Kind::List(&Kind::Text)),
];

pub(super) const FIELD: &[Key] = &[
    required("name", Kind::Text),
    required("path", Kind::Text),
    key("list", Kind::Bool),
    key("desc", Kind::Text),
];

pub(super) const WEBHOOK: &[Key] = &[
    key("enabled", Kind::Bool),
    key("listen", Kind::Address),
    key("path", Kind::Text),
    key("tls", Kind::Section(TLS)),
    key("token_file", Kind::Input),
    key("max_body", Kind::Size),
    key("max_buffered", Kind::Size),
    key("max_connections", count(1 << 20)),
    key("head_timeout", Kind::Duration),
    key("body_timeout", Kind::Duration),
    key("retry_after", count(3600)),
    key("dead_letter", Kind::Section(DEAD_LETTER)),
    key("admission", Kind::Section(ADMISSION)),
];

pub(super) const SYSCALL: &[Key] = &[
    key("ring", Kind::Size),
    key("snaplen", count(256)),
    key("environment", Kind::Bool),
    key("processes", count(1 << 22)),
    key("containers", count(1 << 20)),
    key("root", Kind::Input),
    key("wait", Kind::Duration),
    // The runtime may make both later than saker starts.
    key("containerd_state", Kind::List(&Kind::Text)),
    key("cri", Kind::Text),
    key("drop_capabilities", Kind::Bool),
    key("record", Kind::Written),
];

pub(super) const ATTRIBUTION: &[Key] = &[
    key("enabled", Kind::Bool),
    key("node", Kind::Text),
    key("patience", Kind::Duration),
    key("skew", Kind::Duration),
    key("delay", Kind::Duration),
    key("grace", Kind::Duration),
    key("keys", Kind::List(&Kind::Text)),
    key("socket", Kind::Text),
];

pub(super) const BUS: &[Key] = &[
    key("kind", Kind::Choice(&["local", "nats"])),
    key("servers", Kind::List(&Kind::Text)),
    key(
        "tls",
        Kind::Section(&[
            key("ca", Kind::Input),
            key("cert", Kind::Input),
            key("key", Kind::Input),
        ]),
    ),
    key("credentials", Kind::Input),
    key("token_file", Kind::Input),
    key("user", Kind::Text),
    key("password", Kind::Text),
    key("stream", Kind::Text),
    key("subject", Kind::Text),
    key("max_age", Kind::Duration),
    key("max_bytes", Kind::Size),
    key("replicas", count(5)),
];

pub(super) const CREDENTIALS: &[Key] = &[key("allow", Kind::List(&Kind::Section(ALLOW)))];

pub(super) const ALLOW: &[Key] = &[
    key("namespace", Kind::Text),
    key("name", Kind::Text),
    key("key", Kind::Text),
    key("kind", Kind::Text),
    key("file", Kind::Text),
];

pub(super) const TLS: &[Key] = &[
    key("cert", Kind::Input),
    key("key", Kind::Input),
    key("client_ca", Kind::Input),
    key("allowed_names", Kind::List(&Kind::Text)),
    key("clusters", Kind::Map),
];

pub(super) const ADMISSION: &[Key] = &[key("enabled", Kind::Bool), key("key", Kind::Bool)];

pub(super) const DEAD_LETTER: &[Key] = &[key("file", Kind::Written), key("max_size", Kind::Size)];

pub(super) const FILE_SOURCE: &[Key] = &[
    required("path", Kind::Stream),
    key("start", Kind::Choice(&["beginning", "end"])),
    key("follow", Kind::Bool),
    key("cluster", Kind::Text),
];

pub(super) const STATUS: &[Key] = &[key("enabled", Kind::Bool), key("listen", Kind::Address)];

pub(super) const LOG: &[Key] = &[
    key("level", Kind::Choice(&["error", "warn", "info", "debug", "trace"])),
    key("format", FORMAT),
];

const FORMAT: Kind = Kind::Choice(&["text", "json"]);

/// Keys that every output has.
pub(super) const OUTPUT: &[Key] = &[
    key("kind", Kind::Text),
    key("name", Kind::Text),
    key("priority", Kind::Severity),
    key("queue", count(10_000_000)),
    key("when_full", Kind::Choice(&["wait", "drop"])),
];

/// Keys of each kind of output. They are flattened into the same mapping, where serde cannot reject unknown ones.
pub(super) const OUTPUT_KINDS: &[(&str, &[Key])] = &[
    ("stdout", &[key("format", FORMAT)]),
    ("file", &[required("path", Kind::Written), key("format", FORMAT)]),
    (
        "syslog",
        &[
            key("address", Kind::Text),
            key("protocol", Kind::Choice(&["rfc3164", "rfc5424"])),
            key("format", FORMAT),
            key("facility", Kind::Text),
        ],
    ),
    (
        "program",
        &[
            required("command", Kind::Text),
            key("keep_alive", Kind::Bool),
            key("format", FORMAT),
            key("timeout", Kind::Duration),
        ],
    ),
    (
        "http",
        &[
            required("url", Kind::Text),
            key("headers", Kind::Map),
            key("ca", Kind::Input),
            key("client_cert", Kind::Input),
            key("client_key", Kind::Input),
            key("timeout", Kind::Duration),
            key(
                "max_tries",
                Kind::Whole {
                    min: 0,
                    max: u32::MAX as u64,
                },
            ),
        ],
    ),
];

/// What an override variable's name leads to.
pub(super) fn resolve<'s>(path: impl IntoIterator<Item = &'s str>) -> bool {
    let mut keys = ROOT;
    let mut steps = path.into_iter().peekable();
    while let Some(step) = steps.next() {
        let Some(found) = keys.iter().find(|k| k.name == step) else {
            return false;
        };
        match &found.kind {
            Kind::Section(inner) if steps.peek().is_some() => keys = inner,
            // The last step names an entry of the map.
            Kind::Map if steps.next().is_some() => return steps.next().is_none(),
            _ => return steps.next().is_none(),
        }
    }
    false
}

/// Every path of keys that an override variable can set, dotted.
pub(super) fn paths() -> Vec<String> {
    fn walk(keys: &[Key], prefix: &str, out: &mut Vec<String>) {
        for key in keys {
            let path = format!("{prefix}{}", key.name);
            match &key.kind {
                Kind::Section(inner) => walk(inner, &format!("{path}."), out),
                _ => out.push(path),
            }
        }
    }
    let mut out = Vec::new();
    walk(ROOT, "", &mut out);
    out
}

/// The closest of `names`, when it is close enough to be what was meant.
pub(super) fn closest<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&text.to_lowercase(), name), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Every key there is, as a path: `webhook.tls.cert`, `files[].path`, `outputs[].queue`, `outputs[http].url`.
pub(super) fn key_paths() -> Vec<String> {
    fn section(keys: &[Key], path: &str, out: &mut Vec<String>) {
        for key in keys {
            let path = join(path, key.name);
            out.push(path.clone());
            kind(&key.kind, &path, out);
        }
    }
    fn kind(value: &Kind, path: &str, out: &mut Vec<String>) {
        match value {
            Kind::Section(keys) => section(keys, path, out),
            // Each is an alternative; an example shows one.
            Kind::OneOf(_) => {}
            Kind::List(inner) => kind(inner, &format!("{path}[]"), out),
            Kind::Output => {
                section(OUTPUT, path, out);
                let list = path.trim_end_matches("[]");
                for (name, keys) in OUTPUT_KINDS {
                    section(keys, &format!("{list}[{name}]"), out);
                }
            }
            _ => {}
        }
    }
    let mut out = Vec::new();
    section(ROOT, "", &mut out);
    out
}

/// A key below a path.
pub(super) fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        _ => format!("{path}.{name}"),
    }
}
