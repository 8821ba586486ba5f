//! Sections `attribution` and `bus`: who is behind a process, and how nodes hear of requests.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{duration, size};
use crate::correlate::Settings;

/// How processes that came into containers are joined with the requests behind them.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttributionConfig {
    pub enabled: bool,
    /// Name of this node in Kubernetes; the machine's own name where it is left out.
    pub node: Option<String>,
    /// How long a process waits for the request behind it.
    #[serde(with = "duration")]
    pub patience: Duration,
    /// How far the clocks of API server and node may be apart.
    #[serde(with = "duration")]
    pub skew: Duration,
    /// The longest time from a request to its process.
    #[serde(with = "duration")]
    pub delay: Duration,
    /// How long a process may live after its request was closed.
    #[serde(with = "duration")]
    pub grace: Duration,
    /// Environment variables that hold an exact key, when the first execve has them.
    pub keys: Vec<String>,
    /// Where `saker sessions` asks; the usual place, if it can be used, where it is left out.
    pub socket: Option<PathBuf>,
    /// Reviews are taken by another machine: set where the bus is known.
    #[serde(skip)]
    pub remote: bool,
}

/// The usual place of the socket of `saker sessions`.
pub const DEFAULT_SOCKET: &str = "/run/saker/sessions.sock";

impl Default for AttributionConfig {
    fn default() -> Self {
        let settings = Settings::default();
        AttributionConfig {
            enabled: true,
            node: None,
            patience: Duration::from_nanos(settings.patience),
            skew: Duration::from_nanos(settings.skew),
            delay: Duration::from_nanos(settings.delay),
            grace: Duration::from_nanos(settings.grace),
            keys: ["SPO_EXEC_REQUEST_UID", "KUBERNETES_EXEC_AUDIT_ID"]
                .map(str::to_owned)
                .into(),
            socket: None,
            remote: false,
        }
    }
}

impl AttributionConfig {
    pub fn settings(&self) -> Settings {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Settings {
            patience: nanos(self.patience),
            skew: nanos(self.skew),
            review_skew: if self.remote { nanos(self.skew) } else { 0 },
            delay: nanos(self.delay),
            grace: nanos(self.grace),
            ..Settings::default()
        }
    }
}

/// How audit events that lead into a pod reach the nodes that run the probe.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BusConfig {
    pub kind: BusKind,
    /// `nats://HOST:PORT`, `tls://HOST:PORT` or `HOST:PORT`.
    pub servers: Vec<String>,
    pub tls: BusTlsConfig,
    /// A credentials file (JWT and seed), or a file with only the seed of an nkey.
    pub credentials: Option<PathBuf>,
    /// File with a token.
    pub token_file: Option<PathBuf>,
    pub user: Option<String>,
    pub password: Option<String>,
    /// Name of the JetStream stream.
    pub stream: String,
    /// What every subject begins with.
    pub subject: String,
    /// A stream that is made keeps messages this long,
    #[serde(with = "duration")]
    pub max_age: Duration,
    /// at most so many bytes of them,
    #[serde(with = "size")]
    pub max_bytes: u64,
    /// on so many servers.
    pub replicas: usize,
}

impl Default for BusConfig {
    fn default() -> Self {
        BusConfig {
            kind: BusKind::Local,
            servers: Vec::new(),
            tls: BusTlsConfig::default(),
            credentials: None,
            token_file: None,
            user: None,
            password: None,
            stream: "SAKER".to_owned(),
            subject: "saker".to_owned(),
            max_age: Duration::from_secs(24 * 3600),
            max_bytes: 256 << 20,
            replicas: 1,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BusKind {
    /// Both sources run in this process.
    #[default]
    Local,
    /// NATS JetStream.
    Nats,
}

/// TLS towards the NATS servers; with any of these set, a connection without TLS is refused.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BusTlsConfig {
    /// PEM bundle of the servers' CA; the system's roots when not set.
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}
