//! State files of the programs that start containers: where the bundle is, and since when the container exists.
//!
//! Formats: runc's `libcontainer.State` (`state.json`), crun's `status`.

use serde::Deserialize;

use super::draft;
use crate::event::Timestamp;

/// What is told of the container.
#[derive(Debug, Default)]
pub struct State {
    pub bundle: Option<String>,
    pub started: Option<Timestamp>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Runc {
    created: String,
    /// crun has it here, runc among its labels.
    bundle: String,
    config: Config,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    labels: Option<Vec<String>>,
}

/// `state.json` of runc, or `status` of crun.
pub fn state(bytes: &[u8]) -> Option<State> {
    let runc: Runc = serde_json::from_slice(bytes).ok()?;
    let labels = runc.config.labels.unwrap_or_default();
    let label = labels.iter().find_map(|label| label.strip_prefix("bundle="));
    let bundle = label.unwrap_or(&runc.bundle);
    Some(State {
        bundle: (!bundle.is_empty()).then(|| bundle.to_owned()),
        started: draft::time(&runc.created),
    })
}
