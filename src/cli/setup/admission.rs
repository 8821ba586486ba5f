//! `saker setup admission`: webhook configurations that tell Saker who is about to enter a pod, and what lets the API
//! server say who it is.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::SetupError;
use super::apiserver::{Document, https_url, installed, print_all, quoted, read, write_all};
use crate::base64;
use crate::certificates::Mode;
use crate::sources::audit::webhook::admission::{EXEC, EXEC_KEY};
use crate::sources::audit::webhook::receive::is_cluster_name;

pub const EXAMPLES: &str = "\
Examples:
  saker setup admission --server https://10.96.0.94:9443 --out saker-admission
  saker setup admission --server https://saker.example.org:9443 --cluster prod --token-file token --out saker-admission
  saker setup admission --server https://10.96.0.94:9443 --mutating --namespaces dev,test --out saker-admission";

#[derive(Debug, Args)]
pub struct AdmissionArgs {
    /// URL of Saker's webhook as the API server reaches it, without a path; the host must be in Saker's certificate
    #[arg(long, value_name = "URL")]
    pub server: String,
    /// Name of the cluster, where one Saker serves several
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// CA of Saker's certificate, which becomes part of the configurations
    #[arg(long, value_name = "FILE", default_value = "certs/ca.crt")]
    pub ca: PathBuf,
    /// Also write the configuration that puts a key before commands; its head says what it costs
    #[arg(long)]
    pub mutating: bool,
    /// Only these namespaces [default: all; with --mutating, keys only in those labelled saker.internal/exec-key=enabled]
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        conflicts_with = "namespace_selector"
    )]
    pub namespaces: Vec<String>,
    /// Only namespaces with this label
    #[arg(long, value_name = "KEY=VALUE")]
    pub namespace_selector: Option<String>,
    /// Client certificate of the API server [default: certs/client.crt, unless a token is given]
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub client_cert: Option<PathBuf>,
    /// Its key [default: certs/client.key]
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub client_key: Option<PathBuf>,
    /// File with a bearer token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Where certificate, key or token will be on the control-plane machine
    #[arg(long, value_name = "DIR", default_value = "/etc/kubernetes/saker")]
    pub install_dir: String,
    /// Write the files here instead of printing them
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

const VALIDATING_NAME: &str = "admission-validating.yaml";
const MUTATING_NAME: &str = "admission-mutating.yaml";
const CONFIGURATION_NAME: &str = "admission.yaml";
const KUBECONFIG_NAME: &str = "admission-webhook.kubeconfig";
const FLAGS_NAME: &str = "admission.flags";
/// Of namespaces in which commands get a key, unless the arguments name others.
const LABEL: (&str, &str) = ("saker.internal/exec-key", "enabled");

/// What `saker setup admission` prints.
pub(super) fn make(args: &AdmissionArgs) -> Result<String, SetupError> {
    let documents = documents(args, &ca_bundle(&args.ca)?)?;
    let Some(dir) = &args.out else {
        return Ok(print_all(&documents));
    };
    let mut out = write_all(dir, &documents)?;
    let mutating = if args.mutating {
        format!("; {MUTATING_NAME} is optional, read its head first")
    } else {
        String::new()
    };
    // Writing into a String cannot fail.
    let _ = writeln!(
        out,
        "next: let the API server say who it is ({FLAGS_NAME} has the steps), then kubectl apply -f {VALIDATING_NAME}\
         {mutating}"
    );
    Ok(out)
}

/// The files for these arguments, with the CA in base64.
pub fn documents(args: &AdmissionArgs, ca_bundle: &str) -> Result<Vec<Document>, SetupError> {
    let install_dir = args.install_dir.trim_end_matches('/');
    if !install_dir.starts_with('/') || install_dir.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"')
    {
        return refuse(format!(
            "`--install-dir {}` is not an absolute path without spaces",
            args.install_dir.escape_debug()
        ));
    }
    let call = Call {
        server: checked_server(&args.server)?,
        cluster: checked_cluster(args.cluster.as_deref())?,
        ca_bundle: ca_bundle.to_owned(),
    };
    let given = selector(args)?;
    let public = |name, text| Document {
        name,
        text,
        mode: Mode::Public,
    };
    let mut out = vec![public(VALIDATING_NAME, validating(&call, given.as_deref()))];
    if args.mutating {
        out.push(public(MUTATING_NAME, mutating(&call, given.as_deref())));
    }
    out.push(public(CONFIGURATION_NAME, configuration(install_dir)));
    out.push(public(KUBECONFIG_NAME, kubeconfig(args, &call, install_dir)?));
    out.push(public(FLAGS_NAME, flags(install_dir)));
    Ok(out)
}

