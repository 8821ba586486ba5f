//! TLS of the webhook: certificates, client authentication, and their reload.
