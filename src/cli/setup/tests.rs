//! The subcommands as called: arguments in, text and files out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::{CommandFactory, Parser};

use super::*;
use crate::certificates::Facts;

/// Stands for the main command until there is one.
#[derive(Debug, Parser)]
#[command(name = "saker setup")]
struct Cli {
    #[command(flatten)]
    args: SetupArgs,
}

/// What `saker setup …` prints on stdout (`Ok`) or stderr, with `DIR` for the directory and certificate facts that change.
fn setup(dir: &Path, line: &str) -> Result<String, String> {
    let at = dir.display().to_string();
    let words = std::iter::once("saker setup").chain(line.split(' '));
    let words = words.map(|word| word.replace("DIR", &at));
    let tidy = |text: String| {
        let mut out = String::new();
        for line in text.replace(&at, "DIR").lines() {
            let line = match line.trim_start() {
                rest if rest.starts_with("SHA-256 ") => "    SHA-256 ...",
                rest if rest.starts_with("valid until ") => "    valid until ...",
                _ => line,
            };
            out.push_str(line);
            out.push('\n');
        }
        out
    };
    match Cli::try_parse_from(words) {
        Ok(cli) => execute(cli.args).map(tidy).map_err(|e| tidy(e.to_string())),
        Err(error) => Err(tidy(error.to_string())),
    }
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut out: Vec<_> = fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| {
            let entry = entry.expect("an entry");
            (
                entry.file_name().to_string_lossy().into_owned(),
                fs::read(entry.path()).expect("a file"),
            )
        })
        .collect();
    out.sort();
    out
}

#[test]
fn arguments_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn help_reads_well() {
    let mut all = String::new();
    for command in ["certs", "apiserver", "admission", "config"] {
        let mut setup = Cli::command().term_width(110);
        let found = setup.find_subcommand_mut(command).expect("a subcommand");
        all.push_str(&format!(
            "== {command}\n{}\n",
            found.clone().term_width(110).render_help()
        ));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn run_answers_with_an_exit_code() {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().display().to_string();
    for (server, want) in [
        ("https://a/k8s-audit", ExitCode::SUCCESS),
        ("http://a/k8s-audit", ExitCode::FAILURE),
    ] {
        let args = Cli::parse_from(["saker setup", "apiserver", "--server", server, "--out", &out]).args;
        assert_eq!(format!("{:?}", run(args)), format!("{want:?}"), "{server}");
    }
}

#[test]
fn certs_are_made_once_and_renewed_by_deleting() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = temporary.path();
    let command = "certs --dir DIR/tls --host saker.example.org --host 10.96.0.94 --host localhost";
    let first = setup(dir, command).expect("made");
    let tls = dir.join("tls");
    let before = files(&tls);
    let names: Vec<_> = before.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "ca.crt",
            "ca.key",
            "client.crt",
            "client.key",
            "server.crt",
            "server.key"
        ]
    );
    for name in names.iter().filter(|n| n.ends_with(".key")) {
        let mode = fs::metadata(tls.join(name)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let second = setup(dir, command).expect_err("refused");
    assert_eq!(files(&tls), before, "nothing changed");

    fs::remove_file(tls.join("client.crt")).expect("removed");
    let half = setup(dir, command).expect_err("refused");
    fs::remove_file(tls.join("client.key")).expect("removed");
    let renewed = setup(dir, "certs --dir DIR/tls --client-name cp-1 --days 30").expect("made");
    assert_eq!(Facts::read(&tls.join("client.crt")).expect("facts").subject, "CN=cp-1");
    let after = files(&tls);
    assert_eq!(
        (&after[0], &after[4], &after[5]),
        (&before[0], &before[4], &before[5]),
        "CA and server stay"
    );

    for name in ["ca.crt", "ca.key", "client.crt", "client.key"] {
        fs::remove_file(tls.join(name)).expect("removed");
    }
    let orphan = setup(dir, command).expect_err("refused");
    insta::assert_snapshot!(format!(
        "== first\n{first}\n== again\n{second}\n== half\n{half}\n== renewed\n{renewed}\n== orphan\n{orphan}"
    ));
}

#[test]
fn bad_arguments_are_explained() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = temporary.path();
    fs::write(dir.join("two-tokens"), "a b\n").expect("a file");
    fs::write(dir.join("ca"), CA).expect("a file");
    let mut all = String::new();
    for line in [
        "certs --dir DIR/x --host https://a",
        "certs --dir DIR/x --client-name \u{1b}[31m",
        "certs --dir DIR/x --days 0",
        "apiserver --server saker.example.org:9443",
        "apiserver --server http://saker.example.org:9443/k8s-audit",
        "apiserver --server https://saker.example.org:9443",
        "apiserver --server https://saker.example.org:9443/k8s-audit?cluster=a",
        "apiserver --server https://a/k8s-audit --install-dir relative",
        "apiserver --server https://a/k8s-audit --client-cert a.crt",
        "apiserver --server https://a/k8s-audit --embed --ca DIR/missing.crt",
        "apiserver --server https://a/k8s-audit --embed --ca DIR/two-tokens --token-file DIR/two-tokens",
        "admission --server http://a:9443 --ca DIR/ca",
        "admission --server https://a:9443/admission/exec --ca DIR/ca",
        "admission --server https://me@a:9443 --ca DIR/ca",
        "admission --server https://a:9443 --ca DIR/missing.crt",
        "admission --server https://a:9443 --ca DIR/two-tokens",
        "admission --server https://a:9443 --ca DIR/ca --cluster a/b",
        "admission --server https://a:9443 --ca DIR/ca --namespaces a,B_b",
        "admission --server https://a:9443 --ca DIR/ca --namespace-selector a",
        "admission --server https://a:9443 --ca DIR/ca --namespace-selector a=b --namespaces a",
        "admission --server https://a:9443 --ca DIR/ca --install-dir relative",
    ] {
        let error = setup(dir, line).expect_err("refused");
        all.push_str(&format!("{}\n{error}\n", line.escape_debug()));
    }
    insta::assert_snapshot!(all);
    assert!(!dir.join("x").exists());
}

