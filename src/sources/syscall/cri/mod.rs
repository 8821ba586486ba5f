//! The runtime asked over its CRI socket, by a thread of its own: nobody waits for it who reads the ring.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

pub mod client;

#[cfg(test)]
mod tests;

use client::{Client, CriError};

use super::containers::cri::{
    Answer, AskVersion, ById, ContainerStatusResponse, ListContainers, ListContainersResponse,
    PodSandboxStatusResponse, Version,
};

/// All questions on one container together get this long.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Containers that wait to be asked for, and as many answers that wait to be taken.
const QUEUE: usize = 256;

/// What came of asking for a container.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Told(Box<Answer>),
    /// The runtime does not know it (yet).
    Absent,
    Failed,
}

/// The thread, as seen from the reader. It ends when this is dropped.
pub struct Cri {
    questions: SyncSender<Box<str>>,
    answers: Receiver<(Box<str>, Outcome)>,
}

impl Cri {
    /// Starts the thread; the socket may come later.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(socket: &Path) -> std::io::Result<Cri> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (questions, asked) = sync_channel::<Box<str>>(QUEUE);
        let (say, answers) = sync_channel(QUEUE);
        let mut asker = Asker {
            // With a scheme, as kubelets write it.
            socket: match socket.to_str().and_then(|socket| socket.strip_prefix("unix://")) {
                Some(path) => path.into(),
                None => socket.into(),
            },
            runtime: String::new(),
            failing: false,
        };
        std::thread::Builder::new().name("cri".to_owned()).spawn(move || {
            for id in asked {
                let outcome = runtime.block_on(asker.ask(&id));
                if say.send((id, outcome)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Cri { questions, answers })
    }

    /// Asks for a container; false when too many wait already.
    pub fn ask(&self, id: &str) -> bool {
        self.questions.try_send(id.into()).is_ok()
    }

    /// What has come by now.
    pub fn answers(&self) -> impl Iterator<Item = (Box<str>, Outcome)> {
        self.answers.try_iter()
    }
}

struct Asker {
    socket: PathBuf,
    /// Name of the runtime, once it has been told.
    runtime: String,
    /// The latest question failed, and that was logged.
    failing: bool,
}

impl Asker {
    async fn ask(&mut self, id: &str) -> Outcome {
        let asked = tokio::time::timeout(PATIENCE, self.of_container(id)).await;
        match asked.unwrap_or(Err(CriError::TimedOut)) {
            Ok(answer) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(socket = %self.socket.display(), "the container runtime answers again");
                }
                answer.map_or(Outcome::Absent, |answer| Outcome::Told(Box::new(answer)))
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(
                        socket = %self.socket.display(),
                        %error,
                        "the container runtime does not answer; what its files say counts until it does"
                    );
                }
                Outcome::Failed
            }
        }
    }

    async fn of_container(&mut self, id: &str) -> Result<Option<Answer>, CriError> {
        // A connection each time: containers are not many, and none is kept that has died meanwhile.
        let mut client = Client::connect(&self.socket).await?;
        if self.runtime.is_empty() {
            let version: Version = client.call("Version", &AskVersion {}).await?;
            self.runtime = version.runtime_name;
        }
        let by_id = |id: &str| ById { id: id.to_owned() };
        let found: Option<ContainerStatusResponse> = known(client.call("ContainerStatus", &by_id(id)).await)?;
        let mut answer = Answer {
            runtime: self.runtime.clone(),
            container: found.and_then(|found| found.status),
            sandbox: None,
        };
        // The status does not say which sandbox is the container's; without one, it may be a sandbox itself.
        let sandbox = if answer.container.is_some() {
            let filter = Some(by_id(id));
            let list: ListContainersResponse = client.call("ListContainers", &ListContainers { filter }).await?;
            // The filter takes the beginning of an id as well.
            let own = list.containers.into_iter().find(|listed| listed.id == id);
            own.map(|listed| listed.sandbox)
        } else {
            Some(id.to_owned())
        };
        if let Some(sandbox) = sandbox {
            let found: Option<PodSandboxStatusResponse> =
                known(client.call("PodSandboxStatus", &by_id(&sandbox)).await)?;
            answer.sandbox = found.and_then(|found| found.status);
        }
        Ok((answer.container.is_some() || answer.sandbox.is_some()).then_some(answer))
    }
}

/// An answer, or nothing where the runtime does not know what was asked for.
fn known<T>(answer: Result<T, CriError>) -> Result<Option<T>, CriError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(CriError::Status(CriError::NOT_FOUND)) => Ok(None),
        Err(error) => Err(error),
    }
}
