//! Counts what passes, prints what does not, and holds the counts against those that were reached before.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use serde_json::Value;

/// What one case came to.
pub enum Outcome {
    Pass,
    /// Differs from upstream on purpose, and is what docs/compatibility.md says.
    Deviation(&'static str),
    Fail(String),
}

impl Outcome {
    pub fn equal<T: PartialEq + Debug>(got: T, want: T) -> Outcome {
        if got == want {
            return Outcome::Pass;
        }
        Outcome::Fail(format!("got {got:?}\n     want {want:?}"))
    }

    /// The first failure, else a deviation if there is one.
    pub fn all(outcomes: impl IntoIterator<Item = Outcome>) -> Outcome {
        let mut whole = Outcome::Pass;
        for outcome in outcomes {
            match outcome {
                Outcome::Pass => {}
                Outcome::Deviation(_) => whole = outcome,
                Outcome::Fail(_) => return outcome,
            }
        }
        whole
    }
}

pub struct Report {
    dir: PathBuf,
    counts: Vec<(String, usize, usize)>,
}

impl Report {
    pub fn new(dir: PathBuf) -> Report {
        Report {
            dir,
            counts: Vec::new(),
        }
    }

    pub fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.dir.join(name)).ok()
    }

    /// Runs the cases of a file of JSON lines; `name` tells one from the others in messages.
    pub fn file(&mut self, file: &str, name: impl Fn(&Value) -> String, run: impl Fn(&Value) -> Outcome) {
        let Some(text) = self.read(file) else {
            println!("conformance {file} SKIPPED: the file is not there");
            return;
        };
        let (mut passed, mut deviations, mut total) = (0, Vec::new(), 0);
        for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            total += 1;
            let case: Value = serde_json::from_str(line).expect("a case is a line of JSON");
            let id = format!("{}:{} {}", file, i + 1, short(&name(&case), 120));
            match catch_unwind(AssertUnwindSafe(|| run(&case))) {
                Ok(Outcome::Pass) => passed += 1,
                Ok(Outcome::Deviation(reason)) => deviations.push((id, reason)),
                Ok(Outcome::Fail(why)) => println!("  FAIL {id}\n     {}", short(&why, 1500)),
                Err(_) => println!("  PANIC {id}"),
            }
        }
        for (id, reason) in &deviations {
            println!("  deviation {id}: {reason}");
        }
        passed += deviations.len();
        println!(
            "conformance {file} {passed}/{total}{}",
            match deviations.len() {
                0 => String::new(),
                n => format!(" ({n} of them deviations)"),
            }
        );
        self.counts.push((file.to_owned(), passed, total));
    }

    /// Fails when a file passes less than `floors` says, one `FILE COUNT` a line.
    pub fn finish(&self, floors: Option<&str>) {
        let (passed, total) = self.counts.iter().fold((0, 0), |(p, t), (_, a, b)| (p + a, t + b));
        println!("conformance TOTAL {passed}/{total}");
        let Some(floors) = floors else { return };
        let mut fallen = Vec::new();
        for line in floors.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
            let (file, floor) = line.rsplit_once(' ').expect("FILE COUNT");
            let floor: usize = floor.parse().expect("a count");
            let got = self.counts.iter().find(|(f, ..)| f == file).map_or(0, |(_, p, _)| *p);
            if got < floor {
                fallen.push(format!("{file}: {got} pass, {floor} did before"));
            }
            if got > floor {
                println!("note: {file} passes {got}, passing.txt has {floor}: raise it");
            }
        }
        assert!(fallen.is_empty(), "{}", fallen.join("\n"));
    }
}

/// Text cut to be read in a message.
pub fn short(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The string at a key, empty when there is none.
pub fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or_default()
}

/// The strings of an array.
pub fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}
