//! Sessions for `saker sessions`: a socket of the file system that its owner alone may open, because sessions show
//! people and command lines.
//!
//! Whoever connects gets the list as JSON lines and an empty line, and the same again after each change, until it
//! hangs up.

use std::fs::Permissions;
use std::future::Future;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::sources::syscall::sessions::{Board, Session};

/// Who looks at a time.
const LOOKERS: usize = 16;
/// Who does not read for this long has gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lists that change all the time are sent this often.
const PACE: Duration = Duration::from_millis(250);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{path}` for `saker sessions`: {source}; change `attribution.socket`, or set it to \"\"")]
pub struct SessionsError {
    path: PathBuf,
    source: std::io::Error,
}

/// The bound socket; it is removed with this.
pub struct SessionsServer {
    listener: UnixListener,
    path: PathBuf,
    board: Board,
}

impl SessionsServer {
    /// Binds the socket. One that a killed server has left is replaced.
    ///
    /// # Errors
    /// When the path cannot be used, or another server answers there.
    pub fn bind(path: &Path, board: Board) -> Result<SessionsServer, SessionsError> {
        let failed = |source| SessionsError {
            path: path.to_owned(),
            source,
        };
        let left = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
        if left && std::os::unix::net::UnixStream::connect(path).is_err() {
            std::fs::remove_file(path).map_err(failed)?;
        }
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(SessionsServer {
            listener,
            path: path.to_owned(),
            board,
        })
    }

    /// Serves until `shutdown` resolves.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let lookers = Arc::new(Semaphore::new(LOOKERS));
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => return,
                accepted = self.listener.accept() => accepted,
            };
            match (accepted, Arc::clone(&lookers).try_acquire_owned()) {
                (Ok((stream, _)), Ok(turn)) => {
                    let board = self.board.clone();
                    tokio::spawn(async move {
                        let _turn = turn;
                        // Whoever has hung up has seen enough.
                        let _ = serve(stream, board).await;
                    });
                }
                (Ok(_), Err(_)) => tracing::warn!("too many look at the sessions; one more was turned away"),
                (Err(error), _) => {
                    tracing::warn!(%error, "somebody who wants to see the sessions cannot be let in");
                    tokio::time::sleep(PACE).await;
                }
            }
        }
    }
}

impl Drop for SessionsServer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve(mut stream: UnixStream, board: Board) -> std::io::Result<()> {
    let mut lists = board.ask();
    while lists.changed().await.is_ok() {
        let list = Arc::clone(&lists.borrow_and_update());
        let sent = tokio::time::timeout(PATIENCE, stream.write_all(&lines(&list))).await;
        sent.map_err(|_| std::io::ErrorKind::TimedOut)??;
        tokio::time::sleep(PACE).await;
    }
    Ok(())
}

fn lines(list: &[Session]) -> Vec<u8> {
    let mut out = Vec::new();
    for session in list {
        // Texts and numbers in memory: this cannot fail.
        let _ = serde_json::to_writer(&mut out, session);
        out.push(b'\n');
    }
    out.push(b'\n');
    out
}
