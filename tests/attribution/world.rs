//! Facts with the times at which they arrive, played to a correlator, and what came of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use saker::correlate::{Change, Correlator, Fact, ProcessId, Root, Settings, State};

pub const SECOND: u64 = 1_000_000_000;

/// A file or folder of the recordings, or one that a variable names; `None`, and a loud line, where it is not there.
pub fn recording(variable: &str, name: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared").join(name),
        PathBuf::from,
    );
    if !path.exists() {
        eprintln!("SKIPPED: {} is not there", path.display());
        return None;
    }
    Some(path)
}

pub fn lines(path: &std::path::Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).expect("a recording");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

pub fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

/// One action: its processes, and the users who may rightly be named for them.
#[derive(Clone, Debug)]
pub struct Action {
    pub label: String,
    pub users: Vec<String>,
    pub roots: Vec<Root>,
    /// When which of them ended.
    pub ends: Vec<(ProcessId, u64)>,
}

impl Action {
    /// What a node tells of it.
    pub fn facts(&self) -> impl Iterator<Item = (u64, Fact)> {
        let roots = self
            .roots
            .iter()
            .map(|root| (root.at, Fact::Root(Box::new(root.clone()))));
        let ends = self.ends.iter().map(|(id, at)| {
            (
                *at,
                Fact::Ended {
                    id: id.clone(),
                    at: *at,
                },
            )
        });
        roots.chain(ends)
    }
}

/// Deterministic numbers for shuffling.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// All that was told of each process, in order.
pub type Told = BTreeMap<ProcessId, Vec<Change>>;

/// Plays facts in the order of their arrival, and time between and after them.
pub fn play(mut facts: Vec<(u64, Fact)>, settings: Settings) -> Told {
    facts.sort_by_key(|(at, _)| *at);
    let mut correlator = Correlator::new(settings);
    let mut told = Told::new();
    let mut changes = Vec::new();
    let mut clock = facts.first().map_or(0, |(at, _)| *at);
    let end = facts.last().map_or(0, |(at, _)| *at) + 60 * SECOND;
    let mut facts = facts.into_iter().peekable();
    correlator.take(Fact::Bus(Some(clock - 600 * SECOND)), clock, &mut changes);
    correlator.take(Fact::Heard(clock - 500 * SECOND), clock, &mut changes);
    while clock <= end {
        correlator.take(Fact::Heard(clock), clock, &mut changes);
        while let Some((at, fact)) = facts.next_if(|(at, _)| *at <= clock) {
            correlator.take(fact, at, &mut changes);
        }
        correlator.tick(clock, &mut changes);
        for change in changes.drain(..) {
            let ends = matches!(change.state, State::Closed | State::Outlived | State::Empty);
            if let Some(process) = change.process.clone().filter(|_| !ends) {
                told.entry(process).or_default().push(change);
            }
        }
        // Nothing happens in long pauses but what patience brings.
        let next = facts.peek().map_or(end + 1, |(at, _)| *at);
        clock += if next > clock + 200 * SECOND {
            next - clock - 190 * SECOND
        } else {
            SECOND / 10
        };
    }
    told
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    pub right: usize,
    pub ambiguous: usize,
    pub none: usize,
    pub wrong: usize,
}

/// The name that an attribution gives.
fn name(change: &Change) -> Option<&str> {
    let person = change.actor.as_ref()?.person.as_ref()?;
    (change.state == State::Attributed).then_some(&*person.user)
}

/// Counts processes, and of actions without one the action. A name that was wrong for a moment counts as wrong.
pub fn score(actions: &[Action], told: &Told, print: bool) -> Score {
    let mut score = Score::default();
    for action in actions {
        let expected = action.users.join(",");
        let line = |process: &str, result: &str, evidence: &str, delay: String| {
            if print {
                let label = &action.label;
                println!("{label:<30} expected={expected:<34} {process:<8} {result:<44} {evidence:<12} {delay}");
            }
        };
        if action.roots.is_empty() {
            score.right += 1;
            line("-", "no process, and none named", "none", String::new());
        }
        for root in &action.roots {
            let changes = told.get(&root.id).map(Vec::as_slice).unwrap_or_default();
            let false_name = changes
                .iter()
                .filter_map(name)
                .find(|user| !action.users.iter().any(|u| u == user));
            let last = changes.last();
            let actor = last.and_then(|change| change.actor.as_ref());
            let evidence = actor.map_or("none", |actor| actor.evidence.name());
            let result = match (false_name, last.map(|c| c.state)) {
                (Some(user), _) => {
                    score.wrong += 1;
                    format!("WRONG {user}")
                }
                (None, Some(State::Attributed)) => {
                    score.right += 1;
                    last.and_then(name).unwrap_or_default().to_owned()
                }
                (None, Some(State::Ambiguous)) => {
                    score.ambiguous += 1;
                    let candidates: Vec<_> = actor.map(|a| a.candidates.join(",")).into_iter().collect();
                    format!("ambiguous {}", candidates.join(","))
                }
                _ if action.users.is_empty() => {
                    score.right += 1;
                    "nobody".to_owned()
                }
                _ => {
                    score.none += 1;
                    "none".to_owned()
                }
            };
            let delay = last.map_or(String::new(), |c| format!("{:.3} s", c.after as f64 / 1e9));
            line(&root.id.pid.to_string(), &result, evidence, delay);
        }
    }
    score
}
