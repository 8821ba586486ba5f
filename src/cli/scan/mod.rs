//! `saker scan`: the detector of credentials on manifests and plain files.

use std::collections::HashSet;
use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Args;

use super::{print, progress};
use crate::config;
use crate::credentials::allow::Allow;
use crate::credentials::inspection::random_key;
use crate::credentials::{Confidence, Detector, Finding, Tag};
use crate::engine::diagnostic::printable;

mod documents;
mod inputs;
mod manifest;
mod report;

use inputs::Skipped;
use manifest::{Object, Part, Place};

const HELP: &str = "\
Examples:
  saker scan charts/ deploy.yaml
  kubectl get configmaps -A -o json | saker scan -
  helm template shop charts/shop | saker scan - --min-confidence medium
  saker scan . -c saker.yaml --format sarif > credentials.sarif

Of Kubernetes objects, in YAML or JSON, these are scanned: the entries of ConfigMaps, the literal
environment variables and the commands of pod templates, annotations, and comments. Objects of
other kinds and all other files are scanned as text. Data of a Secret is where secrets belong and is
not reported.

In directories, .git and symbolic links are left out. Files of more than 64 MiB and files that
cannot be read are skipped, and standard error says so. No secret is printed.

The exit code is 0 when nothing is found, 1 when something is, and 2 when arguments are wrong or a
file that is named cannot be read. `saker fields --credentials` lists the kinds.";

/// Exit code of findings, and of everything that keeps them from being found.
const FOUND: u8 = 1;
pub const ERROR: u8 = 2;

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct ScanArgs {
    /// Files or directories; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How findings are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Leave out findings that are less sure
    #[arg(long, value_enum, default_value = "low", value_name = "CONFIDENCE")]
    min_confidence: Least,
    /// Configuration file, for its allow-list (`credentials.allow`)
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// For people: a line each, and a summary
    Table,
    /// One array of objects
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Least {
    Low,
    Medium,
    High,
}

pub fn run(args: ScanArgs) -> ExitCode {
    match scan(&args) {
        Ok(scan) => finish(&args, &scan),
        Err(message) => {
            let _ = writeln!(io::stderr(), "{message}");
            ExitCode::from(ERROR)
        }
    }
}

fn scan(args: &ScanArgs) -> Result<Scan, String> {
    let key = random_key().ok_or("saker: the system gives no random numbers")?;
    let mut scan = Scan::new(key);
    if args.config.is_some() {
        let config = config::load(args.config.as_deref(), std::env::vars()).map_err(|error| error.to_string())?;
        scan.allow.entries = config.credentials.allow;
    }
    scan.least = match args.min_confidence {
        Least::Low => Confidence::Low,
        Least::Medium => Confidence::Medium,
        Least::High => Confidence::High,
    };
    let inputs = inputs::expand(&args.files, &mut scan.skipped);
    let is_known = inputs.iter().all(|input| input.path.as_os_str() != "-");
    let progress = progress::bar(is_known.then(|| inputs.iter().map(|input| input.size).sum()));
    for input in &inputs {
        match input.read() {
            Ok(bytes) => {
                scan.file(&input.shown(), &bytes);
                progress.inc(bytes.len() as u64);
            }
            Err(skipped) => scan.skipped.push(skipped),
        }
    }
    progress.finish_and_clear();
    Ok(scan)
}

fn finish(args: &ScanArgs, scan: &Scan) -> ExitCode {
    for Skipped { path, why, named } in &scan.skipped {
        let what = if *named { "cannot read" } else { "skipped" };
        warn(&format!("{what} `{}`: {why}", path.display()));
    }
    for note in &scan.notes {
        warn(note);
    }
    let text = match args.format {
        Format::Table => report::table(scan),
        Format::Json => report::json(scan),
        Format::Sarif => report::sarif(scan),
    };
    let printed = print(text.as_bytes());
    if printed != ExitCode::SUCCESS || !scan.is_complete() {
        ExitCode::from(ERROR)
    } else if scan.found.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FOUND)
    }
}

/// Standard error may be closed; the exit code still tells.
fn warn(message: &str) {
    let _ = writeln!(io::stderr(), "saker: {}", printable(message));
}

/// A finding and where it is.
#[derive(Debug)]
struct Found {
    file: Rc<str>,
    /// Of the file, from 1.
    line: usize,
    object: Option<Rc<Object>>,
    key: String,
    finding: Finding,
}

/// What scanning came to.
struct Scan {
    detector: Detector,
    allow: Allow,
    least: Confidence,
    found: Vec<Found>,
    files: usize,
    /// Findings that the allow-list allows.
    allowed: usize,
    skipped: Vec<Skipped>,
    notes: Vec<String>,
}

