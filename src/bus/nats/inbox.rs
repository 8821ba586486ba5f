//! A node's end: everything that the stream retains at first, then what comes.
//!
//! An ephemeral consumer without acknowledgements delivers in order, and is made anew after each interruption, from the
//! last message that came. Messages are pulled only while the reader has room for them; the stream keeps the others.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::datetime::DateTime;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{Context, ErrorCode, stream};
use futures_util::StreamExt;
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::link::{ANSWER, Link};
use super::{NatsError, subject};
use crate::bus::{Inbox, Message};
use crate::clock::now;
use crate::config::BusConfig;
use crate::event::Timestamp;
use crate::web::log_limit::LogLimit;

/// Messages that wait for the reader, which takes them within a tenth of a second.
const ROOM: usize = 4_096;

/// Bytes of them.
const ROOM_BYTES: usize = 64 << 20;

/// Messages asked for at once.
const BATCH: usize = 256;

/// The server answers a request for messages after this, when there are none.
const EXPIRES: Duration = Duration::from_secs(15);

/// The server forgets a consumer that asks for nothing for this long.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Pause before a consumer is made anew.
const PAUSE: Duration = Duration::from_secs(1);

/// Takes messages from a JetStream stream.
#[derive(Debug)]
pub struct NatsInbox {
    shared: Arc<Shared>,
    link: Arc<Link>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: EventFd,
    /// Told when messages were taken.
    room: Notify,
    /// 0 while messages are missing.
    up_since: AtomicU64,
    discarded: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Message>,
    bytes: usize,
}

impl NatsInbox {
    pub(super) fn start(config: &BusConfig, cluster: Option<&str>, node: &str) -> Result<NatsInbox, NatsError> {
        let link = Link::new(config, format!("saker node {node}"))?;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC).map_err(std::io::Error::from)?,
            room: Notify::new(),
            up_since: AtomicU64::new(0),
            discarded: AtomicU64::new(0),
        });
        let task = Task {
            config: config.clone(),
            cluster: cluster.map(Into::into),
            node: node.to_owned(),
            shared: Arc::clone(&shared),
            link: Arc::clone(&link),
            log: LogLimit::default(),
            place: None,
        };
        Ok(NatsInbox {
            shared,
            link,
            task: tokio::spawn(task.run()).abort_handle(),
        })
    }

    /// Why messages do not come at the moment.
    pub fn trouble(&self) -> Option<String> {
        self.link.trouble()
    }

    /// Messages that were not what their subject says, or no messages at all.
    pub fn discarded(&self) -> u64 {
        self.shared.discarded.load(Relaxed)
    }
}

impl Inbox for NatsInbox {
    fn wake(&self) -> BorrowedFd<'_> {
        self.shared.wake.as_fd()
    }

    fn take(&mut self) -> Option<Message> {
        let mut queue = self.shared.queue();
        let message = queue.messages.pop_front();
        if let Some(message) = &message {
            queue.bytes -= message.body.len();
        }
        if queue.messages.is_empty() {
            let _ = self.shared.wake.read();
        }
        if queue.has_room() {
            self.shared.room.notify_one();
        }
        message
    }

    fn up_since(&self) -> Option<Timestamp> {
        let since = self.shared.up_since.load(Relaxed);
        (since > 0).then_some(since)
    }
}

impl Drop for NatsInbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Queue {
    fn has_room(&self) -> bool {
        self.messages.len() + BATCH <= ROOM && self.bytes <= ROOM_BYTES
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, message: Message) {
        let mut queue = self.queue();
        queue.bytes += message.body.len();
        queue.messages.push_back(message);
        // A counter that is full is not 0, and wakes all the same.
        let _ = self.wake.write(1);
    }

    fn is_up(&self) {
        // What is up stays up since when it was.
        let _ = self.up_since.compare_exchange(0, now(), Relaxed, Relaxed);
    }

    fn is_down(&self) {
        self.up_since.store(0, Relaxed);
    }
}

/// The last message that came.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// When the stream was made.
    stream: DateTime,
    sequence: u64,
    published: DateTime,
}

impl Place {
    /// Where to go on in a stream: with this message again, so that it can be seen to be the same stream.
    fn within(place: Option<Place>, stream: &stream::Info) -> Option<Place> {
        place.filter(|place| place.stream == stream.created && place.sequence <= stream.state.last_sequence)
    }
}

/// Why messages come no more.
enum End {
    /// The connection was lost, which the link tells.
    Lost,
    Trouble(String),
}

impl<T: Into<String>> From<T> for End {
    fn from(reason: T) -> End {
        End::Trouble(reason.into())
    }
}

struct Task {
    config: BusConfig,
    cluster: Option<Box<str>>,
    node: String,
    shared: Arc<Shared>,
    link: Arc<Link>,
    log: LogLimit,
    place: Option<Place>,
}

