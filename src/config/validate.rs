//! The rules of a configuration that concern more than one key, or the meaning of a text.

use std::collections::BTreeMap;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};

use super::load::Problem;
use super::schema::closest;
use super::tree::{Entry, Node, Value};
use super::{
    AllowEntry, BusConfig, BusKind, Config, FileSourceConfig, HttpConfig, OutputConfig, OutputKind, SyslogConfig,
    UserField, WebhookConfig,
};
use crate::credentials::allow::kind_names;
use crate::engine::pattern::wildcard;

/// Facility names of RFC 5424 section 6.2.1 as syslog.conf spells them.
const FACILITIES: &[&str] = &[
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "local0",
    "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

pub(super) fn check(config: &Config, root: &Node, problems: &mut Vec<Problem>) {
    let mut validator = Validator { root, problems };
    if let Some(cluster) = &config.cluster {
        validator.cluster("cluster", cluster);
    }
    validator.fields(&config.fields);
    validator.webhook(&config.webhook);
    validator.files(&config.files);
    validator.bus(&config.bus);
    validator.allow(&config.credentials.allow);
    validator.outputs(&config.outputs);
    let (webhook, status) = (&config.webhook, &config.status);
    if webhook.enabled && status.enabled && webhook.listen == status.listen && webhook.listen.port() != 0 {
        validator.report(
            "status.listen",
            format!("`status.listen` and `webhook.listen` are both `{}`", status.listen),
            "give each its own port",
        );
    }
}

struct Validator<'a> {
    root: &'a Node,
    problems: &'a mut Vec<Problem>,
}

