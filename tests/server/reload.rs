//! Rules, certificates and tokens change while clients post: nothing that was acknowledged is lost, no connection breaks.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::client::{Client, Request};
use crate::harness::{Server, configured, ids, read_alerts, wait_for};
use crate::material::{RULES, execs, list, numbered, quiet, setup_certs};

const OLD: &str = "the-old-token-of-the-api-server";
const NEW: &str = "the-new-token-of-the-api-server";

const YAML: &str = "\
webhook:
  tls: {cert: tls/tls.crt, key: tls/tls.key}
  token_file: tokens
";

/// Apart from what is watched, as in a pod; a directory in which files always change is looked at more rarely.
const OUTPUTS: &str = "outputs: [{kind: file, path: out/alerts.jsonl}]\n";

fn prepare(dir: &Path) {
    std::fs::create_dir(dir.join("out")).unwrap();
    secret_volume(dir);
}

fn alerts(server: &Server) -> Vec<Value> {
    read_alerts(&server.dir.join("out/alerts.jsonl"))
}

/// As the kubelet lays out a Secret: files are links through `..data`, which is swapped as one.
fn secret_volume(dir: &Path) {
    let volume = dir.join("tls");
    std::fs::create_dir(&volume).unwrap();
    new_version(dir, "..v1");
    symlink("..v1", volume.join("..data")).unwrap();
    for file in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(file), volume.join(file)).unwrap();
    }
}

/// A renewed server certificate, made as the documentation says: the two files are deleted and made again.
fn new_version(dir: &Path, version: &str) {
    let (certs, to) = (dir.join("certs"), dir.join("tls").join(version));
    std::fs::create_dir(&to).unwrap();
    for made in ["server.crt", "server.key"] {
        std::fs::remove_file(certs.join(made)).unwrap();
    }
    setup_certs(dir, "certs");
    std::fs::copy(certs.join("server.crt"), to.join("tls.crt")).unwrap();
    std::fs::copy(certs.join("server.key"), to.join("tls.key")).unwrap();
}

fn swap(dir: &Path, version: &str) {
    let volume = dir.join("tls");
    symlink(version, volume.join("..data_tmp")).unwrap();
    std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
}

/// In one step, as a careful editor does.
fn replace(path: &Path, contents: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, contents).unwrap();
    std::fs::rename(new, path).unwrap();
}

fn generation(server: &Server, what: &str) -> f64 {
    server.metric(&format!("saker_reload_generation{{what=\"{what}\"}}"))
}

fn failures(server: &Server, what: &str) -> f64 {
    server.metric(&format!("saker_reload_failures_total{{what=\"{what}\"}}"))
}

fn rules(version: usize) -> String {
    RULES.replace("exec by", &format!("v{version} exec by"))
}

/// Clients that post until they are told to stop, and what the server acknowledged to them.
struct Load {
    stop: AtomicBool,
    posted: AtomicUsize,
    acknowledged: Mutex<Vec<String>>,
}

impl Load {
    /// Posts batches of five, most on one connection, and some on a new one. Any failure is the test's.
    fn post(&self, client: &Client, name: &str) {
        let mut connection = client.connect().unwrap();
        for n in 0.. {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            if n % 25 == 24 {
                connection = client.connect().unwrap();
            }
            let ids = numbered(&format!("{name}-{n}"), 5);
            let body = execs(&ids);
            let answer = connection.send(&Request::batch(body.as_bytes()).token(OLD)).unwrap();
            assert_eq!(answer.accepted(), [5, 0, 5, 0]);
            self.acknowledged.lock().unwrap().extend(ids);
            self.posted.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Stops the clients also when an assertion fails, or the scope would wait for them for ever.
struct StopAtEnd<'a>(&'a Load);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }
}

#[test]
fn reload_under_load_loses_nothing() {
    let mut server = configured(&(YAML.to_owned() + OUTPUTS))
        .prepare(prepare)
        .file("tokens", OLD)
        .start();
    let dir = server.dir.clone();
    let client = server.client();
    let first_certificate = client.connect().unwrap().server_certificate();
    let load = Load {
        stop: AtomicBool::new(false),
        posted: AtomicUsize::new(0),
        acknowledged: Mutex::default(),
    };
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&load);
        for name in ["a", "b", "c", "d"] {
            let (load, client) = (&load, &client);
            scope.spawn(move || load.post(client, name));
        }
        for round in 2..8 {
            let before = ["rules", "tls", "tokens"].map(|what| (what, generation(&server, what)));
            let posted = load.posted.load(Ordering::SeqCst);
            new_version(&dir, &format!("..v{round}"));
            swap(&dir, &format!("..v{round}"));
            replace(&dir.join("rules.yaml"), &rules(round));
            replace(&dir.join("tokens"), &format!("# round {round}\n{OLD}\n{NEW}\n"));
            if round % 2 == 0 {
                server.signal(Signal::SIGHUP);
            }
            for (what, before) in before {
                server.wait_for_metric(&format!("saker_reload_generation{{what=\"{what}\"}}"), before + 1.0);
            }
            // The load goes on between reloads, however fast they are.
            wait_for("more batches", || {
                (load.posted.load(Ordering::SeqCst) > posted + 20).then_some(())
            });
        }
    });
    let last_certificate = client.connect().unwrap().server_certificate();
    assert_ne!(
        first_certificate, last_certificate,
        "new connections see the new certificate"
    );
    let quiet = list([quiet("new token")]);
    assert_eq!(client.send(&Request::batch(quiet.as_bytes()).token(NEW)).code, 200);
    assert_eq!(
        failures(&server, "rules") + failures(&server, "tls") + failures(&server, "tokens"),
        0.0
    );
    server.stop();

    let alerts = alerts(&server);
    let mut raised = ids(&alerts);
    raised.sort();
    let mut want = load.acknowledged.into_inner().unwrap();
    want.sort();
    crate::material::told(&format!(
        "reload under load: {} batches, {} alerts",
        load.posted.into_inner(),
        raised.len()
    ));
    assert!(
        raised == want,
        "{} alerts of {} that were acknowledged",
        raised.len(),
        want.len()
    );
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for alert in &alerts {
        let output = alert["output"].as_str().unwrap();
        let version = output.split(' ').find(|word| word.starts_with('v') || *word == "exec");
        *versions.entry(version.unwrap()).or_default() += 1;
    }
    assert!(
        versions.len() > 5,
        "several generations of rules raised alerts: {versions:?}"
    );
}

