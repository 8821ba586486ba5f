//! `saker rules fmt`: rule files in their canonical layout.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use similar::TextDiff;

use super::print;
use crate::engine::diagnostic::{Code, printable};
use crate::engine::layout;
use crate::engine::{self, Options, RuleFile};
use crate::rulefiles;

pub const HELP: &str = "\
Examples:
  saker rules fmt rules/                   # rewrites files, and lists those that it changed
  saker rules fmt --check rules/ local.yaml
  saker rules fmt --diff local.yaml        # shows what would change
  saker rules fmt - < local.yaml

No value and no comment changes: each file is read again before it is written, and left as it is if its layout would say
something else. The exit code is 1 when that happens, when a file is no rule file, and with --check when files would
change.";

#[derive(Debug, Args)]
pub struct FmtArgs {
    /// Rule files or directories; `-` reads standard input and writes standard output
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Write nothing; list the files that would change
    #[arg(long)]
    check: bool,
    /// Write nothing; show what would change
    #[arg(long)]
    diff: bool,
}

pub fn run(args: &FmtArgs) -> ExitCode {
    let mut job = Job::default();
    for path in &args.paths {
        if path == Path::new("-") {
            job.stdin(args);
            continue;
        }
        match rulefiles::expand(std::slice::from_ref(path)) {
            Ok(files) => files.iter().for_each(|file| job.file(args, file)),
            Err(error) => job.errors.push(format!("saker: {error}")),
        }
    }
    for error in &job.errors {
        // Standard error may be closed; the exit code still tells.
        let _ = writeln!(io::stderr(), "{}", error.trim_end());
    }
    let code = print(job.out.as_bytes());
    if !job.errors.is_empty() || args.check && job.changed {
        ExitCode::FAILURE
    } else {
        code
    }
}

/// What has been done so far.
#[derive(Debug, Default)]
struct Job {
    out: String,
    errors: Vec<String>,
    /// Whether a file changed, or would.
    changed: bool,
}

impl Job {
    fn stdin(&mut self, args: &FmtArgs) {
        let mut text = String::new();
        if let Err(error) = io::stdin().lock().read_to_string(&mut text) {
            self.errors.push(format!("saker: cannot read standard input: {error}"));
            return;
        }
        match canonical("-", &text) {
            Ok(laid_out) if args.check || args.diff => self.tell(args, "-", &text, &laid_out),
            Ok(laid_out) => self.out += &laid_out,
            Err(error) => self.errors.push(error),
        }
    }

    fn file(&mut self, args: &FmtArgs, path: &PathBuf) {
        let mut read = match rulefiles::read(std::slice::from_ref(path)) {
            Ok(read) => read,
            Err(error) => {
                self.errors.push(format!("saker: {error}"));
                return;
            }
        };
        for RuleFile { name, text } in read.drain(..) {
            match canonical(&name, &text) {
                Ok(laid_out) if laid_out == text => {}
                Ok(laid_out) => {
                    if !args.check
                        && !args.diff
                        && let Err(error) = std::fs::write(path, &laid_out)
                    {
                        self.errors
                            .push(format!("saker: cannot write `{}`: {error}", printable(&name)));
                        continue;
                    }
                    self.tell(args, &name, &text, &laid_out);
                }
                Err(error) => self.errors.push(error),
            }
        }
    }

    /// Says that a text changed, or would.
    fn tell(&mut self, args: &FmtArgs, name: &str, old: &str, new: &str) {
        if old == new {
            return;
        }
        self.changed = true;
        if args.diff {
            let diff = TextDiff::from_lines(old, new);
            self.out += &diff.unified_diff().header(name, name).to_string();
        } else {
            self.out += name;
            self.out.push('\n');
        }
    }
}

/// A file's canonical layout, or why it has none, as people read it.
fn canonical(name: &str, text: &str) -> Result<String, String> {
    if let Some(errors) = unreadable(name, text) {
        return Err(errors);
    }
    layout::canonical(text).map_err(|error| format!("saker: {}: {error}", printable(name)))
}

