//! Section `credentials`: credentials in configuration, and what is told of them.

use serde::Deserialize;

pub use crate::credentials::allow::AllowEntry;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CredentialsConfig {
    /// Findings that are known and meant to be where they are.
    pub allow: Vec<AllowEntry>,
}