/// A bad file changes nothing but the log and a counter; the next good one is taken.
#[test]
fn bad_files_keep_what_runs() {
    let mut server = configured(&(YAML.to_owned() + OUTPUTS))
        .prepare(prepare)
        .file("tokens", OLD)
        .start();
    let dir = server.dir.clone();
    let client = server.client();
    let certificate = client.connect().unwrap().server_certificate();
    let post = |id: &str, token: &str| {
        let body = execs(&[id.to_owned()]);
        client.send(&Request::batch(body.as_bytes()).token(token)).code
    };
    assert_eq!(post("before", OLD), 200);

    replace(
        &dir.join("rules.yaml"),
        &RULES.replace("ka.target.subresource", "ka.target.subresorce"),
    );
    server.wait_for_metric("saker_reload_failures_total{what=\"rules\"}", 1.0);
    server.wait_for_log("rules not reloaded; the earlier ones stay");
    assert!(
        server.log().contains("did you mean `ka.target.subresource`?"),
        "{}",
        server.log()
    );
    std::fs::remove_file(dir.join("rules.yaml")).unwrap();
    server.wait_for_metric("saker_reload_failures_total{what=\"rules\"}", 2.0);

    replace(&dir.join("tokens"), "short\n");
    server.wait_for_metric("saker_reload_failures_total{what=\"tokens\"}", 1.0);

    std::fs::create_dir(dir.join("tls/..bad")).unwrap();
    for file in ["tls.crt", "tls.key"] {
        std::fs::write(dir.join("tls/..bad").join(file), "-----BEGIN NONSENSE-----\n").unwrap();
    }
    swap(&dir, "..bad");
    server.wait_for_metric("saker_reload_failures_total{what=\"tls\"}", 1.0);
    server.wait_for_log("reload failed; what was loaded before stays in use");

    assert_eq!(post("meanwhile", OLD), 200);
    assert_eq!(client.connect().unwrap().server_certificate(), certificate);
    assert_eq!(server.get("/readyz").unwrap().code, 200);

    // And back to good ones: the old token is out, the rules and the certificate are new.
    new_version(&dir, "..v2");
    swap(&dir, "..v2");
    replace(&dir.join("rules.yaml"), &rules(2));
    replace(&dir.join("tokens"), NEW);
    for what in ["rules", "tls", "tokens"] {
        server.wait_for_metric(&format!("saker_reload_generation{{what=\"{what}\"}}"), 2.0);
    }
    assert_eq!(post("old token", OLD), 401);
    assert_eq!(post("after", NEW), 200);
    assert_ne!(client.connect().unwrap().server_certificate(), certificate);
    server.stop();
    let alerts = alerts(&server);
    assert_eq!(ids(&alerts), ["before", "meanwhile", "after"]);
    assert!(alerts[2]["output"].as_str().unwrap().contains("v2 exec by"));
}

/// Whatever changes once the server has begun to load is noticed, also before it says that it is ready.
#[test]
fn a_change_during_the_start() {
    for _ in 0..5 {
        let mut server = configured(&(YAML.to_owned() + OUTPUTS))
            .prepare(prepare)
            .file("tokens", OLD)
            .start_unready();
        replace(&server.dir.join("rules.yaml"), &rules(2));
        replace(&server.dir.join("tokens"), NEW);
        server.wait_until_ready();
        wait_for("the new token", || {
            let body = execs(&["x".to_owned()]);
            let answer = server.client().send(&Request::batch(body.as_bytes()).token(NEW));
            (answer.code == 200).then_some(())
        });
        server.wait_for_metric("saker_reload_generation{what=\"rules\"}", 2.0);
    }
}

/// A hundred reloads leave nothing behind.
#[test]
fn reloads_cost_no_descriptors() {
    let mut server = configured(&(YAML.to_owned() + OUTPUTS))
        .prepare(prepare)
        .file("tokens", OLD)
        .start();
    let hang_up = |times: usize| {
        for _ in 0..times {
            let before = generation(&server, "rules");
            server.signal(Signal::SIGHUP);
            server.wait_for_metric("saker_reload_generation{what=\"rules\"}", before + 1.0);
        }
        wait_for("the other groups", || {
            (generation(&server, "tls") == generation(&server, "rules")).then_some(())
        });
    };
    hang_up(2);
    let descriptors = server.descriptors();
    hang_up(10);
    // The status connection of the moment may or may not be counted.
    assert!(server.descriptors() <= descriptors + 1);
    server.stop();
}
