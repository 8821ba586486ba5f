//! Alerts to the standard input of a program, one a line: one process for all, or one per alert.
//!
//! What an event contains reaches the program on its standard input only, never in its arguments or environment.
//! A process has its own process group, which is killed as a whole; its output is discarded, its stderr is logged.

use std::collections::VecDeque;
use std::io::{self, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::ledger::Ledger;
use super::lines::form;
use super::retry::Backoff;
use super::worker::DeliveryError;
use crate::alert::Alert;
use crate::config::{AlertFormat, ProgramConfig};

#[cfg(test)]
mod tests;

const SHELL: &str = "/bin/sh";
/// Longest piece of a line of stderr that is kept.
const STDERR_LINE: usize = 1024;
/// What a program's orphans write to stderr is read for this long after the program itself ended.
const STDERR_AFTER_EXIT: Duration = Duration::from_secs(1);
/// The largest pipe a program can make of its standard input without privilege (`fs.pipe-max-size`).
const MAX_PIPE: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("the command is empty: write what `{SHELL} -c` shall run")]
    Empty,
    #[error("the command contains a NUL character: remove it")]
    Nul,
    #[error("`{SHELL}` cannot be run ({0}): install a shell or use another kind of output")]
    NoShell(io::Error),
}

pub(super) struct ProgramWriter {
    config: ProgramConfig,
    ledger: Arc<Ledger>,
    /// The kept-alive process; none before the first alert and after it ended.
    running: Option<Running>,
    /// Alerts that a kept-alive process ended without reading; the next process gets them first.
    unread: VecDeque<Arc<Alert>>,
    /// Paces restarts: the pause grows while processes end without reading everything.
    restarts: Backoff,
    not_before: Instant,
}

impl ProgramWriter {
    pub fn new(config: &ProgramConfig, ledger: Arc<Ledger>) -> Result<ProgramWriter, ProgramError> {
        if config.command.trim().is_empty() {
            return Err(ProgramError::Empty);
        }
        if config.command.contains('\0') {
            return Err(ProgramError::Nul);
        }
        let shell = Path::new(SHELL).metadata().map_err(ProgramError::NoShell)?;
        if !shell.is_file() || shell.permissions().mode() & 0o111 == 0 {
            return Err(ProgramError::NoShell(io::ErrorKind::PermissionDenied.into()));
        }
        Ok(ProgramWriter {
            config: config.clone(),
            ledger,
            running: None,
            unread: VecDeque::new(),
            restarts: Backoff::default(),
            not_before: Instant::now(),
        })
    }

    pub fn left_over(&self) -> u64 {
        self.unread.len() as u64
    }

    /// Delivers what an ended process left over, then `alert`.
    pub async fn deliver(&mut self, alert: Option<&Arc<Alert>>) -> Result<usize, DeliveryError> {
        if !self.config.keep_alive {
            return match alert {
                Some(alert) => self.run_for(alert).await.map(|()| 1),
                None => Ok(0),
            };
        }
        while let Some(next) = self.unread.front().cloned() {
            self.hand_over(&next).await?;
            self.unread.pop_front();
        }
        match alert {
            Some(alert) => self.hand_over(alert).await.map(|()| 1),
            None => Ok(0),
        }
    }

    /// Waits for a kept-alive process to end without having read everything, and says how it ended.
    pub async fn idle(&mut self) -> DeliveryError {
        loop {
            let Some(running) = &mut self.running else {
                return std::future::pending().await;
            };
            let status = running.child.wait().await;
            let why = self.ended(status, false);
            if !self.unread.is_empty() {
                return DeliveryError::again(why);
            }
        }
    }

    /// Closes the kept-alive process's standard input and waits for it to end.
    pub async fn finish(&mut self) -> Result<(), DeliveryError> {
        if let Some(running) = &mut self.running {
            running.stdin = None;
            let status = running.child.wait().await;
            let why = self.ended(status, true);
            if !self.unread.is_empty() {
                return Err(DeliveryError::again(why));
            }
        }
        Ok(())
    }

    /// Kills what runs; what it has not read is left over.
    pub fn abandon(&mut self) {
        if let Some(running) = self.running.take() {
            self.take_back(running);
        }
    }

