//! Where events come from.

pub mod audit;
