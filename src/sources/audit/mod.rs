//! kube-apiserver audit events: the webhook, log files, and how they are decoded and evaluated.

pub mod decode;
pub mod files;
pub mod pipeline;
pub mod tls;
pub mod webhook;
