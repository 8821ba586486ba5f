//! Followed files: growth, rotation, truncation, stop.
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::sources::audit::files::{Counters, StopFlag};

/// A directory with a tail that looks when it is told to, so that nothing depends on time.
struct Bench {
    dir: tempfile::TempDir,
    counters: Counters,
    stop: StopFlag,
}

impl Bench {
    fn new() -> Self {
        Bench {
            dir: tempfile::tempdir().unwrap(),
            counters: Counters::default(),
            stop: StopFlag::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path(name))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// In place, as truncation does it: the inode stays.
    fn overwrite(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(self.path(name))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// One look, and what it handed over.
    fn look(&self, tail: &mut Tail<'_>) -> String {
        let mut text = String::new();
        let mut delivery = Delivery::new(
            |chunk: Chunk<'_>| {
                text += std::str::from_utf8(chunk.bytes).unwrap();
                Ok(())
            },
            &self.stop,
            &self.counters,
        );
        assert!(tail.look(&mut delivery).is_continue());
        text
    }

    #[track_caller]
    fn counted(&self, counter: &AtomicU64, expected: u64) {
        assert_eq!(counter.load(Ordering::Relaxed), expected);
    }
}

fn line(id: &str) -> String {
    format!("{{\"kind\":\"Event\",\"auditID\":\"{id}\"}}\n")
}

#[test]
fn lines_are_handed_over_once_and_whole() {
    let bench = Bench::new();
    let path = bench.path("audit.log");
    bench.append("audit.log", &line("1"));
    let mut tail = Tail::new(&path, StartAt::Beginning);
    assert_eq!(bench.look(&mut tail), line("1"));
    assert_eq!(bench.look(&mut tail), "");
    bench.append("audit.log", &(line("2") + &line("3")));
    assert_eq!(bench.look(&mut tail), line("2") + &line("3"));
    let four = line("4");
    let (first, second) = four.split_at(20);
    bench.append("audit.log", first);
    assert_eq!(bench.look(&mut tail), "");
    bench.append("audit.log", second.trim_end());
    assert_eq!(bench.look(&mut tail), "", "without its newline a line is not complete");
    bench.append("audit.log", "\n");
    assert_eq!(bench.look(&mut tail), line("4"));
}

#[test]
fn the_end_is_where_the_last_line_begins() {
    for (before, begun) in [
        (line("1"), ""),
        (line("1"), "{\"kind\":\"Event\",\"au"),
        (String::new(), "{\"kind\":"),
        (String::new(), ""),
        (line("1").repeat(60_000), "{\"kind\":"),
    ] {
        let bench = Bench::new();
        let path = bench.path("audit.log");
        bench.append("audit.log", &(before + begun));
        let mut tail = Tail::new(&path, StartAt::End);
        assert_eq!(bench.look(&mut tail), "");
        let rest = &line("22")[begun.len().min(9)..];
        if begun.len() <= 9 {
            bench.append("audit.log", rest);
            assert_eq!(bench.look(&mut tail), format!("{}{rest}", &begun));
        } else {
            bench.append("audit.log", &line("22")[begun.len()..]);
            assert_eq!(bench.look(&mut tail), line("22"));
        }
    }
}

#[test]
fn a_renamed_file_is_read_to_its_end_before_its_successor() {
    let bench = Bench::new();
    let path = bench.path("audit.log");
    bench.append("audit.log", &line("1"));
    let mut tail = Tail::new(&path, StartAt::End);
    assert_eq!(bench.look(&mut tail), "");
    bench.append("audit.log", &line("2"));
    bench.rename("audit.log", "audit.log.1");
    bench.append("audit.log.1", &line("3"));
    bench.append("audit.log", &line("4"));
    assert_eq!(bench.look(&mut tail), line("2") + &line("3") + &line("4"));
    // The writer still has the old file open, and is in the middle of a line.
    bench.append("audit.log.1", &line("5"));
    bench.append("audit.log.1", line("6").trim_end());
    bench.append("audit.log", &line("7"));
    assert_eq!(bench.look(&mut tail), line("5") + &line("7"));
    bench.counted(&bench.counters.rotations, 1);
    // When the old file has been quiet for long enough, its last line is complete without a newline.
    tail.linger = Duration::ZERO;
    assert_eq!(bench.look(&mut tail), line("6").trim_end());
    bench.append("audit.log.1", &line("8"));
    assert_eq!(bench.look(&mut tail), "", "no longer followed");
    assert_eq!(tail.files.len(), 1);
}

#[test]
fn a_truncated_file_is_read_from_its_start() {
    let bench = Bench::new();
    let path = bench.path("audit.log");
    bench.append("audit.log", &(line("1") + &line("2") + "{\"cut\":"));
    let mut tail = Tail::new(&path, StartAt::Beginning);
    assert_eq!(bench.look(&mut tail), line("1") + &line("2"));
    // Shorter; the unfinished line will never be finished and is handed over to be counted.
    bench.overwrite("audit.log", &line("3"));
    assert_eq!(bench.look(&mut tail), format!("{{\"cut\":{}", line("3")));
    // Emptied and grown beyond the old position between two looks.
    bench.overwrite("audit.log", &(line("4") + &line("5") + &line("6")));
    assert_eq!(bench.look(&mut tail), line("4") + &line("5") + &line("6"));
    bench.counted(&bench.counters.truncations, 2);
    bench.append("audit.log", &line("7"));
    assert_eq!(bench.look(&mut tail), line("7"));
    bench.counted(&bench.counters.truncations, 2);
}

#[test]
fn a_file_may_come_and_go() {
    let bench = Bench::new();
    let path = bench.path("audit.log");
    let mut tail = Tail::new(&path, StartAt::End);
    assert_eq!(bench.look(&mut tail), "");
    bench.append("audit.log", &line("1"));
    assert_eq!(bench.look(&mut tail), line("1"), "what appears later is all new");
    bench.append("audit.log", &line("2"));
    fs::remove_file(&path).unwrap();
    assert_eq!(bench.look(&mut tail), line("2"), "a removed file is read to its end");
    assert_eq!(bench.look(&mut tail), "");
    bench.append("audit.log", "");
    assert_eq!(bench.look(&mut tail), "");
    bench.append("audit.log", &line("3"));
    assert_eq!(bench.look(&mut tail), line("3"));
}

#[test]
fn a_link_that_is_pointed_elsewhere_is_a_rotation() {
    let bench = Bench::new();
    let path = bench.path("current");
    bench.append("one", &line("1"));
    std::os::unix::fs::symlink(bench.path("one"), &path).unwrap();
    let mut tail = Tail::new(&path, StartAt::Beginning);
    assert_eq!(bench.look(&mut tail), line("1"));
    bench.append("two", &line("3"));
    std::os::unix::fs::symlink(bench.path("two"), bench.path("next")).unwrap();
    bench.rename("next", "current");
    bench.append("one", &line("2"));
    assert_eq!(bench.look(&mut tail), line("2") + &line("3"));
}

#[test]
fn directories_follow_all_their_files() {
    let bench = Bench::new();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(line("zipped").as_bytes()).unwrap();
    let zipped = encoder.finish().unwrap();
    fs::write(bench.path("a.log.gz"), &zipped).unwrap();
    bench.append("a.log", &line("1"));
    bench.append("b.log", &line("2"));
    bench.append(".hidden", &line("x"));
    bench.append("b.headers", "POST /k8s-audit HTTP/1.1\r\n\r\n");
    let mut tail = Tail::new(bench.dir.path(), StartAt::Beginning);
    assert_eq!(bench.look(&mut tail), line("1") + &line("zipped") + &line("2"));
    // Half a line in one file while another gets a whole one.
    bench.append("a.log", "{\"half\":");
    bench.append("b.log", &line("3"));
    bench.append("c.log", &line("4"));
    assert_eq!(bench.look(&mut tail), line("3") + &line("4"));
    // Rotation inside the directory: the renamed file is not read again, nor is its compressed copy.
    bench.rename("b.log", "b-2026-11-22.log");
    bench.append("b-2026-11-22.log", &line("5"));
    bench.append("b.log", &line("6"));
    fs::write(bench.path("b-2026-11-22.log.gz"), &zipped).unwrap();
    assert_eq!(bench.look(&mut tail), line("5") + &line("6"));
    bench.counted(&bench.counters.ignored_files, 1);
    bench.counted(&bench.counters.rotations, 0);
    bench.append("a.log", "1}\n");
    bench.append("b.headers", "Host: 127.0.0.1\r\n");
    assert_eq!(bench.look(&mut tail), "{\"half\":1}\n");
    // What did not look like JSON may come to.
    bench.append("b.headers", &line("7"));
    assert!(bench.look(&mut tail).ends_with(&line("7")));
}

#[test]
fn a_directory_from_its_end() {
    let bench = Bench::new();
    bench.append("a.log", &line("1"));
    let mut tail = Tail::new(bench.dir.path(), StartAt::End);
    assert_eq!(bench.look(&mut tail), "");
    bench.append("a.log", &line("2"));
    bench.append("b.log", &line("3"));
    assert_eq!(bench.look(&mut tail), line("2") + &line("3"));
}

#[test]
fn contents_that_cannot_be_used_are_counted_and_their_successor_is_read() {
    let bench = Bench::new();
    let path = bench.path("audit.log");
    fs::write(&path, b"\xFF\xFE{\0}\0\n\0").unwrap();
    let mut tail = Tail::new(&path, StartAt::Beginning);
    assert_eq!(bench.look(&mut tail), "");
    bench.counted(&bench.counters.read_errors, 1);
    assert_eq!(bench.look(&mut tail), "");
    bench.counted(&bench.counters.read_errors, 1);
    fs::write(&path, "{}\n").unwrap();
    assert_eq!(bench.look(&mut tail), "{}\n");
}

#[test]
fn what_is_no_json_is_handed_over_when_the_user_named_it() {
    let bench = Bench::new();
    let path = bench.path("audit.log");
    bench.append("audit.log", "I");
    let mut tail = Tail::new(&path, StartAt::Beginning);
    assert_eq!(bench.look(&mut tail), "");
    bench.append("audit.log", " am a log\n");
    assert_eq!(bench.look(&mut tail), "I am a log\n");
}
