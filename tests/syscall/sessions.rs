//! Who is behind a process, live: the binary with both sources, containers of runc, what people and probes do in them, and
//! the audit events of it, posted over HTTPS as an API server posts them.

mod node;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::containerd::UID;
use crate::containers::Runc;
use crate::harness::{PATIENCE, field};

use node::{
    AGENT, Asked, DEV, Entered, IMPATIENT, LISTED, Node, OPS, OTHER_UID, SHORT, WRITTEN, assert_names, assert_nobody,
    container, enter, now, say,
};

#[test]
fn a_terminal_is_named_by_an_entry_that_comes_early_or_late() {
    let Some(mut node) = Node::start(SHORT, WRITTEN) else {
        return;
    };
    let web = container(Runc::new(), &["late", "early"]);
    web.start();
    let argv = |script| ["sh", "-c", script];
    // Audit batches come late.
    let began = Instant::now();
    let late = argv("echo > /etc/one; read x < /tmp/late; (echo > /etc/two)");
    let (asked, _terminal) = node.ask(&web, &DEV, &late, true);
    let before = node.written("/etc/one");
    assert_nobody(&before, "waiting");
    std::thread::sleep(Duration::from_secs(2).saturating_sub(began.elapsed()));
    node.post(&asked.opened());
    let met = node.session("Terminal opened by a user", "/etc/one");
    assert_eq!(
        (&met["priority"], &met["source"]),
        (&json!("Notice"), &json!("k8s_exec"))
    );
    assert_names(&met, &asked, "unique");
    assert_eq!(field(&met, "actor.state"), "attributed");
    assert_eq!(met["related"], json!([before["uuid"]]), "{met:#}");
    let pid = &before["output_fields"]["proc.pid"];
    assert_eq!(&met["output_fields"]["proc.pid"], pid, "{met:#}");
    let text = format!(
        "dev@example.com opened a terminal in shop/web-0 (container web): `{}`, pid {pid} on ",
        late.join(" ")
    );
    assert!(met["output"].as_str().unwrap().contains(&text), "{text}: {met:#}");
    let delay = met["output_fields"]["actor.delay"].as_u64().unwrap();
    assert!((1_000_000_000..PATIENCE.as_nanos() as u64).contains(&delay), "{met:#}");
    say(&web, "late");
    let after = node.written("/etc/two");
    assert_ne!(&after["output_fields"]["proc.pid"], pid, "a child");
    assert_names(&after, &asked, "unique");
    // As soon as nobody else can claim it.
    let early = argv("echo > /etc/three; read x < /tmp/early; (echo > /etc/four)");
    let asked = Asked::new(&OPS, "exec", &early, true);
    node.post(&asked.opened());
    let _terminal = enter(&web, &early, true);
    let before = node.written("/etc/three");
    assert_nobody(&before, "waiting");
    let met = node.session("Terminal opened by a user", "/etc/three");
    assert_names(&met, &asked, "unique");
    assert_eq!(met["related"], json!([before["uuid"]]), "{met:#}");
    assert!(
        met["output_fields"]["actor.delay"].as_u64().unwrap() < 1_000_000_000,
        "{met:#}"
    );
    say(&web, "early");
    assert_names(&node.written("/etc/four"), &asked, "unique");
}

#[test]
fn a_command_without_a_terminal_is_named_quietly() {
    let Some(mut node) = Node::start(SHORT, WRITTEN) else {
        return;
    };
    let web = container(Runc::new(), &["go"]);
    web.start();
    let argv = ["sh", "-c", "read x < /tmp/go; echo > /etc/one"];
    let (asked, _entered) = node.ask(&web, &DEV, &argv, false);
    node.post(&asked.opened());
    let met = node.session("Command run by a user", "/etc/one");
    assert_eq!(met["priority"], "Informational", "{met:#}");
    assert_names(&met, &asked, "unique");
    let text = "dev@example.com ran `sh -c read x < /tmp/go; echo > /etc/one` in shop/web-0 (container web), pid ";
    assert!(met["output"].as_str().unwrap().contains(text), "{met:#}");
    assert!(met.get("related").is_none(), "{met:#}");
    say(&web, "go");
    assert_names(&node.written("/etc/one"), &asked, "unique");
    // Twice, as batches that were not answered in time are.
    node.post(&asked.opened());
    node.post(&asked.closed());
    let ended = node.session("Session ended", "/etc/one");
    assert_eq!(
        (field(&ended, "actor.state"), field(&ended, "actor.user")),
        ("closed".into(), DEV.name.into())
    );
    assert_eq!(node.all("k8s_exec", "/etc/one").len(), 2, "{:#?}", node.alerts);
}

