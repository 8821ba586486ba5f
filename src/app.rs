//! The composition root: configuration to bound application, run, drain.
