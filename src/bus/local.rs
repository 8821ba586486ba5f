//! A bounded queue in memory: both sources run in one process.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{Full, Inbox, Message, Publish};
use crate::event::Timestamp;

/// Messages that wait for the reader, which takes them within a tenth of a second.
const ROOM: usize = 16_384;

#[derive(Debug)]
struct Shared {
    queue: Mutex<VecDeque<Message>>,
    wake: EventFd,
}

/// The end that takes messages in.
#[derive(Clone, Debug)]
pub struct Local(Arc<Shared>);

/// The end of the node.
#[derive(Debug)]
pub struct LocalInbox {
    shared: Arc<Shared>,
    since: Timestamp,
}

impl Local {
    /// Both ends; `now` is when they are made, by this machine's clock.
    ///
    /// # Errors
    /// When the kernel gives no descriptor.
    pub fn new(now: Timestamp) -> std::io::Result<(Local, LocalInbox)> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
        });
        let inbox = LocalInbox {
            shared: Arc::clone(&shared),
            since: now,
        };
        Ok((Local(shared), inbox))
    }
}

impl Publish for Local {
    fn publish(&self, message: Message) -> Result<(), Full> {
        let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= ROOM {
            return Err(Full);
        }
        queue.push_back(message);
        // A counter that is full is not 0, and wakes all the same.
        let _ = self.0.wake.write(1);
        Ok(())
    }
}

impl Inbox for LocalInbox {
    fn wake(&self) -> BorrowedFd<'_> {
        self.shared.wake.as_fd()
    }

    fn take(&mut self) -> Option<Message> {
        let mut queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let message = queue.pop_front();
        if queue.is_empty() {
            let _ = self.shared.wake.read();
        }
        message
    }

    fn up_since(&self) -> Option<Timestamp> {
        Some(self.since)
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;
    use crate::bus::{Kind, Publisher};

    fn message(id: &str) -> Message {
        Message {
            kind: Kind::Audit,
            cluster: None,
            pod: None,
            id: id.into(),
            at: 1,
            body: Box::default(),
        }
    }

    fn readable(inbox: &LocalInbox) -> bool {
        let mut fds = [PollFd::new(inbox.wake(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn messages_wake_and_come_in_order() {
        let (local, mut inbox) = Local::new(5).unwrap();
        assert!(!readable(&inbox));
        local.publish(message("a")).unwrap();
        local.publish(message("b")).unwrap();
        assert!(readable(&inbox));
        assert_eq!(inbox.take().unwrap().id, "a".into());
        assert!(readable(&inbox), "one is left");
        assert_eq!(inbox.take().unwrap().id, "b".into());
        assert!(!readable(&inbox));
        assert_eq!((inbox.take(), inbox.up_since()), (None, Some(5)));
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let (local, mut inbox) = Local::new(0).unwrap();
        let publisher = Publisher::new(Arc::new(local));
        (0..ROOM + 3).for_each(|n| publisher.publish(message(&n.to_string())));
        assert_eq!(publisher.lost(), 3);
        assert_eq!(inbox.take().unwrap().id, "0".into());
        publisher.publish(message("late"));
        assert_eq!(publisher.lost(), 3);
    }

    #[test]
    fn nobody_listens() {
        let publisher = Publisher::default();
        publisher.publish(message("a"));
        assert_eq!((publisher.is_open(), publisher.lost()), (false, 0));
    }
}
