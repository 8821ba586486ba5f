//! Saker: who did that in my cluster?
//!
//! The modules in reading order, which is the direction data flows:
//!
//! - [`event`]: source, time and severity, the words everything shares; [`json`]: JSON as bytes;
//! - [`sources`]: where events come from (audit webhook, files, stdin);
//! - [`fields`]: the tables of fields, and how a value is found in an event;
//! - [`engine`]: the Falco rules language, from text to evaluation;
//! - [`alert`]: what a match becomes;
//! - [`correlate`]: who is behind a process that came into a container;
//! - [`credentials`]: finds credentials in configuration, and tells of them without telling them;
//! - [`bus`]: what audit and admission tell the nodes;
//! - [`outputs`]: where alerts go;
//! - [`ruletest`]: rules with unit tests;
//! - [`replay`]: recorded events through the same engine;
//! - [`config`], [`app`], [`cli`]: saker.yaml, the composition root, the command line;
//! - [`web`], [`metrics`]: health and metrics;
//! - [`watch`]: files that are reloaded when they change;
//! - [`base64`]: what its name says;
//! - [`clock`]: what time it is;
//! - [`certificates`]: makes certificates for `saker setup certs` and for development.
//!
//! `event`, `fields`, `engine`, `correlate`, `credentials` and `alert` are the core: no I/O, no clock, no runtime.

#![forbid(unsafe_code)]

pub mod alert;
pub mod app;
pub mod base64;
pub mod bus;
pub mod certificates;
pub mod cli;
pub mod clock;
pub mod config;
pub mod correlate;
pub mod credentials;
pub mod engine;
pub mod event;
pub mod fields;
pub mod json;
pub mod metrics;
pub mod outputs;
pub mod processes;
pub mod replay;
pub mod rulefiles;
pub mod ruletest;
pub mod sources;
pub mod watch;
pub mod web;
