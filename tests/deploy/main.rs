//! `deploy/` is what the program prints, parses, and does what it says.

mod agents;
mod manifests;
mod policy;

use std::path::PathBuf;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