    /// Writes one line to the kept-alive process, starting it if it does not run.
    async fn hand_over(&mut self, alert: &Arc<Alert>) -> Result<(), DeliveryError> {
        if self.running.is_none() {
            tokio::time::sleep_until(self.not_before).await;
        }
        let running = match &mut self.running {
            Some(running) => running,
            none => none.insert(
                Running::start(&self.config.command, &self.ledger)
                    .map_err(|error| DeliveryError::again(format!("cannot start `{SHELL}`: {error}")))?,
            ),
        };
        let line = line(alert, self.config.format);
        match running.write(&line).await {
            Ok(None) => {
                running.remember(alert);
                Ok(())
            }
            Ok(Some(status)) => Err(DeliveryError::again(self.ended(Ok(status), false))),
            Err(error) => Err(DeliveryError::again(self.ended(Err(error), false))),
        }
    }

    /// Clears up after a kept-alive process, which was `asked` to end or not, and says how it ended.
    fn ended(&mut self, status: io::Result<ExitStatus>, asked: bool) -> String {
        if let Some(running) = self.running.take() {
            let waited = self.unread.len();
            self.take_back(running);
            if self.unread.len() == waited {
                self.restarts.reset();
            }
            self.not_before = Instant::now() + self.restarts.pause();
        }
        let (closed, why) = match status {
            Ok(status) => (status.success(), format!("the program ended: {status}")),
            Err(error) => (
                false,
                format!("the program cannot be written to or waited for: {error}"),
            ),
        };
        // What it has read is its responsibility, but nobody else would mention its end.
        if !closed || !asked {
            self.ledger.program_ended(&why);
        }
        why
    }

    /// What a process did not read goes before what has waited for it.
    fn take_back(&mut self, running: Running) {
        let mut unread = running.kill_and_take_unread();
        unread.append(&mut self.unread);
        self.unread = unread;
    }

    /// One process for one alert.
    async fn run_for(&mut self, alert: &Arc<Alert>) -> Result<(), DeliveryError> {
        let mut child = command(&self.config.command)
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| DeliveryError::again(format!("cannot start `{SHELL}`: {error}")))?;
        let mut group = Group::of(&child);
        let _stderr = Forwarder::start(child.stderr.take(), &self.ledger);
        let stdin = child.stdin.take();
        let line = line(alert, self.config.format);
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // A program may end without reading its input; its exit status says whether that was right.
                let _ = stdin.write_all(&line).await;
            }
        };
        let run = async {
            tokio::select! {
                biased;
                status = child.wait() => status,
                never = async { feed.await; std::future::pending().await } => never,
            }
        };
        match timeout(self.config.timeout, run).await {
            Ok(status) => {
                // What it left running in the background is its own business.
                group.release();
                match status {
                    Ok(status) if status.success() => Ok(()),
                    Ok(status) => Err(DeliveryError::Refused(format!("the program ended: {status}"))),
                    Err(error) => Err(DeliveryError::Refused(format!(
                        "the program cannot be waited for: {error}"
                    ))),
                }
            }
            Err(_) => {
                group.kill();
                // Collects the killed process; nothing depends on it.
                let _ = timeout(STDERR_AFTER_EXIT, child.wait()).await;
                let limit = self.config.timeout;
                Err(DeliveryError::Refused(format!(
                    "the program did not end within {limit:?} and was killed"
                )))
            }
        }
    }
}

fn line(alert: &Alert, format: AlertFormat) -> Vec<u8> {
    let text = form(alert, format);
    let mut line = Vec::with_capacity(text.len() + 1);
    line.extend_from_slice(text.as_bytes());
    line.push(b'\n');
    line
}

fn command(command: &str) -> Command {
    let mut shell = Command::new(SHELL);
    shell
        .arg("-c")
        .arg(command)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    shell
}

/// The process group of a program, killed when this is dropped, before the program itself is collected.
struct Group(Option<Pid>);

