//! `saker rules check`: every error and warning of all files in one run.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Which, fail, formats, print};
use crate::engine::diagnostic::{Code, printable};
use crate::engine::{self, Loaded, Options, RuleFile};
use crate::rulefiles;

pub const HELP: &str = "\
Examples:
  saker rules check
  saker rules check -r falco_rules.yaml -r local/
  saker rules check -r rules/ --format sarif > rules.sarif
  saker rules check -r rules/ --format github    # annotations in a GitHub workflow

The exit code is 0 when there are at most warnings, 1 when there are errors, 64 when the arguments are wrong.
docs/diagnostics.md says what each code means.";

#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    which: Which,
    /// How findings are printed: text goes to standard error, the others to standard output
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// For people: the place, the underlined text, help
    Text,
    /// Falco's result object, with our place and help beside each finding
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Workflow commands that GitHub shows as annotations
    Github,
}

/// What checking came to.
#[derive(Debug)]
pub struct Checked {
    pub loaded: Loaded,
    /// Files that could not be read, and why; a code of their own tells of them.
    pub unreadable: Vec<(String, String)>,
}

impl Checked {
    pub fn errors(&self) -> usize {
        self.unreadable.len() + self.loaded.errors().count()
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for (file, why) in &self.unreadable {
            out += &format!(
                "error[{}]: {}\n--> {}\n\n",
                Code::FileRead.name(),
                printable(why),
                printable(file)
            );
        }
        for diagnostic in &self.loaded.diagnostics {
            out += &diagnostic.render(&self.loaded.sources);
            out.push('\n');
        }
        out
    }

    fn summary(&self) -> String {
        let files = self.loaded.sources.files().len() + self.unreadable.len();
        let rules = self.loaded.rules.as_ref().map_or(0, |r| r.rules().count());
        let errors = self.errors();
        let warnings = self.loaded.diagnostics.len() - self.loaded.errors().count();
        let skipped = match self.loaded.skipped.len() {
            0 => String::new(),
            n => format!(", {n} rules of other sources left out"),
        };
        format!("{files} files: {rules} rules, {errors} errors, {warnings} warnings{skipped}\n")
    }
}

pub fn run(args: &CheckArgs) -> ExitCode {
    let checked = match check(&args.which) {
        Ok(checked) => checked,
        Err(error) => return fail(&error),
    };
    let out = match args.format {
        Format::Text => {
            // Standard error may be closed; the summary and the exit code still tell.
            let _ = io::stderr().write_all(checked.text().as_bytes());
            checked.summary()
        }
        Format::Json => formats::json(&checked),
        Format::Sarif => formats::sarif(&checked),
        Format::Github => formats::github(&checked),
    };
    let code = print(out.as_bytes());
    if checked.errors() > 0 { ExitCode::FAILURE } else { code }
}

/// Loads every file that can be read, so that one run tells of all.
fn check(which: &Which) -> Result<Checked, String> {
    let (mut files, unreadable) = read(&which.rules);
    if which.rules.is_empty() {
        files.extend(rulefiles::builtin());
    }
    match engine::load(files, &options()) {
        Ok(loaded) => Ok(Checked { loaded, unreadable }),
        Err(errors) => Err(rulefiles::RuleFilesError::Fields(errors).to_string()),
    }
}

/// Every file that can be read, and the others with why they cannot.
pub fn read(paths: &[PathBuf]) -> (Vec<RuleFile>, Vec<(String, String)>) {
    let mut unreadable = Vec::new();
    let mut files: Vec<RuleFile> = Vec::new();
    let mut failed = |path: &PathBuf, error: String| unreadable.push((path.display().to_string(), error));
    for path in paths {
        match rulefiles::expand(std::slice::from_ref(path)) {
            Err(error) => failed(path, error.to_string()),
            Ok(inside) => {
                for file in inside {
                    match rulefiles::read(std::slice::from_ref(&file)) {
                        Ok(read) => files.extend(read),
                        Err(error) => failed(&file, error.to_string()),
                    }
                }
            }
        }
    }
    (files, unreadable)
}

/// How rules are loaded to be checked.
pub fn options() -> Options {
    Options {
        unused_of_all: true,
        lint: true,
        ..Options::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(dir: &std::path::Path) -> Checked {
        let text = "- macro: contains_private_credentials\n  condition: ka.req.configmap.obj contains \"AKIA\"\n\
                    - rule: ConfigMap with credentials\n  desc: d\n  priority: WARNING\n  source: k8s_audit\n  output: \"%ka.user.name: x\"\n\
                    \x20 condition: >\n    ka.target.resouce = configmaps\n    and contains_proivate_credentials\n";
        std::fs::write(dir.join("a, b.yaml"), text).expect("written");
        std::fs::write(dir.join("binary.yaml"), [0xff, 0xfe]).expect("written");
        let rules = vec![dir.to_owned()];
        check(&Which { rules }).expect("checked")
    }

    /// The rule of a well-known article: each of its two typos gets its own suggestion, in one run.
    #[test]
    fn every_format_tells_of_every_finding() {
        let dir = tempfile::tempdir().expect("directory");
        let checked = checked(dir.path());
        assert_eq!(checked.errors(), 3);
        let tidy = |text: String| text.replace(&dir.path().display().to_string(), "DIR");
        insta::assert_snapshot!("text", tidy(checked.text() + &checked.summary()));
        insta::assert_snapshot!("json", tidy(formats::json(&checked)));
        insta::assert_snapshot!("github", tidy(formats::github(&checked)));
        let sarif: serde_json::Value = serde_json::from_str(&formats::sarif(&checked)).expect("JSON");
        assert_eq!(sarif["version"], "2.1.0");
        let results = sarif["runs"][0]["results"].as_array().expect("results");
        let rules = sarif["runs"][0]["tool"]["driver"]["rules"].as_array().expect("rules");
        assert_eq!(rules.len(), Code::ALL.len());
        for result in results {
            let index = result["ruleIndex"].as_u64().expect("index") as usize;
            assert_eq!(rules[index]["id"], result["ruleId"]);
        }
        let results = serde_json::to_string_pretty(results).expect("JSON");
        insta::assert_snapshot!("sarif_results", tidy(results));
    }
}
