//! Who is behind a process that came into a container: requests of the audit log and reviews of admission, joined with
//! the processes that appeared.
//!
//! A pure state: facts go in, time is an argument, nothing is read from outside. What is decided depends on the facts
//! that are known, not on the order in which they came: with each of them the pod that it concerns is decided anew.
//!
//! - `fact`: what is told; [`read`]: audit events and reviews to facts;
//! - `sessions`: all pods of a node; `known`: what is known of each; `decide`: what follows from it;
//! - `matching`: which pairs of requests and processes are certain;
//! - `actors`: who is behind each process, for the fields of events.
//!
//! A wrong name is worse than none. A request and a process belong together when an exact key says so
//! ([`Evidence::RequestKey`]), when neither could belong to anything else ([`Evidence::Unique`]), or when facts of the
//! record exclude all else ([`Evidence::Ordered`]). Otherwise every candidate is told.

mod actors;
mod decide;
pub mod fact;
mod known;
mod matching;
pub mod read;
mod sessions;

pub use actors::{Actors, Who};
pub use fact::{Access, Entry, Fact, Looked, Person, PodName, ProcessId, Review, Root, Stage, Target, Via};
pub use sessions::{Actor, Change, Correlator, Counts, Evidence, Reason, Settings, State};
