//! Every counter and gauge, with its documentation: one row per metric, from which the field, the registration and
//! docs/metrics.md come.
//!
//! Counters that others keep for themselves (the outputs' queues) are copied in at scrape time by what
//! [`Metrics::on_scrape`] was given.

mod labels;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::clock::since_epoch as now;
use crate::correlate::State;
use crate::event::Source;
use labels::Described;
pub use labels::{
    AlertLabels, CertificateLabels, ClosedLabels, ClusterLabels, CodeLabels, DropLabels, EventLabels, ListenerLabels,
    OutcomeLabels, OutputLabels, ReasonLabels, ReloadLabels, RuleLabels, SecondsGauge, SourceLabels, StateLabels, Text,
    VersionLabels,
};

/// The Content-Type of what [`Metrics::encode`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Cluster names told apart; those that come later share the label `other`.
pub const MAX_CLUSTERS: usize = 256;

/// A family of histograms.
pub type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// One row of docs/metrics.md.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// As exposed, `_total` included.
    pub name: &'static str,
    pub suffix: &'static str,
    pub kind: &'static str,
    pub labels: &'static [&'static str],
    /// The doc comment's lines, each beginning with a space.
    help: &'static [&'static str],
}

impl Description {
    /// The name a scrape shows.
    pub fn exposed_name(&self) -> String {
        format!("saker_{}{}", self.name, self.suffix)
    }