/// What `rules check` says of a text that is no list of rules. Other errors, as a macro that another file defines, are no
/// matter of layout.
fn unreadable(name: &str, text: &str) -> Option<String> {
    let file = RuleFile {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    let loaded = match engine::load(vec![file], &Options::default()) {
        Ok(loaded) => loaded,
        Err(errors) => return Some(rulefiles::RuleFilesError::Fields(errors).to_string()),
    };
    let errors = loaded.errors();
    let shape = errors.filter(|d| matches!(d.code, Code::YamlParse | Code::YamlValidate));
    let rendered: String = shape.map(|d| d.render(&loaded.sources) + "\n").collect();
    (!rendered.is_empty()).then_some(rendered)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule files below a folder beside this crate.
    fn files(folder: &str) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        rulefiles::expand(&[folder]).unwrap_or_default()
    }

    #[test]
    fn built_in_rules_are_canonical() {
        let mut own = files("rules/k8s_audit");
        own.extend(files("rules/k8s_audit/profiles"));
        own.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/k8s_audit/local.yaml.example"));
        assert!(own.len() > 15);
        let mut found = String::new();
        for path in own {
            let text = std::fs::read_to_string(&path).expect("text");
            let laid_out = canonical(&path.display().to_string(), &text).expect("laid out");
            let diff = TextDiff::from_lines(&text, &laid_out);
            if laid_out != text {
                found += &format!("{}:\n{}", path.display(), diff.unified_diff());
            }
        }
        assert!(found.is_empty(), "`saker rules fmt` would change\n{found}");
    }

    /// [`layout::canonical`] itself compares values and comments, and lays out twice.
    #[test]
    fn upstream_rule_files_can_be_laid_out() {
        let files = files("../shared/upstream_rules");
        if files.is_empty() {
            println!("upstream's rule files SKIPPED: they are not in ../shared/upstream_rules");
        }
        for path in files {
            let text = std::fs::read_to_string(&path).expect("text");
            let laid_out = canonical(&path.display().to_string(), &text).unwrap_or_else(|e| panic!("{e}"));
            // Plain conditions over several lines are left alone.
            let pairs = laid_out.lines().zip(laid_out.lines().skip(1));
            let long = pairs.filter(|(line, next)| {
                line.starts_with("  condition: ") && line.chars().count() > 120 && !next.starts_with("   ")
            });
            assert_eq!(long.collect::<Vec<_>>(), Vec::new(), "{}", path.display());
        }
    }

    #[test]
    fn writes_what_changes_and_nothing_with_check() {
        let dir = tempfile::tempdir().expect("directory");
        let (good, messy, broken) = (
            dir.path().join("a.yaml"),
            dir.path().join("b.yaml"),
            dir.path().join("c.yaml"),
        );
        let text = "-   macro: m   \n    condition:   (a.b = c)";
        std::fs::write(&good, "- list: x\n  items: []\n").expect("written");
        std::fs::write(&messy, text).expect("written");
        std::fs::write(&broken, "- list: [\n").expect("written");
        let run = |check, diff| {
            let args = FmtArgs {
                paths: vec![],
                check,
                diff,
            };
            let mut job = Job::default();
            [&good, &messy, &broken]
                .into_iter()
                .for_each(|path| job.file(&args, path));
            assert!(
                job.errors.len() == 1 && job.errors[0].contains("LOAD_ERR_YAML_PARSE"),
                "{:?}",
                job.errors
            );
            job
        };
        assert_eq!(run(true, false).out, format!("{}\n", messy.display()));
        let diff = run(true, true).out;
        assert!(diff.contains("+  condition: (a.b = c)\n"), "{diff}");
        assert_eq!(std::fs::read_to_string(&messy).expect("text"), text);
        assert!(run(false, false).changed);
        assert_eq!(
            std::fs::read_to_string(&messy).expect("text"),
            "- macro: m\n  condition: (a.b = c)\n"
        );
        assert!(!run(false, false).changed);
    }
}