#[test]
fn the_kubeconfig_can_carry_its_secrets() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = temporary.path();
    setup(dir, "certs --dir DIR").expect("made");
    fs::write(dir.join("token"), "s3cret-token\n").expect("a file");
    let command = "apiserver --server https://a:9443/k8s-audit --flavour k3s --embed --ca DIR/ca.crt \
                   --client-cert DIR/client.crt --client-key DIR/client.key --token-file DIR/token --out DIR/out";
    let said = setup(dir, command).expect("written");
    assert!(
        said.starts_with("DIR/out/audit-policy.yaml\nDIR/out/audit-webhook.kubeconfig\nDIR/out/k3s.yaml\n"),
        "{said}"
    );
    let path = dir.join("out/audit-webhook.kubeconfig");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).expect("there");
    let kubeconfig: serde_json::Value = serde_yaml::from_str(&text).expect("YAML");
    let cluster = &kubeconfig["clusters"][0]["cluster"];
    let user = &kubeconfig["users"][0]["user"];
    assert_eq!(user["token"], "s3cret-token");
    for (value, file) in [
        (&cluster["certificate-authority-data"], "ca.crt"),
        (&user["client-certificate-data"], "client.crt"),
        (&user["client-key-data"], "client.key"),
    ] {
        let decoded = decode(value.as_str().expect("text"));
        assert_eq!(decoded, fs::read(dir.join(file)).expect("there"), "{file}");
    }

    assert!(setup(dir, command).is_ok(), "the same again is no change");
    fs::write(&path, "mine").expect("a file");
    assert!(setup(dir, command).expect_err("refused").contains("exists and differs"));
    assert_eq!(fs::read_to_string(&path).expect("there"), "mine");
}

const CA: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

#[test]
fn admission_configurations() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = temporary.path();
    fs::write(dir.join("ca.crt"), CA).expect("a file");
    let mut all = String::new();
    for line in [
        "admission --server https://10.96.0.94:9443 --ca DIR/ca.crt --mutating",
        "admission --server https://saker.example.org --ca DIR/ca.crt --cluster prod --token-file x/token --mutating \
         --namespaces dev,test",
        "admission --server https://[::1]:9443/ --ca DIR/ca.crt --namespace-selector team=a",
    ] {
        let printed = setup(dir, line).expect("text");
        all.push_str(&format!("#### {line}\n{printed}\n"));
    }
    insta::assert_snapshot!(all);

    let command = "admission --server https://a:9443 --ca DIR/ca.crt --mutating --out DIR/out";
    let said = setup(dir, command).expect("written");
    let written: Vec<_> = files(&dir.join("out")).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        written,
        [
            "admission-mutating.yaml",
            "admission-validating.yaml",
            "admission-webhook.kubeconfig",
            "admission.flags",
            "admission.yaml"
        ]
    );
    assert!(said.contains("next: let the API server say who it is"), "{said}");
    let mutating = fs::read_to_string(dir.join("out/admission-mutating.yaml")).expect("there");
    let mutating: serde_json::Value = serde_yaml::from_str(&mutating).expect("YAML");
    let bundle = &mutating["webhooks"][0]["clientConfig"]["caBundle"];
    assert_eq!(decode(bundle.as_str().expect("text")), CA.as_bytes());
    assert!(setup(dir, command).is_ok(), "the same again is no change");
}

/// Base64 by another implementation.
fn decode(text: &str) -> Vec<u8> {
    let pem = format!("-----BEGIN X-----\n{text}\n-----END X-----\n");
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).expect("PEM");
    pem.contents
}

#[test]
fn a_token_stands_in_for_the_client_certificate() {
    let dir = Path::new("/nowhere");
    let text = setup(
        dir,
        "apiserver --server https://a:9443/k8s-audit --flavour process --token-file x/token",
    )
    .expect("text");
    assert!(
        text.contains("      tokenFile: \"/etc/kubernetes/saker/token\"\n"),
        "{text}"
    );
    assert!(!text.contains("client-certificate"), "{text}");
}

#[test]
fn batches_stay_below_the_body_limit() {
    let text = setup(
        Path::new("/nowhere"),
        "apiserver --server https://a:9443/k8s-audit --flavour process",
    )
    .expect("text");
    let value = |flag: &str| {
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix(&format!("--{flag}=")))
            .expect("the flag");
        line.parse::<u64>().expect("a number")
    };
    // Commas and the list around the events.
    let overhead = value("audit-webhook-batch-max-size") + 1024;
    let largest = value("audit-webhook-batch-max-size") * value("audit-webhook-truncate-max-event-size") + overhead;
    assert!(largest <= crate::config::WebhookConfig::default().max_body, "{largest}");
    assert!(value("audit-webhook-truncate-max-batch-size") >= value("audit-webhook-truncate-max-event-size"));
}
