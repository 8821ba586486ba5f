//! Who connects, as the server is told. Files are read for each connection, so that new ones need no restart.

use std::path::{Path, PathBuf};

use async_nats::Auth;
use nkeys::KeyPair;

use super::NatsError;
use crate::config::BusConfig;

/// What the configuration says about who connects.
#[derive(Clone)]
pub(super) enum Identity {
    Nobody,
    Credentials(PathBuf),
    Token(PathBuf),
    User(String, String),
}

impl Identity {
    pub(super) fn of(config: &BusConfig) -> Identity {
        if let Some(path) = &config.credentials {
            Identity::Credentials(path.clone())
        } else if let Some(path) = &config.token_file {
            Identity::Token(path.clone())
        } else if let (Some(user), Some(password)) = (&config.user, &config.password) {
            Identity::User(user.clone(), password.clone())
        } else {
            Identity::Nobody
        }
    }

    /// What answers the server's challenge.
    ///
    /// # Errors
    /// When a file cannot be read, or has nothing to sign with.
    pub(super) fn answer(&self, challenge: &[u8]) -> Result<Auth, NatsError> {
        let mut auth = Auth::new();
        match self {
            Identity::Nobody => {}
            Identity::User(user, password) => {
                (auth.username, auth.password) = (Some(user.clone()), Some(password.clone()));
            }
            Identity::Token(path) => auth.token = Some(read(path)?.trim().to_owned()),
            Identity::Credentials(path) => {
                let text = read(path)?;
                let (jwt, seed) = parse(&text).ok_or_else(|| NatsError::NoSeed(path.clone()))?;
                let unusable = |error: nkeys::error::Error| NatsError::Seed {
                    path: path.clone(),
                    reason: error.to_string(),
                };
                let key = KeyPair::from_seed(seed).map_err(unusable)?;
                auth.signature = Some(key.sign(challenge).map_err(unusable)?);
                match jwt {
                    Some(jwt) => auth.jwt = Some(jwt.to_owned()),
                    None => auth.nkey = Some(key.public_key()),
                }
            }
        }
        Ok(auth)
    }
}

fn read(path: &Path) -> Result<String, NatsError> {
    std::fs::read_to_string(path).map_err(|source| NatsError::Read {
        path: path.to_owned(),
        source,
    })
}

/// JWT and seed of a credentials file, or the seed that is all there is in the file.
fn parse(text: &str) -> Option<(Option<&str>, &str)> {
    let after = |begin: &str| {
        let mut lines = text.lines().map(str::trim);
        lines.find(|line| line.contains(begin))?;
        lines.next().filter(|line| !line.is_empty())
    };
    match (after("BEGIN NATS USER JWT"), after("BEGIN USER NKEY SEED")) {
        (Some(jwt), Some(seed)) => Some((Some(jwt), seed)),
        (None, Some(seed)) => Some((None, seed)),
        _ => {
            let seed = text.trim();
            seed.starts_with("SU").then_some((None, seed))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_a_jwt_and_a_seed() {
        let file = "-----BEGIN NATS USER JWT-----\nabc.def\n------END NATS USER JWT------\n\n*** IMPORTANT ***\r\n\
                    -----BEGIN USER NKEY SEED-----\r\nSUAX\r\n------END USER NKEY SEED------\n";
        assert_eq!(parse(file), Some((Some("abc.def"), "SUAX")));
        assert_eq!(parse("SUAX\n"), Some((None, "SUAX")));
        for wrong in ["", "password", "-----BEGIN NATS USER JWT-----\nabc\n"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_seed_signs_and_its_file_is_read_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed");
        let identity = Identity::Credentials(path.clone());
        assert!(matches!(identity.answer(b"x"), Err(NatsError::Read { .. })));
        std::fs::write(&path, "nothing").unwrap();
        assert!(matches!(identity.answer(b"x"), Err(NatsError::NoSeed(_))));
        std::fs::write(&path, "SUNOTASEED").unwrap();
        assert!(matches!(identity.answer(b"x"), Err(NatsError::Seed { .. })));
        let key = KeyPair::new_user();
        std::fs::write(&path, key.seed().unwrap()).unwrap();
        let auth = identity.answer(b"challenge").unwrap();
        assert_eq!((auth.nkey, auth.jwt), (Some(key.public_key()), None));
        key.verify(b"challenge", &auth.signature.unwrap()).unwrap();
    }
}
