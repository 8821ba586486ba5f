//! The status server: health, readiness and metrics on a plain address of their own.
