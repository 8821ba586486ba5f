//! The walk-through of the README, typed as it is printed into the shell of a real container, with the built-in rules;
//! and its override, with the line that reaches syslog.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::binary::Server;
use crate::containers::{Runc, have, run};
use crate::harness::{field, turn};

const PATIENCE: Duration = Duration::from_secs(20);
const README: &str = include_str!("../../README.md");

/// What a line of the README does, and what it takes beside a container.
struct Step {
    line: &'static str,
    rule: &'static str,
    priority: &'static str,
    fields: &'static [(&'static str, &'static str)],
    takes: Takes,
}

#[derive(Clone, Copy, PartialEq)]
enum Takes {
    Nothing,
    Program(&'static str),
    Overlay,
    /// Of its own: what it connects to and listens at is nobody else's.
    Network,
}

use Takes::{Network, Nothing, Overlay, Program};

const fn step(
    line: &'static str,
    takes: Takes,
    priority: &'static str,
    rule: &'static str,
    fields: &'static [(&'static str, &'static str)],
) -> Step {
    Step {
        line,
        rule,
        priority,
        fields,
        takes,
    }
}

/// The lines in their order. A value after a star is the end of the field's.
const STEPS: &[Step] = &[
    step(
        "sudo runc exec -t CONTAINER sh",
        Nothing,
        "Notice",
        "Shell with a terminal in a container",
        &[("proc.cmdline", "sh"), ("proc.pname", "runc")],
    ),
    step(
        "cat /etc/shadow",
        Nothing,
        "Warning",
        "Password file read",
        &[("proc.cmdline", "cat /etc/shadow"), ("fd.name", "/etc/shadow")],
    ),
    step(
        "vim -c q /etc/shadow",
        Program("vim"),
        "Warning",
        "Password file read",
        &[("proc.cmdline", "vim -c q /etc/shadow"), ("fd.name", "/etc/shadow")],
    ),
    step(
        "mv /bin/ls /bin/ls.hack",
        Nothing,
        "Warning",
        "Program of the system moved or removed",
        &[
            ("proc.cmdline", "mv /bin/ls /bin/ls.hack"),
            ("fs.path.source", "/bin/ls"),
            ("fs.path.target", "/bin/ls.hack"),
        ],
    ),
    step(
        "cp /bin/true /opt; /opt/true",
        Overlay,
        "Warning",
        "New program run in a container",
        &[("proc.cmdline", "true"), ("proc.exepath", "/opt/true")],
    ),
    step(
        "echo > /sbin/new",
        Nothing,
        "Warning",
        "Program of the system replaced",
        &[("proc.cmdline", "sh"), ("fd.name", "/sbin/new")],
    ),
    step(
        "> /var/log/auth.log",
        Nothing,
        "Warning",
        "Log emptied",
        &[("proc.cmdline", "sh"), ("fd.name", "/var/log/auth.log")],
    ),
    step(
        "rm /var/log/auth.log",
        Nothing,
        "Warning",
        "Log removed",
        &[
            ("proc.cmdline", "rm /var/log/auth.log"),
            ("fs.path.name", "/var/log/auth.log"),
        ],
    ),
    step(
        "echo >> /etc/ssh/sshd_config",
        Nothing,
        "Notice",
        "SSH server configuration changed",
        &[("proc.cmdline", "sh"), ("fd.name", "/etc/ssh/sshd_config")],
    ),
    step(
        "echo > /etc/apt/sources.list.d/new.list",
        Nothing,
        "Notice",
        "Package repository changed",
        &[("proc.cmdline", "sh"), ("fd.name", "/etc/apt/sources.list.d/new.list")],
    ),
    step(
        "nmap 127.0.0.1",
        Program("nmap"),
        "Warning",
        "Network scanner started",
        &[("proc.cmdline", "nmap 127.0.0.1"), ("proc.name", "nmap")],
    ),
    step(
        "nc -lp 4444 -e sh &",
        Network,
        "Error",
        "Netcat hands out a program",
        &[("proc.cmdline", "nc -lp 4444 -e sh")],
    ),
    step(
        "echo id | nc 127.0.0.1 4444",
        Network,
        "Critical",
        "Shell connected to the network",
        &[("proc.cmdline", "nc -lp 4444 -e sh"), ("fd.name", "*->127.0.0.1:4444")],
    ),
    step(
        "wget http://169.254.169.254/",
        Network,
        "Warning",
        "Cloud credentials fetched by hand",
        &[
            ("proc.cmdline", "wget http://169.254.169.254/"),
            ("fd.name", "*->169.254.169.254:80"),
        ],
    ),
    step(
        "wget http://10.96.0.1:443/",
        Network,
        "Warning",
        "API server reached by hand",
        &[
            ("proc.cmdline", "wget http://10.96.0.1:443/"),
            ("fd.name", "*->10.96.0.1:443"),
        ],
    ),
    step(
        r#"mkdir -p /www/cgi-bin; cd /www; printf '#!/bin/sh\necho; sh -c "$QUERY_STRING"\n' > cgi-bin/a; chmod +x cgi-bin/a"#,
        Nothing,
        "",
        "",
        &[],
    ),
    step(
        "httpd -p 8080; wget -qO- http://127.0.0.1:8080/cgi-bin/a?id",
        Network,
        "Warning",
        "Shell below a web server",
        &[("proc.cmdline", "sh -c id"), ("proc.aname[2]", "httpd")],
    ),
];

/// The first block after these words.
fn block(after: &str) -> &'static str {
    let (_, rest) = README.split_once(after).expect(after);
    let (_, block) = rest.split_once("```").unwrap();
    let (_, block) = block.split_once('\n').unwrap();
    block.split_once("```").unwrap().0
}

