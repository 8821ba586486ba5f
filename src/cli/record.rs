//! `saker record`: what the kernel tells, into a file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{configured, fail};
use crate::alert::Alert;
use crate::app::{host, load_probe, load_rules};
use crate::config::{self, SourceName};
use crate::event::Source;
use crate::processes::Counts;
use crate::sources::syscall::reader::{Reader, Recorder, Sink};

const EXAMPLES: &str = "\
Examples:
  sudo saker record -o node.jsonl              # until Ctrl-C
  sudo saker record -r local.yaml --for 60s -o node.jsonl
  saker replay node.jsonl                      # the alerts that it would have raised

What is recorded is what the rules need: events of which no rule could ever alert are left out by the kernel. A
recording holds command lines, paths and environments of this machine: keep it as safe as a core dump.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RecordArgs {
    /// File to write; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Source to record
    #[arg(long, default_value = "syscall", value_parser = ["syscall"])]
    source: String,
    /// Rule file or directory in the place of the built-in rules; may be given several times
    #[arg(short, long = "rules", value_name = "RULES")]
    rules: Vec<PathBuf>,
    /// Configuration file, for its rules and for the section `syscall`
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// End after this time, e.g. 30s
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    time: Option<Duration>,
}

fn duration(text: &str) -> Result<Duration, String> {
    config::duration::parse(text).ok_or_else(|| format!("`{text}` is no time; write 500ms, 10s, 2m or 1h"))
}

/// Counts what is recorded; alerts are for replay.
#[derive(Default)]
struct Tally {
    events: u64,
    alerts: u64,
    lost: u64,
}

impl Sink for Tally {
    fn alert(&mut self, _: Alert) {
        self.alerts += 1;
    }

    fn events(&mut self, good: u64, bad: u64) {
        self.events += good + bad;
    }

    fn lost(&mut self, lost: [u64; 4]) {
        self.lost += lost.iter().sum::<u64>();
    }

    fn counts(&mut self, _: Counts) {}
}

pub fn run(args: RecordArgs) -> ExitCode {
    let mut config = match configured(args.config.as_deref(), &args.rules) {
        Ok(config) => config,
        Err(code) => return code,
    };
    config.sources = vec![SourceName::Syscall];
    let loaded = load_rules(&config, &[Source::Syscall], |diagnostic, loaded| {
        if diagnostic.is_error() {
            let _ = writeln!(io::stderr(), "{}", diagnostic.render(&loaded.sources));
        }
    });
    let rules = match loaded {
        Ok((rules, _)) => Arc::new(ArcSwap::from_pointee(rules)),
        Err(error) => return fail(&error.to_string()),
    };
    let recorder: Recorder = match args.output.to_str() {
        Some("-") => Box::new(BufWriter::new(io::stdout())),
        _ => match File::create(&args.output) {
            Ok(file) => Box::new(BufWriter::new(file)),
            Err(error) => return fail(&format!("cannot write `{}`: {error}", args.output.display())),
        },
    };
    let probe = match load_probe(&config) {
        Some(Ok(probe)) => probe,
        Some(Err(error)) => return fail(&format!("{error}\n  help: {}", error.help())),
        None => return fail("the syscall source does not run"),
    };
    let reader = Reader::new(
        probe,
        rules,
        Arc::new(host()),
        &config.syscall,
        &config.attribution,
        Tally::default(),
    );
    let mut reader = match reader {
        Ok(reader) => reader,
        Err(error) => return fail(&format!("{error}\n  help: {}", error.help())),
    };
    let _ = writeln!(io::stderr(), "recording: {}", reader.describe());
    if let Err(error) = reader.record(recorder) {
        return fail(&format!("cannot write `{}`: {error}", args.output.display()));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let reading = std::thread::spawn(move || reader.run(&told));
    if let Err(error) = wait(args.time) {
        return fail(&format!("cannot wait for the end: {error}"));
    }
    stop.store(true, Ordering::Relaxed);
    let Ok(tally) = reading.join() else {
        return fail("the recording has failed");
    };
    let _ = writeln!(
        io::stderr(),
        "{} events, {} lost, {} alerts on replay",
        tally.events,
        tally.lost,
        tally.alerts
    );
    ExitCode::SUCCESS
}

/// Until a signal, or for a time.
fn wait(time: Option<Duration>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let elapsed = async {
            match time {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = elapsed => {}
        }
        Ok(())
    })
}
