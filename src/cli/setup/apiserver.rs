//! `saker setup apiserver`: audit policy, webhook kubeconfig and flags that make kube-apiserver send its events to Saker.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::SetupError;
use crate::base64::encode as base64;
use crate::certificates::{self, Mode};

pub const EXAMPLES: &str = "\
Examples:
  saker setup apiserver --server https://saker.example.org:9443/k8s-audit
  saker setup apiserver --server https://10.96.0.94:9443/k8s-audit/prod --server-name saker.saker-system.svc --out saker-apiserver
  saker setup apiserver --server https://saker.example.org:9443/k8s-audit --flavour k3s --embed --out saker-apiserver";

#[derive(Debug, Args)]
pub struct ApiserverArgs {
    /// URL of Saker's webhook as the API server reaches it; /k8s-audit/NAME also names the cluster
    #[arg(long, value_name = "URL")]
    pub server: String,
    /// Name to expect in Saker's certificate, when it is not the host of the URL
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// CA of Saker's certificate
    #[arg(long, value_name = "FILE", default_value = "certs/ca.crt")]
    pub ca: PathBuf,
    /// Client certificate of the API server [default: certs/client.crt, unless a token is given]
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub client_cert: Option<PathBuf>,
    /// Its key [default: certs/client.key]
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub client_key: Option<PathBuf>,
    /// File with a bearer token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Put the contents of these files into the kubeconfig, which is then secret
    #[arg(long)]
    pub embed: bool,
    /// Where the files will be on the control-plane machine
    #[arg(long, value_name = "DIR", default_value = "/etc/kubernetes/saker")]
    pub install_dir: String,
    /// Write the files here instead of printing them
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How kube-apiserver is run
    #[arg(long, value_enum, default_value_t = Flavour::All)]
    pub flavour: Flavour,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Flavour {
    /// A process or systemd unit of your own
    Process,
    /// A static pod made by kubeadm
    Kubeadm,
    /// k3s (and RKE2)
    K3s,
    All,
}

/// A file of the set.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    pub name: &'static str,
    pub text: String,
    pub mode: Mode,
}

const POLICY: &str = include_str!("../../../deploy/apiserver/audit-policy.yaml");
const POLICY_NAME: &str = "audit-policy.yaml";
const KUBECONFIG_NAME: &str = "audit-webhook.kubeconfig";

/// Events of one batch.
const BATCH_EVENTS: u64 = 50;

/// Bytes of one event; beyond, the API server removes its objects.
const EVENT_BYTES: u64 = 640 << 10;

/// A flag of kube-apiserver and why it has this value.
struct Flag {
    name: &'static str,
    value: String,
    why: &'static str,
}

fn flags(install_dir: &str) -> Vec<Flag> {
    let flag = |name, value: &str, why| Flag {
        name,
        value: value.to_owned(),
        why,
    };
    vec![
        flag(
            "audit-policy-file",
            &format!("{install_dir}/{POLICY_NAME}"),
            "What is recorded, and in how much detail.",
        ),
        flag(
            "audit-webhook-config-file",
            &format!("{install_dir}/{KUBECONFIG_NAME}"),
            "Where it is sent.",
        ),
        flag(
            "audit-webhook-mode",
            "batch",
            "Never hold up the users' requests: \"blocking\" would hang every one of them while Saker is away.",
        ),
        flag(
            "audit-webhook-batch-max-wait",
            "1s",
            "Default 30s: alerts would come half a minute late.",
        ),
        flag(
            "audit-webhook-batch-max-size",
            &BATCH_EVENTS.to_string(),
            "Events of one request (default 400). This times the event size below must stay under Saker's webhook.max_body\n\
             (32MiB): events are cut first and batched after, so truncate-max-batch-size does not bound a request. Otherwise\n\
             somebody could write some large objects and have everything else of that second refused with them.",
        ),
        flag(
            "audit-webhook-batch-throttle-qps",
            "80",
            "Requests per second (default 10): with the smaller batches the same 4000 events per second.",
        ),
        flag("audit-webhook-batch-throttle-burst", "120", "As above (default 15)."),
        flag(
            "audit-webhook-initial-backoff",
            "10s",
            "A request that fails is sent five times over about 90 seconds, then its events are lost; this is the default, and\n\
             survives a restart of Saker. Watch apiserver_audit_error_total{plugin=\"webhook\"}.",
        ),
        flag(
            "audit-webhook-truncate-enabled",
            "true",
            "Bound the size of an event. Over the limit its request and response are removed and it is marked\n\
             audit.k8s.io/truncated: rules that read objects see nothing in it, and Saker counts it.",
        ),
        flag(
            "audit-webhook-truncate-max-event-size",
            &EVENT_BYTES.to_string(),
            "640KiB; the default of 100KiB removes the objects of quite ordinary pods. Annotations (256KiB at most) fit twice,\n\
             in request and response, so padding them does not blind a rule.",
        ),
        flag(
            "audit-webhook-truncate-max-batch-size",
            &(10 << 20).to_string(),
            "Must not be less than the size of an event; 10MiB is the default.",
        ),
    ]
}

