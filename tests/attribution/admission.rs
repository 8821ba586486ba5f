//! Recorded admission reviews with their audit events and processes: with all of them, and with the reviews lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use saker::correlate::{Fact, PodName, ProcessId, Root, Settings, read};
use serde_json::Value;

use crate::world::{Action, SECOND, Score, lines, nanos, play, recording, score};

/// The recorder took about as many bytes of a command line.
const RECORDED: usize = 2_000;

/// One case: who acted, what the reviews and the audit said, what ran.
struct Case {
    action: Vec<Action>,
    reviews: Vec<(u64, Fact)>,
    entries: Vec<(u64, Fact)>,
}

/// The arguments of a process, and whether they are cut. Some are shortened in the recording: `LLLL...(3000)`.
fn arguments(process: &Value) -> (Option<Vec<Box<str>>>, bool) {
    let Some(items) = process["argv"].as_array() else {
        return (None, false);
    };
    let mut argv: Vec<Box<str>> = items.iter().filter_map(Value::as_str).map(Box::from).collect();
    let shortened = |text: &str| Some(text.strip_suffix(')')?.rsplit_once("...(")?.0.len());
    if let Some((at, left)) = (argv.iter().enumerate()).find_map(|(at, text)| Some((at, shortened(text)?))) {
        argv.truncate(at + 1);
        argv[at] = argv[at][..left].into();
        return (Some(argv), true);
    }
    let cut = process["argv"].to_string().len() > RECORDED;
    (Some(argv), cut)
}

/// The user of the audit log that an action's short name means.
fn user_of(short: &str, links: &[Value]) -> Option<String> {
    let audited = links.iter().filter_map(|link| link["audited_user"].as_str());
    let found = audited.clone().find(|user| user.split('@').next() == Some(short));
    found
        .or_else(|| audited.clone().find(|user| user.ends_with(short)))
        .map(str::to_owned)
}

