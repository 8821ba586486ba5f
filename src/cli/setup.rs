//! `saker setup`: certificates, API-server configuration, saker.yaml.
