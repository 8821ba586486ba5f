//! Standard input and pipes: a read can block for ever, so a thread of its own does it and the source stays stoppable.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;

use super::deliver::{Delivery, STOP_CHECK};
use super::input::open_reader;
use super::{Chunk, FilesError, Input, StopFlag};
use crate::sources::audit::pipeline::Rejected;

const BLOCK: usize = 128 << 10;
/// Blocks that may wait; more keeps the writer waiting, as a pipe does.
const WAITING: usize = 4;

/// Reads a pipe until its writer closes it or the stop comes.
pub(super) fn run<F>(input: Input, delivery: &mut Delivery<'_, F>) -> Result<(), FilesError>
where
    F: FnMut(Chunk<'_>) -> Result<(), Rejected>,
{
    let name = input.name();
    let pump = Pump::start(input, delivery.stop().clone())?;
    // Once the stop is set, errors are the pump's way to end and nothing is wrong.
    let result = open_reader(pump, &name).and_then(|chunks| {
        let mut chunks = chunks.live();
        while let Some(chunk) = chunks.next()? {
            if delivery.offer(&name, chunk).is_break() {
                break;
            }
        }
        Ok(())
    });
    match result {
        Err(error) if !delivery.is_stopped() => {
            delivery.failed(&error);
            Err(error)
        }
        _ => Ok(()),
    }
}

enum Block {
    Bytes(Vec<u8>),
    Failed(io::Error),
    End,
}

/// The reading end of the thread.
struct Pump {
    blocks: Receiver<Block>,
    current: VecDeque<u8>,
    ended: bool,
    stop: StopFlag,
}

impl Pump {
    /// Opening a named pipe blocks too, so the thread does that as well. After a stop the thread may be left in its
    /// last read; it holds nothing and ends with the process.
    fn start(input: Input, stop: StopFlag) -> Result<Self, FilesError> {
        let (sender, blocks) = sync_channel(WAITING);
        let name = input.name();
        let thread_stop = stop.clone();
        thread::Builder::new()
            .name("audit-stream".to_owned())
            .spawn(move || pump(&input, &thread_stop, &sender))
            .map_err(|source| FilesError::Thread { name, source })?;
        Ok(Pump {
            blocks,
            current: VecDeque::new(),
            ended: false,
            stop,
        })
    }
}

fn pump(input: &Input, stop: &StopFlag, blocks: &SyncSender<Block>) {
    let mut reader: Box<dyn Read> = match input {
        Input::Stdin => Box::new(io::stdin()),
        Input::File(path) => match File::open(path) {
            Ok(file) => Box::new(file),
            Err(error) => {
                // A closed channel means that nobody wants to know.
                let _ = blocks.send(Block::Failed(error));
                return;
            }
        },
    };
    let mut buf = vec![0; BLOCK];
    while !stop.is_set() {
        let block = match reader.read(&mut buf) {
            Ok(0) => Block::End,
            Ok(count) => Block::Bytes(buf[..count].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Block::Failed(error),
        };
        let more = matches!(block, Block::Bytes(_));
        if blocks.send(block).is_err() || !more {
            return;
        }
    }
}

impl Read for Pump {
    /// `WouldBlock` means stopped: what was read is handed over and the unfinished rest is not taken for a document.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.blocks.recv_timeout(STOP_CHECK) {
                Ok(Block::Bytes(bytes)) => self.current = bytes.into(),
                Ok(Block::Failed(error)) => return Err(error),
                Ok(Block::End) => self.ended = true,
                Err(RecvTimeoutError::Timeout) if !self.stop.is_set() => {}
                Err(_) => return Err(io::ErrorKind::WouldBlock.into()),
            }
        }
        self.current.read(buf)
    }
}
