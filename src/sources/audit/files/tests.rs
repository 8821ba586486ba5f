//! Whole sources as `run` reads them.
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::*;
use crate::config::StartAt;

const PATIENCE: Duration = Duration::from_secs(20);

fn line(id: usize) -> String {
    format!("{{\"kind\":\"Event\",\"auditID\":\"{id}\"}}\n")
}

fn config(path: PathBuf, follow: bool) -> FileSourceConfig {
    FileSourceConfig {
        path,
        start: StartAt::Beginning,
        follow,
        cluster: None,
    }
}

/// A source in a thread of its own, and what it hands over.
struct Running {
    stop: StopFlag,
    counters: Arc<Counters>,
    chunks: Receiver<String>,
    thread: JoinHandle<Result<(), FilesError>>,
}

impl Running {
    fn start(config: FileSourceConfig) -> Self {
        let (sender, chunks) = channel();
        let stop = StopFlag::default();
        let counters = Arc::new(Counters::default());
        let (thread_stop, thread_counters) = (stop.clone(), Arc::clone(&counters));
        let thread = thread::spawn(move || {
            run(&config, &thread_stop, &thread_counters, |chunk| {
                sender.send(String::from_utf8(chunk.bytes.to_vec()).unwrap()).unwrap();
                Ok(())
            })
        });
        Running {
            stop,
            counters,
            chunks,
            thread,
        }
    }

    #[track_caller]
    fn expect(&self, text: &str) {
        let mut seen = String::new();
        while seen.len() < text.len() {
            seen += &self.chunks.recv_timeout(PATIENCE).unwrap();
        }
        assert_eq!(seen, text);
    }

    #[track_caller]
    fn stop(self) {
        let asked = Instant::now();
        self.stop.set();
        self.thread.join().unwrap().unwrap();
        // About 100 ms on an idle machine; tests share theirs.
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    }
}

#[test]
fn a_followed_file_is_read_as_it_grows_until_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let running = Running::start(config(path.clone(), true));
    let mut file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
    for id in 0..20 {
        file.write_all(line(id).as_bytes()).unwrap();
        running.expect(&line(id));
    }
    fs::rename(&path, dir.path().join("audit.log.1")).unwrap();
    file.write_all(line(20).as_bytes()).unwrap();
    running.expect(&line(20));
    fs::write(&path, line(21)).unwrap();
    running.expect(&line(21));
    assert_eq!(running.counters.rotations.load(Ordering::Relaxed), 1);
    running.stop();
}

#[test]
fn a_directory_that_is_made_later_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("audit");
    let running = Running::start(config(inside.clone(), true));
    fs::create_dir(&inside).unwrap();
    fs::write(inside.join("a.log"), line(1)).unwrap();
    running.expect(&line(1));
    running.stop();
}

#[test]
fn a_directory_is_read_once_despite_a_damaged_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("1.json"), line(1)).unwrap();
    fs::write(dir.path().join("2.gz"), b"\x1f\x8b\x08\x00").unwrap();
    fs::write(dir.path().join("3.json"), line(3)).unwrap();
    let counters = Counters::default();
    let mut text = String::new();
    let result = run(
        &config(dir.path().to_owned(), false),
        &StopFlag::default(),
        &counters,
        |chunk| {
            text += std::str::from_utf8(chunk.bytes).unwrap();
            Ok(())
        },
    );
    assert_eq!(text, line(1) + &line(3));
    assert!(result.unwrap_err().to_string().contains("2.gz` ends in the middle"));
    assert_eq!(counters.read_errors.load(Ordering::Relaxed), 1);
    assert_eq!(counters.bytes.load(Ordering::Relaxed), text.len() as u64);
}

