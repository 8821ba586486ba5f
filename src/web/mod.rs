//! HTTP servers: how connections are accepted, bounded and drained (shared with the webhook), and the status server
//! with health, readiness and metrics on a plain address of its own.

pub mod activity;
pub mod connections;
pub mod log_limit;
pub mod readiness;
pub mod sessions;
pub mod status;
