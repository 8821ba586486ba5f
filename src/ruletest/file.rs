//! The format of a test file, and where its events come from.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::json::path::unescaped;

/// A file of tests, beside the rules it tests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestFile {
    /// Rule files and folders, relative to this file; the folder above when there are none.
    #[serde(default)]
    pub rules: Vec<PathBuf>,
    /// Recorded events that tests name by `auditID/stage`, relative to this file.
    #[serde(default)]
    pub recordings: Option<PathBuf>,
    pub tests: Vec<Test>,
}

/// One test: events, and what they must and must not raise.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    pub name: String,
    pub events: Vec<EventSource>,
    #[serde(default)]
    pub alerts: Vec<Expected>,
    /// No alerts but those of `alerts`.
    #[serde(default)]
    pub only: bool,
    #[serde(default)]
    pub quiet: Quiet,
    /// `all` unless the test is about which rule comes first.
    #[serde(default)]
    pub matching: Matching,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    First,
    #[default]
    All,
}

/// One or more events.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EventSource {
    /// `auditID/stage` of a line of the recordings.
    Recorded(String),
    /// All events of a file, relative to the test file.
    File(PathBuf),
    /// An event as it is.
    Event(Value),
    Like(Variation),
}

/// An event that differs from another one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variation {
    #[serde(default)]
    pub recorded: Option<String>,
    #[serde(default)]
    pub event: Option<Value>,
    /// JSON pointer → new value.
    #[serde(default)]
    pub set: BTreeMap<String, Value>,
    /// JSON pointers of what is taken away.
    #[serde(default)]
    pub remove: Vec<String>,
}

/// An alert that must come.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    pub rule: String,
    #[serde(default)]
    pub priority: Option<String>,
    /// Exact values of `output_fields`.
    #[serde(default)]
    pub fields: BTreeMap<String, Value>,
}

/// Which rules must not alert.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Quiet {
    /// The word `all`.
    All(AllWord),
    Rules(Vec<String>),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllWord {
    All,
}

impl Default for Quiet {
    fn default() -> Self {
        Quiet::Rules(Vec::new())
    }
}

/// Why a test file cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum TestFileError {
    #[error("cannot read `{path}`: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{path}`: {message}")]
    Format { path: PathBuf, message: String },
    #[error("`{path}`, test `{test}`: {message}")]
    Event {
        path: PathBuf,
        test: String,
        message: String,
    },
    #[error("no tests in `{0}`: test files end in `.test.yaml`")]
    None(String),
    #[error("rules of `{path}` have errors:\n{rendered}")]
    Rules { path: PathBuf, rendered: String },
}

fn read(path: &Path) -> Result<String, TestFileError> {
    std::fs::read_to_string(path).map_err(|source| TestFileError::Read {
        path: path.to_owned(),
        source,
    })
}

impl TestFile {
    /// Reads a test file.
    ///
    /// # Errors
    /// When it cannot be read or has another shape.
    pub fn load(path: &Path) -> Result<TestFile, TestFileError> {
        let text = read(path)?;
        serde_yaml::from_str(&text).map_err(|e| TestFileError::Format {
            path: path.to_owned(),
            message: e.to_string(),
        })
    }
}

/// The events of one test file's tests, as JSON lines.
#[derive(Debug)]
pub struct Events<'a> {
    path: &'a Path,
    recorded: HashMap<String, String>,
}