#[test]
fn busy_outputs_delay_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let all: String = (0..5000).map(line).collect();
    fs::write(&path, &all).unwrap();
    for follow in [false, true] {
        let (stop, counters) = (StopFlag::default(), Counters::default());
        let (mut text, mut calls, mut refused) = (String::new(), 0, Vec::new());
        run(&config(path.clone(), follow), &stop, &counters, |chunk| {
            calls += 1;
            if calls <= 2 {
                refused.push(chunk.bytes.to_vec());
                return Err(Rejected::Busy);
            }
            if calls == 3 {
                assert!(
                    refused.iter().all(|earlier| earlier == chunk.bytes),
                    "the same chunk is offered again"
                );
            }
            text += std::str::from_utf8(chunk.bytes).unwrap();
            if text.len() == all.len() {
                stop.set();
            }
            Ok(())
        })
        .unwrap();
        assert!(text == all);
        assert_eq!(counters.busy_waits.load(Ordering::Relaxed), 2);
        assert_eq!(counters.abandoned_bytes.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn the_stop_hands_over_what_was_read_and_reads_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    // A broken line in the middle makes several chunks of what was read at once.
    let all = format!("{}broken\n{}", line(1), line(2));
    fs::write(&path, &all).unwrap();
    for follow in [false, true] {
        let stop = StopFlag::default();
        let mut text = String::new();
        run(&config(path.clone(), follow), &stop, &Counters::default(), |chunk| {
            text += std::str::from_utf8(chunk.bytes).unwrap();
            stop.set();
            Ok(())
        })
        .unwrap();
        assert_eq!(text.replace('\n', ""), all.replace('\n', ""));
    }
}

#[test]
fn a_stop_while_outputs_are_busy_says_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    fs::write(&path, line(1)).unwrap();
    for follow in [false, true] {
        let (stop, counters) = (StopFlag::default(), Counters::default());
        let mut calls = 0;
        run(&config(path.clone(), follow), &stop, &counters, |_| {
            calls += 1;
            stop.set();
            Err(Rejected::Busy)
        })
        .unwrap();
        assert_eq!(calls, 2, "offered once more after the stop");
        assert_eq!(counters.abandoned_bytes.load(Ordering::Relaxed), line(1).len() as u64);
    }
}

#[test]
fn what_the_pipeline_cannot_read_is_counted_and_passed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    fs::write(&path, format!("broken\n{}", line(1))).unwrap();
    let counters = Counters::default();
    let mut taken = 0;
    run(&config(path, false), &StopFlag::default(), &counters, |chunk| {
        assert_eq!(chunk.broken, chunk.bytes == b"broken\n");
        if !chunk.broken {
            taken += 1;
            Ok(())
        } else {
            Err(Rejected::Unreadable("no JSON".to_owned()))
        }
    })
    .unwrap();
    assert_eq!((taken, counters.unreadable_chunks.load(Ordering::Relaxed)), (1, 1));
}

#[test]
fn a_named_pipe_is_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let running = Running::start(config(path.clone(), true));
    let mut pipe = OpenOptions::new().write(true).open(&path).unwrap();
    pipe.write_all(line(1).as_bytes()).unwrap();
    running.expect(&line(1));
    // A whole document is handed over without its newline: its sender may be waiting.
    pipe.write_all(line(2).trim_end().as_bytes()).unwrap();
    running.expect(line(2).trim_end());
    pipe.write_all(b"\n{\"cut\":").unwrap();
    drop(pipe);
    running.expect("{\"cut\":");
    running.thread.join().unwrap().unwrap();
}

#[test]
fn a_silent_pipe_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let (unopened, path) = (dir.path().join("unopened"), dir.path().join("pipe"));
    for pipe in [&unopened, &path] {
        nix::unistd::mkfifo(pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    // Before a writer opens it, and while a writer is in the middle of a line.
    Running::start(config(unopened, false)).stop();
    let running = Running::start(config(path.clone(), false));
    let mut pipe = OpenOptions::new().write(true).open(&path).unwrap();
    pipe.write_all(line(1).repeat(2).as_bytes()).unwrap();
    pipe.write_all(b"{\"cut\":").unwrap();
    running.expect(&line(1).repeat(2));
    let Running {
        stop, chunks, thread, ..
    } = running;
    stop.set();
    thread.join().unwrap().unwrap();
    assert!(chunks.recv().is_err(), "half a line is no line");
}
