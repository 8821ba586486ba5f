//! Rules with unit tests: events that must raise alerts, and events that must not.
//!
//! - [`file`]: the test file's format;
//! - [`run`]: tests against rules, with what each test showed;
//! - [`report`]: the result as text, JSON, or JUnit XML.

pub mod file;
pub mod report;
pub mod run;

pub use file::TestFileError;
pub use run::{Outcome, Report, run};
