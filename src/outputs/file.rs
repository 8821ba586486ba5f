//! Alerts appended to a file, one a line.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ledger::Ledger;
use super::lines::LineWriter;
use super::worker::DeliveryError;
use crate::alert::Alert;
use crate::config::FileOutputConfig;

pub(super) struct FileWriter {
    path: PathBuf,
    lines: LineWriter,
    ledger: Arc<Ledger>,
}

impl FileWriter {
    pub fn open(config: &FileOutputConfig, ledger: Arc<Ledger>) -> io::Result<FileWriter> {
        let file = open(&config.path)?;
        Ok(FileWriter {
            path: config.path.clone(),
            lines: LineWriter::start(ledger.name(), file, config.format)?,
            ledger,
        })
    }

    pub async fn deliver(&mut self, alerts: &[Arc<Alert>]) -> Result<usize, DeliveryError> {
        self.lines
            .write(alerts)
            .await
            .map_err(|error| DeliveryError::again(format!("`{}`: {error}", self.path.display())))
    }

    /// Goes on in the file that has the path now; keeps the open one if that fails.
    pub async fn reopen(&mut self) {
        let path = self.path.clone();
        let opened = match tokio::task::spawn_blocking(move || open(&path)).await {
            Ok(Ok(file)) => self.lines.replace(file),
            Ok(Err(error)) => Err(error),
            Err(error) => Err(error.into()),
        };
        match opened {
            Ok(()) => tracing::info!(output = self.ledger.name(), path = ?self.path, "alert file reopened"),
            Err(error) => {
                tracing::error!(
                    output = self.ledger.name(), path = ?self.path, %error,
                    "alert file cannot be reopened, the open one is kept"
                );
            }
        }
    }

    pub async fn finish(&mut self) -> Result<(), DeliveryError> {
        match self.lines.sync().await {
            // A device or a pipe has nothing to sync.
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => {
                tracing::warn!(output = self.ledger.name(), path = ?self.path, %error, "alert file cannot be synced");
            }
            _ => {}
        }
        Ok(())
    }
}

/// Non-blocking matters for named pipes only: without a reader, opening one would hang instead of failing.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::AlertFormat;
    use crate::outputs::testing::{alert, ledger};

    fn writer(path: &Path) -> FileWriter {
        let config = FileOutputConfig {
            path: path.to_owned(),
            format: AlertFormat::Text,
        };
        FileWriter::open(&config, ledger("file")).unwrap()
    }

    #[tokio::test]
    async fn appends_to_a_private_file_and_follows_a_rename() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("alerts"), dir.path().join("alerts.1"));
        let mut file = writer(&path);
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(file.deliver(&[alert("one"), alert("two")]).await.unwrap(), 2);

        std::fs::rename(&path, &moved).unwrap();
        file.deliver(&[alert("three")]).await.unwrap();
        file.reopen().await;
        file.deliver(&[alert("four")]).await.unwrap();
        file.finish().await.unwrap();

        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one\ntwo\nthree\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "four\n");
        let mut again = writer(&path);
        again.deliver(&[alert("five")]).await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "four\nfive\n");
    }

    #[tokio::test]
    async fn a_failed_reopen_keeps_the_open_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("alerts"), dir.path().join("alerts.1"));
        let mut file = writer(&path);
        std::fs::rename(&path, &moved).unwrap();
        std::fs::create_dir(&path).unwrap();
        file.reopen().await;
        file.deliver(&[alert("kept")]).await.unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "kept\n");
    }

    #[tokio::test]
    async fn a_full_disk_is_worth_another_try() {
        let mut file = writer(Path::new("/dev/full"));
        let error = file.deliver(&[alert("one")]).await.unwrap_err();
        assert!(matches!(error, DeliveryError::Again { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_named_pipe_fails_without_a_reader_and_keeps_whole_lines_when_full() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let config = FileOutputConfig {
            path: path.clone(),
            format: AlertFormat::Text,
        };
        assert!(FileWriter::open(&config, ledger("file")).is_err());

        let mut reader = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(&path)
            .unwrap();
        let mut file = writer(&path);
        // More than a pipe holds, so the writer must wait for the reader more than once.
        let lines: Vec<_> = (0..100).map(|n| alert(&format!("{n} {}", "x".repeat(5_000)))).collect();
        let want: String = lines.iter().map(|a| format!("{}\n", a.text)).collect();
        let reading = std::thread::spawn(move || {
            let mut got = Vec::new();
            let mut buffer = [0; 4096];
            while got.len() < want.len() {
                match reader.read(&mut buffer) {
                    Ok(n) => got.extend_from_slice(&buffer[..n]),
                    Err(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
                }
            }
            (String::from_utf8(got).unwrap(), want)
        });
        assert_eq!(file.deliver(&lines).await.unwrap(), 100);
        let (got, want) = reading.join().unwrap();
        assert!(got == want);
    }
}