/// Lines and the rules that they promise.
fn promised() -> Vec<(&'static str, &'static str)> {
    let lines = block("with a container of your own:").lines();
    let promise = |line: &'static str| {
        let (line, comment) = line.split_once("  # ").unwrap_or((line, ""));
        (line.trim(), comment.rsplit(": ").next().unwrap())
    };
    lines.map(promise).collect()
}

/// Where this machine has a program, links followed.
fn installed(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap();
    let files = names
        .iter()
        .flat_map(|name| path.split(':').map(move |folder| Path::new(folder).join(name)));
    files.filter_map(|file| file.canonicalize().ok()).next()
}

/// A container with a root of its own, which the walk-through can spoil, and what it allows.
struct Lab {
    container: Runc,
    overlay: bool,
    network: bool,
}

impl Lab {
    fn start() -> Lab {
        let network = Command::new("unshare").args(["--net", "true"]).status();
        let network = network.is_ok_and(|status| status.success());
        if !network {
            eprintln!("SKIPPED: no network namespace can be made here; nothing of the walk-through connects");
        }
        let change = |spec: &mut Value| {
            // The root's own programs first: /usr is this machine's.
            spec["process"]["env"] = json!(["PATH=/bin:/sbin:/usr/bin", "TERM=xterm", "HOME=/tmp"]);
            if network {
                let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
                namespaces.retain(|namespace| namespace["type"] != "network");
                namespaces.push(json!({"type": "network"}));
            }
        };
        let mut container = Runc::with(fill, change);
        let overlay = container.put_on_overlay();
        container.start();
        if network {
            let addresses =
                "ip link set lo up && ip address add 169.254.169.254/32 dev lo && ip address add 10.96.0.1/32 dev lo";
            container.exec(&["--cap", "CAP_NET_ADMIN"], addresses);
        }
        Lab {
            container,
            overlay,
            network,
        }
    }

    fn has(&self, takes: Takes) -> bool {
        match takes {
            Nothing => true,
            Program(name) => installed(programs(name)).is_some(),
            Overlay => self.overlay,
            Network => self.network,
        }
    }

    fn is_own(&self, alert: &Value) -> bool {
        field(alert, "container.id") == self.container.short_id()
    }
}

