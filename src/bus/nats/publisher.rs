//! The end that takes messages in: a bounded queue, and a task that empties it as the stream acknowledges.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind, PublishError, PublishErrorKind};
use async_nats::jetstream::{Context, ErrorCode, stream};
use hyper::body::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::link::{ANSWER, Link};
use super::{NatsError, subject};
use crate::bus::{Full, Message, Publish};
use crate::config::BusConfig;
use crate::web::log_limit::{LogLimit, excerpt};

/// Messages that wait while NATS is away or slow.
const ROOM: usize = 10_000;

/// Bytes of them.
const ROOM_BYTES: usize = 64 << 20;

/// Messages that are on their way to the server at once.
const WINDOW: usize = 256;

/// Pause after the server did not take what was sent.
const PAUSE: Duration = Duration::from_secs(1);

/// A stream that is made finds duplicates for this long: longer than it takes a server to come back, usually.
const DUPLICATES: Duration = Duration::from_secs(600);

/// Publishes on a JetStream stream. What it holds is sent on for as long as it is there.
#[derive(Debug)]
pub struct NatsPublisher {
    queue: mpsc::UnboundedSender<Item>,
    shared: Arc<Shared>,
    link: Arc<Link>,
    task: AbortHandle,
}

#[derive(Debug)]
enum Item {
    Message(Message),
    /// Somebody who waits for what was taken before.
    Waiter(oneshot::Sender<()>),
}

#[derive(Debug, Default)]
struct Shared {
    /// Taken and not acknowledged, and their bytes. These bound the queue.
    waiting: AtomicUsize,
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

impl NatsPublisher {
    pub(super) fn start(config: &BusConfig, cluster: Option<&str>) -> Result<NatsPublisher, NatsError> {
        let link = Link::new(config, "saker publisher".to_owned())?;
        let shared = Arc::<Shared>::default();
        let (queue, waiting) = mpsc::unbounded_channel();
        let task = Task {
            config: config.clone(),
            cluster: cluster.map(Into::into),
            queue: waiting,
            shared: Arc::clone(&shared),
            link: Arc::clone(&link),
            log: LogLimit::default(),
        };
        Ok(NatsPublisher {
            queue,
            shared,
            link,
            task: tokio::spawn(task.run()).abort_handle(),
        })
    }

    /// Messages that were given up because no server will ever take them: they are too large.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }

    /// Messages that were taken, and that the stream has not acknowledged.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Relaxed)
    }

    /// Waits until all that was taken is acknowledged, at most for `grace`. Gives the number that is not.
    pub async fn drain(&self, grace: Duration) -> usize {
        if let Some(settled) = self.settled() {
            // What is not acknowledged in time is counted.
            let _ = timeout(grace, settled).await;
        }
        self.waiting()
    }
}

impl NatsPublisher {
    /// Told once all that was taken until now is acknowledged or given up.
    fn settled(&self) -> Option<oneshot::Receiver<()>> {
        let (waiter, settled) = oneshot::channel();
        self.queue.send(Item::Waiter(waiter)).ok()?;
        Some(settled)
    }
}

impl Publish for NatsPublisher {
    fn publish(&self, message: Message) -> Result<(), Full> {
        let size = size(&message);
        let fits = self.shared.waiting.fetch_add(1, Relaxed) < ROOM;
        let fits = self.shared.bytes.fetch_add(size, Relaxed).saturating_add(size) <= ROOM_BYTES && fits;
        if fits && self.queue.send(Item::Message(message)).is_ok() {
            return Ok(());
        }
        self.shared.done(size);
        Err(Full)
    }

    fn trouble(&self) -> Option<String> {
        let trouble = self.link.trouble()?;
        Some(match self.waiting() {
            0 => trouble,
            waiting => format!("{trouble} ({waiting} messages wait)"),
        })
    }

    fn safe(&self) -> Option<oneshot::Receiver<()>> {
        if self.link.trouble().is_some() {
            return None;
        }
        self.settled()
    }
}

impl Drop for NatsPublisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    /// A message waits no more.
    fn done(&self, size: usize) {
        self.waiting.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(size, Relaxed);
    }
}

fn size(message: &Message) -> usize {
    let pod = message
        .pod
        .as_ref()
        .map_or(0, |(namespace, name)| namespace.len() + name.len());
    message.body.len() + message.id.len() + pod
}

/// A message as it is sent, as often as it takes.
struct Outgoing {
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
    size: usize,
}

/// What was taken from the queue and is not through.
#[derive(Default)]
struct Held {
    messages: VecDeque<Outgoing>,
    /// All that they wait for is among the messages.
    waiters: Vec<oneshot::Sender<()>>,
}

struct Task {
    config: BusConfig,
    cluster: Option<Box<str>>,
    queue: mpsc::UnboundedReceiver<Item>,
    shared: Arc<Shared>,
    link: Arc<Link>,
    log: LogLimit,
}