/// What `saker setup apiserver` prints.
pub(super) fn make(args: &ApiserverArgs) -> Result<String, SetupError> {
    let documents = documents(args)?;
    match &args.out {
        Some(dir) => {
            let mut out = write_all(dir, &documents)?;
            // Writing into a String cannot fail.
            let _ = writeln!(
                out,
                "next: copy {POLICY_NAME}, {KUBECONFIG_NAME}{} to {} on every control-plane machine, then give \
                 kube-apiserver the flags",
                if args.embed { "" } else { " and the files that it names" },
                args.install_dir.escape_debug()
            );
            Ok(out)
        }
        None => Ok(print_all(&documents)),
    }
}

/// The files below each other.
pub(super) fn print_all(documents: &[Document]) -> String {
    let mut out = String::new();
    for document in documents {
        let rule = "=".repeat(100_usize.saturating_sub(document.name.len()));
        let _ = writeln!(out, "# ==== {} {rule}\n{}", document.name, document.text);
    }
    out
}

/// The files for these arguments.
pub fn documents(args: &ApiserverArgs) -> Result<Vec<Document>, SetupError> {
    check_server(&args.server)?;
    let install_dir = args.install_dir.trim_end_matches('/');
    if !install_dir.starts_with('/') || install_dir.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"')
    {
        return Err(SetupError::Refused(format!(
            "`--install-dir {}` is not an absolute path without spaces",
            args.install_dir.escape_debug()
        )));
    }
    let flags = flags(install_dir);
    let document = |name, text| Document {
        name,
        text,
        mode: Mode::Public,
    };
    let mut out = vec![document(POLICY_NAME, POLICY.to_owned()), kubeconfig(args, install_dir)?];
    let wanted = |flavour| args.flavour == Flavour::All || args.flavour == flavour;
    if wanted(Flavour::Process) {
        out.push(document("kube-apiserver.flags", process(&flags)));
    }
    if wanted(Flavour::Kubeadm) {
        out.push(document("kubeadm.yaml", kubeadm(&flags, install_dir)));
    }
    if wanted(Flavour::K3s) {
        out.push(document("k3s.yaml", k3s(&flags)));
    }
    Ok(out)
}

/// The URL of `--server`, which must be https.
pub(super) fn https_url(server: &str, example: &str) -> Result<hyper::Uri, SetupError> {
    let shown = server.escape_debug();
    let refuse = |reason: &str| Err(SetupError::Refused(format!("`--server {shown}` {reason}")));
    let Ok(url) = server.parse::<hyper::Uri>() else {
        return refuse(&format!("is not a URL\n  help: write e.g. `{example}`"));
    };
    if url.scheme_str() != Some("https") {
        return refuse(
            "does not begin with `https://`\n  help: saker's webhook speaks TLS only; over plain http an API server \
             would not even send its token",
        );
    }
    Ok(url)
}