#[test]
fn two_users_at_once() {
    let Some(mut node) = Node::start(SHORT, WRITTEN) else {
        return;
    };
    let web = container(Runc::new(), &["a", "b", "c"]);
    web.start();
    // What they ask for tells them apart.
    let (first, second) = (
        ["sh", "-c", "read x < /tmp/a; echo > /etc/a"],
        ["sh", "-c", "read x < /tmp/b; echo > /etc/b"],
    );
    let (dev, _a) = node.ask(&web, &DEV, &first, true);
    let (ops, _b) = node.ask(&web, &OPS, &second, true);
    node.post(&[ops.opened(), dev.opened()].concat());
    assert_names(&node.session("Terminal opened by a user", "/etc/a"), &dev, "unique");
    assert_names(&node.session("Terminal opened by a user", "/etc/b"), &ops, "unique");
    say(&web, "b");
    assert_names(&node.written("/etc/b"), &ops, "unique");
    say(&web, "a");
    assert_names(&node.written("/etc/a"), &dev, "unique");
    // Nothing does.
    let same = ["sh", "-c", "echo > /etc/c; read x < /tmp/c; echo > /etc/d; sleep 60"];
    let (dev, _c) = node.ask(&web, &DEV, &same, true);
    let (ops, _d) = node.ask(&web, &OPS, &same, true);
    node.post(&[dev.opened(), ops.opened()].concat());
    let candidates = json!([DEV.name, OPS.name]);
    let one = node.session("Terminal of one of several users", "/etc/c");
    let pid = one["output_fields"]["proc.pid"].clone();
    let other = node.alert(|alert| {
        alert["rule"] == "Terminal of one of several users" && alert["output_fields"]["proc.pid"] != pid
    });
    for met in [&one, &other] {
        assert_nobody(met, "ambiguous");
        assert_eq!(met["output_fields"]["actor.candidates"], candidates, "{met:#}");
        assert_eq!(met["related"].as_array().map(Vec::len), Some(1), "{met:#}");
    }
    assert_ne!(one["related"], other["related"]);
    say(&web, "c");
    let written = node.written("/etc/d");
    assert_nobody(&written, "ambiguous");
    assert_eq!(written["output_fields"]["actor.candidates"], candidates, "{written:#}");
    let text = " | actor one of dev@example.com, ops@example.com by exec, evidence ambiguous";
    assert!(written["output"].as_str().unwrap().ends_with(text), "{written:#}");
}

