//! Reads rule files and directories, and the rules built into the binary, for the engine.

use std::path::{Path, PathBuf};

use crate::config::{RulesConfig, UserField};
use crate::engine::source::RuleFile;
use crate::engine::{self, Loaded, Options};
use crate::event::Source;
use crate::fields::UserFieldError;

include!(concat!(env!("OUT_DIR"), "/builtin_rules.rs"));

/// Why rules could not even be read.
#[derive(Debug, thiserror::Error)]
pub enum RuleFilesError {
    #[error("cannot read rules from `{path}`: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{0}` holds no rule files: files ending in `.yaml` or `.yml` are read")]
    EmptyDirectory(PathBuf),
    #[error("`{0}` is not UTF-8 text")]
    NotText(PathBuf),
    #[error("fields of the configuration: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Fields(Vec<UserFieldError>),
}

/// The built-in rules, in order.
pub fn builtin() -> impl Iterator<Item = RuleFile> {
    BUILTIN.iter().map(|(name, text)| RuleFile {
        name: (*name).to_owned(),
        text: (*text).to_owned(),
    })
}

/// The files that `paths` name, directories expanded: what is loaded, and what is watched.
///
/// # Errors
/// Paths that do not exist, and directories without rule files.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, RuleFilesError> {
    let mut files = Vec::new();
    for path in paths {
        let failed = |source| RuleFilesError::Read {
            path: path.clone(),
            source,
        };
        if !std::fs::metadata(path).map_err(failed)?.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut inside: Vec<PathBuf> = std::fs::read_dir(path)
            .map_err(failed)?
            .filter_map(|entry| entry.ok().map(|e| e.path()))
            .filter(|p| is_rule_file(p))
            .collect();
        if inside.is_empty() {
            return Err(RuleFilesError::EmptyDirectory(path.clone()));
        }
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

/// As Falco has it: `.yaml` and `.yml`. Tests lie beside rules and are no rules.
fn is_rule_file(path: &Path) -> bool {
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let yaml = name.ends_with(".yaml") || name.ends_with(".yml");
    yaml && !name.starts_with('.') && !name.contains(".test.") && path.is_file()
}

/// Reads rule files.
///
/// # Errors
/// Files that cannot be read or are not text.
pub fn read(paths: &[PathBuf]) -> Result<Vec<RuleFile>, RuleFilesError> {
    expand(paths)?
        .into_iter()
        .map(|path| {
            let bytes = std::fs::read(&path).map_err(|source| RuleFilesError::Read {
                path: path.clone(),
                source,
            })?;
            let text = String::from_utf8(bytes).map_err(|_| RuleFilesError::NotText(path.clone()))?;
            Ok(RuleFile {
                name: path.display().to_string(),
                text,
            })
        })
        .collect()
}

/// Loads what the configuration names.
///
/// # Errors
/// Files that cannot be read; what is wrong inside them is in the result's diagnostics.
pub fn load(config: &RulesConfig, fields: &[UserField], sources: Vec<Source>) -> Result<Loaded, RuleFilesError> {
    let mut files: Vec<RuleFile> = if config.builtin {
        builtin().collect()
    } else {
        Vec::new()
    };
    files.extend(read(&config.files)?);
    let options = Options {
        sources,
        matching: config.matching,
        priority: config.priority,
        select: config.select.clone(),
        append_output: config.append_output.clone(),
        static_fields: config.static_fields.clone(),
        fields: fields.to_vec(),
        unused_of_all: true,
        explain: false,
        mask: config.mask_credentials,
        lint: false,
    };
    engine::load(files, &options).map_err(RuleFilesError::Fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_rules_give_no_lint() {
        let options = Options {
            unused_of_all: true,
            lint: true,
            ..Options::default()
        };
        let loaded = engine::load(builtin().collect(), &options).expect("no fields of the user's own");
        let found: Vec<String> = loaded.diagnostics.iter().map(|d| d.render(&loaded.sources)).collect();
        assert!(loaded.rules.is_some() && found.is_empty(), "{}", found.concat());
    }
}
