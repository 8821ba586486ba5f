//! The Falco rules language: text → tokens → tree → checked → compiled → evaluated.
//!
//! [`parser`] makes an [`ast`] of one condition; [`mod@load`] makes definitions of rule files; `compile` makes a
//! [`RuleSet`] of those, with every error and warning as a [`diagnostic`] that knows its place through [`source`];
//! [`Evaluator`] runs a rule set over events. Nothing here does I/O, reads a clock, or can fail once a set is loaded.

pub mod ast;
mod compile;
pub mod diagnostic;
mod eval;
pub mod format;
mod index;
pub mod layout;
mod lint;
pub mod load;
mod operator;
pub mod parser;
pub mod partial;
pub(crate) mod pattern;
mod program;
pub mod source;
mod transform;
pub(crate) mod yaml;

pub use compile::{Environment, Loaded, Options, load, load_in};
pub use eval::{Evaluator, Run};
pub use program::{Program, Rule, RuleSet};
pub use source::RuleFile;
