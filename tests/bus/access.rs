//! TLS, and who may do what: the permissions that docs/bus.md names are enough, and no more is possible with them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nkeys::KeyPair;
use saker::bus::nats::{inbox, publisher};
use saker::bus::{Inbox, Publish};
use saker::certificates::{Authority, Host, Role};
use saker::config::BusConfig;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::server::{Server, binaries};
use crate::{config, ids, message, nothing_more, sent, until};

/// CA, server certificate and client certificate in a directory; the server's configuration of TLS.
fn certificates(dir: &Path) -> String {
    let (authority, ca) = Authority::make("test CA", 2).unwrap();
    let host = [Host::parse("127.0.0.1").unwrap()];
    let server = authority.issue(Role::Server { hosts: &host }, 2).unwrap();
    let client = authority.issue(Role::Client { name: "saker" }, 2).unwrap();
    for (name, text) in [
        ("ca.crt", &ca.cert),
        ("server.crt", &server.cert),
        ("server.key", &server.key),
        ("client.crt", &client.cert),
        ("client.key", &client.key),
    ] {
        fs::write(dir.join(name), text).unwrap();
    }
    let file = |name: &str| format!("{:?}", dir.join(name).display().to_string());
    format!(
        "tls {{ cert_file: {}, key_file: {}, ca_file: {}, verify: true }}",
        file("server.crt"),
        file("server.key"),
        file("ca.crt")
    )
}