fn check_server(server: &str) -> Result<(), SetupError> {
    let url = https_url(server, "https://saker.example.org:9443/k8s-audit")?;
    let shown = server.escape_debug();
    let refuse = |reason: &str| Err(SetupError::Refused(format!("`--server {shown}` {reason}")));
    if url.query().is_some() {
        return refuse("has a query\n  help: the API server drops it; name the cluster in the path: `/k8s-audit/NAME`");
    }
    if url.path() == "/" {
        return refuse("has no path\n  help: saker listens on `/k8s-audit`, or `/k8s-audit/NAME` to name the cluster");
    }
    Ok(())
}

fn kubeconfig(args: &ApiserverArgs, install_dir: &str) -> Result<Document, SetupError> {
    let client = match (&args.client_cert, &args.client_key) {
        (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
        _ if args.token_file.is_some() => None,
        _ => Some((PathBuf::from("certs/client.crt"), PathBuf::from("certs/client.key"))),
    };
    // `key: path` of the file where it will be, or `key-data: base64` of what it holds.
    let reference = |key: &str, path: &Path| match args.embed {
        true => Ok(format!("{key}-data: {}", base64(&read(path)?))),
        false => Ok::<_, SetupError>(format!("{key}: {}", quoted(&installed(path, install_dir)?))),
    };

    let mut cluster = vec![format!("server: {}", quoted(&args.server))];
    if let Some(name) = &args.server_name {
        cluster.push(format!("tls-server-name: {}", quoted(name)));
    }
    cluster.push(reference("certificate-authority", &args.ca)?);
    let mut user = Vec::new();
    let mut files = vec![args.ca.clone()];
    if let Some((cert, key)) = &client {
        user.push(reference("client-certificate", cert)?);
        user.push(reference("client-key", key)?);
        files.extend([cert.clone(), key.clone()]);
    }
    if let Some(path) = &args.token_file {
        user.push(match args.embed {
            true => {
                let token = read(path)?;
                let token = std::str::from_utf8(&token).unwrap_or_default().trim();
                if token.is_empty() || token.contains(|c: char| c.is_control() || c.is_whitespace() || !c.is_ascii()) {
                    let path = path.display().to_string();
                    let message = format!("`{}` does not hold one bearer token", path.escape_debug());
                    return Err(SetupError::Refused(message));
                }
                format!("token: {}", quoted(token))
            }
            false => format!("tokenFile: {}", quoted(&installed(path, install_dir)?)),
        });
        files.push(path.clone());
    }

    let head = match args.embed {
        true => {
            "# Where kube-apiserver sends audit events. It holds a secret (key or token): keep it readable by root alone.\n"
                .to_owned()
        }
        false => {
            let mut names = Vec::new();
            for file in &files {
                names.push(installed(file, install_dir)?);
            }
            format!(
                "# Where kube-apiserver sends audit events. It must be able to read:\n#   {}\n",
                names.join("\n#   ")
            )
        }
    };
    let text = format!(
        "{head}# kube-apiserver reads this file at its start: restart it after a change.
apiVersion: v1
kind: Config
clusters:
  - name: saker
    cluster:
      {}
users:
  - name: kube-apiserver
    user:
      {}
contexts:
  - name: saker
    context:
      cluster: saker
      user: kube-apiserver
current-context: saker
",
        cluster.join("\n      "),
        user.join("\n      ")
    );
    Ok(Document {
        name: KUBECONFIG_NAME,
        text,
        mode: if args.embed { Mode::Private } else { Mode::Public },
    })
}

/// Where the file will be on the control-plane machine.
pub(super) fn installed(path: &Path, install_dir: &str) -> Result<String, SetupError> {
    match path.file_name().and_then(|n| n.to_str()) {
        Some(name) => Ok(format!("{install_dir}/{name}")),
        None => Err(SetupError::Refused(format!(
            "`{}` does not name a file",
            path.display().to_string().escape_debug()
        ))),
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, SetupError> {
    fs::read(path).map_err(|source| SetupError::Read {
        path: path.to_owned(),
        source,
    })
}

/// A double-quoted YAML scalar; JSON strings are such.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The reason as comment lines.
fn comment(why: &str, indent: &str) -> String {
    why.lines().map(|line| format!("{indent}# {line}\n")).collect()
}

fn process(flags: &[Flag]) -> String {
    let mut out = String::from(
        "# Flags of kube-apiserver. Add them to its command line (systemd: to ExecStart), then restart it.\n",
    );
    for flag in flags {
        let _ = write!(out, "\n{}--{}={}\n", comment(flag.why, ""), flag.name, flag.value);
    }
    out
}

fn kubeadm(flags: &[Flag], install_dir: &str) -> String {
    let mut out = format!(
        "# For a control plane made by kubeadm 1.31 or later. On every control-plane node:
#
# 1. Copy {POLICY_NAME}, {KUBECONFIG_NAME} and the files that it names to {install_dir}/ (owner root,
#    keys mode 0600).
# 2. Take the cluster's configuration, merge what stands below into its section apiServer, and make the manifest anew:
#      kubectl -n kube-system get configmap kubeadm-config -o jsonpath='{{.data.ClusterConfiguration}}' > cluster.yaml
#      kubeadm init phase control-plane apiserver --config cluster.yaml
#    The kubelet restarts the API server by itself. Put the same change into the ConfigMap kubeadm-config
#    (kubectl -n kube-system edit configmap kubeadm-config), otherwise the next upgrade takes it back.
#
# kubeadm 1.30 and earlier (v1beta3): extraArgs is a mapping, \"audit-webhook-mode: batch\".
#
# By hand instead of 2: edit /etc/kubernetes/manifests/kube-apiserver.yaml (keep a copy outside that directory).
#   - spec.containers[0].command: one line \"- --NAME=VALUE\" for each name and value below;
#   - spec.containers[0].volumeMounts:
#       - {{name: saker, mountPath: {install_dir}, readOnly: true}}
#   - spec.volumes:
#       - {{name: saker, hostPath: {{path: {install_dir}, type: Directory}}}}
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
apiServer:
  extraArgs:
"
    );
    for flag in flags {
        let (why, value) = (comment(flag.why, "    "), quoted(&flag.value));
        let _ = write!(out, "{why}    - name: {}\n      value: {value}\n", flag.name);
    }
    let _ = write!(
        out,
        "  extraVolumes:
    - name: saker
      hostPath: {install_dir}
      mountPath: {install_dir}
      readOnly: true
      pathType: Directory
"
    );
    out
}

fn k3s(flags: &[Flag]) -> String {
    let mut out = String::from(
        "# For k3s: add this to /etc/rancher/k3s/config.yaml of every server and restart the service k3s.
# (RKE2: /etc/rancher/rke2/config.yaml and rke2-server; its API server is a static pod, which also needs
#  kube-apiserver-extra-mount for the directory of these files.)
kube-apiserver-arg:
",
    );
    for flag in flags {
        let argument = quoted(&format!("{}={}", flag.name, flag.value));
        let _ = writeln!(out, "{}  - {argument}", comment(flag.why, "  "));
    }
    out
}

/// Writes the files, and never over others; their names.
pub(super) fn write_all(dir: &Path, documents: &[Document]) -> Result<String, SetupError> {
    certificates::make_directory(dir)?;
    // Look at all before writing any, so that a refusal leaves nothing half-done.
    let mut missing = Vec::new();
    for document in documents {
        let path = dir.join(document.name);
        match fs::read_to_string(&path) {
            Ok(text) if text == document.text => {}
            Ok(_) => {
                let path = path.display().to_string();
                return Err(SetupError::Refused(format!(
                    "`{}` exists and differs: nothing was written\n  help: delete it, or choose another directory",
                    path.escape_debug()
                )));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => missing.push((path, document)),
            Err(source) => return Err(SetupError::Read { path, source }),
        }
    }
    for (path, document) in missing {
        certificates::create_new(&path, &document.text, document.mode)?;
    }
    let mut out = String::new();
    for document in documents {
        let path = dir.join(document.name).display().to_string();
        let _ = writeln!(out, "{}", path.escape_debug());
    }
    Ok(out)
}
