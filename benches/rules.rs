//! What the number of rules costs, as ratios in one run: `cargo bench --bench rules`.
//!
//! Sets of 50, 500, 1,000 and 5,000 rules are made of upstream's audit rules: each copy gets one more condition, in
//! turn on the namespace, on the user, on the object's name, and on the pod's images, as people do who tune per tenant.
//! Corpus and environment as in the `replay` benchmark.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use saker::engine::{Options, RuleFile, RuleSet, load};
use saker::fields::evt::Host;
use saker::replay::Replay;

const ROUNDS: usize = 7;

fn main() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let stock = shared.join("upstream_rules/k8s_audit_rules.yaml");
    let (Some(corpus), Ok(stock)) = (corpus(&shared), std::fs::read_to_string(stock)) else {
        println!("rules benchmark SKIPPED: no corpus or no rules in ../shared");
        return;
    };
    let mut sets: Vec<(usize, Duration, usize, Replay, Duration)> = Vec::new();
    for count in [50, 500, 1_000, 5_000] {
        let text = variations(&stock, count);
        let before = resident();
        let mut fastest = Duration::MAX;
        let mut rules = None;
        for _ in 0..3 {
            let start = Instant::now();
            rules = Some(compile(&text));
            fastest = fastest.min(start.elapsed());
        }
        let rules = rules.expect("compiled");
        let memory = resident().saturating_sub(before);
        sets.push((
            count,
            fastest,
            memory,
            Replay::new(rules, host(), None, true),
            Duration::MAX,
        ));
    }
    for _ in 0..ROUNDS {
        for (.., replay, best) in &mut sets {
            let start = Instant::now();
            for piece in pieces(&corpus) {
                replay.text(piece);
                black_box(&replay.out);
                replay.out.clear();
            }
            *best = start.elapsed().min(*best);
        }
    }
    let base = sets[0].4.as_secs_f64();
    println!("| rules | replay ms | × 50 rules | alerts | load ms | memory MiB |\n|---|---|---|---|---|---|");
    for (count, load, memory, replay, best) in &sets {
        println!(
            "| {count} | {:.1} | {:.2} | {} | {:.1} | {:.1} |",
            best.as_secs_f64() * 1e3,
            best.as_secs_f64() / base,
            replay.alerts / ROUNDS as u64,
            load.as_secs_f64() * 1e3,
            *memory as f64 / f64::from(1 << 20),
        );
    }
}

fn host() -> Host {
    Host {
        name: "bench".into(),
        zone: jiff::tz::TimeZone::UTC,
    }
}

fn compile(text: &str) -> RuleSet {
    let file = RuleFile {
        name: "generated.yaml".to_owned(),
        text: text.to_owned(),
    };
    let loaded = load(vec![file], &Options::default()).expect("fields");
    let errors: String = loaded.errors().map(|d| d.render(&loaded.sources)).collect();
    loaded.rules.unwrap_or_else(|| panic!("{errors}"))
}

/// Lists and macros as they are, and `count` rules.
fn variations(stock: &str, count: usize) -> String {
    let items: Vec<serde_json::Value> = serde_yaml::from_str(stock).expect("yaml");
    let (rules, mut out): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item.get("rule").is_some());
    for i in 0..count {
        let mut rule = rules[i % rules.len()].clone();
        let copy = i / rules.len();
        if copy > 0 {
            let condition = rule["condition"].as_str().expect("condition").trim().to_owned();
            let more = match i % 4 {
                0 => format!("ka.target.namespace in (tenant-{copy}, tenant-{copy}-test)"),
                1 => format!("not ka.user.name in (operator-{copy}, robot-{copy})"),
                2 => format!("ka.target.name startswith team-{copy}-"),
                _ => format!(
                    "ka.req.pod.containers.image.repository intersects (registry.example/{copy}/a, registry.example/{copy}/b)"
                ),
            };
            rule["condition"] = format!("({condition}) and {more}").into();
            rule["rule"] = format!("{} {copy}", rule["rule"].as_str().expect("name")).into();
        }
        out.push(rule);
    }
    // JSON is YAML.
    serde_json::to_string_pretty(&out).expect("json")
}

/// Resident memory of this process, in bytes (/proc/self/statm, second field, in pages).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok())
        .unwrap_or(0)
        * 4096
}

fn pieces(corpus: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = corpus;
    std::iter::from_fn(move || {
        let end = rest.len().min(256 << 10);
        let cut = rest[..end]
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(rest.len(), |n| n + 1);
        let (piece, left) = rest.split_at(cut);
        rest = left;
        (!piece.is_empty()).then_some(piece)
    })
}

fn corpus(shared: &Path) -> Option<Vec<u8>> {
    if let Ok(path) = std::env::var("SAKER_BENCH_CORPUS") {
        return Some(std::fs::read(path).expect("SAKER_BENCH_CORPUS"));
    }
    let script = shared.join("bench/gen_corpus.py");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("corpus-20000.jsonl");
    let made = || {
        Command::new("python3")
            .arg(&script)
            .arg("20000")
            .arg(&path)
            .status()
            .is_ok_and(|s| s.success())
    };
    let there = path.exists() || script.exists() && made();
    if !there {
        return None;
    }
    std::fs::read(path).ok()
}