impl<'a> Events<'a> {
    /// Reads the recordings that the file names.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn open(path: &'a Path, file: &TestFile) -> Result<Events<'a>, TestFileError> {
        let mut recorded = HashMap::new();
        if let Some(recordings) = &file.recordings {
            for line in read(&folder(path).join(recordings))?.lines() {
                let Ok(event) = serde_json::from_str::<Value>(line) else {
                    continue;
                };
                let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
                recorded.insert(format!("{}/{}", text("auditID"), text("stage")), line.to_owned());
            }
        }
        Ok(Events { path, recorded })
    }

    /// The text of a test's events, one document after another.
    ///
    /// # Errors
    /// Events that do not exist, pointers that lead nowhere.
    pub fn of(&self, test: &Test) -> Result<Vec<String>, TestFileError> {
        let failed = |message: String| TestFileError::Event {
            path: self.path.to_owned(),
            test: test.name.clone(),
            message,
        };
        let mut out = Vec::new();
        for source in &test.events {
            match source {
                EventSource::Recorded(id) => out.push(self.recorded(id).map_err(failed)?.to_owned()),
                EventSource::File(file) => out.push(read(&folder(self.path).join(file))?),
                EventSource::Event(event) => out.push(event.to_string()),
                EventSource::Like(variation) => out.push(self.vary(variation).map_err(failed)?),
            }
        }
        Ok(out)
    }

    fn recorded(&self, id: &str) -> Result<&str, String> {
        self.recorded
            .get(id)
            .map(String::as_str)
            .ok_or_else(|| format!("no recorded event `{id}`; write auditID/stage"))
    }

    fn vary(&self, variation: &Variation) -> Result<String, String> {
        let mut event: Value = match (&variation.recorded, &variation.event) {
            (Some(id), None) => serde_json::from_str(self.recorded(id)?).map_err(|e| e.to_string())?,
            (None, Some(event)) => event.clone(),
            _ => return Err("`like` needs `recorded` or `event`".to_owned()),
        };
        for pointer in &variation.remove {
            remove(&mut event, pointer)?;
        }
        for (pointer, value) in &variation.set {
            set(&mut event, pointer, value.clone())?;
        }
        Ok(event.to_string())
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

fn tokens(pointer: &str) -> Result<Vec<String>, String> {
    let rest = pointer
        .strip_prefix('/')
        .ok_or_else(|| format!("`{pointer}` is no JSON pointer: begin with `/`"))?;
    Ok(rest.split('/').map(unescaped).collect())
}

/// Sets a value, making objects on the way; `-` appends to an array.
fn set(event: &mut Value, pointer: &str, value: Value) -> Result<(), String> {
    let mut at = event;
    for token in tokens(pointer)? {
        if at.is_null() {
            *at = Value::Object(serde_json::Map::new());
        }
        at = match at {
            Value::Object(map) => map.entry(token).or_insert(Value::Null),
            Value::Array(items) => {
                if token == "-" {
                    items.push(Value::Null);
                }
                let index = match token.as_str() {
                    "-" => items.len() - 1,
                    digits => digits
                        .parse()
                        .map_err(|_| format!("`{pointer}`: `{token}` is no index"))?,
                };
                items
                    .get_mut(index)
                    .ok_or_else(|| format!("`{pointer}`: no element {index}"))?
            }
            _ => return Err(format!("`{pointer}` leads through a plain value")),
        };
    }
    *at = value;
    Ok(())
}

fn remove(event: &mut Value, pointer: &str) -> Result<(), String> {
    let nothing = || format!("`{pointer}`: there is nothing to remove");
    let mut path = tokens(pointer)?;
    let last = path.pop().ok_or_else(nothing)?;
    let parent = path.iter().try_fold(event, |at, token| match at {
        Value::Object(map) => map.get_mut(token),
        Value::Array(items) => token.parse::<usize>().ok().and_then(|i| items.get_mut(i)),
        _ => None,
    });
    match parent {
        Some(Value::Object(map)) => map.remove(&last).map(drop).ok_or_else(nothing),
        Some(Value::Array(items)) => match last.parse::<usize>() {
            Ok(index) if index < items.len() => {
                items.remove(index);
                Ok(())
            }
            _ => Err(nothing()),
        },
        _ => Err(nothing()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn variations_set_and_remove() {
        let mut event = json!({"a": {"b": [1, 2]}, "c": 3});
        set(&mut event, "/a/b/1", json!(5)).expect("set");
        set(&mut event, "/a/b/-", json!(6)).expect("append");
        set(&mut event, "/new/deep", json!("x")).expect("make");
        remove(&mut event, "/c").expect("remove");
        assert_eq!(event, json!({"a": {"b": [1, 5, 6]}, "new": {"deep": "x"}}));
        assert!(set(&mut event, "/a/b/9", json!(0)).is_err());
        assert!(remove(&mut event, "/nothing").is_err());
        assert!(set(&mut event, "a", json!(0)).is_err());
    }

    #[test]
    fn the_format_is_strict() {
        let good =
            "tests:\n- name: t\n  events:\n  - recorded: a/ResponseComplete\n  - event: {kind: Event}\n  quiet: all\n";
        let file: TestFile = serde_yaml::from_str(good).expect("parses");
        assert!(matches!(file.tests[0].quiet, Quiet::All(_)));
        assert!(serde_yaml::from_str::<TestFile>("tests:\n- name: t\n  events: []\n  alert: []\n").is_err());
    }
}
