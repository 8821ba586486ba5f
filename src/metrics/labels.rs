//! The labels of metrics, and what docs/metrics.md says about a metric's type.
//!
//! Every label is bounded: a fixed set of words, names from the configuration, rule names (rule files are trusted), or
//! cluster names, of which [`Metrics`](super::Metrics) keeps a limited number.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// A gauge of seconds.
pub type SecondsGauge = Gauge<f64, AtomicU64>;

/// A label value that is not one of our own words. prometheus-client writes label values as they are, so that a quote
/// or a line break in a rule's name would end the line that a scrape reads; this one is escaped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text(Arc<str>);

impl<T: Into<Arc<str>>> From<T> for Text {
    fn from(text: T) -> Self {
        Text(text.into())
    }
}

impl EncodeLabelValue for Text {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => encoder.write_str("\\\\")?,
                '"' => encoder.write_str("\\\"")?,
                '\n' => encoder.write_str("\\n")?,
                other => encoder.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// What a metric's type says to its documentation.
pub(super) trait Described {
    const KIND: &'static str;
    const LABELS: &'static [&'static str] = &[];
    /// What the text exposition adds to the registered name.
    const SUFFIX: &'static str = "";
}

impl Described for Counter {
    const KIND: &'static str = "counter";
    const SUFFIX: &'static str = "_total";
}

impl<N, A> Described for Gauge<N, A> {
    const KIND: &'static str = "gauge";
}

impl Described for Histogram {
    const KIND: &'static str = "histogram";
}

impl<L: LabelNames, M: Described, C> Described for Family<L, M, C> {
    const KIND: &'static str = M::KIND;
    const LABELS: &'static [&'static str] = L::NAMES;
    const SUFFIX: &'static str = M::SUFFIX;
}

pub(super) trait LabelNames {
    const NAMES: &'static [&'static str];
}

/// Declares a label set: its struct, and its names for the documentation.
macro_rules! label_sets {
    ($($(#[$doc:meta])* $set:ident { $($label:ident: $kind:ty),* $(,)? })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub struct $set { $(pub $label: $kind),* }

        impl LabelNames for $set {
            const NAMES: &'static [&'static str] = &[$(stringify!($label)),*];
        }
    )* };
}

label_sets! {
    /// A source and what became of its items.
    EventLabels { source: &'static str, outcome: &'static str }
    RuleLabels { rule: Text, priority: &'static str, source: &'static str }
    AlertLabels { source: &'static str, priority: &'static str }
    SourceLabels { source: &'static str }
    /// Where something was lost, and why.
    DropLabels { stage: &'static str, reason: &'static str }
    CodeLabels { code: u16 }
    ReasonLabels { reason: &'static str }
    /// What a session came to.
    StateLabels { state: &'static str }
    ListenerLabels { listener: &'static str }
    ClosedLabels { listener: &'static str, reason: &'static str }
    /// What became of something.
    OutcomeLabels { outcome: &'static str }
    OutputLabels { output: Text }
    /// What was reloaded: `rules`, `tls` or `tokens`.
    ReloadLabels { what: &'static str }
    CertificateLabels { certificate: &'static str }
    ClusterLabels { cluster: Text }
    VersionLabels { version: &'static str }
}