    /// The sentence that explains the metric.
    pub fn help(&self) -> String {
        self.help.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }
}

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident: $kind:ty = $make:expr;)*) => {
        /// Every metric, and the registry that a scrape encodes.
        pub struct Metrics {
            $($(#[doc = $help])+ pub $field: $kind,)*
            registry: Registry,
            clusters: Mutex<BTreeMap<String, Duration>>,
            pulls: Mutex<Vec<Pull>>,
        }

        /// Every metric in the order of the documentation.
        pub static METRICS: &[Description] = &[$(Description {
            name: stringify!($field),
            suffix: <$kind as Described>::SUFFIX,
            kind: <$kind as Described>::KIND,
            labels: <$kind as Described>::LABELS,
            help: &[$($help),+],
        }),*];

        impl Metrics {
            fn registered() -> Metrics {
                let mut registry = Registry::with_prefix("saker");
                let mut rows = METRICS.iter();
                $(
                    let $field: $kind = $make;
                    if let Some(row) = rows.next() {
                        // The encoder ends the help text with a full stop of its own.
                        let help = row.help();
                        registry.register(row.name, help.trim_end_matches('.'), $field.clone());
                    }
                )*
                Metrics {
                    $($field,)*
                    registry,
                    clusters: Mutex::new(BTreeMap::new()),
                    pulls: Mutex::new(Vec::new()),
                }
            }
        }
    };
}

type Pull = Box<dyn Fn(&Metrics) + Send + Sync>;

metrics! {
    /// Items of a source by what became of them: `ok` (evaluated), `bad` (could not be decoded).
    events: Family<EventLabels, Counter> = Family::default();
    /// Matches of a rule, those included that raised no alert because an earlier delivery of the event had raised it.
    rule_matches: Family<RuleLabels, Counter> = Family::default();
    /// Alerts handed to the outputs.
    alerts: Family<AlertLabels, Counter> = Family::default();
    /// Alerts that an earlier delivery of the same event had already raised.
    duplicate_alerts: Family<SourceLabels, Counter> = Family::default();
    /// Matches of rules about credentials that raised no alert because one had told each of them of the same object.
    repeated_credentials: Counter = Counter::default();
    /// What was lost, by stage and reason. Anything but zero deserves a look.
    drops: Family<DropLabels, Counter> = Family::default();
    /// Processes that the syscall source remembers.
    processes: Gauge = Gauge::default();
    /// Exec sessions that changed, by the state they came to (see `actor.state`).
    sessions: Family<StateLabels, Counter> = Family::default();
    /// Pods in which the correlator remembers requests or processes.
    session_pods: Gauge = Gauge::default();
    /// How far the node's clock seems to be ahead of the API server's, in seconds: the median time from a request's
    /// stream to its process, which is some hundredths by itself. 0 until pairs are certain.
    session_clock_skew_seconds: Family<SourceLabels, SecondsGauge> = Family::default();
    /// Audit events of requests for which an admission webhook did not answer and was passed over.
    admission_failed_open: Counter = Counter::default();
    /// Messages that wait for the bus.
    bus_waiting: Gauge = Gauge::default();
    /// 1 while everything that is sent over the bus reaches this node.
    bus_up: Gauge = Gauge::default();
    /// Time to evaluate one batch of events.
    evaluation_seconds: Histograms<SourceLabels> = Family::new_with_constructor(latencies);
    /// When events of a cluster last arrived, in seconds since 1970. At most 256 clusters; further ones share `other`,
    /// and events whose cluster is unknown have an empty label.
    last_event_timestamp_seconds: Family<ClusterLabels, SecondsGauge> = Family::default();
    /// Time since events of a cluster last arrived.
    seconds_since_last_event: Family<ClusterLabels, SecondsGauge> = Family::default();
    /// Answers of the webhook by HTTP status code.
    http_requests: Family<CodeLabels, Counter> = Family::default();
    /// Time from the head of a webhook request to its answer.
    http_request_seconds: Histogram = latencies();
    /// Admission reviews, all of them allowed, by what became of them: `published` (on the way to the nodes), `unheard` (no
    /// node listens), `other` (of a request that leads into no pod, or a dry run), `unauthenticated`, `malformed`, `overloaded`.
    /// Those that also got a key before their command are counted as `patched` besides.
    admission_reviews: Family<OutcomeLabels, Counter> = Family::default();
    /// Body bytes received by the webhook, before decompression.
    http_received_bytes: Counter = Counter::default();
    /// Bytes of bodies that the webhook holds now.
    http_buffered_bytes: Gauge = Gauge::default();
    /// Open connections of a listener.
    http_connections: Family<ListenerLabels, Gauge> = Family::default();
    /// Connections that a listener closed on its own account: `slow_head`, `idle`, `shutdown`.
    http_connections_closed: Family<ClosedLabels, Counter> = Family::default();
    /// TLS handshakes that did not succeed, by reason.
    tls_handshake_failures: Family<ReasonLabels, Counter> = Family::default();
    /// When a certificate expires, in seconds since 1970: `server`, or `client_ca` (the earliest of the bundle).
    tls_certificate_expiry_timestamp_seconds: Family<CertificateLabels, SecondsGauge> = Family::default();
    /// Alerts waiting for an output.
    output_queue_depth: Family<OutputLabels, Gauge> = Family::default();
    /// Alerts that may wait for an output.
    output_queue_capacity: Family<OutputLabels, Gauge> = Family::default();
    /// Alerts that an output delivered.
    output_delivered: Family<OutputLabels, Counter> = Family::default();
    /// Alerts that an output had no room for.
    output_dropped: Family<OutputLabels, Counter> = Family::default();
    /// Alerts that an output gave up, and tries that failed.
    output_failed: Family<OutputLabels, Counter> = Family::default();
    /// Successful loads of `rules`, `tls` and `tokens`, the first included.
    reload_generation: Family<ReloadLabels, Gauge> = Family::default();
    /// Reloads that failed; what ran before still runs.
    reload_failures: Family<ReloadLabels, Counter> = Family::default();
    /// Always 1; the label is the version.
    build_info: Family<VersionLabels, Gauge> = Family::default();
    /// When this process started, in seconds since 1970.
    start_time_seconds: SecondsGauge = Gauge::default();
}

/// From a quarter of a millisecond to half a minute, when the API server gives up.
fn latencies() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 18))
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    pub fn new() -> Metrics {
        let metrics = Metrics::registered();
        let version = env!("CARGO_PKG_VERSION");
        metrics.build_info.get_or_create(&VersionLabels { version }).set(1);
        metrics.start_time_seconds.set(now().as_secs_f64());
        // States are few, and one that never came is worth knowing.
        for state in State::ALL.map(State::name) {
            metrics.sessions.get_or_create(&StateLabels { state }).inc_by(0);
        }
        let source = Source::K8sExec.name();
        let skew = &metrics.session_clock_skew_seconds;
        skew.get_or_create(&SourceLabels { source }).set(0.0);
        metrics
    }

    /// Something was lost: every loss goes through here.
    pub fn dropped(&self, stage: &'static str, reason: &'static str, count: u64) {
        self.drops.get_or_create(&DropLabels { stage, reason }).inc_by(count);
    }

    /// What runs now is the next generation of `what`.
    pub fn reloaded(&self, what: &'static str) {
        self.reload_generation.get_or_create(&ReloadLabels { what }).inc();
    }

    /// A reload of `what` failed and changed nothing.
    pub fn reload_failed(&self, what: &'static str) {
        self.reload_failures.get_or_create(&ReloadLabels { what }).inc();
    }

    /// Events of `cluster` have just arrived.
    pub fn saw_events(&self, cluster: Option<&str>) {
        let cluster = cluster.unwrap_or_default();
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = clusters.get_mut(cluster) {
            *last = now();
            return;
        }
        let known = clusters.len() < MAX_CLUSTERS && cluster.len() <= 63;
        clusters.insert(if known { cluster } else { "other" }.to_owned(), now());
    }

    /// Calls `pull` before every scrape, so that it can set what others count.
    pub fn on_scrape(&self, pull: impl Fn(&Metrics) + Send + Sync + 'static) {
        self.pulls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(pull));
    }

    /// The text exposition, of type [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        for pull in self.pulls.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            pull(self);
        }
        self.set_cluster_gauges();
        let mut text = String::new();
        if prometheus_client::encoding::text::encode(&mut text, &self.registry).is_err() {
            // INVARIANT: writing to a String does not fail, and neither do the encoders of our label types.
            tracing::error!("metrics could not be encoded");
        }
        text
    }

    fn set_cluster_gauges(&self) {
        let now = now();
        for (cluster, last) in self.clusters.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = ClusterLabels {
                cluster: cluster.as_str().into(),
            };
            self.last_event_timestamp_seconds
                .get_or_create(&labels)
                .set(last.as_secs_f64());
            let since = now.saturating_sub(*last).as_secs_f64();
            self.seconds_since_last_event.get_or_create(&labels).set(since);
        }
    }
}