#[test]
fn what_is_left_behind_is_still_theirs() {
    let Some(mut node) = Node::start(SHORT, WRITTEN) else {
        return;
    };
    let web = container(Runc::new(), &["daemon", "end", "shell", "never"]);
    web.start();
    let script = "setsid sh -c 'read x < /tmp/daemon; echo > /etc/daemon; read x < /tmp/end' > /dev/null 2>&1 & :";
    let (asked, mut entered) = node.ask(&web, &DEV, &["sh", "-c", script], false);
    node.post(&asked.opened());
    entered.wait();
    assert_names(&node.session("Command run by a user", "/etc/daemon"), &asked, "unique");
    node.post(&asked.closed());
    let outlived = node.session("Session outlived its request", "/etc/daemon");
    assert_eq!(outlived["priority"], "Warning", "{outlived:#}");
    assert_names(&outlived, &asked, "unique");
    let text = "Left behind by dev@example.com in shop/web-0 (container web): ";
    assert!(outlived["output"].as_str().unwrap().contains(text), "{outlived:#}");
    say(&web, "daemon");
    let written = node.written("/etc/daemon");
    assert_names(&written, &asked, "unique");
    assert_eq!(field(&written, "actor.state"), "outlived");
    say(&web, "end");
    let ended = node.session("Session ended", "/etc/daemon");
    assert_names(&ended, &asked, "unique");
    assert_eq!(ended["related"], json!([written["uuid"]]), "{ended:#}");

    let script = "nohup sh -c 'echo > /etc/left; read x < /tmp/never' & read x < /tmp/shell";
    let (asked, mut terminal) = node.ask(&web, &OPS, &["sh", "-c", script], true);
    node.post(&asked.opened());
    let left = node.written("/etc/left");
    assert_names(
        &node.session("Terminal opened by a user", "/etc/left"),
        &asked,
        "unique",
    );
    say(&web, "shell");
    terminal.wait();
    node.post(&asked.closed());
    let outlived = node.session("Session outlived its request", "/etc/left");
    assert_names(&outlived, &asked, "unique");
    assert_eq!(outlived["related"], json!([left["uuid"]]), "{outlived:#}");
    assert!(
        node.all("k8s_exec", "/etc/left")
            .iter()
            .all(|alert| alert["rule"] != "Session ended")
    );
    let pid = nix::unistd::Pid::from_raw(left["output_fields"]["proc.pid"].as_i64().unwrap() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_names(&node.session("Session ended", "/etc/left"), &asked, "unique");
}

#[test]
fn a_session_that_ends_in_time_is_not_left_behind() {
    let Some(mut node) = Node::start(IMPATIENT, WRITTEN) else {
        return;
    };
    let web = container(Runc::new(), &["go"]);
    web.start();
    let (asked, mut terminal) = node.ask(&web, &DEV, &["sh", "-c", "read x < /tmp/go; : /etc/one"], true);
    node.post(&asked.opened());
    node.session("Terminal opened by a user", "/etc/one");
    say(&web, "go");
    terminal.wait();
    node.post(&asked.closed());
    node.session("Session ended", "/etc/one");
    // One that is told of later than that would have been.
    let _unexplained = enter(&web, &["sh", "-c", "sleep 60"], true);
    node.session("Terminal of unknown origin", "sleep 60");
    let rules: Vec<_> = node
        .all("k8s_exec", "/etc/one")
        .iter()
        .map(|alert| alert["rule"].clone())
        .collect();
    assert_eq!(rules, ["Terminal opened by a user", "Session ended"]);
}

#[test]
fn a_terminal_that_nobody_explains() {
    let Some(mut node) = Node::start(IMPATIENT, WRITTEN) else {
        return;
    };
    let web = container(Runc::new(), &["go"]);
    web.start();
    // No audit events come at all.
    let mut silent = enter(&web, &["sh", "-c", "read x < /tmp/go; : silent"], true);
    let unknown = node.session("Terminal of unknown origin", "silent");
    assert_eq!(unknown["priority"], "Notice", "{unknown:#}");
    assert_nobody(&unknown, "unknown");
    let text =
        "Terminal in shop/web-0 (container web), and nobody knows whose: no audit events are coming | command=sh -c ";
    assert!(unknown["output"].as_str().unwrap().contains(text), "{unknown:#}");
    say(&web, "go");
    silent.wait();
    // Those of others do. Probes have no terminal, and nobody asks for them.
    node.hear();
    let mut probes = [(); 3].map(|()| enter(&web, &["sh", "-c", "echo > /etc/probe"], false));
    probes.iter_mut().for_each(Entered::wait);
    let _terminal = enter(
        &web,
        &["sh", "-c", "echo > /etc/one; read x < /tmp/go; echo > /etc/two"],
        true,
    );
    let written = node.written("/etc/one");
    assert_nobody(&written, "waiting");
    node.hear();
    let alert = node.session("Terminal that no request explains", "/etc/one");
    assert_eq!(alert["priority"], "Critical", "{alert:#}");
    assert_nobody(&alert, "unattributed");
    assert_eq!(alert["related"], json!([written["uuid"]]), "{alert:#}");
    let text = "Terminal in shop/web-0 (container web) that no request explains: `sh -c echo > /etc/one; ";
    assert!(alert["output"].as_str().unwrap().contains(text), "{alert:#}");
    say(&web, "go");
    assert_nobody(&node.written("/etc/two"), "unattributed");
    assert_eq!(node.all("syscall", "/etc/probe").len(), 3);
    assert_eq!(node.all("k8s_exec", "/etc/probe"), Vec::<Value>::new());
    assert_eq!(node.all("k8s_exec", "/etc/one"), [alert]);
}

#[test]
fn a_container_of_the_same_pod_is_another_one() {
    let Some(mut node) = Node::start(SHORT, WRITTEN) else {
        return;
    };
    let argv = ["sh", "-c", "echo > /etc/one; read x < /tmp/go; echo > /etc/two"];
    let web = container(Runc::new(), &["go"]);
    web.start();
    let (dev, first) = node.ask(&web, &DEV, &argv, true);
    let before = node.written("/etc/one");
    drop((first, web));
    let web = container(Runc::new(), &["go"]);
    web.start();
    // Further apart than the clocks may be.
    std::thread::sleep(Duration::from_millis(400));
    let (ops, _second) = node.ask(&web, &OPS, &argv, true);
    node.post(&[ops.opened(), dev.opened(), dev.closed()].concat());
    let pid = &before["output_fields"]["proc.pid"];
    let met = |node: &mut Node, own: bool| {
        node.alert(|alert| {
            alert["rule"] == "Terminal opened by a user" && (alert["output_fields"]["proc.pid"] == *pid) == own
        })
    };
    let of_first = met(&mut node, true);
    assert_names(&of_first, &dev, &field(&of_first, "actor.evidence"));
    assert_eq!(of_first["related"], json!([before["uuid"]]), "{of_first:#}");
    let of_second = met(&mut node, false);
    assert_names(&of_second, &ops, "ordered");
    say(&web, "go");
    let written = node.written("/etc/two");
    assert_names(&written, &ops, "ordered");
    assert_eq!(field(&written, "container.id"), web.short_id());
}

#[test]
fn a_pod_of_the_same_name_is_another_one() {
    let Some(mut node) = Node::start(IMPATIENT, WRITTEN) else {
        return;
    };
    let argv = ["sh", "-c", "echo > /etc/one; read x < /tmp/go; echo > /etc/two"];
    node.hear();
    // The old one is not quite gone.
    let pods = [OTHER_UID, UID].map(|uid| container(Runc::of(uid, |_| ()), &["go"]));
    pods.iter().for_each(Runc::start);
    let [old, new] = &pods;
    // kubectl looks before it asks.
    let looked = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": format!("get-{}", now()),
        "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces/shop/pods/web-0", "verb": "get",
        "user": {"username": DEV.name, "groups": DEV.groups}, "sourceIPs": [DEV.address], "userAgent": AGENT,
        "objectRef": {"resource": "pods", "namespace": "shop", "name": "web-0", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 200},
        "responseObject": {
            "kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web-0", "namespace": "shop", "uid": UID},
            "spec": {}, "status": {},
        },
        "requestReceivedTimestamp": now(), "stageTimestamp": now(),
    });
    let asked = Asked::new(&DEV, "exec", &argv, true);
    let (_one, _other) = (enter(old, &argv, true), enter(new, &argv, true));
    let of = |node: &mut Node, pod: &Runc, path: &str| {
        node.alert(|alert| field(alert, "fd.name") == path && field(alert, "container.id") == pod.short_id())
    };
    for pod in &pods {
        assert_nobody(&of(&mut node, pod, "/etc/one"), "waiting");
    }
    node.post(&[vec![looked], asked.opened()].concat());
    node.hear();
    let met = node.session("Terminal opened by a user", new.short_id());
    assert_names(&met, &asked, "unique");
    let other = node.session("Terminal that no request explains", old.short_id());
    assert_nobody(&other, "unattributed");
    say(new, "go");
    say(old, "go");
    assert_names(&of(&mut node, new, "/etc/two"), &asked, "unique");
    assert_nobody(&of(&mut node, old, "/etc/two"), "unattributed");
}

