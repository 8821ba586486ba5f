//! `saker setup certs`: a CA, a server and a client certificate as files that are never overwritten.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::SetupError;
use crate::certificates::{self, Authority, CA_DAYS, Facts, Host, LEAF_DAYS, Mode, Pair, Role};

pub const EXAMPLES: &str = "\
Examples:
  saker setup certs --host saker.example.org
  saker setup certs --dir /etc/saker/tls --host 10.96.0.94 --host saker.saker-system.svc

Renew a certificate: delete its two files, keep ca.crt and ca.key, and run the same command again.";

#[derive(Debug, Args)]
pub struct CertsArgs {
    /// Directory of the files
    #[arg(long, value_name = "DIR", default_value = "certs")]
    pub dir: PathBuf,
    /// Name or address that API servers connect to; may be repeated (localhost is always included)
    #[arg(long = "host", value_name = "NAME|IP")]
    pub hosts: Vec<String>,
    /// Validity of the server and the client certificate; the CA has ten years
    #[arg(long, value_name = "N", default_value_t = LEAF_DAYS, value_parser = clap::value_parser!(u32).range(1..=i64::from(CA_DAYS)))]
    pub days: u32,
    /// Name of the client, which Saker can check and tie to a cluster
    #[arg(long, value_name = "NAME", default_value = "kube-apiserver")]
    pub client_name: String,
}

/// A certificate file and its key file.
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

enum State {
    Absent,
    Complete,
    /// The first exists, the second is missing.
    Half(PathBuf, PathBuf),
}

impl Files {
    fn new(dir: &Path, name: &str) -> Files {
        Files {
            cert: dir.join(format!("{name}.crt")),
            key: dir.join(format!("{name}.key")),
        }
    }

    fn state(&self) -> State {
        // A dangling link counts as a file: writing through it would surprise.
        let exists = |path: &Path| path.symlink_metadata().is_ok();
        match (exists(&self.cert), exists(&self.key)) {
            (false, false) => State::Absent,
            (true, true) => State::Complete,
            (true, false) => State::Half(self.cert.clone(), self.key.clone()),
            (false, true) => State::Half(self.key.clone(), self.cert.clone()),
        }
    }

    fn write(&self, pair: &Pair) -> Result<(), SetupError> {
        certificates::create_new(&self.key, &pair.key, Mode::Private)?;
        certificates::create_new(&self.cert, &pair.cert, Mode::Public)?;
        Ok(())
    }

    /// `    certs/server.crt  localhost, 127.0.0.1; until 2029-02-24` and the fingerprint.
    fn describe(&self, out: &mut String) -> Result<(), SetupError> {
        let facts = Facts::read(&self.cert)?;
        let names = match facts.names.is_empty() {
            true => facts.subject.clone(),
            false => format!("{}; {}", facts.subject, facts.names.join(", ")),
        };
        // Writing into a String cannot fail.
        let _ = writeln!(out, "  {}: {names}", shown(&self.cert));
        let _ = writeln!(out, "    valid until {}", facts.expiry_date());
        let _ = writeln!(out, "    SHA-256 {}", facts.fingerprint);
        Ok(())
    }
}

/// Makes what is missing and tells what there is.
pub(super) fn make(args: &CertsArgs) -> Result<String, SetupError> {
    let mut hosts = Host::loopback();
    for text in &args.hosts {
        let host = Host::parse(text)?;
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    if args.client_name.is_empty() || args.client_name.len() > 64 || args.client_name.chars().any(char::is_control) {
        return Err(SetupError::Refused(
            "`--client-name` must have 1 to 64 characters, without control characters".to_owned(),
        ));
    }
    let ca = Files::new(&args.dir, "ca");
    let server = Files::new(&args.dir, "server");
    let client = Files::new(&args.dir, "client");
    refuse_halves(&[&ca, &server, &client])?;
    let present = |files: &Files| matches!(files.state(), State::Complete);
    if present(&ca) && present(&server) && present(&client) {
        return Err(all_present(&args.dir, &[&ca, &server, &client])?);
    }
    let leaves: Vec<&Files> = [&server, &client].into_iter().filter(|f| present(f)).collect();
    if !present(&ca) && !leaves.is_empty() {
        let names: Vec<_> = leaves.iter().map(|f| format!("`{}`", shown(&f.cert))).collect();
        return Err(SetupError::Refused(format!(
            "{} exists, but no CA beside it: a new CA would not fit. nothing was made\n  help: bring back `{}` and its \
             key, or delete the old certificates and their keys, then run this again",
            names.join(" and "),
            shown(&ca.cert)
        )));
    }

    certificates::make_directory(&args.dir)?;
    let (mut made, mut kept, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    let authority = if present(&ca) {
        kept.push(&ca);
        Authority::load(&ca.cert, &ca.key)?
    } else {
        let (authority, pair) = Authority::make("Saker CA", CA_DAYS)?;
        ca.write(&pair)?;
        made.push(&ca);
        keys.push(shown(&ca.key));
        authority
    };
    let roles = [
        (&server, Role::Server { hosts: &hosts }),
        (
            &client,
            Role::Client {
                name: &args.client_name,
            },
        ),
    ];
    for (files, role) in roles {
        if present(files) {
            kept.push(files);
            continue;
        }
        files.write(&authority.issue(role, args.days)?)?;
        made.push(files);
        keys.push(shown(&files.key));
    }

    let mut out = String::from("made:\n");
    for files in made {
        files.describe(&mut out)?;
    }
    if !kept.is_empty() {
        out.push_str("kept as it was:\n");
        for files in kept {
            files.describe(&mut out)?;
        }
    }
    let _ = writeln!(out, "private keys (readable by you alone): {}", keys.join(", "));
    out.push_str(&next_steps(&args.dir));
    Ok(out)
}

fn refuse_halves(all: &[&Files]) -> Result<(), SetupError> {
    for files in all {
        if let State::Half(there, missing) = files.state() {
            return Err(SetupError::Refused(format!(
                "`{}` exists without `{}`: nothing was made\n  help: bring back the missing file, or move the other \
                 one away, then run this again",
                shown(&there),
                shown(&missing)
            )));
        }
    }
    Ok(())
}

fn all_present(dir: &Path, all: &[&Files]) -> Result<SetupError, SetupError> {
    let mut text = format!(
        "`{}` has all certificates already; nothing was made or changed\n",
        shown(dir)
    );
    for files in all {
        files.describe(&mut text)?;
    }
    text.push_str(
        "  help: to renew the server's, delete server.crt and server.key; to renew the client's, client.crt and \
         client.key. keep ca.crt and ca.key and run this again: the new certificate is signed by the same CA",
    );
    Ok(SetupError::Refused(text))
}

fn next_steps(dir: &Path) -> String {
    let file = |name: &str| shown(&dir.join(name));
    format!(
        "\
next:
  1. in saker.yaml:
       webhook:
         tls:
           cert: {server}
           key: {server_key}
           client_ca: {ca}
  2. saker setup apiserver --server https://HOST:9443/k8s-audit \\
       --ca {ca} --client-cert {client} --client-key {client_key}
  3. move {ca_key} to a safe place: it is needed again only to renew
",
        server = file("server.crt"),
        server_key = file("server.key"),
        client = file("client.crt"),
        client_key = file("client.key"),
        ca = file("ca.crt"),
        ca_key = file("ca.key"),
    )
}

fn shown(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}