fn refuse<T>(reason: String) -> Result<T, SetupError> {
    Err(SetupError::Refused(reason))
}

/// How the API server reaches Saker.
struct Call {
    /// `https://HOST:PORT`.
    server: String,
    /// `/NAME`, or nothing.
    cluster: String,
    ca_bundle: String,
}

impl Call {
    fn url(&self, path: &str) -> String {
        quoted(&format!("{}{path}{}", self.server, self.cluster))
    }

    /// As the API server looks for credentials: host and port.
    fn host(&self) -> String {
        let host = self.server.trim_start_matches("https://");
        let port = host.rsplit(']').next().unwrap_or_default();
        match port.contains(':') {
            true => host.to_owned(),
            false => format!("{host}:443"),
        }
    }
}

fn checked_server(server: &str) -> Result<String, SetupError> {
    let url = https_url(server, "https://saker.example.org:9443")?;
    let shown = server.escape_debug();
    if url.path() != "/" || url.query().is_some() {
        return refuse(format!(
            "`--server {shown}` has a path\n  help: give host and port alone; `--cluster NAME` names the cluster"
        ));
    }
    match url.authority() {
        Some(authority) if !authority.as_str().contains('@') => Ok(format!("https://{authority}")),
        _ => refuse(format!("`--server {shown}` names no host, or a user")),
    }
}

fn checked_cluster(cluster: Option<&str>) -> Result<String, SetupError> {
    match cluster {
        None => Ok(String::new()),
        Some(name) if is_cluster_name(name) => Ok(format!("/{name}")),
        Some(name) => refuse(format!(
            "`--cluster {}` is not 1 to 63 letters, digits, `.`, `_` or `-`",
            name.escape_debug()
        )),
    }
}

fn ca_bundle(path: &Path) -> Result<String, SetupError> {
    let pem = read(path)?;
    let text = String::from_utf8_lossy(&pem);
    // Everybody who may read the configuration could read a key that stands in the same file.
    if !text.contains("-----BEGIN CERTIFICATE-----") || text.contains("PRIVATE KEY") {
        return refuse(format!(
            "`{}` does not hold certificates alone, in PEM",
            path.display().to_string().escape_debug()
        ));
    }
    Ok(base64::encode(&pem))
}

/// The namespaces that the arguments name, as the text of a `namespaceSelector`.
fn selector(args: &AdmissionArgs) -> Result<Option<String>, SetupError> {
    let plain = |text: &str, more: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        !text.is_empty() && text.len() <= 253 && text.chars().all(allowed)
    };
    if let Some(bad) = args.namespaces.iter().find(|name| !plain(name, "-")) {
        return refuse(format!("`{}` is no name of a namespace", bad.escape_debug()));
    }
    if !args.namespaces.is_empty() {
        let names: Vec<String> = args.namespaces.iter().map(|name| quoted(name)).collect();
        return Ok(Some(format!(
            "matchExpressions:\n        - {{key: kubernetes.io/metadata.name, operator: In, values: [{}]}}",
            names.join(", ")
        )));
    }
    match &args.namespace_selector {
        None => Ok(None),
        Some(text) => match text.split_once('=') {
            Some((key, value)) if plain(key, "-._/") && plain(value, "-._") => Ok(Some(labelled(key, value))),
            _ => refuse(format!(
                "`--namespace-selector {}` is not KEY=VALUE",
                text.escape_debug()
            )),
        },
    }
}

fn labelled(key: &str, value: &str) -> String {
    format!("matchLabels: {{{}: {}}}", quoted(key), quoted(value))
}

