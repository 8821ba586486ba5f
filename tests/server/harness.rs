//! Starts the real binary, waits until it is ready, reads what it says, and ends it, by its own process id and only that.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::client::{Answer, Client};
use crate::material::{RULES, certificates};

/// Longer than anything here takes, so that a test that hangs fails instead.
pub const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

/// The binary, with an environment in which nothing changes its configuration.
pub fn saker(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_saker"));
    command.current_dir(dir).stdin(Stdio::null()).env("TZ", "UTC");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SAKER_")) {
        command.env_remove(name);
    }
    // As root the probe would be attached as well, and alerts of the whole machine would come in between.
    command.env("SAKER_SOURCES", "[k8s_audit]");
    command
}

/// Polls until `ready` gives something.
#[track_caller]
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(PAUSE);
    }
}

/// A `saker serve` that runs in a directory of its own.
pub struct Server {
    pub dir: PathBuf,
    webhook: OnceLock<SocketAddr>,
    status: SocketAddr,
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    _own: Option<tempfile::TempDir>,
}

/// How to start a server.
pub struct Start {
    dir: tempfile::TempDir,
    yaml: String,
    stdout: Stdio,
    stdin: Stdio,
    args: Vec<&'static str>,
}

/// A server with `rules.yaml`, the certificates of `saker setup certs` under `certs/`, and this saker.yaml besides.
pub fn configured(yaml: &str) -> Start {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("rules.yaml"), RULES).unwrap();
    certificates(&dir.path().join("certs"));
    Start {
        dir,
        yaml: format!("rules: {{builtin: false, files: [rules.yaml]}}\n{yaml}"),
        stdout: Stdio::null(),
        stdin: Stdio::null(),
        args: vec!["-c", "saker.yaml"],
    }
}

/// Alerts into `alerts.jsonl`.
pub const TO_FILE: &str = "outputs: [{kind: file, path: alerts.jsonl}]\n";

/// A webhook with the certificate of `saker setup certs` and further keys of that section.
pub fn webhook(more: &str) -> String {
    format!("webhook:\n  tls: {{cert: certs/server.crt, key: certs/server.key}}\n{more}")
}

impl Start {
    /// Puts a file into the directory first.
    pub fn file(self, name: &str, contents: &str) -> Start {
        std::fs::write(self.dir.path().join(name), contents).unwrap();
        self
    }

    pub fn prepare(self, prepare: impl FnOnce(&Path)) -> Start {
        prepare(self.dir.path());
        self
    }

    pub fn stdout_piped(mut self) -> Start {
        self.stdout = Stdio::piped();
        self
    }

    pub fn stdin_piped(mut self) -> Start {
        self.stdin = Stdio::piped();
        self
    }

    pub fn arg(mut self, arg: &'static str) -> Start {
        self.args.push(arg);
        self
    }

    /// Starts it and waits until it says that it is ready.
    #[track_caller]
    pub fn start(self) -> Server {
        let mut server = self.start_unready();
        server.wait_until_ready();
        server
    }

    /// Starts it, and does not wait for more than its first lines.
    #[track_caller]
    pub fn start_unready(self) -> Server {
        std::fs::write(self.dir.path().join("saker.yaml"), &self.yaml).unwrap();
        let mut server = Server::spawn(self.dir.path(), &self.args, self.stdin, self.stdout);
        server._own = Some(self.dir);
        server
    }
}

impl Server {
    /// Starts `saker serve` in `dir` on ports that the system picks, and reads its first lines.
    #[track_caller]
    pub fn spawn(dir: &Path, args: &[&str], stdin: Stdio, stdout: Stdio) -> Server {
        let mut child = saker(dir)
            .arg("serve")
            .args(["--listen", "127.0.0.1:0", "--status-listen", "127.0.0.1:0"])
            .args(args)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let reader = std::thread::spawn({
            let log = Arc::clone(&log);
            move || {
                for line in stderr.lines().map_while(Result::ok) {
                    let mut log = log.lock().unwrap();
                    log.push_str(&line);
                    log.push('\n');
                }
            }
        });
        let mut server = Server {
            dir: dir.to_owned(),
            webhook: OnceLock::new(),
            status: SocketAddr::from(([0, 0, 0, 0], 0)),
            child,
            log,
            reader: Some(reader),
            _own: None,
        };
        server.status = wait_for("the status address", || {
            server.assert_running();
            server.address_after("  status   http://")
        });
        server
    }

