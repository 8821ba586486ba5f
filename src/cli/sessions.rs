//! `saker sessions`: who came into which container, what ran, what was alerted.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{configured, fail, print};
use crate::app::{host, load_rules};
use crate::config::DEFAULT_SOCKET;
use crate::engine::format::is_steering;
use crate::event::Source;
use crate::replay::Replay;
use crate::sources::audit::files;
use crate::sources::syscall::sessions::{self, Session};

const EXAMPLES: &str = "\
Examples:
  sudo saker sessions
  sudo saker sessions --follow
  sudo saker sessions --json | jq 'select(.user == \"dev@example.com\")'
  saker sessions node.jsonl                 # of a recording, with the alerts of the built-in rules

Commands without a terminal that nobody asked for by the API server (probes, hooks) are left out; --all shows them.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SessionsArgs {
    /// A recording of `saker record` or `saker serve`; the running server when there is none
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Print sessions again whenever they change
    #[arg(long, conflicts_with = "file")]
    follow: bool,
    /// Commands that nobody asked for as well
    #[arg(long)]
    all: bool,
    /// Socket of the running server (`attribution.socket`)
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// Rule file or directory in the place of the built-in rules, for recordings
    #[arg(short, long = "rules", value_name = "RULES")]
    rules: Vec<PathBuf>,
    /// Configuration file, for recordings
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub fn run(args: SessionsArgs) -> ExitCode {
    match &args.file {
        Some(file) => of_recording(&args, file),
        None => of_server(&args),
    }
}

fn of_recording(args: &SessionsArgs, file: &Path) -> ExitCode {
    let config = match configured(args.config.as_deref(), &args.rules) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let loaded = load_rules(&config, &Source::RULE_SOURCES, |_, _| {});
    let rules = match loaded {
        Ok((rules, _)) => rules,
        Err(error) => return fail(&format!("{error}; `saker rules check` shows them")),
    };
    let mut replay = Replay::new(rules, host(), config.cluster.clone(), true).attributing(config.attribution.clone());
    let read = files::expand(&[file.to_owned()]).and_then(|inputs| {
        for input in &inputs {
            let mut chunks = files::open(input)?;
            while let Some(chunk) = chunks.next()? {
                replay.text(chunk.bytes);
                replay.out.clear();
            }
        }
        Ok(())
    });
    if let Err(error) = read {
        return fail(&error.to_string());
    }
    let Some(node) = replay.node() else {
        return fail(&format!(
            "`{}` is no recording of system calls; `saker record` makes one",
            file.display()
        ));
    };
    print(shown(args, &sessions::list(&node.attribution)).as_bytes())
}

fn of_server(args: &SessionsArgs) -> ExitCode {
    let socket = args.socket.display();
    let stream = match UnixStream::connect(&args.socket) {
        Ok(stream) => stream,
        Err(error) => {
            return fail(&format!(
                "no server answers at `{socket}`: {error}\n  help: `saker serve` with the syscall source listens there; \
                 its user or root may look; --socket names another place"
            ));
        }
    };
    let mut list = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = match line {
            Ok(line) => line,
            Err(error) => return fail(&format!("`{socket}`: {error}")),
        };
        if !line.is_empty() {
            match serde_json::from_str::<Session>(&line) {
                Ok(session) => list.push(session),
                Err(error) => return fail(&format!("`{socket}` speaks another language: {error}")),
            }
            continue;
        }
        let text = shown(args, &std::mem::take(&mut list));
        if !args.follow {
            return print(text.as_bytes());
        }
        let mut out = std::io::stdout().lock();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            return ExitCode::SUCCESS;
        }
    }
    fail(&format!("the server at `{socket}` has ended"))
}

fn shown(args: &SessionsArgs, list: &[Session]) -> String {
    let asked_for =
        |session: &&Session| args.all || session.terminal || session.user.is_some() || !session.candidates.is_empty();
    let chosen: Vec<&Session> = list.iter().filter(asked_for).collect();
    if args.json {
        let lines = chosen.iter().filter_map(|session| serde_json::to_string(session).ok());
        return lines.map(|line| line + "\n").collect();
    }
    if chosen.is_empty() {
        return "no sessions\n".to_owned();
    }
    chosen.into_iter().map(text).collect()
}

/// A session as people read it: a line of who and where, programs as a tree, alerts.
fn text(session: &Session) -> String {
    let who = match (&session.user, session.candidates.len()) {
        (Some(user), _) => match &session.impersonator {
            Some(real) => format!("{user} (impersonated by {real})"),
            None => user.clone(),
        },
        (None, 0) => "nobody known".to_owned(),
        (None, _) => format!("one of {}", session.candidates.join(", ")),
    };
    let container = session
        .container
        .as_deref()
        .map(|name| format!("/{name}"))
        .unwrap_or_default();
    let mut out = format!(
        "{who}  {}/{}{container}  {}",
        session.namespace, session.pod, session.state
    );
    if let Some(reason) = &session.reason {
        out += &format!(" ({reason})");
    }
    out += &format!(
        "\n  since {}{}  node {}  {}evidence {}\n",
        second(&session.since),
        session
            .ended
            .as_deref()
            .map(|end| format!(" until {}", second(end)))
            .unwrap_or_default(),
        session.node,
        if session.terminal { "terminal  " } else { "" },
        session.evidence,
    );
    let mut from = Vec::new();
    from.extend(session.via.as_ref().map(|via| format!("via {via}")));
    from.extend(session.source_ips.last().map(|ip| format!("from {ip}")));
    from.extend(session.user_agent.as_ref().map(|agent| format!("with {agent}")));
    from.extend((!session.groups.is_empty()).then(|| format!("groups {}", session.groups.join(","))));
    from.extend(session.session.as_ref().map(|id| format!("session {id}")));
    if !from.is_empty() {
        out += &format!("  {}\n", from.join("  "));
    }
    let mut depths: HashMap<u32, usize> = HashMap::new();
    for program in &session.processes {
        // The same process that executes something else stays where it is.
        let depth = depths
            .get(&program.pid)
            .copied()
            .unwrap_or_else(|| depths.get(&program.parent).map_or(0, |depth| depth + 1));
        depths.insert(program.pid, depth);
        let ended = program
            .ended
            .as_deref()
            .map_or(String::new(), |end| format!("-{}", clock(end)));
        let indent = "  ".repeat(depth.min(16));
        out += &format!(
            "    {}{ended:<9}  {:>7}  {indent}{}\n",
            clock(&program.at),
            program.pid,
            program.command
        );
    }
    for alert in &session.alerts {
        out += &format!(
            "    {}  {}: {}  {}\n",
            clock(&alert.time),
            alert.priority,
            alert.rule,
            alert.uuid
        );
    }
    if session.left_out > 0 {
        out += &format!("    and {} more programs and alerts\n", session.left_out);
    }
    out += "\n";
    printable(&out)
}

/// Programs and clients choose some of the text; none of it may steer a terminal.
fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' => c.to_string(),
        c if c.is_control() || is_steering(c) => format!("\\u{{{:x}}}", c as u32),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}

/// `2026-01-02T03:04:05` of a time in RFC 3339.
fn second(time: &str) -> &str {
    time.get(..19).unwrap_or(time)
}

/// `03:04:05` of it.
fn clock(time: &str) -> &str {
    time.get(11..19).unwrap_or(time)
}