impl Task {
    async fn run(mut self) {
        let Some(context) = self.link.connect(&self.config).await else {
            return;
        };
        let mut up = self.link.watch();
        let mut held = Held::default();
        // Looked at once per connection, and after trouble: nodes read only what is there.
        let mut there = false;
        while up.wait_for(|up| *up).await.is_ok() {
            if !there {
                let found = self.find_stream(&context).await;
                there = found.is_ok();
                // What was not acknowledged stays trouble until it is.
                if held.messages.is_empty() || !there {
                    self.link.set_trouble(found.err());
                }
            }
            if held.messages.is_empty() {
                tokio::select! {
                    item = self.queue.recv() => match item {
                        Some(item) => self.take(&mut held, item),
                        None => return,
                    },
                    _ = up.changed() => {
                        there = false;
                        continue;
                    }
                    () = sleep(ANSWER), if !there => continue,
                }
            }
            while held.messages.len() < WINDOW
                && let Ok(item) = self.queue.try_recv()
            {
                self.take(&mut held, item);
            }
            match self.send(&context, &mut held.messages, &mut up).await {
                Ok(()) => {
                    there = true;
                    for waiter in held.waiters.drain(..) {
                        // Who has given up waiting needs no answer.
                        let _ = waiter.send(());
                    }
                    self.link.set_trouble(None);
                }
                Err(reason) => {
                    // What is wrong with the stream says more.
                    if std::mem::replace(&mut there, false) {
                        self.link.set_trouble(Some(reason));
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn take(&self, held: &mut Held, item: Item) {
        let mut message = match item {
            Item::Message(message) => message,
            Item::Waiter(waiter) => return held.waiters.push(waiter),
        };
        let size = size(&message);
        if message.cluster.is_none() {
            message.cluster.clone_from(&self.cluster);
        }
        let Ok(payload) = serde_json::to_vec(&message) else {
            return self.give_up(size, "it cannot be written as JSON");
        };
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", subject::id(&message));
        held.messages.push_back(Outgoing {
            subject: subject::of(&self.config.subject, &message),
            headers,
            payload: payload.into(),
            size,
        });
    }

    /// Makes the stream when it is not there. One that is there stays as it is.
    async fn find_stream(&self, context: &Context) -> Result<(), String> {
        let (name, prefix) = (&self.config.stream, &self.config.subject);
        let error = match context.get_stream(name).await {
            Ok(stream) => {
                // Messages of other clusters may come here as well; their subjects are told by what the server answers.
                let wanted = subject::filter(prefix, self.cluster.as_deref());
                let subjects = &stream.cached_info().config.subjects;
                if subjects.iter().any(|s| subject::covers(s, &wanted)) {
                    return Ok(());
                }
                return Err(format!("stream {name} does not have the subjects {wanted}"));
            }
            Err(error) => error,
        };
        match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {}
            _ => return Err(format!("cannot ask for stream {name}: {}", cause(&error))),
        }
        let made = context.create_stream(stream::Config {
            name: name.clone(),
            subjects: vec![format!("{prefix}.>")],
            max_age: self.config.max_age,
            max_bytes: i64::try_from(self.config.max_bytes).unwrap_or(i64::MAX),
            num_replicas: self.config.replicas,
            duplicate_window: DUPLICATES.min(self.config.max_age),
            ..stream::Config::default()
        });
        match made.await {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.kind() {
                CreateStreamErrorKind::JetStream(error) => format!("cannot make stream {name}: {error}"),
                _ => format!("cannot make stream {name}: {}", cause(&error)),
            }),
        }
    }

    /// Sends all that is held, and keeps what the stream has not acknowledged.
    async fn send(
        &self,
        context: &Context,
        held: &mut VecDeque<Outgoing>,
        up: &mut watch::Receiver<bool>,
    ) -> Result<(), String> {
        let mut sent = Vec::with_capacity(held.len());
        for message in held.drain(..) {
            let (headers, payload) = (message.headers.clone(), message.payload.clone());
            let ack = context.publish_with_headers(message.subject.clone(), headers, payload);
            let ack = ack.await;
            sent.push((message, ack));
        }
        let mut problem = None;
        for (message, ack) in sent {
            // They were sent together: what has not come when the first is overdue is overdue as well.
            let patience = if problem.is_none() { ANSWER } else { Duration::ZERO };
            let answer = match ack {
                Err(error) => Err(error),
                Ok(ack) => tokio::select! {
                    biased;
                    answer = timeout(patience, ack) => match answer {
                        Ok(answer) => answer.map(drop),
                        Err(_) => Err(PublishError::new(PublishErrorKind::TimedOut)),
                    },
                    _ = up.wait_for(|up| !up) => Err(PublishError::new(PublishErrorKind::BrokenPipe)),
                },
            };
            match answer {
                Ok(()) => self.shared.done(message.size),
                Err(error) if is_final(&error) => self.give_up(message.size, &cause(&error)),
                Err(error) => {
                    problem.get_or_insert_with(|| self.describe(&error));
                    held.push_back(message);
                }
            }
        }
        problem.map_or(Ok(()), Err)
    }

    fn describe(&self, error: &PublishError) -> String {
        match error.kind() {
            PublishErrorKind::StreamNotFound => format!("no stream takes the subjects {}.>", self.config.subject),
            PublishErrorKind::TimedOut => "the server does not acknowledge".to_owned(),
            PublishErrorKind::BrokenPipe => "the connection was lost".to_owned(),
            _ => cause(error),
        }
    }

    fn give_up(&self, size: usize, reason: &str) {
        self.shared.done(size);
        self.shared.dropped.fetch_add(1, Relaxed);
        if let Some(left_out) = self.log.admit("dropped") {
            warn!(
                reason = excerpt(reason),
                size, left_out, "a message cannot go through NATS and was dropped"
            );
        }
    }
}

/// Whether the same message will be refused each time.
fn is_final(error: &PublishError) -> bool {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => true,
        PublishErrorKind::Other => {
            jetstream_error(error).is_some_and(|error| error.error_code() == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM)
        }
        _ => false,
    }
}

fn jetstream_error(error: &PublishError) -> Option<&async_nats::jetstream::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

/// The reason below an error, which says more than the error itself.
fn cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