    fn address_after(&self, prefix: &str) -> Option<SocketAddr> {
        let log = self.log();
        let line = log.lines().find_map(|line| line.strip_prefix(prefix))?;
        line.split('/').next()?.parse().ok()
    }

    #[track_caller]
    fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            self.join_reader();
            panic!("saker ended with {status}:\n{}", self.log());
        }
    }

    #[track_caller]
    pub fn wait_until_ready(&mut self) {
        wait_for("readiness", || {
            self.assert_running();
            (self.get("/readyz").ok()?.code == 200).then_some(())
        });
    }

    /// Of the webhook.
    pub fn address(&self) -> SocketAddr {
        let told = || wait_for("the webhook's address", || self.address_after("  webhook  https://"));
        *self.webhook.get_or_init(told)
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// Takes the other end of its standard output; see [`Start::stdout_piped`].
    pub fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    /// Everything on standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        wait_for(text, || self.log().contains(text).then_some(()));
    }

    /// A client that knows the CA.
    pub fn client(&self) -> Client {
        Client::new(self.address(), &self.dir.join("certs/ca.crt"), None)
    }

    /// A client that also shows a certificate.
    pub fn client_with(&self, dir: &Path) -> Client {
        let pair = (dir.join("client.crt"), dir.join("client.key"));
        Client::new(self.address(), &self.dir.join("certs/ca.crt"), Some(pair))
    }

    /// Asks the status server.
    pub fn get(&self, path: &str) -> std::io::Result<Answer> {
        let mut tcp = TcpStream::connect(self.status)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        write!(tcp, "GET {path} HTTP/1.1\r\nHost: saker\r\nConnection: close\r\n\r\n")?;
        Answer::read(&mut BufReader::new(tcp))
    }

    /// Every sample of /metrics.
    pub fn metrics(&self) -> HashMap<String, f64> {
        let text = self.get("/metrics").unwrap().body;
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').unwrap();
                (name.to_owned(), value.parse().unwrap())
            })
            .collect()
    }

    /// One sample; 0 while there is none.
    pub fn metric(&self, name: &str) -> f64 {
        self.metrics().get(name).copied().unwrap_or(0.0)
    }

    #[track_caller]
    pub fn wait_for_metric(&self, name: &str, at_least: f64) {
        wait_for(&format!("{name} to be {at_least}"), || {
            (self.metric(name) >= at_least).then_some(())
        });
    }

    /// The alerts in `alerts.jsonl` so far.
    pub fn alerts(&self) -> Vec<Value> {
        read_alerts(&self.dir.join("alerts.jsonl"))
    }

    /// Waits until there are `count` alerts, and gives the audit ids of all there are, in order.
    #[track_caller]
    pub fn wait_for_alerts(&self, count: usize) -> Vec<String> {
        wait_for(&format!("{count} alerts"), || {
            let alerts = self.alerts();
            (alerts.len() >= count).then(|| ids(&alerts))
        })
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for the end, which must be exit code 0, and gives all of standard error.
    #[track_caller]
    pub fn ended_well(&mut self) -> String {
        let status = self.wait();
        let log = self.log();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        let status = wait_for("saker to end", || self.child.try_wait().unwrap());
        self.join_reader();
        status
    }

    fn join_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }

    /// SIGTERM, and the end.
    #[track_caller]
    pub fn stop(&mut self) -> String {
        self.signal(Signal::SIGTERM);
        self.ended_well()
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Resident memory in KiB.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A child that has ended is not signalled: std knows that it was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "--- log of the server ---\n{}", self.log());
        }
    }
}

/// One JSON object a line; a last line that is still being written is left out.
pub fn read_alerts(path: &Path) -> Vec<Value> {
    let mut text = String::new();
    if let Ok(mut file) = File::open(path) {
        file.read_to_string(&mut text).unwrap();
    }
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    parse_alerts(&text[..whole])
}

pub fn parse_alerts(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The audit id of each alert.
pub fn ids(alerts: &[Value]) -> Vec<String> {
    let id = |alert: &Value| alert["output_fields"]["ka.auditid"].as_str().unwrap().to_owned();
    alerts.iter().map(id).collect()
}
