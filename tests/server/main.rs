//! The real binary, end to end: started as a user starts it, driven over real sockets, judged by what it answers and
//! by the alerts it leaves behind.
//!
//! - [`harness`] starts the binary, [`client`] talks TLS to it, [`material`] makes events, certificates and sinks;
//! - every test brings a small rule file of its own, so that none depends on the built-in rules.
//!
//! Where a test needs something that a machine may lack (recordings, curl), it says on standard error that it is
//! skipped.

mod admission;
mod answers;
mod batches;
mod client;
mod configmaps;
mod configuration;
mod credentials;
mod files;
mod full_outputs;
mod harness;
mod limits;
mod material;
mod outputs;
mod reload;
mod replay;
mod scan;
mod sessions;
mod status;
mod stop;
