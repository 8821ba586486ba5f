//! A real nats-server on a loopback port, with a store of its own.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The servers to test with: `SAKER_NATS_SERVER` (several with `:` between them), otherwise the one that is installed.
pub fn binaries() -> Vec<PathBuf> {
    if let Some(named) = std::env::var_os("SAKER_NATS_SERVER") {
        return std::env::split_paths(&named).collect();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|dir| dir.join("nats-server"))
        .find(|file| file.is_file());
    if installed.is_none() {
        eprintln!("SKIPPED: there is no nats-server here, and SAKER_NATS_SERVER names none");
    }
    installed.into_iter().collect()
}

pub struct Server {
    binary: PathBuf,
    pub dir: tempfile::TempDir,
    pub port: u16,
    child: Option<Child>,
}

impl Server {
    /// Prepares a server that does not run yet. `more` goes into its configuration.
    pub fn new(binary: &Path, more: &str) -> Server {
        let dir = tempfile::tempdir().expect("a directory");
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").expect("a port");
            free.local_addr().expect("an address").port()
        };
        let store = dir.path().join("store");
        let server = Server {
            binary: binary.to_owned(),
            dir,
            port,
            child: None,
        };
        server.configure(&format!(
            "host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: {:?} }}\n{more}\n",
            store.display()
        ));
        server
    }

    fn configure(&self, text: &str) {
        fs::write(self.dir.path().join("nats.conf"), text).expect("a file");
    }

    pub fn run(binary: &Path, more: &str) -> Server {
        let mut server = Server::new(binary, more);
        server.start();
        server
    }

    pub fn start(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .expect("a log file");
        let child = Command::new(&self.binary)
            .arg("-c")
            .arg(self.dir.path().join("nats.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nats-server starts");
        self.child = Some(child);
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.as_mut().and_then(|c| c.try_wait().ok().flatten());
            assert!(
                ended.is_none() && Instant::now() < end,
                "nats-server does not listen:\n{}",
                fs::read_to_string(self.log()).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// SIGKILL, to this process alone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops answering, with its connections open, or goes on.
    pub fn pause(&self, pause: bool) {
        let signal = if pause { Signal::SIGSTOP } else { Signal::SIGCONT };
        let child = self.child.as_ref().expect("a server that runs");
        kill(Pid::from_raw(child.id().cast_signed()), signal).expect("signal");
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!(
                "log of {}:\n{}",
                self.binary.display(),
                fs::read_to_string(self.log()).unwrap_or_default()
            );
        }
    }
}