fn case(case: &Value, reviews: &BTreeMap<&str, &Value>) -> Case {
    let links = case["links"].as_array().cloned().unwrap_or_default();
    let actions = case["actions"].as_array().cloned().unwrap_or_default();
    let mut pods = Vec::new();
    let mut entries = Vec::new();
    for event in case["audit_events"].as_array().into_iter().flatten() {
        let Some(entry) = read::entry(event.to_string().as_bytes()) else {
            continue;
        };
        pods.push(entry.target.pod.clone());
        let link = links.iter().find(|link| link["auditID"] == event["auditID"]);
        let stage = event["stage"].as_str().unwrap_or_default();
        let delivered = link.and_then(|link| link["timing"]["delivered"][stage].as_f64());
        let at = delivered.map_or(entry.at + SECOND, nanos);
        entries.push((at, Fact::Entry(Box::new(entry))));
    }
    let uids = case["admission_uids"].as_array().into_iter().flatten();
    let facts = uids.filter_map(|of| {
        let recorded = reviews.get(of["uid"].as_str()?)?;
        let at = nanos(recorded["arrival"].as_f64()?);
        let review = read::review(recorded["body"].to_string().as_bytes(), at)?;
        Some((at, Fact::Review(Box::new(review))))
    });
    let facts: Vec<_> = facts.collect();
    let acting = |link: &Value| {
        let impersonated = link["impersonated"].as_str();
        impersonated.or(link["audited_user"].as_str()).map(str::to_owned)
    };
    let mut all: Vec<String> = links.iter().filter_map(acting).collect();
    all.sort();
    all.dedup();
    let tty = actions.iter().any(|action| action["tty"] == true);
    let mut seen = Vec::new();
    let mut found: Vec<Action> = Vec::new();
    for process in case["processes"].as_array().into_iter().flatten() {
        let (Some(pid), Some(at)) = (process["pid"].as_u64(), process["t"].as_f64()) else {
            continue;
        };
        if process["kind"] != "exec" || process["session_root"] != true || seen.contains(&pid) {
            continue;
        }
        seen.push(pid);
        // What starts a pod's sandbox is nobody's.
        if process["file"] == "/pause" {
            continue;
        }
        let (argv, cut) = arguments(process);
        let node = process["uts_node"].as_str().unwrap_or_default();
        let pod = pods.iter().find(|pod| &*pod.name == node).or(pods.first()).cloned();
        let pod = pod.unwrap_or(PodName {
            namespace: "prod".into(),
            name: node.into(),
        });
        let inner = process["inner_pid"].as_u64().unwrap_or_default();
        let root = Root {
            id: ProcessId {
                node: Arc::from("node-1"),
                pid: pid as u32,
                start: nanos(at),
            },
            pod,
            uid: None,
            container: None,
            argv,
            cut,
            tty,
            at: nanos(at),
            // A container for debugging shares the process ids of its target, or of the node.
            first: inner == 1 || case["label"].as_str().is_some_and(|label| label.contains("debug-")),
            keys: Vec::new(),
        };
        // Who it was: by the link, by the pid that the action itself printed, or the only one there.
        let linked = links
            .iter()
            .find(|link| link["process_pid"] == process["pid"])
            .and_then(acting);
        let printed = actions.iter().find(|action| {
            let out = action["stdout"].as_str().unwrap_or_default();
            out.split_whitespace().any(|word| word == format!("PID={inner}"))
        });
        let printed = printed.and_then(|action| user_of(action["user"].as_str()?, &links));
        let users = linked.or(printed).map_or(all.clone(), |user| vec![user]);
        let mut exits = case["processes"].as_array().into_iter().flatten();
        let exit = exits
            .find(|other| other["kind"] == "exit" && other["pid"] == process["pid"] && other["t"].as_f64() >= Some(at));
        let ended = exit.and_then(|exit| exit["t"].as_f64());
        found.push(Action {
            label: case["label"].as_str().unwrap_or_default().to_owned(),
            users,
            ends: ended.map(|at| (root.id.clone(), nanos(at))).into_iter().collect(),
            roots: vec![root],
        });
    }
    if found.is_empty() {
        found.push(Action {
            label: case["label"].as_str().unwrap_or_default().to_owned(),
            users: all,
            roots: Vec::new(),
            ends: Vec::new(),
        });
    }
    Case {
        action: found,
        reviews: facts,
        entries,
    }
}

#[test]
fn recorded_reviews() {
    let Some(folder) = recording("SAKER_ADMISSION", "admission") else {
        return;
    };
    let reviews = lines(&folder.join("admission_reviews.jsonl"));
    let by_uid: BTreeMap<&str, &Value> = reviews
        .iter()
        .filter_map(|review| Some((review["body"]["request"]["uid"].as_str()?, review)))
        .collect();
    let cases: Vec<Case> = lines(&folder.join("cases.jsonl"))
        .iter()
        .map(|line| case(line, &by_uid))
        .collect();
    let actions: Vec<Action> = cases.iter().flat_map(|case| case.action.clone()).collect();
    let roots = || actions.iter().flat_map(Action::facts);
    let entries = || cases.iter().flat_map(|case| case.entries.iter().cloned());
    let given = || cases.iter().flat_map(|case| case.reviews.iter().cloned());
    let all = score(
        &actions,
        &play(roots().chain(entries()).chain(given()).collect(), Settings::default()),
        true,
    );
    let lost = score(
        &actions,
        &play(roots().chain(entries()).collect(), Settings::default()),
        false,
    );
    let early = score(
        &actions,
        &play(roots().chain(given()).collect(), Settings::default()),
        false,
    );
    println!("reviews lost: {lost:?}");
    println!("audit lost: {early:?}");
    let Score {
        right,
        ambiguous,
        none,
        wrong,
    } = all;
    println!("admission right={right} ambiguous={ambiguous} none={none} wrong={wrong}");
    assert_eq!((wrong, lost.wrong, early.wrong), (0, 0, 0));
}
