//! Processes in the control group of a container whose runtime has not written what it is.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use saker::config::SyscallConfig;
use serde_json::{Value, json};

use crate::containerd::{FIELDS, Group, UID, new_id};
use crate::harness::{Live, field, rule, turn};

/// Writes what containerd would write.
fn write_state(root: &Path, id: &str) {
    let bundle = root.join(format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}"));
    std::fs::create_dir_all(&bundle).unwrap();
    let annotations = json!({
        "io.kubernetes.cri.container-name": "web",
        "io.kubernetes.cri.image-name": "registry.example/web:3",
        "io.kubernetes.cri.sandbox-name": "web-0",
        "io.kubernetes.cri.sandbox-namespace": "shop",
    });
    let text = json!({"ociVersion": "1.0.2", "annotations": annotations}).to_string();
    std::fs::write(bundle.join("config.json"), text).unwrap();
}

/// A shell in a control group, which executes a program for each line that it is told.
struct Inside {
    shell: Child,
    group: Group,
    root: tempfile::TempDir,
}

impl Inside {
    fn new() -> Inside {
        let group = Group(new_id(), UID.to_owned());
        let shell = Command::new("/bin/sh").arg("-s").stdin(Stdio::piped()).spawn().unwrap();
        for directory in group.directories() {
            std::fs::create_dir_all(&directory).unwrap();
            // A cpuset takes nobody before it has processors and memory.
            for name in ["cpuset.cpus", "cpuset.mems"] {
                for below in directory.ancestors().take(5).collect::<Vec<_>>().into_iter().rev() {
                    if let Ok(above) = std::fs::read(below.parent().unwrap().join(name)) {
                        let _ = std::fs::write(below.join(name), above);
                    }
                }
            }
            std::fs::write(directory.join("cgroup.procs"), shell.id().to_string()).unwrap();
        }
        Inside {
            shell,
            group,
            root: tempfile::tempdir().unwrap(),
        }
    }

    fn live(&self, wait: Duration, more: &str) -> Live {
        let config = SyscallConfig {
            root: self.root.path().into(),
            wait,
            ..SyscallConfig::default()
        };
        let condition = format!("evt.type = execve and container.full_id = \"{}\" {more}", self.group.0);
        Live::start_with(&rule("inside", &condition, FIELDS), &config)
    }

    fn execute(&mut self, word: &str) {
        use std::io::Write;
        let stdin = self.shell.stdin.as_mut().unwrap();
        writeln!(stdin, "/bin/true {word}").unwrap();
    }

    fn write_state(&self) {
        write_state(self.root.path(), &self.group.0);
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

fn alert(live: &Live, word: &str) -> Value {
    live.wait_for(word, |seen| {
        let mut own = seen.of("inside");
        own.find(|alert| field(alert, "proc.cmdline") == format!("true {word}"))
            .cloned()
    })
}

/// What an alert knows of its container, and whether it was late.
fn known(alert: &Value) -> [String; 4] {
    let late = alert["metadata"].as_str().unwrap_or("-").to_owned();
    let [name, pod, uid] = ["container.name", "k8s.pod.name", "k8s.pod.uid"].map(|name| field(alert, name));
    [name, pod, uid, late]
}

#[test]
fn an_alert_waits_for_what_the_runtime_writes_and_says_so() {
    let Some(_turn) = turn() else { return };
    let mut inside = Inside::new();
    // A rule that cannot match before the pod is known. The wait begins when the container is seen for the first time:
    // here, as the reader starts.
    let live = inside.live(Duration::from_secs(15), "and k8s.pod.name = web-0");
    inside.execute("early");
    std::thread::sleep(Duration::from_millis(400));
    live.wait_for("nothing", |seen| seen.of("inside").next().is_none().then_some(()));
    inside.write_state();
    assert_eq!(known(&alert(&live, "early")), ["web", "web-0", UID, "late"]);
    inside.execute("then");
    assert_eq!(known(&alert(&live, "then")), ["web", "web-0", UID, "-"]);
}

#[test]
fn an_alert_does_not_wait_for_ever_and_later_ones_know() {
    let Some(_turn) = turn() else { return };
    let mut inside = Inside::new();
    let live = inside.live(Duration::from_millis(800), "");
    inside.execute("early");
    let early = alert(&live, "early");
    // The pod's uid is in the control group's path.
    let [name, pod, _, late] = known(&early);
    assert_eq!([name, pod, late], ["-", "-", "late"]);
    assert_eq!(field(&early, "container.full_id"), inside.group.0);
    inside.execute("unheld");
    assert_eq!(
        known(&alert(&live, "unheld"))[3],
        "-",
        "only those of the first moments wait"
    );
    inside.write_state();
    std::thread::sleep(Duration::from_millis(1100));
    inside.execute("then");
    assert_eq!(known(&alert(&live, "then")), ["web", "web-0", UID, "-"]);
}
