//! A connection that comes back by itself, and what is wrong with it at the moment.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::{Context, context::ContextBuilder};
use async_nats::{AuthError, ConnectOptions, Event};
use tokio::sync::watch;
use tracing::{info, warn};

use super::NatsError;
use super::identity::Identity;
use crate::config::BusConfig;
use crate::web::log_limit::excerpt;

/// The server has this long for an answer.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// A connection over which nothing comes is given up after three of these.
const PING: Duration = Duration::from_secs(5);

/// Longest pause between two tries to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Link {
    /// What the server and the log call it.
    name: String,
    up: watch::Sender<bool>,
    said: Mutex<Said>,
}

/// What was said last: to the log once, and to whoever asks what is wrong.
#[derive(Debug, Default)]
struct Said {
    /// It has been connected before.
    before: bool,
    /// Why there is no connection.
    down: Option<String>,
    /// What goes wrong although there is one, and whether that was logged.
    trouble: Option<String>,
    warned: bool,
    /// A refusal by the server was logged since the last connection.
    refused: bool,
}

impl Link {
    /// A connection that nobody has begun yet.
    ///
    /// # Errors
    /// When a file that says who connects cannot be used.
    pub(super) fn new(config: &BusConfig, name: String) -> Result<Arc<Link>, NatsError> {
        Identity::of(config).answer(b"")?;
        Ok(Arc::new(Link {
            name,
            up: watch::channel(false).0,
            said: Mutex::default(),
        }))
    }

    /// Begins to connect, and goes on for as long as the context is there.
    pub(super) async fn connect(self: &Arc<Link>, config: &BusConfig) -> Option<Context> {
        let identity = Identity::of(config);
        let link = Arc::clone(self);
        let mut options = ConnectOptions::with_auth_callback(move |challenge| {
            let auth = identity.answer(&challenge).map_err(|e| AuthError::new(e.to_string()));
            async move { auth }
        })
        .event_callback(move |event| {
            link.heard(&event);
            async {}
        })
        .name(&self.name)
        .retry_on_initial_connect()
        .connection_timeout(ANSWER)
        .ping_interval(PING)
        .reconnect_delay_callback(pause)
        // Addresses that the servers tell of each other are none that a certificate or a firewall has to know.
        .ignore_discovered_servers();
        let tls = &config.tls;
        if tls.ca.is_some() || tls.cert.is_some() {
            options = options.require_tls(true);
        }
        if let Some(ca) = &tls.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        match options.connect(config.servers.as_slice()).await {
            Ok(client) => Some(ContextBuilder::new().timeout(ANSWER).build(client)),
            // It does not wait for a connection, so this is an address that is none.
            Err(error) => {
                warn!(end = self.name, %error, "the bus cannot connect to NATS");
                self.said().down = Some(error.to_string());
                None
            }
        }
    }

    /// Tells whether there is a connection, and of each change.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// Keeps what goes wrong over a connection that is there, or that nothing does; logs the first of it.
    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        let mut said = self.said();
        match &trouble {
            // While there is no connection, that is the reason, and it was logged.
            Some(text) if !said.warned && *self.up.borrow() => {
                warn!(
                    end = self.name,
                    reason = excerpt(text),
                    "messages do not go through NATS"
                );
                said.warned = true;
            }
            None if said.warned => {
                info!(end = self.name, "messages go through NATS again");
                said.warned = false;
            }
            _ => {}
        }
        said.trouble = trouble;
    }

    /// What is wrong, in one line.
    pub(super) fn trouble(&self) -> Option<String> {
        let said = self.said();
        if *self.up.borrow() {
            return said.trouble.clone();
        }
        Some(match &said.down {
            Some(reason) => format!("not connected to NATS: {}", excerpt(reason)),
            None => "not connected to NATS yet".to_owned(),
        })
    }

    fn heard(&self, event: &Event) {
        let mut said = self.said();
        match event {
            Event::Connected => {
                if !self.up.send_replace(true) {
                    let again = if said.before { " again" } else { "" };
                    info!(end = self.name, "the bus is connected to NATS{again}");
                }
                *said = Said {
                    before: true,
                    trouble: said.trouble.take(),
                    warned: said.warned,
                    ..Said::default()
                };
            }
            Event::Disconnected | Event::Closed => {
                if self.up.send_replace(false) {
                    warn!(
                        end = self.name,
                        "the bus lost its connection to NATS, and tries to get it back"
                    );
                }
                said.down.get_or_insert_with(|| "the connection was lost".to_owned());
            }
            Event::ClientError(error) => {
                let error = error.to_string();
                let reason = error.strip_prefix("nats: ").unwrap_or(&error).to_owned();
                if !said.before && said.down.is_none() {
                    warn!(
                        end = self.name,
                        reason = excerpt(&reason),
                        "the bus is not connected to NATS yet, and tries on"
                    );
                }
                said.down = Some(reason);
            }
            Event::ServerError(error) if !said.refused => {
                said.refused = true;
                let reason = error.to_string();
                warn!(
                    end = self.name,
                    reason = excerpt(&reason),
                    "the NATS server refuses something"
                );
            }
            _ => {}
        }
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to wait before a try to connect.
fn pause(tries: usize) -> Duration {
    let shift = u32::try_from(tries).unwrap_or(u32::MAX).min(8);
    (Duration::from_millis(10) * (1 << shift)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use async_nats::ClientError;

    use super::*;

    #[test]
    fn it_says_what_is_wrong() {
        let link = Link::new(&BusConfig::default(), "test".to_owned()).unwrap();
        assert_eq!(link.trouble().as_deref(), Some("not connected to NATS yet"));
        link.heard(&Event::ClientError(ClientError::Other("IO error".to_owned())));
        assert_eq!(link.trouble().as_deref(), Some("not connected to NATS: IO error"));
        link.heard(&Event::Connected);
        assert_eq!(link.trouble(), None);
        link.set_trouble(Some("no stream".to_owned()));
        assert_eq!(link.trouble().as_deref(), Some("no stream"));
        link.heard(&Event::Disconnected);
        assert_eq!(
            link.trouble().as_deref(),
            Some("not connected to NATS: the connection was lost")
        );
        link.heard(&Event::Connected);
        link.set_trouble(None);
        assert_eq!(link.trouble(), None);
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        assert!(pause(1) <= Duration::from_millis(20));
        assert!(pause(5) > pause(4));
        assert!(pause(usize::MAX) <= LONGEST_PAUSE);
    }
}
