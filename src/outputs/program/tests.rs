//! Real programs under a real shell.

use std::path::PathBuf;
use std::time::Instant as StdInstant;

use super::*;
use crate::outputs::testing::{alert, ledger, soon, until};

fn writer(command: String, keep_alive: bool, timeout: Duration) -> ProgramWriter {
    let config = ProgramConfig {
        command,
        keep_alive,
        format: AlertFormat::Text,
        timeout,
    };
    ProgramWriter::new(&config, ledger("program")).unwrap()
}

fn kept_alive(command: String) -> ProgramWriter {
    writer(command, true, Duration::from_secs(10))
}

fn per_alert(command: String) -> ProgramWriter {
    writer(command, false, Duration::from_secs(10))
}

/// A file of its own in a directory that lives as long as the test.
fn file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    (dir, path)
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

/// Delivers as the worker does: the same alert again after a failure.
async fn deliver(program: &mut ProgramWriter, text: &str) {
    let alert = alert(text);
    soon(async { while program.deliver(Some(&alert)).await.is_err() {} }).await;
}

#[test]
fn commands_are_checked_at_start() {
    for (command, want) in [("", "empty"), (" \n", "empty"), ("a\0b", "NUL")] {
        let config = ProgramConfig {
            command: command.to_owned(),
            keep_alive: false,
            format: AlertFormat::Json,
            timeout: Duration::from_secs(1),
        };
        let error = ProgramWriter::new(&config, ledger("program"))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(want), "{error}");
    }
}

#[tokio::test]
async fn one_process_per_alert() {
    let (_dir, path) = file();
    // The text would run a command if it were anywhere but on the standard input.
    let text = "$(touch pwned) `touch pwned`; touch pwned";
    let mut program = per_alert(format!("cat >> {0}; echo end $0 $# >> {0}", path.display()));
    for _ in 0..2 {
        soon(program.deliver(Some(&alert(text)))).await.unwrap();
    }
    let once = format!("{text}\nend /bin/sh 0\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), once.repeat(2));
}

#[tokio::test]
async fn a_process_that_fails_has_not_delivered() {
    for (command, want) in [("exit 3", "exit status: 3"), ("kill -9 $$", "signal: 9")] {
        let mut program = per_alert(command.to_owned());
        let error = soon(program.deliver(Some(&alert("one")))).await.unwrap_err();
        assert!(matches!(error, DeliveryError::Refused(_)));
        assert!(error.to_string().contains(want), "{error}");
    }
    // Not reading the input is no failure, whatever its size.
    let mut program = per_alert("true".to_owned());
    soon(program.deliver(Some(&alert(&"x".repeat(1 << 20))))).await.unwrap();
}

#[tokio::test]
async fn a_process_that_takes_too_long_is_killed_with_its_group() {
    let (_dir, path) = file();
    let command = format!("sleep 1000 & echo $! > {}; wait", path.display());
    let mut program = writer(command, false, Duration::from_millis(500));
    let began = StdInstant::now();
    let error = soon(program.deliver(Some(&alert("one")))).await.unwrap_err();
    assert!(error.to_string().contains("did not end within 500ms"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(20));
    let sleeper = std::fs::read_to_string(&path).unwrap();
    gone(sleeper.trim()).await;
}

/// Waits until a process runs no more; killed orphans may stay as zombies where nobody collects them.
async fn gone(pid: &str) {
    until(|| match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat
            .rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with(['Z', 'X'])),
        Err(_) => true,
    })
    .await;
}

#[tokio::test]
async fn one_process_for_all_alerts() {
    let (_dir, path) = file();
    let mut program = kept_alive(format!("echo start >> {0}; cat >> {0}", path.display()));
    for n in 0..100 {
        deliver(&mut program, &n.to_string()).await;
    }
    soon(program.finish()).await.unwrap();
    let want: String = (0..100).map(|n| format!("{n}\n")).collect();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("start\n{want}"));
    assert_eq!(program.left_over(), 0);
}

#[tokio::test]
async fn a_kept_alive_process_that_ends_is_started_again() {
    let (_dir, path) = file();
    // `read` takes the input byte by byte, so that each process reads exactly one alert.
    let mut program = kept_alive(format!("read -r line; echo \"$line\" >> {}", path.display()));
    for n in 0..3 {
        deliver(&mut program, &n.to_string()).await;
    }
    soon(async {
        while program.finish().await.is_err() {
            while program.deliver(None).await.is_err() {}
        }
    })
    .await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n1\n2\n");
}

#[tokio::test]
async fn what_a_process_left_unread_goes_to_the_next_one_in_order() {
    let (_dir, path) = file();
    let ready = path.with_extension("ready");
    let go = path.with_extension("go");
    // The first process reads two alerts and dies when told; the second reads everything.
    let mut program = kept_alive(format!(
        "if [ -e {ready} ]; then exec cat >> {out}; fi
         read -r a; read -r b; printf '%s\\n%s\\n' \"$a\" \"$b\" >> {out}; touch {ready}
         until [ -e {go} ]; do sleep 0.01; done; exit 1",
        ready = ready.display(),
        go = go.display(),
        out = path.display()
    ));
    for n in 0..10 {
        deliver(&mut program, &n.to_string()).await;
    }
    until(|| ready.exists()).await;
    std::fs::write(&go, "").unwrap();
    let error = soon(program.idle()).await;
    assert!(error.to_string().contains("exit status: 1"), "{error}");
    assert_eq!(program.left_over(), 8);
    deliver(&mut program, "10").await;
    assert_eq!(program.left_over(), 0);
    soon(program.finish()).await.unwrap();
    let want: String = (0..=10).map(|n| format!("{n}\n")).collect();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), want);
}

#[tokio::test]
async fn abandoning_a_process_kills_it_and_counts_what_it_did_not_read() {
    let (_dir, path) = file();
    let mut program = kept_alive(format!(
        "read -r line; echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000",
        path.display()
    ));
    for n in 0..5 {
        deliver(&mut program, &n.to_string()).await;
    }
    until(|| lines(&path) == 1).await;
    program.abandon();
    assert_eq!(program.left_over(), 4);
    gone(std::fs::read_to_string(&path).unwrap().trim()).await;
}

#[tokio::test]
async fn stderr_does_not_block_a_program() {
    // More than a pipe holds, in one line and in many.
    for command in [
        "head -c 1000000 /dev/zero >&2",
        "yes 'a line of stderr' | head -n 100000 >&2",
    ] {
        let mut program = per_alert(command.to_owned());
        soon(program.deliver(Some(&alert("one")))).await.unwrap();
    }
}