fn namespaces(selector: Option<&str>) -> String {
    selector.map_or_else(String::new, |selector| {
        format!("    namespaceSelector:\n      {selector}\n")
    })
}

/// What every webhook here has in common.
fn webhook(name: &str, url: &str, call: &Call) -> String {
    format!(
        "  - name: {name}
    clientConfig:
      url: {url}
      caBundle: {}
    admissionReviewVersions: [v1]
    failurePolicy: Ignore
    timeoutSeconds: 1
    matchPolicy: Equivalent
    sideEffects: NoneOnDryRun
",
        call.ca_bundle
    )
}

fn validating(call: &Call, selector: Option<&str>) -> String {
    let url = call.url(EXEC);
    let [exec, node, create] =
        ["exec", "node", "create"].map(|what| webhook(&format!("{what}.saker.internal"), &url, call));
    let namespaces = namespaces(selector);
    format!(
        "# Tells Saker who is about to enter which pod, with which command, some 40 ms before the process starts.
#
# Saker allows whatever comes, and at once. It is never in the way: failurePolicy Ignore lets requests go on while it is
# away, timeoutSeconds 1 bounds the wait for one that hangs. The audit event of a request that Saker was not asked about
# has the annotation failed-open.validating.webhook.admission.k8s.io/...
#
# Kubernetes 1.28 or later. Before, leave matchConditions out.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: saker-exec
  labels: {{app.kubernetes.io/name: saker}}
webhooks:
{exec}{namespaces}    rules:
      - {{apiGroups: [\"\"], apiVersions: [v1], operations: [CONNECT], resources: [pods/exec, pods/attach, pods/portforward], scope: \"*\"}}
      - {{apiGroups: [\"\"], apiVersions: [v1], operations: [UPDATE], resources: [pods/ephemeralcontainers], scope: Namespaced}}
  # Conditions stand in webhooks of their own: one that cannot be evaluated skips its webhook, and that is not told.
{node}{namespaces}    rules:
      - {{apiGroups: [\"\"], apiVersions: [v1], operations: [CONNECT], resources: [nodes/proxy], scope: \"*\"}}
    matchConditions:
      # Not what monitoring asks of kubelets all the time.
      - name: not-monitoring
        expression: >-
          !(has(object.path)
          && object.path.matches('^/?(metrics(/(cadvisor|probes|resource))?|stats/summary|healthz|pods)/?$'))
{create}{namespaces}    rules:
      - {{apiGroups: [\"\"], apiVersions: [v1], operations: [CREATE], resources: [pods], scope: Namespaced}}
    matchConditions:
      # Not the pods that controllers and kubelets make all the time, unless somebody could talk to one.
      - name: made-by-a-person-or-interactive
        expression: >-
          !((has(request.userInfo.groups)
          && ('system:nodes' in request.userInfo.groups || 'system:serviceaccounts:kube-system' in request.userInfo.groups))
          || (has(request.userInfo.username) && request.userInfo.username == 'system:kube-controller-manager'))
          || (has(object.spec) && has(object.spec.containers)
          && object.spec.containers.exists(c, (has(c.stdin) && c.stdin) || (has(c.tty) && c.tty)))
"
    )
}

fn mutating(call: &Call, selector: Option<&str>) -> String {
    let webhook = webhook("exec-key.saker.internal", &call.url(EXEC_KEY), call);
    let default = labelled(LABEL.0, LABEL.1);
    let namespaces = namespaces(Some(selector.unwrap_or(&default)));
    let how = match selector {
        Some(_) => String::new(),
        None => format!(
            "# It acts in namespaces with a label:\n#   kubectl label namespace NAME {}={}\n#\n",
            LABEL.0, LABEL.1
        ),
    };
    format!(
        "# OPTIONAL. Puts \"env SAKER_EXEC_ID=<id>\" before the command of every kubectl exec, so that users who run the same
# command in the same container at the same moment are told apart (measured: 68 of 68). Without it such sessions are
# called ambiguous; everything else is found without it as well.
#
# What it costs, as measured:
# - an image without env can no longer be entered: exec fails with \"env: executable file not found in $PATH\", whatever
#   failurePolicy says, and the audit event still says 101;
# - exit codes change: a missing program gives 127 and a message of env instead of kubectl's own error and 1; one that
#   cannot be executed gives 126;
# - the session's processes have SAKER_EXEC_ID in their environment; rules that look at the first program of an exec see env
#   first, and with some builds of busybox \"exe\" as the name of a bare applet;
# - a patch that does not apply would block the exec (500), even with failurePolicy Ignore. Saker makes none when it is
#   not sure.
#
{how}# Set webhook.admission.key: true in saker.yaml; until then Saker answers and changes nothing.
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata:
  name: saker-exec-key
  labels: {{app.kubernetes.io/name: saker}}
webhooks:
{webhook}    reinvocationPolicy: Never
{namespaces}    rules:
      - {{apiGroups: [\"\"], apiVersions: [v1], operations: [CONNECT], resources: [pods/exec], scope: Namespaced}}
"
    )
}

fn configuration(install_dir: &str) -> String {
    let kubeconfig = quoted(&format!("{install_dir}/{KUBECONFIG_NAME}"));
    let mut out = String::from(
        "# Where kube-apiserver finds the credentials that it shows to admission webhooks. A file for
# --admission-control-config-file that exists already gets these two plugins added.
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
",
    );
    for plugin in ["ValidatingAdmissionWebhook", "MutatingAdmissionWebhook"] {
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            "  - name: {plugin}
    configuration:
      apiVersion: apiserver.config.k8s.io/v1
      kind: WebhookAdmissionConfiguration
      kubeConfigFile: {kubeconfig}
"
        );
    }
    out
}

fn kubeconfig(args: &AdmissionArgs, call: &Call, install_dir: &str) -> Result<String, SetupError> {
    let client = match (&args.client_cert, &args.client_key) {
        (Some(cert), Some(key)) => Some((cert.as_path(), key.as_path())),
        _ if args.token_file.is_some() => None,
        _ => Some((Path::new("certs/client.crt"), Path::new("certs/client.key"))),
    };
    let mut user = Vec::new();
    let mut line = |key: &str, path: &Path| -> Result<(), SetupError> {
        user.push((key.to_owned(), installed(path, install_dir)?));
        Ok(())
    };
    if let Some((cert, key)) = client {
        line("client-certificate", cert)?;
        line("client-key", key)?;
    }
    if let Some(path) = &args.token_file {
        line("tokenFile", path)?;
    }
    let files: Vec<&str> = user.iter().map(|(_, path)| path.as_str()).collect();
    let lines: Vec<String> = user
        .iter()
        .map(|(key, path)| format!("{key}: {}", quoted(path)))
        .collect();
    Ok(format!(
        "# What kube-apiserver shows to Saker's admission endpoints. It must be able to read:
#   {}
# kube-apiserver reads this file at its start: restart it after a change.
apiVersion: v1
kind: Config
users:
  # Host and port of the URL in the webhook configurations.
  - name: {}
    user:
      {}
",
        files.join("\n#   "),
        quoted(&call.host()),
        lines.join("\n      ")
    ))
}

fn flags(install_dir: &str) -> String {
    let (name, path) = (
        "admission-control-config-file",
        format!("{install_dir}/{CONFIGURATION_NAME}"),
    );
    format!(
        "# An API server shows nothing to admission webhooks unless it is told to. Where Saker asks for a client certificate or
# a token (webhook.tls.client_ca, webhook.token_file), it allows reviews without one and does not believe them. A
# certificate that another CA has signed fails the connection; the review is then skipped.
#
# On every control-plane machine: copy {CONFIGURATION_NAME}, {KUBECONFIG_NAME} and the files that it names to {install_dir}/
# (owner root, keys and tokens mode 0600), then add this flag and restart kube-apiserver.
#
# kubeadm (ClusterConfiguration, below apiServer.extraArgs; the directory is a volume as for the audit webhook):
#     - name: {name}
#       value: \"{path}\"
# k3s (/etc/rancher/k3s/config.yaml, below kube-apiserver-arg):
#   - \"{name}={path}\"

--{name}={path}
"
    )
}