impl Validator<'_> {
    fn report(&mut self, path: &str, message: String, help: &str) {
        let help = (!help.is_empty()).then(|| help.to_owned());
        self.problems
            .push(Problem::new(self.root.place_of(path), message, help));
    }

    fn is_given(&self, path: &str) -> bool {
        self.find(path).is_some()
    }

    fn find(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(self.root, |node, step| node.get(step))
    }

    /// Whether a section says anything: what is wrong in it has been reported.
    fn has_members(&self, path: &str) -> bool {
        let given = |entries: &[Entry]| entries.iter().any(|entry| !matches!(entry.node.value, Value::Null));
        self.find(path)
            .is_some_and(|node| matches!(&node.value, Value::Map(entries) if given(entries)))
    }

    /// Two keys that only make sense together. Asked of the tree, so that a key whose value is wrong counts as given.
    fn pair(&mut self, section: &str, first: &str, second: &str) {
        for (given, missing) in [(first, second), (second, first)] {
            let path = format!("{section}.{given}");
            if self.is_given(&path) && !self.is_given(&format!("{section}.{missing}")) {
                let message = format!("`{given}` is given without `{missing}`");
                self.report(&path, message, "give both, or none");
            }
        }
    }

    fn cluster(&mut self, path: &str, name: &str) {
        if name.is_empty() || name.len() > 253 || name.chars().any(char::is_control) {
            self.report(
                path,
                format!("`{path}` is not a usable name"),
                "write 1 to 253 characters, without control characters",
            );
        }
    }

    fn fields(&mut self, fields: &[UserField]) {
        for (index, field) in fields.iter().enumerate() {
            let path = format!("fields.{index}.name");
            let well_formed = field.name.strip_prefix("ka.").is_some_and(|rest| {
                rest.split('.').all(|part| {
                    !part.is_empty()
                        && part
                            .bytes()
                            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
                })
            });
            if !well_formed {
                self.report(
                    &path,
                    format!("`{}` cannot be the name of a field", field.name.escape_debug()),
                    "begin with `ka.` and use letters, digits, `_` and dots, e.g. `ka.my.team`",
                );
            }
            if fields[..index].iter().any(|f| f.name == field.name) {
                let message = format!("the field `{}` is defined twice", field.name.escape_debug());
                self.report(&path, message, "");
            }
            if let Err(error) = jsonpath_rust::parser::parse_json_path(&field.path) {
                let reason = error.to_string();
                let reason = reason.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default();
                self.report(
                    &format!("fields.{index}.path"),
                    format!("`{}` is not a JSONPath: {}", field.path.escape_debug(), reason.trim()),
                    "write an RFC 9535 path such as `$.objectRef.apiGroup`",
                );
            }
        }
    }

    fn webhook(&mut self, webhook: &WebhookConfig) {
        self.pair("webhook.tls", "cert", "key");
        for key in ["allowed_names", "clusters"] {
            let path = format!("webhook.tls.{key}");
            if self.is_given(&path) && !self.is_given("webhook.tls.client_ca") {
                self.report(
                    &path,
                    format!("`{path}` has no effect without `client_ca`"),
                    "name the CA of the client certificates in `webhook.tls.client_ca`",
                );
            }
        }
        for (name, cluster) in &webhook.tls.clusters {
            self.cluster(&format!("webhook.tls.clusters.{name}"), cluster);
        }
        let path = &webhook.path;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
        if !path.starts_with('/')
            || path.len() < 2
            || path.ends_with('/')
            || path.contains("//")
            || !path.bytes().all(plain)
        {
            self.report(
                "webhook.path",
                format!("`webhook.path` cannot be `{}`", path.escape_debug()),
                "begin with `/`, do not end with it, and use only letters, digits and `-._~`, e.g. `/k8s-audit`",
            );
        }
        if webhook.takes_path_of_admission() {
            self.report(
                "webhook.path",
                format!(
                    "`webhook.path` cannot be `{}`: admission reviews come there",
                    path.escape_debug()
                ),
                "choose another path, e.g. `/k8s-audit`, or set `webhook.admission.enabled: false`",
            );
        }
        if webhook.max_body > webhook.max_buffered {
            self.report(
                if self.is_given("webhook.max_body") {
                    "webhook.max_body"
                } else {
                    "webhook.max_buffered"
                },
                format!(
                    "`webhook.max_body` ({} bytes) is more than `webhook.max_buffered` ({} bytes)",
                    webhook.max_body, webhook.max_buffered
                ),
                "the largest body must fit into the memory for bodies",
            );
        }
    }

    fn files(&mut self, files: &[FileSourceConfig]) {
        for (index, file) in files.iter().enumerate() {
            let path = format!("files.{index}.path");
            if files[..index].iter().any(|f| f.path == file.path) {
                let message = format!("`{}` is read twice", file.path.display().to_string().escape_debug());
                self.report(&path, message, "");
            }
            if !file.follow && file.path.as_os_str() != "-" && !file.path.exists() {
                self.report(
                    &path,
                    format!("`{}` does not exist", file.path.display().to_string().escape_debug()),
                    "only a file with `follow: true` may appear later",
                );
            }
            if let Some(cluster) = &file.cluster {
                self.cluster(&format!("files.{index}.cluster"), cluster);
            }
        }
    }

    fn bus(&mut self, bus: &BusConfig) {
        self.pair("bus.tls", "cert", "key");
        for (index, server) in bus.servers.iter().enumerate() {
            let plain = server.parse::<async_nats::ServerAddr>().ok().filter(|address| {
                let url = address.as_url_str();
                ["nats", "tls"].contains(&address.scheme()) && !address.host().is_empty() && !url.contains('@')
            });
            if plain.is_none() {
                // What is written is not shown: it may hold a password.
                self.report(
                    &format!("bus.servers.{index}"),
                    format!("`bus.servers.{index}` is not the address of a NATS server"),
                    "write `HOST:PORT`, `nats://HOST:PORT` or `tls://HOST:PORT`; who connects has keys of its own",
                );
            }
        }
        let name = |text: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
            (1..=100).contains(&text.len()) && text.bytes().all(plain)
        };
        if !name(&bus.stream) {
            self.report(
                "bus.stream",
                format!("`{}` cannot be the name of a stream", bus.stream.escape_debug()),
                "write 1 to 100 letters, digits, `-` or `_`",
            );
        }
        if bus.subject.len() > 100 || !bus.subject.split('.').all(name) {
            self.report(
                "bus.subject",
                format!("`{}` cannot begin a subject", bus.subject.escape_debug()),
                "write letters, digits, `-` and `_`, in parts with dots between them, e.g. `saker`",
            );
        }
        if bus.max_age.as_secs() < 60 {
            let message = "`bus.max_age` is shorter than a minute".to_owned();
            self.report("bus.max_age", message, "audit events alone come up to 30 s late");
        }
        if bus.max_bytes < 1 << 20 || i64::try_from(bus.max_bytes).is_err() {
            let message = format!("`bus.max_bytes` cannot be {} bytes", bus.max_bytes);
            self.report("bus.max_bytes", message, "write 1MiB or more");
        }
        if bus.kind != BusKind::Nats {
            return;
        }
        if bus.servers.is_empty() {
            self.report(
                "bus.kind",
                "`bus.servers` names no server".to_owned(),
                "write e.g. `servers: [\"nats.example.org:4222\"]`",
            );
        }
        self.pair("bus", "user", "password");
        let given = ["credentials", "token_file", "user"].map(|key| self.is_given(&format!("bus.{key}")));
        if given.iter().filter(|given| **given).count() > 1 {
            self.report(
                "bus.kind",
                "`bus` has more than one way to say who connects".to_owned(),
                "give one of `credentials`, `token_file`, and `user` with `password`",
            );
        }
    }

    fn allow(&mut self, entries: &[AllowEntry]) {
        for (index, entry) in entries.iter().enumerate() {
            let path = format!("credentials.allow.{index}");
            if entry.is_empty() && !self.has_members(&path) {
                self.report(
                    &path,
                    format!("`credentials.allow[{index}]` says nothing"),
                    "give at least one of `namespace`, `name`, `key`, `kind` and `file`",
                );
            }
            let Some(kind) = &entry.kind else { continue };
            if kind_names().iter().any(|name| wildcard(kind, name)) {
                continue;
            }
            let help = match closest(kind, kind_names()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "`saker fields --credentials` lists the kinds".to_owned(),
            };
            let message = format!("`{}` is not a kind of credential", kind.escape_debug());
            self.report(&format!("{path}.kind"), message, &help);
        }
    }

    fn outputs(&mut self, outputs: &[OutputConfig]) {
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, output) in outputs.iter().enumerate() {
            let name = output.name.as_deref().unwrap_or(kind_name(&output.kind));
            let at = format!("outputs.{index}.name");
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            if name.is_empty() || name.len() > 63 || !name.bytes().all(plain) {
                self.report(
                    &at,
                    format!("`{}` cannot be the name of an output", name.escape_debug()),
                    "write 1 to 63 letters, digits, `-`, `_` or `.`: it becomes a label of metrics",
                );
            }
            if names.insert(name, index).is_some() {
                self.report(
                    &at,
                    format!("two outputs are called `{name}`"),
                    "give each a `name` of its own: metrics and logs tell them apart by it",
                );
            }
            match &output.kind {
                OutputKind::Http(http) => self.http(index, http),
                OutputKind::Syslog(syslog) => self.syslog(index, syslog),
                OutputKind::Program(program) if program.command.trim().is_empty() => {
                    self.report(&format!("outputs.{index}.command"), "`command` is empty".to_owned(), "");
                }
                OutputKind::Stdout(_) | OutputKind::File(_) | OutputKind::Program(_) => {}
            }
        }
    }

    fn http(&mut self, index: usize, http: &HttpConfig) {
        let section = format!("outputs.{index}");
        self.pair(&section, "client_cert", "client_key");
        let url: Option<Uri> = http.url.parse().ok();
        let scheme = url.as_ref().and_then(Uri::scheme_str);
        let has_host = url.as_ref().and_then(Uri::host).is_some_and(|h| !h.is_empty());
        if !matches!(scheme, Some("http" | "https")) || !has_host {
            self.report(
                &format!("{section}.url"),
                format!("`{}` is not an http or https URL", http.url.escape_debug()),
                "write e.g. `https://host:2801/`",
            );
        } else if scheme == Some("http") {
            for key in ["ca", "client_cert", "client_key"] {
                let path = format!("{section}.{key}");
                if self.is_given(&path) {
                    let message = format!("`{key}` has no effect: the URL is plain http");
                    self.report(&path, message, "write `https://` in `url`");
                }
            }
        }
        for (name, value) in &http.headers {
            if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err() {
                // The value is not shown: headers carry credentials.
                self.report(
                    &format!("{section}.headers.{name}"),
                    format!("`{}` is not a valid header", name.escape_debug()),
                    "a name has letters, digits and `-`; a value has no line breaks",
                );
            }
        }
    }

    fn syslog(&mut self, index: usize, syslog: &SyslogConfig) {
        let section = format!("outputs.{index}");
        let address = &syslog.address;
        let valid = match address.split_once("://") {
            Some(("unix", path)) => path.starts_with('/'),
            Some(("udp" | "tcp", target)) => target
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0)),
            _ => false,
        };
        if !valid {
            self.report(
                &format!("{section}.address"),
                format!("`{}` is not a syslog address", address.escape_debug()),
                "write `unix:///dev/log`, `udp://HOST:PORT` or `tcp://HOST:PORT`",
            );
        }
        if !FACILITIES.contains(&syslog.facility.as_str()) {
            self.report(
                &format!("{section}.facility"),
                format!("`{}` is not a syslog facility", syslog.facility.escape_debug()),
                "write e.g. `daemon`, `auth`, or `local0` to `local7`",
            );
        }
    }
}

fn kind_name(kind: &OutputKind) -> &'static str {
    match kind {
        OutputKind::Stdout(_) => "stdout",
        OutputKind::File(_) => "file",
        OutputKind::Syslog(_) => "syslog",
        OutputKind::Program(_) => "program",
        OutputKind::Http(_) => "http",
    }
}