/// Copies a counter that is kept elsewhere; it must never go down.
pub fn copy_counter(counter: &Counter, value: u64) {
    counter.inner().store(value, std::sync::atomic::Ordering::Relaxed);
}

/// docs/metrics.md's table.
pub fn documentation() -> String {
    let mut text = String::from("| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    for metric in METRICS {
        let labels = metric
            .labels
            .iter()
            .map(|l| format!("`{l}`"))
            .collect::<Vec<_>>()
            .join(", ");
        // INVARIANT: writing to a String does not fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {labels} | {} |",
            metric.exposed_name(),
            metric.kind,
            metric.help()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Touches every family, because an empty one is not exposed.
    fn touched() -> Metrics {
        let m = Metrics::new();
        let (source, reason, listener) = ("k8s_audit", "idle", "webhook");
        m.events.get_or_create(&EventLabels { source, outcome: "ok" }).inc();
        let rule = RuleLabels {
            rule: "a rule".into(),
            priority: "Notice",
            source,
        };
        m.rule_matches.get_or_create(&rule).inc();
        m.alerts
            .get_or_create(&AlertLabels {
                source,
                priority: "Notice",
            })
            .inc();
        m.duplicate_alerts.get_or_create(&SourceLabels { source }).inc();
        m.dropped("output", "full", 2);
        m.evaluation_seconds
            .get_or_create(&SourceLabels { source })
            .observe(0.1);
        m.saw_events(Some("prod"));
        m.http_requests.get_or_create(&CodeLabels { code: 200 }).inc();
        m.admission_reviews
            .get_or_create(&OutcomeLabels { outcome: "other" })
            .inc();
        m.http_connections.get_or_create(&ListenerLabels { listener }).inc();
        m.http_connections_closed
            .get_or_create(&ClosedLabels { listener, reason })
            .inc();
        m.tls_handshake_failures.get_or_create(&ReasonLabels { reason }).inc();
        let server = CertificateLabels { certificate: "server" };
        m.tls_certificate_expiry_timestamp_seconds
            .get_or_create(&server)
            .set(1.5);
        m.reloaded("rules");
        m.reload_failed("tls");
        m.on_scrape(|m| {
            let output = OutputLabels {
                output: "stdout".into(),
            };
            m.output_queue_depth.get_or_create(&output).set(3);
            m.output_queue_capacity.get_or_create(&output).set(10);
            for family in [&m.output_delivered, &m.output_dropped, &m.output_failed] {
                copy_counter(&family.get_or_create(&output), 7);
            }
        });
        m
    }

    #[test]
    fn what_a_scrape_shows_is_what_the_documentation_lists() {
        let text = touched().encode();
        let mut exposed: Vec<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .map(|line| match line.split_once(' ') {
                Some((name, "counter")) => format!("{name}_total"),
                Some((name, _)) => name.to_owned(),
                None => panic!("{line}"),
            })
            .collect();
        exposed.sort();
        let mut listed: Vec<String> = METRICS.iter().map(Description::exposed_name).collect();
        listed.sort();
        assert_eq!(exposed, listed, "a metric that the test does not touch is not exposed");
        let documentation = documentation();
        for metric in METRICS {
            assert!(documentation.contains(&format!("| `{}` | {} |", metric.exposed_name(), metric.kind)));
            assert!(metric.help().ends_with('.'), "{}", metric.name);
        }
    }

    #[test]
    fn samples_have_their_labels() {
        let text = touched().encode();
        for line in [
            "saker_rule_matches_total{rule=\"a rule\",priority=\"Notice\",source=\"k8s_audit\"} 1",
            "saker_drops_total{stage=\"output\",reason=\"full\"} 2",
            "saker_output_delivered_total{output=\"stdout\"} 7",
            "saker_output_queue_depth{output=\"stdout\"} 3",
            "saker_http_requests_total{code=\"200\"} 1",
            "saker_http_request_seconds_count 0",
            "saker_tls_certificate_expiry_timestamp_seconds{certificate=\"server\"} 1.5",
        ] {
            assert!(text.lines().any(|l| l == line), "`{line}` is not in\n{text}");
        }
        assert!(text.contains("saker_seconds_since_last_event{cluster=\"prod\"} "));
        assert!(!text.contains(".."), "help texts end in one full stop");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn label_values_cannot_break_the_exposition() {
        let m = Metrics::new();
        m.saw_events(Some("a\"} 1\n\\saker_forged 1"));
        let text = m.encode();
        let escaped = "saker_seconds_since_last_event{cluster=\"a\\\"} 1\\n\\\\saker_forged 1\"} ";
        assert!(text.lines().any(|l| l.starts_with(escaped)), "{text}");
    }

    #[test]
    fn clusters_are_bounded() {
        let m = Metrics::new();
        for n in 0..1000 {
            m.saw_events(Some(&format!("c{n}")));
        }
        m.saw_events(None);
        m.saw_events(Some(&"x".repeat(64)));
        let text = m.encode();
        let lines = text
            .lines()
            .filter(|l| l.starts_with("saker_seconds_since_last_event{"))
            .count();
        assert_eq!(lines, MAX_CLUSTERS + 1);
        assert!(text.contains("{cluster=\"other\"}"));
    }
}
