//! Rules with unit tests: events that must raise alerts, and events that must not.
//!
//! - [`mod@file`]: the test file's format;
//! - [`mod@run`]: tests against rules, with what each test showed;
//! - [`mod@report`]: the result as text, JSON, or JUnit XML.

pub mod file;
pub mod report;
pub mod run;

pub use file::TestFileError;
pub use run::{Outcome, Report, run};
