//! Recorded execs through the correlator: for each action who should be found, who was, how, and when.
//!
//! `cargo test --test attribution -- --nocapture` prints a line for each action. `SAKER_EXECS` names another file like
//! `../shared/audit/execs.jsonl`, `SAKER_ADMISSION` another folder like `../shared/admission`.

mod admission;
mod execs;
mod forgeries;
mod interleavings;
mod states;
mod world;
