//! The same of the syscall source's fields.

use saker::event::Source;
use saker::event::syscall::{FileInfo, Header, Kind, ProcessInfo, Record, encode};
use saker::fields::evt::Host;
use saker::fields::syscall::calls::CALLS;
use saker::fields::syscall::view::{Run, SyscallView};
use saker::fields::{Argument, Catalog, Extractor, Scratch, View as _};
use saker::processes::{Limits, Processes};
use zerocopy::IntoBytes as _;

use super::ALLOCATIONS;

/// Every field that has a value, with an argument where it takes one.
fn extractors() -> Vec<Extractor> {
    let catalog = Catalog::of(Source::Syscall);
    let fields = catalog.fields().iter().filter(|field| field.refused.is_none());
    let resolved = fields.map(|field| {
        let argument = match field.argument {
            Argument::Key => Some("/etc*"),
            Argument::Member { .. } => Some("flags"),
            _ => None,
        };
        catalog.resolve(field, argument).expect("an argument that fits")
    });
    resolved.collect()
}

fn records() -> Vec<u8> {
    let head = |kind: Kind, nr: u16, pid: u32| Header {
        kind: kind as u16,
        nr,
        pid,
        tid: pid,
        start: u64::from(pid) * 1_000_000_000,
        arg: [3, 2, 0x41, 0o755, 0, 0],
        ..Header::default()
    };
    let mut out = Vec::new();
    for pid in 1..4 {
        let process = ProcessInfo {
            pid,
            start: u64::from(pid) * 1_000_000_000,
            ppid: pid - 1,
            parent_start: u64::from(pid - 1) * 1_000_000_000,
            comm: *b"bash\0\0\0\0\0\0\0\0\0\0\0\0",
            cap_effective: u64::MAX,
            ..ProcessInfo::default()
        };
        let parts: [&[u8]; 9] = [
            b"",
            b"",
            b"/bin/bash",
            b"/",
            process.as_bytes(),
            b"",
            b"bash\0-c\0ls\0",
            b"A=b\0",
            b"/x",
        ];
        encode(head(Kind::Exec, 0, pid), parts, &mut out);
    }
    let file = FileInfo {
        family: 2,
        socket_type: 1,
        protocol: 6,
        mode: 0o140777,
        peer_port: 443,
        ..FileInfo::default()
    };
    for call in CALLS {
        let parts: [&[u8]; 9] = [
            b"../a",
            b"b",
            b"/etc/x",
            b"/tmp",
            file.as_bytes(),
            b"",
            b"data",
            b"",
            b"",
        ];
        encode(head(Kind::Call, call.nr, 3), parts, &mut out);
    }
    out
}

#[test]
fn finding_fields_allocates_nothing() {
    let (extractors, records) = (extractors(), records());
    let mut processes = Processes::new(Limits {
        processes: 100,
        containers: 10,
    });
    let host = Host {
        name: "node".into(),
        zone: jiff::tz::TimeZone::UTC,
    };
    let mut scratch = Scratch::default();
    let mut found = 0;
    let mut allocated = 0;
    // The first round makes the memory that the second one uses again.
    for round in 0..2 {
        let before = ALLOCATIONS.get();
        let mut rest = &records[..];
        while !rest.is_empty() {
            let size = u32::from_ne_bytes(rest[..4].try_into().expect("a size")) as usize;
            let record = Record::parse(&rest[..size]).expect("a record");
            rest = &rest[size..];
            if round == 0 {
                processes.apply(&record);
            }
            let mut view = SyscallView::new(record, &processes, &host, Run::default());
            scratch.begin();
            for extractor in &extractors {
                found += usize::from(!view.extract(extractor, &mut scratch).is_absent());
            }
        }
        allocated = ALLOCATIONS.get() - before;
    }
    assert_eq!(allocated, 0, "allocations in {} calls", CALLS.len());
    assert!(found > 100 * CALLS.len(), "{found} values of {} calls", CALLS.len());
}