/// The users of docs/bus.md, with these public keys.
fn users(publisher: &KeyPair, node: &KeyPair) -> String {
    let documented = include_str!("../../docs/bus.md");
    let (_, block) = documented.split_once("```conf\n").expect("the example");
    let (block, _) = block.split_once("```").expect("its end");
    block
        .replace("UPUBLISHER", &publisher.public_key())
        .replace("UNODE", &node.public_key())
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_keys_and_the_documented_permissions() {
    for binary in binaries() {
        let dir = tempfile::tempdir().unwrap();
        let (publisher_key, node_key) = (KeyPair::new_user(), KeyPair::new_user());
        let server = Server::run(
            &binary,
            &format!("{}\n{}", certificates(dir.path()), users(&publisher_key, &node_key)),
        );
        let with = |seed: &str| {
            let credentials = dir.path().join(format!("{}.seed", &seed[..8]));
            fs::write(&credentials, seed).unwrap();
            let mut config = BusConfig {
                credentials: Some(credentials),
                ..config(&server)
            };
            config.tls.ca = Some(dir.path().join("ca.crt"));
            config.tls.cert = Some(dir.path().join("client.crt"));
            config.tls.key = Some(dir.path().join("client.key"));
            config
        };
        let of_publisher = with(&publisher_key.seed().unwrap());
        let of_node = with(&node_key.seed().unwrap());

        let from = publisher(&of_publisher, Some("prod")).unwrap();
        let mut node = inbox(&of_node, Some("prod"), "node-1").unwrap();
        from.publish(message("prod", "a")).unwrap();
        from.publish(message("dev", "b")).unwrap();
        sent(&from).await;
        assert_eq!(ids(&mut node, 1), ["a"], "{}", binary.display());
        nothing_more(&mut node);
        assert!(node.up_since().is_some());

        // A node can neither publish nor read another cluster.
        let forger = publisher(&of_node, Some("prod")).unwrap();
        forger.publish(message("prod", "forged")).unwrap();
        let mut curious = inbox(&of_node, None, "node-1").unwrap();
        until("both say that it does not work", || {
            forger.trouble().is_some() && curious.trouble().is_some()
        })
        .await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!((forger.waiting(), curious.up_since()), (1, None));
        nothing_more(&mut curious);
        nothing_more(&mut node);

        // A key that the server does not know, and a CA that did not sign.
        let unknown = publisher(&with(&KeyPair::new_user().seed().unwrap()), None).unwrap();
        let mut other_ca = of_publisher.clone();
        other_ca.tls.ca = Some(dir.path().join("other.crt"));
        fs::write(
            dir.path().join("other.crt"),
            Authority::make("other", 2).unwrap().1.cert,
        )
        .unwrap();
        let other_ca = publisher(&other_ca, None).unwrap();
        for (refused, reason) in [(&unknown, "authorization violation"), (&other_ca, "")] {
            until("it says that it cannot connect", || {
                let trouble = refused.trouble().unwrap_or_default();
                trouble.starts_with("not connected to NATS: ") && trouble.contains(reason)
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_tokens() {
    for binary in binaries() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::run(
            &binary,
            "accounts { A { jetstream: enabled, users: [ {user: saker, password: secret} ] } }",
        );
        let mut with_password = config(&server);
        with_password.user = Some("saker".to_owned());
        with_password.password = Some("secret".to_owned());
        let from = publisher(&with_password, None).unwrap();
        from.publish(message("prod", "a")).unwrap();
        sent(&from).await;

        let server = Server::run(&binary, "authorization { token: t0ken }");
        let mut with_token = config(&server);
        with_token.token_file = Some(dir.path().join("token"));
        assert!(publisher(&with_token, None).is_err(), "the file is not there");
        fs::write(dir.path().join("token"), "old\n").unwrap();
        let from = publisher(&with_token, None).unwrap();
        from.publish(message("prod", "a")).unwrap();
        until("it is refused", || {
            from.trouble().is_some_and(|t| t.contains("authorization violation"))
        })
        .await;
        // Files are read for each connection.
        fs::write(dir.path().join("token"), "t0ken\n").unwrap();
        sent(&from).await;
    }
}

/// A token that `issuer` signs for `subject`, as nsc makes them.
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: Value) -> String {
    let claims = json!({
        "jti": "test", "iat": 1, "iss": issuer.public_key(), "sub": subject.public_key(), "name": "test", "nats": nats,
    });
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let signed = [header, claims]
        .map(|part| base64(part.to_string().as_bytes()))
        .join(".");
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", base64(&signature))
}

/// For URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let bits = (0..3).fold(0, |bits, n| bits << 8 | usize::from(chunk.get(n).copied().unwrap_or(0)));
        (0..=chunk.len()).map(move |n| char::from(DIGITS[bits >> (18 - 6 * n) & 63]))
    });
    digits.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credentials_file() {
    for binary in binaries() {
        let dir = tempfile::tempdir().unwrap();
        let (operator, system, account) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
        let user = KeyPair::new_user();
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
            "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
        });
        let plain = json!({"type": "account", "version": 2, "limits": {"subs": -1, "conn": -1}});
        let streams = json!({"type": "account", "version": 2, "limits": limits});
        let server = Server::run(
            &binary,
            &format!(
                "operator: {}\nsystem_account: {system}\nresolver: MEMORY\nresolver_preload {{\n{system}: {}\n{}: {}\n}}",
                jwt(&operator, &operator, json!({"type": "operator", "version": 2})),
                jwt(&operator, &system, plain),
                account.public_key(),
                jwt(&operator, &account, streams),
                system = system.public_key(),
            ),
        );
        let unlimited = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
        let credentials = dir.path().join("saker.creds");
        fs::write(
            &credentials,
            format!(
                "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
                 -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
                jwt(&account, &user, unlimited),
                user.seed().unwrap()
            ),
        )
        .unwrap();
        let nobody = publisher(&config(&server), None).unwrap();
        let config = BusConfig {
            credentials: Some(credentials),
            ..config(&server)
        };
        let from = publisher(&config, None).unwrap();
        let mut node = inbox(&config, Some("prod"), "node-1").unwrap();
        from.publish(message("prod", "a")).unwrap();
        assert_eq!(ids(&mut node, 1), ["a"], "{}", binary.display());
        until("without credentials nobody is let in", || {
            nobody.trouble().is_some_and(|t| t.contains("authorization violation"))
        })
        .await;
    }
}
