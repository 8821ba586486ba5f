//! The field tables, and how a value is found in an event.