#[test]
fn a_key_counts_where_it_is_right() {
    let Some(mut node) = Node::start(SHORT, WRITTEN) else {
        return;
    };
    let web = container(Runc::new(), &["a", "b", "c", "d"]);
    web.start();
    let key = |uid: &str| format!("SAKER_EXEC_ID={uid}");
    // Of nobody: it is a part of what was asked for.
    let nobodys = key("11111111-0000-4000-8000-000000000000");
    let argv = ["env", &nobodys, "sh", "-c", "read x < /tmp/a; echo > /etc/a"];
    let (asked, _a) = node.ask(&web, &DEV, &argv, true);
    node.post(&asked.opened());
    assert_names(&node.session("Terminal opened by a user", "/etc/a"), &asked, "unique");
    say(&web, "a");
    assert_names(&node.written("/etc/a"), &asked, "unique");
    // The same command of both at once; the API server's patch has put a key into each.
    let keys = [&DEV, &OPS].map(|person| {
        format!(
            "22222222-0000-4000-8000-{}00000000",
            &person.address[5..].replace('.', "00")
        )
    });
    let argv = ["sh", "-c", "echo > /etc/b; read x < /tmp/b; echo > /etc/c"];
    let mut all = Vec::new();
    for (person, uid) in [&DEV, &OPS].into_iter().zip(&keys) {
        let mut asked = Asked::new(person, "exec", &argv, true);
        asked.annotations["exec-id.saker.example/exec-id"] = uid.as_str().into();
        let entered = enter(&web, &[&["env", &key(uid)], &argv[..]].concat(), true);
        all.push((asked, entered));
    }
    node.post(&all.iter().flat_map(|(asked, _)| asked.opened()).collect::<Vec<_>>());
    for (asked, _) in &all {
        let met = node
            .alert(|alert| alert["rule"] == "Terminal opened by a user" && field(alert, "actor.session") == asked.id);
        assert_names(&met, asked, "request-key");
        // The process of that key and no other, once `env` has made way for the shell.
        let pid = met["output_fields"]["proc.pid"].as_u64().unwrap();
        node.alert(|alert| field(alert, "fd.name") == "/etc/b" && alert["output_fields"]["proc.pid"] == pid);
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
        let uid = asked.annotations["exec-id.saker.example/exec-id"].as_str().unwrap();
        assert!(String::from_utf8_lossy(&environment).contains(uid), "{met:#}");
    }
    // Seen in the environment of a process, and used again.
    let again = key(&keys[1]);
    let argv = [&["env", &again], &argv[..]].concat();
    let (asked, thief) = node.ask(&web, &DEV, &argv, true);
    node.post(&asked.opened());
    let met =
        node.alert(|alert| alert["rule"] == "Terminal opened by a user" && field(alert, "actor.session") == asked.id);
    assert_names(&met, &asked, "unique");
    drop(thief);
    // Whoever asks nobody stays nobody.
    let argv = ["env", &again, "sh", "-c", "echo > /etc/d; read x < /tmp/d"];
    let _d = enter(&web, &argv, true);
    assert_nobody(&node.written("/etc/d"), "waiting");
    let mut other = Asked::new(&OPS, "exec", &["ls"], false);
    other.annotations["exec-id.saker.example/exec-id"] = keys[1].as_str().into();
    node.post(&other.opened());
    assert_nobody(
        &node.session("Terminal that no request explains", "/etc/d"),
        "unattributed",
    );
}

