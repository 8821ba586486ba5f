//! Records that wait for what is said of their containers, beside the stream. Their processes are
//! kept with them, as they were: a short command has ended by the time its container is known, or executed another.

use crate::event::syscall::Record;
use crate::processes::{Process, Processes};

/// Records that may wait; more go without it.
const HELD: usize = 1_024;

/// A record, and everyone that it shows.
pub struct Kept {
    pub bytes: Box<[u8]>,
    pub cast: Vec<Process>,
}

/// The records, oldest first.
#[derive(Default)]
pub struct Held(Vec<Kept>);

impl Held {
    /// Whether one more may wait.
    pub fn has_room(&self) -> bool {
        self.0.len() < HELD
    }

    /// Keeps a record.
    pub fn keep(&mut self, record: &Record<'_>, processes: &Processes) {
        self.0.push(Kept {
            bytes: record.bytes().into(),
            cast: processes.cast(record),
        });
    }

    /// Takes out, in their order, those whose cgroup nothing is awaited of any more.
    pub fn release(&mut self, is_pending: impl Fn(u64) -> bool) -> Vec<Kept> {
        let waits = |kept: &Kept| Record::parse(&kept.bytes).is_ok_and(|record| is_pending(record.head.cgroup));
        self.0.extract_if(.., |kept| !waits(kept)).collect()
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;
    use crate::event::syscall::Header;
    use crate::processes::Limits;

    fn record(cgroup: u64, time: u64) -> Header {
        Header {
            size: size_of::<Header>() as u32,
            cgroup,
            time,
            ..Header::default()
        }
    }

    fn times(released: Vec<Kept>) -> Vec<u64> {
        let time = |kept: &Kept| Record::parse(&kept.bytes).unwrap().head.time;
        released.iter().map(time).collect()
    }

    fn keep(held: &mut Held, cgroup: u64, time: u64) {
        let nobody = Processes::new(Limits::default());
        held.keep(&Record::parse(record(cgroup, time).as_bytes()).unwrap(), &nobody);
    }

    #[test]
    fn records_wait_for_their_own_cgroup_and_keep_their_order() {
        let mut held = Held::default();
        for (cgroup, time) in [(1, 10), (2, 11), (1, 12), (2, 13), (3, 14)] {
            keep(&mut held, cgroup, time);
        }
        assert!(held.release(|_| true).is_empty());
        assert_eq!(times(held.release(|cgroup| cgroup != 2)), [11, 13]);
        assert_eq!(times(held.release(|_| false)), [10, 12, 14]);
        assert!(held.release(|_| false).is_empty());
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let mut held = Held::default();
        for time in 0..HELD as u64 {
            assert!(held.has_room());
            keep(&mut held, 1, time);
        }
        assert!(!held.has_room());
        held.release(|_| false);
        assert!(held.has_room());
    }
}
