//! Where events come from.

pub mod audit;
pub mod syscall;
