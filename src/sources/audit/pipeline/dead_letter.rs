//! Items that could not be decoded, kept in a file that does not grow past its bound.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use highway::{HighwayHash, HighwayHasher};

use crate::config::DeadLetterConfig;
use crate::engine::format::push_json_string;

/// More of one item is not kept.
const MAX_ITEM: usize = 64 << 10;

/// The file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the dead-letter file `{path}`: {source}")]
pub struct DeadLetterError {
    path: PathBuf,
    source: std::io::Error,
}

/// The dead-letter file, or nothing where none is configured.
#[derive(Debug, Default)]
pub struct DeadLetter {
    file: Option<Mutex<Kept>>,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    file: File,
    size: u64,
    max: u64,
}

fn open(path: &Path) -> std::io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

impl DeadLetter {
    /// Opens the file that the configuration names.
    ///
    /// # Errors
    /// When it cannot be opened for appending.
    pub fn open(config: &DeadLetterConfig) -> Result<DeadLetter, DeadLetterError> {
        let Some(path) = &config.file else {
            return Ok(DeadLetter::default());
        };
        let (file, size) = open(path).map_err(|source| DeadLetterError {
            path: path.clone(),
            source,
        })?;
        Ok(DeadLetter {
            file: Some(Mutex::new(Kept {
                path: path.clone(),
                file,
                size,
                max: config.max_size,
            })),
        })
    }

    /// Goes on in the file that has the path now, so that a full one can be moved away; keeps the open one if that fails.
    pub fn reopen(&self) {
        let Some(kept) = &self.file else { return };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        match open(&kept.path) {
            Ok((file, size)) => (kept.file, kept.size) = (file, size),
            Err(error) => {
                tracing::error!(path = ?kept.path, %error, "dead-letter file cannot be reopened, the open one is kept");
            }
        }
    }

    /// Keeps an item; `Err` names why it was not kept.
    pub fn keep(&self, why: &str, text: &[u8], cluster: Option<&str>) -> Result<(), &'static str> {
        let Some(kept) = &self.file else { return Err("no_file") };
        let mut line = b"{\"time\":\"".to_vec();
        line.extend_from_slice(jiff::Timestamp::now().to_string().as_bytes());
        line.extend_from_slice(b"\",\"why\":");
        push_json_string(why.as_bytes(), &mut line);
        line.extend_from_slice(b",\"cluster\":");
        match cluster {
            Some(cluster) => push_json_string(cluster.as_bytes(), &mut line),
            None => line.extend_from_slice(b"null"),
        }
        line.extend_from_slice(
            format!(",\"digest\":\"{}\",\"bytes\":{},\"item\":", digest(text), text.len()).as_bytes(),
        );
        push_json_string(&text[..text.len().min(MAX_ITEM)], &mut line);
        line.extend_from_slice(b"}\n");
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.size + line.len() as u64 > kept.max {
            return Err("full");
        }
        kept.file.write_all(&line).map_err(|_| "write")?;
        kept.size += line.len() as u64;
        Ok(())
    }
}

/// A short name for an item, to find it again by.
pub fn digest(text: &[u8]) -> String {
    let hash = HighwayHasher::default().hash64(text);
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_keeps_lines_and_stays_in_its_bound() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("dead.jsonl");
        let letter = DeadLetter::open(&DeadLetterConfig {
            file: Some(path.clone()),
            max_size: 400,
        })
        .expect("opens");
        assert_eq!(letter.keep("because", b"{\"a\":\n\xff", Some("prod")), Ok(()));
        while letter.keep("again", b"x", None) != Err("full") {}
        let text = std::fs::read_to_string(&path).expect("text");
        assert!(text.len() <= 400);
        let first: serde_json::Value = serde_json::from_str(text.lines().next().expect("line")).expect("json");
        assert_eq!(first["why"], "because");
        assert_eq!(first["item"], "{\"a\":\n\u{fffd}");
        assert_eq!(DeadLetter::default().keep("x", b"", None), Err("no_file"));

        std::fs::rename(&path, dir.path().join("dead.1")).expect("renamed");
        assert_eq!(letter.keep("x", b"", None), Err("full"));
        letter.reopen();
        assert_eq!(letter.keep("x", b"", None), Ok(()));
        assert_eq!(std::fs::read_to_string(&path).expect("text").lines().count(), 1);
    }
}