#[test]
fn a_condition_can_ask_who_it_is() {
    let rules = "- list: oncall
  items: [ops@example.com]

- rule: Configuration written off call
  desc: d
  condition: write_opened and fd.name startswith /etc and actor.user exists and not actor.user in (oncall)
  output: \"%actor.user wrote %fd.name\"
  priority: WARNING
  source: syscall
";
    let Some(mut node) = Node::with(SHORT, rules, &[]) else {
        return;
    };
    let web = container(Runc::new(), &["ops", "dev"]);
    web.start();
    for (person, word) in [(&OPS, "ops"), (&DEV, "dev")] {
        let script = format!("read x < /tmp/{word}; echo > /etc/of-{word}; : {word}");
        let (asked, mut entered) = node.ask(&web, person, &["sh", "-c", &script], false);
        node.post(&asked.opened());
        node.session("Command run by a user", person.name);
        say(&web, word);
        entered.wait();
    }
    let alert = node.alert(|alert| alert["rule"] == "Configuration written off call");
    let text = "dev@example.com wrote /etc/of-dev";
    assert!(alert["output"].as_str().unwrap().contains(text), "{alert:#}");
    // What is on the node and was asked for by nobody is no reason for it.
    let mut probe = enter(&web, &["sh", "-c", "echo > /etc/of-nobody"], false);
    probe.wait();
    let (asked, mut entered) = node.ask(&web, &DEV, &["sh", "-c", "sleep 1; echo > /etc/of-last"], false);
    node.post(&asked.opened());
    entered.wait();
    node.alert(|alert| field(alert, "fd.name") == "/etc/of-last");
    assert_eq!(node.all("syscall", " wrote ").len(), 2, "{:#?}", node.alerts);
}

