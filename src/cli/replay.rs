//! `saker replay`: recorded events in, alerts out.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::serve::Format;
use super::{configured, fail, progress};
use crate::app::{host, load_rules};
use crate::config::{FileSourceConfig, Matching, StartAt};
use crate::credentials::inspection::Inspector;
use crate::event::Source;
use crate::replay::Replay;
use crate::sources::audit::files::{self, Chunk};

const EXAMPLES: &str = "\
Examples:
  saker replay /var/log/kubernetes/audit.log
  saker replay -r falco_rules/ audit-2026-*.log.gz --format json > alerts.jsonl
  kubectl logs -n kube-system kube-apiserver-cp1 | saker replay -
  saker replay --follow /var/log/kubernetes/audit.log

Recordings are recognised by their content: JSON lines, single events, EventLists, webhook bodies, what
`saker record` wrote, and any of these compressed with gzip. The exit code is 0 when everything was read, whatever it raised.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReplayArgs {
    /// Files or directories; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Rule file or directory in the place of the built-in rules; may be given several times
    #[arg(short, long = "rules", value_name = "RULES")]
    rules: Vec<PathBuf>,
    /// Configuration file, for its rules, fields and cluster
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Leave the rules of other sources out; recordings say themselves what they are
    #[arg(long, value_parser = ["k8s_audit", "syscall", "k8s_exec"])]
    source: Option<String>,
    /// Form of alerts: `json` prints one a line and nothing else
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// `first`: an event alerts for its first matching rule; `all`: for each
    #[arg(long, value_enum)]
    matching: Option<MatchingArg>,
    /// Name of the cluster the events come from
    #[arg(long)]
    cluster: Option<String>,
    /// Keep reading as files grow
    #[arg(long)]
    follow: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum MatchingArg {
    First,
    All,
}

pub fn run(args: ReplayArgs) -> ExitCode {
    let mut config = match configured(args.config.as_deref(), &args.rules) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match args.matching {
        Some(MatchingArg::First) => config.rules.matching = Matching::First,
        Some(MatchingArg::All) => config.rules.matching = Matching::All,
        None => {}
    }
    if args.cluster.is_some() {
        config.cluster.clone_from(&args.cluster);
    }
    let named = args.source.as_deref().and_then(Source::from_name);
    let sources = Source::RULE_SOURCES
        .into_iter()
        .filter(|s| named.is_none_or(|n| n == *s));
    let sources: Vec<Source> = sources.collect();
    let loaded = load_rules(&config, &sources, |diagnostic, loaded| {
        if diagnostic.is_error() {
            let _ = writeln!(io::stderr(), "{}", diagnostic.render(&loaded.sources));
        }
    });
    let rules = match loaded {
        Ok((rules, _)) => rules,
        Err(error) => return fail(&error.to_string()),
    };
    let mut replay = Replay::new(
        rules,
        host(),
        config.cluster.clone(),
        matches!(args.format, Format::Json),
    )
    .attributing(config.attribution.clone())
    .inspecting(Inspector::new(config.credentials.allow.clone()));
    let result = if args.follow {
        follow(&args.files, &mut replay)
    } else {
        once(&args.files, &mut replay)
    };
    let result = match result {
        Err(Stop::Write(error)) => Err(Stop::Write(error)),
        // Also after an input that could not be read: what came before was evaluated, and its alerts are due.
        read => {
            let written = flush(&mut replay).map_err(Stop::Write);
            read.and(written)
        }
    };
    match result {
        Ok(()) => {
            summary(&replay);
            ExitCode::SUCCESS
        }
        // Whoever read the alerts has seen enough.
        Err(Stop::Write(e)) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Stop::Write(e)) => fail(&format!("cannot write alerts: {e}")),
        Err(Stop::Read(e)) => fail(&e.to_string()),
    }
}

/// What ends a replay before its time.
enum Stop {
    Read(files::FilesError),
    Write(io::Error),
}

fn once(paths: &[PathBuf], replay: &mut Replay) -> Result<(), Stop> {
    let inputs = files::expand(paths).map_err(Stop::Read)?;
    let progress = progress::bar(files::total_size(&inputs));
    let mut before = 0;
    for input in &inputs {
        let mut chunks = files::open(input).map_err(Stop::Read)?;
        let read = chunks.reader().bytes_read();
        while let Some(chunk) = chunks.next().map_err(Stop::Read)? {
            evaluate(replay, chunk);
            if replay.out.len() >= WRITE {
                flush(replay).map_err(Stop::Write)?;
            }
            progress.set_position(before + read.get());
        }
        before += read.get();
    }
    progress.finish_and_clear();
    Ok(())
}

fn follow(paths: &[PathBuf], replay: &mut Replay) -> Result<(), Stop> {
    let stop = files::StopFlag::default();
    let counters = files::Counters::default();
    let shared = std::sync::Mutex::new((replay, None));
    std::thread::scope(|scope| {
        let threads: Vec<_> = paths
            .iter()
            .map(|path| {
                let config = FileSourceConfig {
                    path: path.clone(),
                    start: StartAt::Beginning,
                    follow: true,
                    cluster: None,
                };
                let (stop, counters, shared) = (&stop, &counters, &shared);
                scope.spawn(move || {
                    files::run(&config, stop, counters, |chunk| {
                        let mut guard = shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        evaluate(guard.0, chunk);
                        if let Err(error) = flush(guard.0) {
                            guard.1.get_or_insert(error);
                            stop.set();
                        }
                        Ok(())
                    })
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result.map_err(Stop::Read),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    match shared.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).1 {
        Some(error) => Err(Stop::Write(error)),
        None => Ok(()),
    }
}

/// Alerts are written in pieces of about this size.
const WRITE: usize = 256 << 10;

fn evaluate(replay: &mut Replay, chunk: Chunk<'_>) {
    replay.bad += chunk.oversized + u64::from(chunk.broken);
    // What parses inside a damaged document may be any object in it, so none counts as an event.
    if !chunk.broken {
        replay.text(chunk.bytes);
    }
}

fn flush(replay: &mut Replay) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(&replay.out)?;
    replay.out.clear();
    stdout.flush()
}

fn summary(replay: &Replay) {
    let bad = if replay.bad > 0 {
        format!(", {} items that are no audit events", replay.bad)
    } else {
        String::new()
    };
    let _ = writeln!(io::stderr(), "{} events, {} alerts{bad}", replay.events, replay.alerts);
}
