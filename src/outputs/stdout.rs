//! Alerts on standard output, one a line.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::sync::Arc;

use super::lines::LineWriter;
use super::worker::DeliveryError;
use crate::alert::Alert;
use crate::config::StdoutConfig;

pub(super) struct StdoutWriter {
    lines: LineWriter,
}

impl StdoutWriter {
    /// Writes to the descriptor itself: the standard library's buffer would split lines between two writes.
    pub fn open(config: &StdoutConfig, name: &str) -> io::Result<StdoutWriter> {
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        StdoutWriter::over(stdout.into(), config, name)
    }

    pub fn over(stdout: File, config: &StdoutConfig, name: &str) -> io::Result<StdoutWriter> {
        let lines = LineWriter::start(name, stdout, config.format)?;
        Ok(StdoutWriter { lines })
    }

    pub async fn deliver(&mut self, alerts: &[Arc<Alert>]) -> Result<usize, DeliveryError> {
        self.lines.write(alerts).await.map_err(|error| {
            let reader_left = error.kind() == ErrorKind::BrokenPipe;
            let terminal_left = error.raw_os_error() == Some(nix::libc::EIO);
            if reader_left || terminal_left {
                DeliveryError::Gone(format!("standard output: {error}"))
            } else {
                DeliveryError::again(format!("standard output: {error}"))
            }
        })
    }
}