/// What may stand for a program that the walk-through calls and busybox lacks.
fn programs(name: &str) -> &'static [&'static str] {
    match name {
        "vim" => &["vim", "vim.tiny"],
        _ => &["nmap"],
    }
}

fn fill(root: &Path) {
    for folder in ["bin", "sbin", "opt", "var/log", "etc/ssh", "etc/apt/sources.list.d"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    let applets = "cat chmod cp httpd id ip ls mkdir mv nc rm sleep true wget";
    for applet in applets.split(' ') {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    // Libraries below /usr may lead there.
    run("cp", &["-a", "/etc/alternatives", root.join("etc").to_str().unwrap()]);
    // As in images of Debian, whose programs are files of their own names; that of busybox starts itself anew for each.
    symlink(installed(&["dash"]).unwrap(), root.join("bin/sh")).unwrap();
    for name in ["vim", "nmap"] {
        if let Some(program) = installed(programs(name)) {
            symlink(program, root.join("bin").join(name)).unwrap();
        }
    }
    fs::write(root.join("etc/shadow"), "captain:!:20000::::::\n").unwrap();
    fs::set_permissions(root.join("etc/shadow"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(root.join("var/log/auth.log"), "somebody came\n").unwrap();
    fs::write(root.join("etc/ssh/sshd_config"), "PermitRootLogin no\n").unwrap();
}

/// `runc exec -t` of a shell, which is typed into; it ends when nobody types any more, and at the latest with its container.
struct Terminal {
    keys: ChildStdin,
    screen: tempfile::NamedTempFile,
    lines: usize,
}

impl Terminal {
    /// Opens it before the server starts, which then finds it below the machine's first process: below cargo, one of the
    /// build tools, whatever changes programs is left out by the rules.
    fn open(container: &Runc, shell: &str) -> Terminal {
        let screen = tempfile::NamedTempFile::new().unwrap();
        let exec = format!("runc exec -t {} {shell}", container.id);
        let mut child = Command::new("setsid")
            .args(["--fork", "sh", "-c", "read go && exec script -qec \"$1\" /dev/null"])
            .args(["sh", &exec])
            .stdin(Stdio::piped())
            .stdout(screen.reopen().unwrap())
            .spawn()
            .unwrap();
        let keys = child.stdin.take().unwrap();
        assert!(child.wait().unwrap().success());
        Terminal { keys, screen, lines: 0 }
    }

    fn start_shell(&mut self) {
        writeln!(self.keys, "go").unwrap();
    }

    fn shows(&self, text: &str) -> bool {
        String::from_utf8_lossy(&fs::read(self.screen.path()).unwrap()).contains(text)
    }

    /// Types a line and waits until the shell is done with it, because programs swallow what is typed meanwhile.
    #[track_caller]
    fn type_in(&mut self, line: &str) {
        self.lines += 1;
        let end = if line.ends_with('&') { "" } else { ";" };
        // The sum is not what the terminal echoes.
        writeln!(self.keys, "{line}{end} echo done $((1000+{}))", self.lines).unwrap();
        let (mark, began) = (format!("done {}", 1000 + self.lines), Instant::now());
        while !self.shows(&mark) {
            assert!(began.elapsed() < PATIENCE, "{line}: the shell is not done");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let screen = fs::read(self.screen.path()).unwrap_or_default();
            eprintln!("the terminal:\n{}", String::from_utf8_lossy(&screen));
        }
    }
}

/// Waits until something in the container's network listens at this port of IPv4 or IPv6.
#[track_caller]
fn wait_for_listener(container: &Runc, port: u16) {
    let state = Command::new("runc").args(["state", &container.id]).output().unwrap();
    let state: Value = serde_json::from_slice(&state.stdout).unwrap();
    let began = Instant::now();
    // Addresses are hexadecimal; 0A is a listening socket.
    let mark = format!(":{port:04X}");
    let listens = |file: &str| {
        let text = fs::read_to_string(format!("/proc/{}/net/{file}", state["pid"])).unwrap_or_default();
        text.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.get(1).is_some_and(|local| local.ends_with(&mark)) && words[3] == "0A"
        })
    };
    while !listens("tcp") && !listens("tcp6") {
        assert!(began.elapsed() < PATIENCE, "nothing listens at port {port}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

const PROGRAMS: &[&str] = &["runc", "script", "busybox", "dash", "setsid", "unshare"];

/// Types the lines into a shell, waits for each alert, and hands it over.
fn walk(shell: &str, check: impl Fn(&Step, &Value)) {
    let Some(_turn) = turn() else { return };
    if !have(PROGRAMS) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::start();
    let mut terminal = Terminal::open(&lab.container, shell);
    let mut server = Server::run(directory.path(), &["--format", "json"]);
    terminal.start_shell();
    for (number, step) in STEPS.iter().enumerate() {
        if !lab.has(step.takes) {
            eprintln!("SKIPPED: this machine lacks what `{}` takes", step.line);
            continue;
        }
        if number > 0 {
            terminal.type_in(step.line);
        }
        if step.rule.is_empty() {
            continue;
        }
        let alert = server.alert(|alert| alert["rule"] == step.rule && lab.is_own(alert));
        println!("{}\n  {}", step.line, alert["output"]);
        assert_eq!(alert["priority"], step.priority, "{alert:#}");
        let names = ["container.name", "user.name", "k8s.ns.name", "k8s.pod.name"];
        let want = ["web", "captain", "shop", "web-0"];
        assert_eq!(names.map(|name| field(&alert, name)), want, "{alert:#}");
        check(step, &alert);
        if step.line.ends_with('&') {
            wait_for_listener(&lab.container, 4444);
        }
    }
}

#[test]
fn each_line_of_the_walkthrough_gives_the_alert_that_it_promises() {
    let steps: Vec<_> = STEPS.iter().map(|step| (step.line, step.rule)).collect();
    assert_eq!(promised(), steps, "the README beside this test");
    walk("sh", |step, alert| {
        for (name, want) in step.fields {
            let is = field(alert, name);
            match want.strip_prefix('*') {
                Some(end) => assert!(is.ends_with(end), "{name}: {alert:#}"),
                None => assert_eq!(is, *want, "{name}: {alert:#}"),
            }
        }
    });
}

/// The same in the shell of a busybox, which runs its other programs itself: they are called `exe`, or not executed at all.
#[test]
fn the_walkthrough_in_a_shell_of_busybox_gives_the_same_alerts() {
    walk("busybox sh", |_, _| ());
}

#[test]
fn the_override_of_the_walkthrough_reaches_syslog() {
    let Some(_turn) = turn() else { return };
    if !have(PROGRAMS) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    fs::write(directory.join("local.yaml"), block("in `local.yaml`:")).unwrap();
    let socket = UnixDatagram::bind(directory.join("socket")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // As printed, with the test's own socket in the place of /dev/log.
    let address = directory.join("socket").display().to_string();
    let config = format!("outputs: [{{kind: syslog, address: 'unix://{address}'}}]\n");
    fs::write(directory.join("saker.yaml"), config).unwrap();
    let lab = Lab::start();
    let mut terminal = Terminal::open(&lab.container, "sh");
    let _server = Server::run(directory, &["-r", "local.yaml", "-c", "saker.yaml"]);
    terminal.start_shell();
    let end = format!(",user=captain,web,{}", lab.container.short_id());
    let mut message = vec![0; 65536];
    let line = loop {
        let length = socket.recv(&mut message).expect("a line of the override");
        let line = String::from_utf8_lossy(&message[..length]).into_owned();
        println!("{line}");
        if line.ends_with(&end) {
            break line;
        }
    };
    // Facility `daemon` is 3, severity WARNING is 4.
    assert!(line.starts_with(&format!("<{}>", 3 * 8 + 4)), "{line}");
    let (_, text) = line.split_once("]: ").expect("saker[PID]: ");
    // The time of the line, the priority, and the output as it is overridden, which begins with the time as well.
    let (time, text) = text.split_once(": Warning ").expect("WARNING");
    assert_eq!(text, format!("{time}{end}"));
}
