//! What a replay costs, as ratios to parsing the same bytes, in one run: `cargo bench --bench replay`.
//!
//! The corpus is `../shared/bench/gen_corpus.py 20000`, or the file that SAKER_BENCH_CORPUS names; the rules are
//! upstream's audit rules, or the files that SAKER_BENCH_RULES names (separated by commas). Each measure runs in turn,
//! round after round, and its fastest round counts, so that a busy machine disturbs all alike.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use saker::engine::{Options, RuleFile, RuleSet, load};
use saker::fields::evt::Host;
use saker::replay::Replay;
use saker::sources::audit::decode;

const ROUNDS: usize = 15;

/// What is measured, how to do it once, and the fastest time so far.
type Measure<'a> = (&'static str, Box<dyn FnMut() + 'a>, Duration);

fn main() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let Some(corpus) = corpus(&shared) else {
        println!("replay benchmark SKIPPED: no corpus; name a file of audit events in SAKER_BENCH_CORPUS");
        return;
    };
    let files = match std::env::var("SAKER_BENCH_RULES") {
        Ok(files) => files.split(',').map(PathBuf::from).collect(),
        Err(_) => vec![shared.join("upstream_rules/k8s_audit_rules.yaml")],
    };
    let rules = || rules(&files);
    let megabytes = corpus.len() as f64 / 1e6;
    let lines: Vec<&[u8]> = corpus.split(|&b| b == b'\n').filter(|l| !l.is_empty()).collect();
    let mut replay = Replay::new(
        rules(),
        Host {
            name: "bench".into(),
            zone: jiff::tz::TimeZone::UTC,
        },
        None,
        true,
    );
    let mut measures: Vec<Measure<'_>> = vec![
        (
            "serde_json into a Value",
            Box::new(|| {
                for line in &lines {
                    black_box(serde_json::from_slice::<serde_json::Value>(line).expect("json"));
                }
            }),
            Duration::MAX,
        ),
        (
            "sonic-rs into a Value",
            Box::new(|| {
                for line in &lines {
                    black_box(sonic_rs::from_slice::<sonic_rs::Value>(line).expect("json"));
                }
            }),
            Duration::MAX,
        ),
        (
            "our decode",
            Box::new(|| {
                let mut events = 0;
                for chunk in pieces(&corpus) {
                    decode::lines(chunk, |item| events += usize::from(item.is_ok())).expect("text");
                }
                assert_eq!(events, lines.len());
            }),
            Duration::MAX,
        ),
        (
            "our whole replay, alerts as JSON",
            Box::new(|| {
                for chunk in pieces(&corpus) {
                    replay.text(chunk);
                    black_box(&replay.out);
                    replay.out.clear();
                }
            }),
            Duration::MAX,
        ),
    ];
    for _ in 0..ROUNDS {
        for (_, run, best) in &mut measures {
            let start = Instant::now();
            run();
            *best = start.elapsed().min(*best);
        }
    }
    let base = measures[1].2.as_secs_f64();
    println!(
        "{} events, {megabytes:.1} MB, fastest of {ROUNDS} interleaved rounds, one thread",
        lines.len()
    );
    println!("| measure | ms | MB/s | × sonic-rs |\n|---|---|---|---|");
    for (name, _, best) in &measures {
        let seconds = best.as_secs_f64();
        println!(
            "| {name} | {:.1} | {:.0} | {:.2} |",
            seconds * 1e3,
            megabytes / seconds,
            seconds / base
        );
    }
    drop(measures);
    println!("alerts per round: {}", replay.alerts / ROUNDS as u64);
}

fn rules(files: &[PathBuf]) -> RuleSet {
    let files = files
        .iter()
        .map(|path| RuleFile {
            name: path.display().to_string(),
            text: std::fs::read_to_string(path).expect("rules"),
        })
        .collect();
    load(files, &Options::default())
        .expect("fields")
        .rules
        .expect("rules without errors")
}

/// As a file is read: pieces of whole lines that stay in the cache.
fn pieces(corpus: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = corpus;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.len().min(256 << 10);
        let cut = rest[..end]
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(rest.len(), |n| n + 1);
        let (piece, left) = rest.split_at(cut);
        rest = left;
        Some(piece)
    })
}

fn corpus(shared: &Path) -> Option<Vec<u8>> {
    if let Ok(path) = std::env::var("SAKER_BENCH_CORPUS") {
        return Some(std::fs::read(path).expect("SAKER_BENCH_CORPUS"));
    }
    let script = shared.join("bench/gen_corpus.py");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("corpus-20000.jsonl");
    if !path.exists() {
        let made = script.exists()
            && Command::new("python3")
                .arg(&script)
                .arg("20000")
                .arg(&path)
                .status()
                .is_ok_and(|s| s.success());
        if !made {
            return None;
        }
    }
    std::fs::read(path).ok()
}
