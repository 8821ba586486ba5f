//! Section `outputs`: where alerts go.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::duration;
use crate::event::Priority;

/// One destination of alerts.
// No `deny_unknown_fields`: beside `flatten` it rejects every output. The table in `schema` finds unknown keys.
#[derive(Clone, Debug, Deserialize)]
pub struct OutputConfig {
    /// Label in logs and metrics; the kind when not set.
    pub name: Option<String>,
    /// Less severe alerts are not sent here.
    #[serde(default = "debug")]
    pub priority: Priority,
    /// Alerts that may wait for this output.
    #[serde(default = "queue")]
    pub queue: usize,
    /// What happens when the queue is full; each kind has its own default.
    pub when_full: Option<WhenFull>,
    #[serde(flatten)]
    pub kind: OutputKind,
}

fn debug() -> Priority {
    Priority::Debug
}

fn queue() -> usize {
    10_000
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The sender is told to come back later (the webhook answers 429, a file reader waits).
    Wait,
    /// The newest alert is dropped for this output, counted and logged.
    Drop,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertFormat {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OutputKind {
    Stdout(StdoutConfig),
    File(FileOutputConfig),
    Syslog(SyslogConfig),
    Program(ProgramConfig),
    Http(HttpConfig),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StdoutConfig {
    pub format: AlertFormat,
}

#[derive(Clone, Debug, Deserialize)]
pub struct FileOutputConfig {
    pub path: PathBuf,
    #[serde(default = "json")]
    pub format: AlertFormat,
}

fn json() -> AlertFormat {
    AlertFormat::Json
}

#[derive(Clone, Debug, Deserialize)]
pub struct SyslogConfig {
    /// `unix:///dev/log`, `udp://HOST:PORT` or `tcp://HOST:PORT`.
    #[serde(default = "dev_log")]
    pub address: String,
    #[serde(default)]
    pub protocol: SyslogProtocol,
    #[serde(default)]
    pub format: AlertFormat,
    /// Facility name, e.g. `local0` or `daemon`.
    #[serde(default = "facility")]
    pub facility: String,
}

fn dev_log() -> String {
    "unix:///dev/log".to_owned()
}

fn facility() -> String {
    "daemon".to_owned()
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyslogProtocol {
    /// The classic form, RFC 3164.
    #[default]
    Rfc3164,
    Rfc5424,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ProgramConfig {
    /// Run by `/bin/sh -c`; alerts arrive on its standard input, one a line.
    pub command: String,
    /// One process for all alerts, restarted when it ends; otherwise one per alert.
    #[serde(default)]
    pub keep_alive: bool,
    #[serde(default = "json")]
    pub format: AlertFormat,
    /// A process per alert must end within this.
    #[serde(default = "ten_seconds", with = "duration")]
    pub timeout: Duration,
}

#[derive(Clone, Debug, Deserialize)]
pub struct HttpConfig {
    /// `http://` or `https://`.
    pub url: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// PEM bundle of the server's CA; the system's roots when not set.
    pub ca: Option<PathBuf>,
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    #[serde(default = "ten_seconds", with = "duration")]
    pub timeout: Duration,
    /// An alert is given up after this many tries; 0 tries until shutdown.
    #[serde(default)]
    pub max_tries: u32,
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}
