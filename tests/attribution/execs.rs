//! 92 actions of people with real audit events and the processes that they started, several users at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use saker::correlate::{Fact, PodName, ProcessId, Root, Settings, read};
use serde_json::Value;

use crate::world::{Action, Random, SECOND, Score, lines, nanos, play, recording, score};

/// Names of pods and containers by their ids, as a node learns them from its runtime. The record of an action has the
/// ids only, so they are looked up in the audit log that was recorded with it.
#[derive(Default)]
struct Names {
    pods: BTreeMap<String, PodName>,
    containers: BTreeMap<String, String>,
}

impl Names {
    fn read(log: &std::path::Path) -> Names {
        let mut names = Names::default();
        if log.exists() {
            lines(log)
                .iter()
                .for_each(|event| names.learn(&event["responseObject"]));
        }
        names
    }

    fn learn(&mut self, object: &Value) {
        for item in object["items"].as_array().into_iter().flatten() {
            self.learn(item);
        }
        let meta = &object["metadata"];
        let (Some(uid), Some(name), Some(namespace)) =
            (meta["uid"].as_str(), meta["name"].as_str(), meta["namespace"].as_str())
        else {
            return;
        };
        let pod = PodName {
            namespace: namespace.into(),
            name: name.into(),
        };
        self.pods.insert(uid.to_owned(), pod);
        for kind in ["containerStatuses", "ephemeralContainerStatuses"] {
            for status in object["status"][kind].as_array().into_iter().flatten() {
                let id = status["containerID"].as_str().and_then(|id| id.split_once("//"));
                if let (Some((_, id)), Some(name)) = (id, status["name"].as_str()) {
                    self.containers.insert(id.to_owned(), name.to_owned());
                }
            }
        }
    }
}

struct Recorded {
    actions: Vec<Action>,
    /// Arrival, POST, and what it says.
    entries: Vec<(u64, String, Fact)>,
}

fn load() -> Option<Recorded> {
    let path = recording("SAKER_EXECS", "audit/execs.jsonl")?;
    let beside = path.with_file_name("audit_log.jsonl");
    let names = Names::read(&beside);
    let mut recorded = Recorded {
        actions: Vec::new(),
        entries: Vec::new(),
    };
    for line in lines(&path) {
        let mut users = Vec::new();
        let mut pods = Vec::new();
        for request in line["audit"].as_array().into_iter().flatten() {
            for event in request["events"].as_array().into_iter().flatten() {
                let Some(entry) = read::entry(event.to_string().as_bytes()) else {
                    continue;
                };
                pods.push(entry.target.pod.clone());
                let user = entry.person.user.to_string();
                let stage = event["stage"].as_str().unwrap_or_default();
                if stage != "RequestReceived" && !users.contains(&user) {
                    users.push(user);
                }
                for post in request["webhook_delivery"][stage].as_array().into_iter().flatten() {
                    let at = nanos(post["body_received_at"].as_f64().unwrap_or_default());
                    let post = post["post"].as_str().unwrap_or_default().to_owned();
                    recorded.entries.push((at, post, Fact::Entry(Box::new(entry.clone()))));
                }
            }
        }
        let scenario = &line["scenario"];
        let debug = scenario["kind"] == "debug";
        let processes = line["process"].as_array().into_iter().flatten();
        let mut ends = Vec::new();
        let roots = processes
            .filter_map(|process| {
                let root = root(process, debug, &names, &pods)?;
                let ended = process["exited_at"].as_f64();
                ends.extend(ended.map(|at| (root.id.clone(), nanos(at))));
                Some(root)
            })
            .collect();
        recorded.actions.push(Action {
            label: scenario["label"].as_str().unwrap_or_default().to_owned(),
            users,
            roots,
            ends,
        });
    }
    // What starts a pod's sandbox is nobody's.
    for action in &mut recorded.actions {
        action
            .roots
            .retain(|root| root.argv.as_deref() != Some(&["/pause".into()]));
    }
    Some(recorded)
}

