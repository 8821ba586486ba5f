//! Any bytes are a record or an error; a record, whatever it says, can be taken in, judged, written down, and read back.
#![no_main]

use std::sync::{Arc, LazyLock};

use saker::config::AttributionConfig;
use saker::engine::{Options, RuleFile, RuleSet, load};
use saker::event::Source;
use saker::event::syscall::Record;
use saker::fields::evt::Host;
use saker::processes::Limits;
use saker::sources::syscall::judge::Judge;
use saker::sources::syscall::recording;

/// A rule that matches all and prints much.
static RULES: LazyLock<RuleSet> = LazyLock::new(|| {
    let text = "- rule: r\n  desc: d\n  condition: evt.num > 0\n  output: '%evt.type %evt.args %evt.res %fd.name %fd.type \
                %fd.sip %fd.cport %fs.path.name %fs.path.source %fs.path.target %proc.cmdline %proc.aname[2] %proc.cwd \
                %proc.env %container.id %k8s.pod.name %user.name %thread.cap_effective'\n  priority: INFO\n";
    let file = RuleFile {
        name: "r".to_owned(),
        text: text.to_owned(),
    };
    let options = Options {
        sources: vec![Source::Syscall],
        ..Options::default()
    };
    load(vec![file], &options).unwrap().rules.unwrap()
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let host = Host {
        name: "h".into(),
        zone: jiff::tz::TimeZone::UTC,
    };
    let mut judge = Judge::new(
        Limits {
            processes: 8,
            containers: 2,
        },
        Arc::new(host),
        0,
        &AttributionConfig::default(),
    );
    // As the kernel's list of tasks has them: each record says how long it is.
    let mut listed = input;
    while let Ok(Some(record)) = Record::take(&mut listed) {
        let _ = record.process();
    }
    // Records one after the other, each with its length before it.
    let mut rest = input;
    while let [low, high, tail @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(tail.len());
        let (bytes, after) = tail.split_at(length);
        rest = after;
        // The size is the kernel's to write; a wrong one is refused at once and shows nothing.
        let mut bytes = bytes.to_vec();
        if let Some(size) = bytes.get_mut(..4) {
            size.copy_from_slice(&(length as u32).to_ne_bytes());
        }
        let Ok((record, _)) = judge.take(&bytes) else { continue };
        judge.judge(&RULES, record, |_, _, _| {});
        judge.settle(&record);
        let (mut line, mut again) = (Vec::new(), Vec::new());
        recording::write_record(&record, &mut line);
        if recording::line(&line, &mut again).is_ok() {
            assert!(Record::parse(&again).is_ok());
        }
    }
});