impl Group {
    /// The program leads its group, so the group has its process id.
    fn of(child: &Child) -> Group {
        Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    fn release(&mut self) {
        self.0 = None;
    }

    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // Fails only when nothing of the group is left.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A kept-alive process and the pipe to it.
///
/// We keep the pipe's reading end too: after the process ended, it holds exactly what the process did not read.
struct Running {
    group: Group,
    child: Child,
    stdin: Option<pipe::Sender>,
    reader: PipeReader,
    /// Bytes written to the pipe.
    sent: u64,
    /// The alerts that may still be in the pipe, and where in the stream of bytes each ends.
    recent: VecDeque<(u64, Arc<Alert>)>,
    _stderr: Forwarder,
}

impl Running {
    fn start(command_line: &str, ledger: &Arc<Ledger>) -> io::Result<Running> {
        let (reader, writer) = io::pipe()?;
        let stdin = pipe::Sender::from_owned_fd(OwnedFd::from(writer))?;
        let mut child = command(command_line).stdin(reader.try_clone()?).spawn()?;
        Ok(Running {
            group: Group::of(&child),
            _stderr: Forwarder::start(child.stderr.take(), ledger),
            child,
            stdin: Some(stdin),
            reader,
            sent: 0,
            recent: VecDeque::new(),
        })
    }

    /// Writes a line unless the process ends first, which is the `Some` of the answer.
    async fn write(&mut self, line: &[u8]) -> io::Result<Option<ExitStatus>> {
        let mut rest = line;
        while !rest.is_empty() {
            let Some(stdin) = &mut self.stdin else {
                return Err(io::ErrorKind::BrokenPipe.into());
            };
            tokio::select! {
                biased;
                status = self.child.wait() => return status.map(Some),
                written = stdin.write(rest) => {
                    let written = written?;
                    self.sent += written as u64;
                    rest = &rest[written..];
                }
            }
        }
        Ok(None)
    }

    /// Notes that `alert` is the last thing written.
    fn remember(&mut self, alert: &Arc<Alert>) {
        self.recent.push_back((self.sent, Arc::clone(alert)));
        while self.recent.front().is_some_and(|(end, _)| end + MAX_PIPE < self.sent) {
            self.recent.pop_front();
        }
    }

    /// Ends what is left of the process group and returns the alerts that were not read to their end.
    fn kill_and_take_unread(mut self) -> VecDeque<Arc<Alert>> {
        self.group.kill();
        // Nobody else writes to the pipe, so with this closed reading it ends without waiting.
        self.stdin = None;
        let mut in_pipe = 0u64;
        let mut buffer = [0; 4096];
        loop {
            match self.reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => in_pipe += n as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let read = self.sent.saturating_sub(in_pipe);
        let unread = self.recent.into_iter().filter(|(end, _)| *end > read);
        unread.map(|(_, alert)| alert).collect()
    }
}

/// Logs a program's stderr, line by line; dropping this says that the program ended.
struct Forwarder {
    _program_runs: oneshot::Sender<()>,
}

impl Forwarder {
    fn start(stderr: Option<ChildStderr>, ledger: &Arc<Ledger>) -> Forwarder {
        let (program_runs, ended) = oneshot::channel();
        if let Some(stderr) = stderr {
            tokio::spawn(forward(stderr, ended, Arc::clone(ledger)));
        }
        Forwarder {
            _program_runs: program_runs,
        }
    }
}

async fn forward(mut stderr: ChildStderr, ended: oneshot::Receiver<()>, ledger: Arc<Ledger>) {
    let mut line = Vec::new();
    let mut cut = false;
    let mut chunk = [0; 4096];
    // Orphans of the program may hold its stderr open for ever.
    let give_up = async {
        let _ = ended.await;
        tokio::time::sleep(STDERR_AFTER_EXIT).await;
    };
    let mut give_up = std::pin::pin!(give_up);
    loop {
        let n = tokio::select! {
            biased;
            read = stderr.read(&mut chunk) => match read {
                Ok(n) if n > 0 => n,
                _ => break,
            },
            () = &mut give_up => break,
        };
        for &byte in &chunk[..n] {
            if byte == b'\n' {
                ledger.program_line(&line, cut);
                line.clear();
                cut = false;
            } else if line.len() < STDERR_LINE {
                line.push(byte);
            } else {
                cut = true;
            }
        }
    }
    if !line.is_empty() {
        ledger.program_line(&line, cut);
    }
}