fn root(process: &Value, debug: bool, names: &Names, pods: &[PodName]) -> Option<Root> {
    let facts = &process["facts_at_execve"];
    let cgroup = facts["cgroup"].as_str().unwrap_or_default();
    let leaf = cgroup
        .lines()
        .next()
        .and_then(|line| line.rsplit('/').next())
        .unwrap_or_default();
    let uid = cgroup
        .split("/pod")
        .nth(1)
        .and_then(|rest| rest.split('/').next())
        .unwrap_or_default();
    // Without the log beside: the pod's own host name, which is its name.
    let hostname = facts["environ"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let hostname = hostname.filter_map(|v| v.strip_prefix("HOSTNAME=")).next();
    let by_name = pods
        .iter()
        .find(|pod| hostname.is_none_or(|name| name == &*pod.name))
        .or(pods.first());
    let pod = names.pods.get(uid).or(by_name)?.clone();
    let inside = facts["status"]["NSpid"]
        .as_str()
        .and_then(|ids| ids.split_whitespace().nth(1));
    let at = process["execve_at"].as_f64()?;
    // /proc was read some moments after the execve: what has executed something else by then shows that.
    let read_at = facts["read_at"].as_f64().unwrap_or_default();
    let later = process["further_execves_same_pid"][0]["at"]
        .as_f64()
        .is_some_and(|at| at < read_at);
    let argv: Option<Vec<Box<str>>> = facts["cmdline"]
        .as_array()
        .filter(|argv| !later && !argv.is_empty())
        .map(|argv| argv.iter().filter_map(Value::as_str).map(Box::from).collect());
    Some(Root {
        id: ProcessId {
            node: Arc::from("node-1"),
            pid: process["host_pid"].as_u64()? as u32,
            start: nanos(at),
        },
        pod,
        uid: None,
        container: names.containers.get(leaf).map(|name| name.as_str().into()),
        cut: false,
        argv,
        tty: facts["stat"]["tty_nr"].as_u64().unwrap_or_default() != 0,
        at: nanos(at),
        first: inside == Some("1") || debug,
        keys: Vec::new(),
    })
}

/// Both halves, with the entries in the order and at the time that `arrival` gives them.
fn run(recorded: &Recorded, print: bool, arrival: impl Fn(&[(u64, String, Fact)]) -> Vec<(u64, Fact)>) -> Score {
    let mut facts = arrival(&recorded.entries);
    facts.extend(recorded.actions.iter().flat_map(Action::facts));
    let told = play(facts, Settings::default());
    score(&recorded.actions, &told, print)
}

#[test]
fn recorded_execs() {
    let Some(recorded) = load() else { return };
    let plain = |entries: &[(u64, String, Fact)]| -> Vec<(u64, Fact)> {
        entries.iter().map(|(at, _, fact)| (*at, fact.clone())).collect()
    };
    let late = |entries: &[(u64, String, Fact)]| -> Vec<(u64, Fact)> {
        entries
            .iter()
            .map(|(at, _, fact)| (at + 30 * SECOND, fact.clone()))
            .collect()
    };
    let twice = |entries: &[(u64, String, Fact)]| [plain(entries), late(entries)].concat();
    let shuffled = |entries: &[(u64, String, Fact)]| {
        let mut random = Random(0x5341_4b45_5221);
        let mut posts: BTreeMap<&str, Vec<(u64, Fact)>> = BTreeMap::new();
        for (at, post, fact) in entries {
            posts.entry(post).or_default().push((*at, fact.clone()));
        }
        posts.values_mut().for_each(|post| random.shuffle(post));
        posts.into_values().flatten().collect()
    };
    let first = run(&recorded, true, plain);
    for (name, score) in [
        ("30 s late", run(&recorded, false, late)),
        ("twice", run(&recorded, false, twice)),
        ("shuffled within each batch", run(&recorded, false, shuffled)),
    ] {
        println!("{name}: {score:?}");
        assert_eq!(score, first, "{name}: it matters when entries come");
    }
    let Score {
        right,
        ambiguous,
        none,
        wrong,
    } = first;
    println!("attribution right={right} ambiguous={ambiguous} none={none} wrong={wrong}");
    assert_eq!(wrong, 0);
}