impl Task {
    async fn run(mut self) {
        let Some(context) = self.link.connect(&self.config).await else {
            return;
        };
        let mut up = self.link.watch();
        while up.wait_for(|up| *up).await.is_ok() {
            let end = self.follow(&context, &mut up).await;
            self.shared.is_down();
            if let End::Trouble(reason) = end {
                self.link.set_trouble(Some(reason));
            }
            sleep(PAUSE).await;
        }
    }

    /// Takes messages until something is in the way.
    async fn follow(&mut self, context: &Context, up: &mut watch::Receiver<bool>) -> End {
        let name = self.config.stream.clone();
        let stream = match context.get_stream(&name).await {
            Ok(stream) => stream,
            Err(error) => {
                return match error.kind() {
                    GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                        format!("stream {name} is not there: whoever publishes makes it").into()
                    }
                    _ => format!("stream {name} cannot be asked for: {error}").into(),
                };
            }
        };
        let created = stream.cached_info().created;
        let mut resumed = Place::within(self.place.take(), stream.cached_info());
        self.place = resumed;
        let consumer = context.create_consumer_on_stream(self.consumer(resumed), &name).await;
        let consumer = match consumer {
            Ok(consumer) => consumer,
            Err(error) => return format!("no consumer of stream {name} can be made: {error}").into(),
        };
        if consumer.cached_info().num_pending == 0 {
            self.shared.is_up();
        }
        let mut delivered = 0;
        loop {
            self.room().await;
            let asked = Instant::now();
            let mut batch = match consumer.batch().max_messages(BATCH).expires(EXPIRES).messages().await {
                Ok(batch) => batch,
                Err(error) => return format!("messages cannot be asked for: {error}").into(),
            };
            let mut came = false;
            loop {
                let message = tokio::select! {
                    biased;
                    _ = up.changed() => return End::Lost,
                    message = batch.next() => message,
                };
                let message = match message {
                    Some(Ok(message)) => message,
                    Some(Err(error)) => return format!("messages do not come: {error}").into(),
                    None => break,
                };
                let Ok(info) = message.info() else {
                    return "a message came from no stream".into();
                };
                came = true;
                delivered += 1;
                if info.consumer_sequence != delivered {
                    return "messages were lost on their way".into();
                }
                let place = Place {
                    stream: created,
                    sequence: info.stream_sequence,
                    published: info.published,
                };
                match resumed.take() {
                    // The last one came again, as it was asked for.
                    Some(last) if last.sequence == place.sequence && last.published == place.published => {}
                    Some(last) if last.sequence == place.sequence => {
                        // A server that lost the end of its stream gave its numbers to others.
                        self.place = None;
                        return format!("stream {name} is not what it was").into();
                    }
                    _ => self.accept(&message.subject, &message.payload),
                }
                self.place = Some(place);
                if info.pending == 0 {
                    self.all_came();
                }
            }
            if !came {
                // The server says when it has nothing; without that, it is the client that gave up.
                if asked.elapsed() >= EXPIRES + ANSWER - Duration::from_secs(1) {
                    return "the server does not answer".into();
                }
                self.all_came();
            }
        }
    }

    fn all_came(&self) {
        self.link.set_trouble(None);
        self.shared.is_up();
    }

    /// A consumer of the kind that the client calls ordered. It has a name because servers check permissions by name and
    /// filter, and a new one each time because the one before may still be there.
    fn consumer(&self, from: Option<Place>) -> pull::Config {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let node: String = self.node.chars().take(64).map(plain).collect();
        pull::Config {
            name: Some(format!("saker-{node}-{:x}-{:x}", std::process::id(), now())),
            filter_subject: subject::filter(&self.config.subject, self.cluster.as_deref()),
            deliver_policy: match from {
                Some(place) => DeliverPolicy::ByStartSequence {
                    start_sequence: place.sequence,
                },
                None => DeliverPolicy::All,
            },
            ack_policy: AckPolicy::None,
            inactive_threshold: FORGOTTEN,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        }
    }

    /// Waits until the reader has room for what is asked for next.
    async fn room(&self) {
        while !self.shared.queue().has_room() {
            // What the stream has meanwhile is missing here.
            self.shared.is_down();
            self.shared.room.notified().await;
        }
    }

    fn accept(&self, subject: &str, payload: &[u8]) {
        let message = serde_json::from_slice::<Message>(payload).ok();
        // Who may publish for one cluster must not speak for another.
        match message.filter(|message| subject::of(&self.config.subject, message) == subject) {
            Some(message) => self.shared.put(message),
            None => {
                self.shared.discarded.fetch_add(1, Relaxed);
                if let Some(left_out) = self.log.admit("discarded") {
                    warn!(
                        left_out,
                        "a message on the bus is not what its subject says, and is discarded"
                    );
                }
            }
        }
    }
}
