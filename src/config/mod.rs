//! saker.yaml as validated values. Nothing here opens a socket or starts a thread.
//!
//! The structs say what there is; [`load()`] turns a file and the environment into them and reports every problem it finds:
//! `tree` keeps what the file says with line and column, `schema` is the table of keys and what each may hold, `check`
//! holds the one against the other, and `validate` has the rules that concern more than one key.

mod check;
mod credentials;
mod load;
mod outputs;
mod schema;
mod sessions;
mod size;
mod tree;
mod validate;

pub use credentials::{AllowEntry, CredentialsConfig};
pub use load::{ConfigError, Problem, load};
pub use outputs::{
    AlertFormat, FileOutputConfig, HttpConfig, OutputConfig, OutputKind, ProgramConfig, StdoutConfig, SyslogConfig,
    SyslogProtocol, WhenFull,
};
pub use sessions::{AttributionConfig, BusConfig, BusKind, BusTlsConfig, DEFAULT_SOCKET};

/// Every key of saker.yaml, as a path: `webhook.tls.cert`, `files[].path`, `outputs[http].url`.
pub fn key_paths() -> Vec<String> {
    schema::key_paths()
}

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::event::{Priority, Source};
use crate::processes::Limits;

/// Everything saker.yaml can say. Defaults are what `saker serve` runs with when there is no file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Sources to run; empty means all that can run here.
    pub sources: Vec<SourceName>,
    /// Cluster name of events whose path and client certificate name none.
    pub cluster: Option<String>,
    pub rules: RulesConfig,
    /// Fields of the user's own, as RFC 9535 paths over the audit event.
    pub fields: Vec<UserField>,
    pub webhook: WebhookConfig,
    /// Audit log files, directories or `-` (stdin) to read beside the webhook.
    pub files: Vec<FileSourceConfig>,
    pub syscall: SyscallConfig,
    pub attribution: AttributionConfig,
    pub bus: BusConfig,
    pub credentials: CredentialsConfig,
    pub status: StatusConfig,
    /// Where alerts go; empty means one stdout output.
    pub outputs: Vec<OutputConfig>,
    pub log: LogConfig,
    pub shutdown: ShutdownConfig,
}

/// A source by its rule name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceName {
    K8sAudit,
    Syscall,
}

impl SourceName {
    pub const fn source(self) -> Source {
        match self {
            SourceName::K8sAudit => Source::K8sAudit,
            SourceName::Syscall => Source::Syscall,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// Load the rules built into the binary first.
    pub builtin: bool,
    /// Files and directories, in order.
    pub files: Vec<PathBuf>,
    /// `first`: an event alerts for its first matching rule; `all`: for each.
    pub matching: Matching,
    /// Rules less severe than this are left out.
    pub priority: Priority,
    /// Enable or disable rules by name pattern or tag, in order, the last one wins.
    pub select: Vec<Selection>,
    /// Text and fields appended to the output of matching rules.
    pub append_output: Vec<AppendOutput>,
    /// Constant fields added to every alert and usable as `%static.NAME`.
    pub static_fields: BTreeMap<String, String>,
    /// Mask credentials in what outputs print of objects: `ka.req.configmap.obj`, `jevt.*`, `evt.plugininfo`.
    pub mask_credentials: bool,
}

impl Default for RulesConfig {
    fn default() -> Self {
        RulesConfig {
            builtin: true,
            files: Vec::new(),
            matching: Matching::First,
            priority: Priority::Debug,
            select: Vec::new(),
            append_output: Vec::new(),
            static_fields: BTreeMap::new(),
            mask_credentials: true,
        }
    }
}

/// How many rules may alert for one event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    #[default]
    First,
    All,
}

/// One step of rule selection, as in Falco's `rules:` configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    Enable(SelectBy),
    Disable(SelectBy),
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelectBy {
    /// A rule name; `*` stands for any text.
    Rule(String),
    Tag(String),
}

/// Text and fields appended to outputs, as Falco's `append_output`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppendOutput {
    #[serde(rename = "match")]
    pub matches: AppendMatch,
    pub extra_output: Option<String>,
    pub extra_fields: Vec<ExtraField>,
    /// Append the fields that a source suggests (container and pod names for syscall).
    pub suggested_output: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppendMatch {
    pub rule: Option<String>,
    pub source: Option<String>,
    pub tags: Vec<String>,
}

/// `ka.verb` or `{alias: "%ka.verb of %ka.target.name"}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum ExtraField {
    Field(String),
    Alias(BTreeMap<String, String>),
}

/// A field of the user's own over the audit event.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserField {
    /// Dotted, beginning with `ka.`.
    pub name: String,
    /// RFC 9535 JSONPath, e.g. `$.objectRef.apiGroup`.
    pub path: String,
    #[serde(default)]
    pub list: bool,
    #[serde(default)]
    pub desc: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookConfig {
    pub enabled: bool,
    pub listen: SocketAddr,
    /// Events are posted to this path, or to this path plus `/CLUSTER`.
    pub path: String,
    pub tls: TlsConfig,
    /// File with accepted bearer tokens, one a line; `#` starts a comment.
    pub token_file: Option<PathBuf>,
    /// Largest body accepted, in bytes, after decompression.
    #[serde(with = "size")]
    pub max_body: u64,
    /// Bodies held at once, in bytes; more answers 429.
    #[serde(with = "size")]
    pub max_buffered: u64,
    /// Open connections; more wait in the kernel's queue.
    pub max_connections: usize,
    /// A request's head must arrive within this.
    #[serde(with = "duration")]
    pub head_timeout: Duration,
    /// Each wait for more of a body must end within this.
    #[serde(with = "duration")]
    pub body_timeout: Duration,
    /// Seconds named in Retry-After when busy.
    pub retry_after: u32,
    pub dead_letter: DeadLetterConfig,
    pub admission: AdmissionConfig,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        WebhookConfig {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 9443)),
            path: "/k8s-audit".to_owned(),
            tls: TlsConfig::default(),
            token_file: None,
            max_body: 32 << 20,
            max_buffered: 256 << 20,
            max_connections: 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            retry_after: 1,
            dead_letter: DeadLetterConfig::default(),
            admission: AdmissionConfig::default(),
        }
    }
}