#[test]
fn somebody_attaches_to_a_terminal() {
    let Some(mut node) = Node::start(IMPATIENT, WRITTEN) else {
        return;
    };
    let script = "echo > /etc/one; read x < /tmp/go; (echo > /etc/two); read x < /tmp/go";
    let made = Runc::of(UID, |spec| {
        spec["process"]["terminal"] = true.into();
        spec["process"]["args"] = json!(["/bin/sh", "-c", script]);
    });
    let web = container(made, &["go"]);
    let line = format!("runc run --bundle {} {}", web.bundle().display(), web.id);
    let mut command = Command::new("script");
    let command = command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped());
    let _terminal = Entered(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let before = node.written("/etc/one");
    assert_eq!(field(&before, "actor.user"), "-", "{before:#}");
    let asked = Asked::new(&DEV, "attach", &[], true);
    node.post(&asked.opened());
    let met = node.session("Terminal opened by a user", "via=attach");
    assert_names(&met, &asked, "unique");
    say(&web, "go");
    assert_names(&node.written("/etc/two"), &asked, "unique");
}

/// A container may have a terminal of its own without anybody in front of it.
#[test]
fn a_container_with_a_terminal_is_no_session() {
    let Some(mut node) = Node::start(IMPATIENT, WRITTEN) else {
        return;
    };
    let own = |spec: &mut Value| {
        spec["process"]["terminal"] = true.into();
        spec["process"]["args"] = json!(["/bin/sh", "-c", "echo > /etc/one; sleep 60"]);
    };
    let web = Runc::of(UID, own);
    let line = format!("runc run --bundle {} {}", web.bundle().display(), web.id);
    let mut command = Command::new("script");
    let command = command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped());
    let _container = Entered(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    node.written("/etc/one");
    // Later than the container, and told of later.
    let other = Runc::new();
    other.start();
    let _terminal = enter(&other, &["sh", "-c", "sleep 61"], true);
    node.session("Terminal of unknown origin", "sleep 61");
    node.hear();
    let _unexplained = enter(&other, &["sh", "-c", "sleep 62"], true);
    node.written("/etc/one");
    node.hear();
    node.session("Terminal that no request explains", "sleep 62");
    assert_eq!(node.all("k8s_exec", "/etc/one"), Vec::<Value>::new());
}

