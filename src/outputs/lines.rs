//! One line per alert into a file descriptor, written by a thread of its own.
//!
//! A write to a pipe that nobody reads, or to a file on a dead network share, blocks for as long as it likes. A
//! thread that nobody joins keeps that away from the runtime, whose shutdown waits for its blocking tasks.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::alert::Alert;
use crate::config::AlertFormat;

/// A descriptor that another process made non-blocking is tried again after this.
const WOULD_BLOCK_PAUSE: Duration = Duration::from_millis(5);

pub(super) fn form(alert: &Alert, format: AlertFormat) -> &str {
    match format {
        AlertFormat::Text => &alert.text,
        AlertFormat::Json => &alert.json,
    }
}

enum Job {
    Write {
        bytes: Vec<u8>,
        from: usize,
        reply: oneshot::Sender<Written>,
    },
    Replace(File),
    Sync {
        reply: oneshot::Sender<io::Result<()>>,
    },
}

/// How far a write came, with the buffer to use again.
struct Written {
    bytes: Vec<u8>,
    end: usize,
    result: io::Result<()>,
}

/// Writes batches of lines and remembers how much of an interrupted line is out already.
pub(super) struct LineWriter {
    format: AlertFormat,
    jobs: mpsc::Sender<Job>,
    buffer: Vec<u8>,
    /// End of each line in `buffer`.
    ends: Vec<usize>,
    /// Bytes of the next line that a failed write got out before it failed.
    partial: usize,
}

impl LineWriter {
    pub fn start(name: &str, file: File, format: AlertFormat) -> io::Result<LineWriter> {
        let (jobs, queue) = mpsc::channel();
        thread::Builder::new()
            .name(format!("output {name}"))
            .spawn(move || write_jobs(file, &queue))?;
        Ok(LineWriter {
            format,
            jobs,
            buffer: Vec::new(),
            ends: Vec::new(),
            partial: 0,
        })
    }

    /// Writes `alerts` in one go; on an error, says how many lines are out if any are.
    pub async fn write(&mut self, alerts: &[Arc<Alert>]) -> io::Result<usize> {
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.clear();
        self.ends.clear();
        for alert in alerts {
            bytes.extend_from_slice(form(alert, self.format).as_bytes());
            bytes.push(b'\n');
            self.ends.push(bytes.len());
        }
        let (reply, answer) = oneshot::channel();
        let job = Job::Write {
            bytes,
            from: self.partial,
            reply,
        };
        self.jobs.send(job).map_err(|_| thread_ended())?;
        let written = answer.await.map_err(|_| thread_ended())?;
        self.buffer = written.bytes;
        let lines = self.ends.partition_point(|end| *end <= written.end);
        let whole = lines.checked_sub(1).map_or(0, |last| self.ends[last]);
        self.partial = written.end - whole;
        match written.result {
            // What stopped the write meets the next one too, which then reports it.
            Err(_) if lines > 0 => Ok(lines),
            Err(error) => Err(error),
            Ok(()) => Ok(lines),
        }
    }

    /// Goes on in another file, beginning with a whole line.
    pub fn replace(&mut self, file: File) -> io::Result<()> {
        self.partial = 0;
        self.jobs.send(Job::Replace(file)).map_err(|_| thread_ended())
    }

    /// Waits until the storage has what was written.
    pub async fn sync(&mut self) -> io::Result<()> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Sync { reply }).map_err(|_| thread_ended())?;
        answer.await.map_err(|_| thread_ended())?
    }
}

fn thread_ended() -> io::Error {
    io::Error::other("the writing thread ended")
}

fn write_jobs(mut file: File, jobs: &mpsc::Receiver<Job>) {
    // A failed send of a reply means that the output was stopped; the channel of jobs ends next.
    for job in jobs {
        match job {
            Job::Write { bytes, from, reply } => {
                let (end, result) = write_from(&mut file, &bytes, from);
                let _ = reply.send(Written { bytes, end, result });
            }
            Job::Replace(other) => file = other,
            Job::Sync { reply } => {
                let _ = reply.send(file.sync_data());
            }
        }
    }
}

fn write_from(file: &mut File, bytes: &[u8], from: usize) -> (usize, io::Result<()>) {
    let mut end = from.min(bytes.len());
    while end < bytes.len() {
        match file.write(&bytes[end..]) {
            Ok(0) => return (end, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => end += n,
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => thread::sleep(WOULD_BLOCK_PAUSE),
                _ => return (end, Err(error)),
            },
        }
    }
    (end, Ok(()))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;
    use crate::outputs::testing::alert;

    /// Longer than a pipe holds, so that a write stops within it when the reader goes away.
    fn long() -> String {
        (0..40_000).map(|n| format!("{n} ")).collect()
    }

    /// Reads some bytes and goes away.
    fn read_a_little(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
        thread::spawn(move || {
            let mut got = vec![0; 10_000];
            pipe.read_exact(&mut got).unwrap();
            got
        })
    }

    #[tokio::test]
    async fn an_interrupted_line_goes_on_where_it_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let pipe = File::options().read(true).write(true).open(&path).unwrap();
        let reader = File::open(&path).unwrap();
        let writer = File::options().write(true).open(&path).unwrap();
        drop(pipe);
        let mut lines = LineWriter::start("test", writer, AlertFormat::Text).unwrap();
        let reading = read_a_little(reader);
        let alerts = [alert("short"), alert(&long()), alert("last")];
        // The first line is out; the second is not.
        assert_eq!(lines.write(&alerts).await.unwrap(), 1);
        let rest = &alerts[1..];
        let error = lines.write(rest).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let mut got = reading.join().unwrap();

        let mut reader = File::options()
            .read(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(&path)
            .unwrap();
        nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty())).unwrap();
        let reading = thread::spawn(move || {
            let mut tail = Vec::new();
            reader.read_to_end(&mut tail).unwrap();
            tail
        });
        assert_eq!(lines.write(rest).await.unwrap(), 2);
        drop(lines);
        got.extend(reading.join().unwrap());
        assert!(got == format!("short\n{}\nlast\n", long()).into_bytes());
    }

    #[tokio::test]
    async fn another_file_begins_with_a_whole_line() {
        let (reader, writer) = io::pipe().unwrap();
        let mut lines =
            LineWriter::start("test", std::os::fd::OwnedFd::from(writer).into(), AlertFormat::Text).unwrap();
        let reading = read_a_little(reader);
        let alerts = [alert(&long())];
        lines.write(&alerts).await.unwrap_err();
        reading.join().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        lines.replace(file.try_clone().unwrap()).unwrap();
        assert_eq!(lines.write(&alerts).await.unwrap(), 1);
        let mut got = String::new();
        io::Seek::rewind(&mut file).unwrap();
        file.read_to_string(&mut got).unwrap();
        assert!(got == long() + "\n");
    }
}