impl Scan {
    fn new(key: [u8; 32]) -> Scan {
        Scan {
            detector: Detector::new(&key),
            allow: Allow::default(),
            least: Confidence::Low,
            found: Vec::new(),
            files: 0,
            allowed: 0,
            skipped: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Everything that was named could be read.
    fn is_complete(&self) -> bool {
        !self.skipped.iter().any(|skipped| skipped.named)
    }

    fn file(&mut self, file: &str, bytes: &[u8]) {
        self.files += 1;
        let name = file.rsplit('/').next().unwrap_or(file);
        let lines = LineIndex::new(bytes);
        let shared: Rc<str> = file.into();
        let from = self.found.len();
        let mut seen = Seen::default();
        manifest::parts(name, bytes, &mut |part| {
            seen.begin(part.object);
            for (offset, finding) in self.findings(file, part) {
                let line = lines.of(part.place(offset, finding.line));
                if seen.is_new(part, line, &finding) {
                    self.tell(&shared, line, part, finding);
                }
            }
        });
        self.found[from..].sort_by_key(|found| found.line);
    }

    /// The findings of a value, each with where the piece begins that its line counts from.
    fn findings(&mut self, file: &str, part: &Part) -> Vec<(usize, Finding)> {
        let mut all = Vec::new();
        for piece in pieces(part.value) {
            let mut findings = Vec::new();
            self.detector.scan(part.name, &part.value[piece.clone()], &mut findings);
            if findings.len() >= MOST {
                let of = if part.key.is_empty() { "" } else { " in one value" };
                self.notes.push(format!(
                    "`{file}` has more than {MOST} findings{of}; these are the first"
                ));
            }
            all.extend(findings.into_iter().map(|finding| (piece.start, finding)));
        }
        all
    }

    fn tell(&mut self, file: &Rc<str>, line: usize, part: &Part, finding: Finding) {
        if finding.confidence < self.least {
            return;
        }
        let (namespace, name) = part.object.map_or(("", ""), |object| (&object.namespace, &object.name));
        if self.allow.allows(namespace, name, part.key, finding.kind, Some(file)) {
            self.allowed += 1;
            return;
        }
        self.found.push(Found {
            file: file.clone(),
            line,
            object: part.object.cloned(),
            key: part.key.to_owned(),
            finding,
        });
    }
}

/// Findings that the detector tells of one value at most.
const MOST: usize = 64;
/// Bytes of a value that are scanned at once; the detector has a bound.
const PIECE: usize = 8 << 20;
/// Pieces overlap, so that what lies where they meet is seen whole.
const OVERLAP: usize = 64 << 10;

/// Ranges of whole lines, where there are lines, that cover a value.
fn pieces(value: &[u8]) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while value.len() - start > PIECE {
        let end = line_before(value, start + PIECE, start + PIECE / 2);
        pieces.push(start..end);
        start = line_before(value, end - OVERLAP, end - 2 * OVERLAP);
    }
    pieces.push(start..value.len());
    pieces
}

/// The last beginning of a line up to `at`, unless that is before `least`.
fn line_before(value: &[u8], at: usize, least: usize) -> usize {
    memchr::memrchr(b'\n', &value[least..at]).map_or(at, |line| least + line + 1)
}

/// Secrets of the object at hand, so that each is told once in each place.
#[derive(Default)]
struct Seen {
    object: Option<Rc<Object>>,
    places: HashSet<(String, usize, Tag)>,
    tags: HashSet<Tag>,
}

impl Seen {
    fn begin(&mut self, object: Option<&Rc<Object>>) {
        let is_same = |before: &Rc<Object>| object.is_some_and(|now| Rc::ptr_eq(before, now));
        if !self.object.as_ref().is_some_and(is_same) {
            *self = Seen {
                object: object.cloned(),
                ..Seen::default()
            };
        }
    }

    fn is_new(&mut self, part: &Part, line: usize, finding: &Finding) -> bool {
        let is_other = self.tags.insert(finding.tag);
        self.places.insert((part.key.to_owned(), line, finding.tag)) && (is_other || !part.again)
    }
}

impl Part<'_> {
    /// The byte of the file where a line is written; lines are counted from 1, from this byte of the value on.
    fn place(&self, from: usize, line: u32) -> usize {
        let start = || from + start_of(&self.value[from..], line);
        match self.lines {
            Place::At(at) => at,
            Place::From(at) => at + start(),
            Place::Of(text) => text.at(start(), start() + 1).start as usize,
        }
    }
}

/// Where a line begins.
fn start_of(text: &[u8], line: u32) -> usize {
    let breaks = memchr::memchr_iter(b'\n', text);
    match line.checked_sub(2) {
        None => 0,
        Some(before) => breaks.map(|at| at + 1).nth(before as usize).unwrap_or(text.len()),
    }
}

/// Finds the lines of bytes.
struct LineIndex {
    breaks: Vec<usize>,
}

impl LineIndex {
    fn new(bytes: &[u8]) -> LineIndex {
        LineIndex {
            breaks: memchr::memchr_iter(b'\n', bytes).collect(),
        }
    }

    fn of(&self, at: usize) -> usize {
        self.breaks.partition_point(|end| *end < at) + 1
    }
}

#[cfg(test)]
mod tests;