impl WebhookConfig {
    /// Whether `path` is where admission reviews come.
    pub fn takes_path_of_admission(&self) -> bool {
        let below = self.path.strip_prefix("/admission");
        self.admission.enabled && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The endpoints `/admission/exec` and `/admission/exec-key` on the webhook's port.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdmissionConfig {
    pub enabled: bool,
    /// `/admission/exec-key` puts `env SAKER_EXEC_ID=…` before commands.
    pub key: bool,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        AdmissionConfig {
            enabled: true,
            key: false,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM chain; without it a development certificate is made under `certs/`.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// PEM bundle; when set, a client certificate signed by it is required.
    pub client_ca: Option<PathBuf>,
    /// Common names or subject alternative names that may post; empty admits every certificate of `client_ca`.
    pub allowed_names: Vec<String>,
    /// Client certificate name → cluster name.
    pub clusters: BTreeMap<String, String>,
}

/// Where undecodable items are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLetterConfig {
    /// JSON lines; no file, nothing kept (still counted and logged).
    pub file: Option<PathBuf>,
    /// The file is not grown past this.
    #[serde(with = "size")]
    pub max_size: u64,
}

impl Default for DeadLetterConfig {
    fn default() -> Self {
        DeadLetterConfig {
            file: None,
            max_size: 16 << 20,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSourceConfig {
    /// A file, a directory, or `-`.
    pub path: PathBuf,
    #[serde(default)]
    pub start: StartAt,
    /// Keep reading as the file grows, through rotation.
    #[serde(default = "yes")]
    pub follow: bool,
    pub cluster: Option<String>,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    Beginning,
    #[default]
    End,
}

/// The probe, and what is kept of this machine's processes.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyscallConfig {
    /// Bytes of the ring buffer between kernel and saker, a power of two.
    #[serde(with = "size")]
    pub ring: u64,
    /// Bytes of what is read or written that rules see.
    pub snaplen: u32,
    /// Keep the environment of the host's processes also where no loaded rule reads it.
    pub environment: bool,
    /// Processes and containers that are remembered.
    pub processes: usize,
    pub containers: usize,
    /// Where the host's root directory is, when saker runs in a container.
    pub root: PathBuf,
    /// Time to wait for what the runtime says of a container before an alert goes without it.
    #[serde(with = "duration")]
    pub wait: Duration,
    /// State directories of containerd that are not at a usual place.
    pub containerd_state: Vec<PathBuf>,
    /// The runtime's CRI socket, as saker sees it, to ask for containers.
    pub cri: Option<PathBuf>,
    /// Give up the capabilities that are not needed any more once the probe is loaded.
    pub drop_capabilities: bool,
    /// Write what the kernel and the bus tell into this file, for replay.
    pub record: Option<PathBuf>,
}

impl Default for SyscallConfig {
    fn default() -> Self {
        SyscallConfig {
            ring: 8 << 20,
            snaplen: 80,
            environment: false,
            processes: 65_536,
            containers: 4_096,
            root: PathBuf::from("/"),
            wait: Duration::from_millis(500),
            containerd_state: Vec::new(),
            cri: None,
            drop_capabilities: true,
            record: None,
        }
    }
}

impl SyscallConfig {
    pub fn limits(&self) -> Limits {
        Limits {
            processes: self.processes,
            containers: self.containers,
        }
    }
}

impl Config {
    /// Whether a source was asked for: all are when none is named.
    pub fn runs(&self, source: SourceName) -> bool {
        self.sources.is_empty() || self.sources.contains(&source)
    }
}

/// `/healthz`, `/readyz`, `/metrics`: plain HTTP, so loopback unless told otherwise.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatusConfig {
    pub enabled: bool,
    pub listen: SocketAddr,
}

impl Default for StatusConfig {
    fn default() -> Self {
        StatusConfig {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 9444)),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// error, warn, info, debug or trace.
    pub level: String,
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// Outputs have this long to deliver what they hold.
    #[serde(with = "duration")]
    pub grace: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        ShutdownConfig {
            grace: Duration::from_secs(15),
        }
    }
}

/// `10s`, `500ms`, `2m`, `1h`.
pub mod duration {
    use serde::{Deserialize, Deserializer, de::Error};
    use std::time::Duration;

    pub fn parse(text: &str) -> Option<Duration> {
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(split);
        let number: u64 = digits.parse().ok()?;
        let millis = match unit.trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        number.checked_mul(millis).map(Duration::from_millis)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(d)?;
        parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is not a duration: write a number and ms, s, m or h, e.g. `10s`"
            ))
        })
    }
}
