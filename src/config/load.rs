//! Reads saker.yaml and the environment into a [`Config`], and says everything that is wrong with them at once.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::check::Check;
use super::schema;
use super::tree::{self, Node, Place};
use super::{Config, validate};

/// Overrides begin with this: `SAKER_WEBHOOK__LISTEN` sets `webhook.listen`.
const PREFIX: &str = "SAKER_";

/// Variables that begin like an override and are none: of logging and of the test suite.
const NOT_OVERRIDES: &[&str] = &["SAKER_LOG", "SAKER_CONFORMANCE_DIR", "SAKER_EXECS", "SAKER_ADMISSION"];

/// As [`NOT_OVERRIDES`], for every variable that begins so and does not go on with the second underscore of a section.
const NOT_OVERRIDE_PREFIXES: &[&str] = &["SAKER_CREDENTIALS_"];

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration `{}`: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}", report(.file.as_deref(), .problems))]
    Invalid {
        file: Option<PathBuf>,
        problems: Vec<Problem>,
    },
}

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    place: Place,
    pub message: String,
    pub help: Option<String>,
}

impl Problem {
    pub(super) fn new(place: &Place, message: String, help: Option<String>) -> Problem {
        Problem {
            place: place.clone(),
            message,
            help,
        }
    }

    /// Line and column in the file, counted from one; `None` when a variable is at fault.
    pub fn position(&self) -> Option<(usize, usize)> {
        match self.place {
            Place::File { line, column } => Some((line, column)),
            Place::Variable(_) => None,
        }
    }
}

/// One problem a line, as compilers print them.
fn report(file: Option<&Path>, problems: &[Problem]) -> String {
    let mut lines = Vec::new();
    for problem in problems {
        let place = match (&problem.place, file) {
            (Place::Variable(name), _) => name.clone(),
            (Place::File { line, column }, Some(file)) => format!("{}:{line}:{column}", file.display()),
            (Place::File { .. }, None) => "configuration".to_owned(),
        };
        lines.push(format!("{place}: {}", problem.message));
        lines.extend(problem.help.iter().map(|help| format!("  help: {help}")));
    }
    lines.join("\n")
}

/// Loads the configuration: the file, when there is one, then the `SAKER_…` overrides of `env`.
pub fn load(path: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    let variables: BTreeMap<String, String> = env.collect();
    let mut problems = Vec::new();
    let mut root = match path {
        None => Some(Node::empty_map()),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
                path: path.to_owned(),
                source,
            })?;
            tree::parse_file(&text, &variables, &mut problems)
        }
    };
    let mut config = None;
    if let Some(root) = &mut root {
        override_from(&variables, root, &mut problems);
        let base = path.and_then(Path::parent).unwrap_or(Path::new(""));
        let mut check = Check {
            base,
            problems: &mut problems,
        };
        let json = check.section(root, schema::ROOT, "");
        config = json.and_then(|json| match serde_json::from_value::<Config>(json) {
            Ok(config) => Some(config),
            Err(error) => {
                problems.push(Problem::new(&root.place, error.to_string(), None));
                None
            }
        });
        if let Some(config) = &config {
            validate::check(config, root, &mut problems);
        }
    }
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => {
            problems.sort_by_key(Problem::position);
            Err(ConfigError::Invalid {
                file: path.map(Path::to_owned),
                problems,
            })
        }
    }
}

fn override_from(variables: &BTreeMap<String, String>, root: &mut Node, problems: &mut Vec<Problem>) {
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let is_below = |prefix: &&str| name.strip_prefix(*prefix).is_some_and(|rest| !rest.starts_with('_'));
        if NOT_OVERRIDES.contains(&name.as_str()) || NOT_OVERRIDE_PREFIXES.iter().any(is_below) {
            continue;
        }
        let steps: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
        if !schema::resolve(steps.iter().map(String::as_str)) {
            if !is_service_link(name) {
                problems.push(unknown_variable(name));
            }
            continue;
        }
        if let Some(node) = tree::parse_variable(name, value, problems) {
            root.set(&steps, node);
        }
    }
}

fn unknown_variable(name: &str) -> Problem {
    let known: Vec<String> = schema::paths()
        .iter()
        .map(|path| format!("{PREFIX}{}", path.to_uppercase().replace('.', "__")))
        .collect();
    // `closest` compares in lower case, as keys are.
    let lower: Vec<String> = known.iter().map(|k| k.to_lowercase()).collect();
    let help = match schema::closest(name, lower.iter().map(String::as_str)) {
        Some(found) => format!("did you mean `{}`?", found.to_uppercase()),
        None => {
            "write `SAKER_`, then the keys with two underscores between them, e.g. `SAKER_WEBHOOK__LISTEN`".to_owned()
        }
    };
    Problem::new(
        &Place::Variable(name.to_owned()),
        "this variable names no key of the configuration".to_owned(),
        Some(help),
    )
}

/// Kubernetes puts variables for every Service of the namespace into a container (`SAKER_SERVICE_HOST`,
/// `SAKER_PORT_9443_TCP_ADDR`), and ours is likely called `saker`: they are not meant for us.
fn is_service_link(name: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    match name.split_once("_PORT_") {
        None => name.ends_with("_PORT"),
        Some((_, tail)) => {
            let (port, protocol) = tail.split_once('_').unwrap_or((tail, ""));
            port.parse::<u16>().is_ok() && ["TCP", "UDP", "SCTP"].iter().any(|p| protocol.starts_with(p))
        }
    }
}

#[cfg(test)]
mod tests;