/// The API server asks before it starts anything, and writes about it later.
#[test]
fn the_first_alert_names_who_was_reviewed() {
    let Some(mut node) = Node::start(LISTED, WRITTEN) else {
        return;
    };
    let web = container(Runc::new(), &["go"]);
    web.start();
    let uid = "46abb456-95f3-4452-9fd9-1e808cd58141";
    let argv = ["sh", "-c", "echo > /etc/one; read x < /tmp/go; (echo > /etc/two)"];
    node.review(uid, &DEV, &argv, true);
    let (mut asked, _terminal) = node.ask(&web, &DEV, &argv, true);
    let first = node.written("/etc/one");
    let is = |alert: &Value, name: &str| alert["output_fields"][name].clone();
    assert_eq!(node.all("syscall", "").len(), 1, "{:#?}", node.alerts);
    assert_eq!(is(&first, "actor.user"), DEV.name, "{first:#}");
    assert_eq!(is(&first, "actor.groups"), json!(DEV.groups), "{first:#}");
    assert_eq!(is(&first, "actor.session"), uid, "{first:#}");
    assert_eq!(is(&first, "actor.evidence"), "unique", "{first:#}");
    assert_eq!(is(&first, "actor.state"), "attributed", "{first:#}");
    let text = format!(
        " | actor {} [dev, system:authenticated] by exec, evidence unique, session {uid}",
        DEV.name
    );
    assert!(first["output"].as_str().unwrap().ends_with(&text), "{first:#}");
    // A review does not tell.
    let later = ["actor.impersonator", "actor.source_ips", "actor.user_agent"];
    for name in later {
        assert_eq!(is(&first, name), Value::Null, "{name}: {first:#}");
    }
    asked.annotations["exec-id.saker.example/exec-id"] = uid.into();
    let mut events = asked.opened();
    for event in &mut events {
        event["user"] = json!({"username": OPS.name, "groups": OPS.groups});
    }
    events[1]["impersonatedUser"] = json!({"username": DEV.name, "groups": DEV.groups});
    node.post(&events);
    let session = node.listed(|session| session["session"] == asked.id);
    assert_eq!(session["impersonator"], OPS.name, "{session:#}");
    say(&web, "go");
    let second = node.written("/etc/two");
    for (name, want) in [
        ("actor.user", json!(DEV.name)),
        ("actor.impersonator", json!(OPS.name)),
        ("actor.source_ips", json!([DEV.address])),
        ("actor.user_agent", json!(AGENT)),
        ("actor.session", json!(asked.id)),
        ("actor.evidence", json!("unique")),
    ] {
        assert_eq!(is(&second, name), want, "{name}: {second:#}");
    }
}

#[test]
fn sessions_are_listed_to_their_owner() {
    let Some(mut node) = Node::start(LISTED, WRITTEN) else {
        return;
    };
    let socket = fs::metadata(node.directory.path().join("sessions.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o7777, 0o600);
    let web = container(Runc::new(), &["dev", "ops"]);
    web.start();
    let argv = ["sh", "-c", "echo > /etc/one; read x < /tmp/dev"];
    let (asked, _dev) = node.ask(&web, &DEV, &argv, true);
    let written = node.written("/etc/one");
    node.post(&asked.opened());
    let is_dev = |session: &Value| session["session"] == asked.id;
    let session = node.listed(|session| is_dev(session) && session["alerts"] != json!([]));
    for (name, want) in [
        ("state", json!("attributed")),
        ("user", json!(DEV.name)),
        ("groups", json!(DEV.groups)),
        ("source_ips", json!([DEV.address])),
        ("user_agent", json!(AGENT)),
        ("via", json!("exec")),
        ("evidence", json!("unique")),
        ("namespace", json!("shop")),
        ("pod", json!("web-0")),
        ("container", json!("web")),
        ("node", json!("node-1")),
        ("terminal", json!(true)),
        ("pid", written["output_fields"]["proc.pid"].clone()),
    ] {
        assert_eq!(session[name], want, "{name}: {session:#}");
    }
    assert_eq!(session["processes"][0]["command"], argv.join(" "), "{session:#}");
    assert_eq!(session["alerts"][0]["uuid"], written["uuid"], "{session:#}");
    // Whoever follows sees what there is, and then what comes.
    let mut following = node.sessions(&["--follow"]);
    let mut following = Entered(following.stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(following.0.stdout.take().unwrap()).lines();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let next = || -> Value { serde_json::from_str(&told.recv_timeout(PATIENCE).unwrap()).unwrap() };
    assert!(is_dev(&next()));
    let argv = ["sh", "-c", "echo > /etc/two; read x < /tmp/ops"];
    let (asked, _ops) = node.ask(&web, &OPS, &argv, true);
    node.post(&asked.opened());
    let began = Instant::now();
    while next()["user"] != OPS.name {
        assert!(began.elapsed() < PATIENCE, "{} is not listed", OPS.name);
    }
}
