//! The files that are scanned: those that are named, and those in directories that are named.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Larger files are data, not configuration.
const MOST: u64 = 64 << 20;

/// A file to scan.
#[derive(Debug)]
pub struct Input {
    pub path: PathBuf,
    /// Named by the user, who has to be told when it cannot be read.
    pub named: bool,
    /// As far as it is known.
    pub size: u64,
}

/// What is not scanned, and why.
#[derive(Debug)]
pub struct Skipped {
    pub path: PathBuf,
    pub why: String,
    pub named: bool,
}

impl Input {
    /// The path as it is printed: without `./`, which says nothing.
    pub fn shown(&self) -> String {
        plain(&self.path).display().to_string()
    }

    /// All of its bytes.
    pub fn read(&self) -> Result<Vec<u8>, Skipped> {
        let read = match self.path.as_os_str() == "-" {
            true => all(io::stdin().lock()),
            false => File::open(&self.path).and_then(all),
        };
        let skipped = |why| Skipped {
            path: self.path.clone(),
            why,
            named: self.named,
        };
        match read {
            Ok(bytes) if bytes.len() as u64 > MOST => Err(skipped("it is larger than 64 MiB".to_owned())),
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(skipped(error.to_string())),
        }
    }
}

/// All that may be read, and one byte more where there is more.
fn all(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MOST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Files in the order of their paths, those of a directory in the place of the directory, and no file twice.
pub fn expand(paths: &[PathBuf], skipped: &mut Vec<Skipped>) -> Vec<Input> {
    let mut inputs: Vec<Input> = Vec::new();
    for path in paths {
        if path.as_os_str() != "-" && path.is_dir() {
            directory(path, true, &mut inputs, skipped);
            continue;
        }
        inputs.push(Input {
            path: path.clone(),
            named: true,
            size: fs::metadata(path).map_or(0, |m| m.len()),
        });
    }
    let mut seen = std::collections::HashSet::new();
    inputs.retain(|input| seen.insert(plain(&input.path).to_owned()));
    inputs
}

fn plain(path: &Path) -> &Path {
    path.strip_prefix(".").unwrap_or(path)
}

/// Symbolic links are not followed: what they lead to inside of the directory is there anyway.
fn directory(path: &Path, named: bool, inputs: &mut Vec<Input>, skipped: &mut Vec<Skipped>) {
    let entries = fs::read_dir(path).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            return skipped.push(Skipped {
                path: path.to_owned(),
                why: error.to_string(),
                named,
            });
        }
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() && entry.file_name() != ".git" => {
                directory(&path, false, inputs, skipped);
            }
            Ok(metadata) if metadata.is_file() => inputs.push(Input {
                path,
                named: false,
                size: metadata.len(),
            }),
            Ok(_) => {}
            Err(error) => skipped.push(Skipped {
                path,
                why: error.to_string(),
                named: false,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_walked_in_order() {
        let dir = tempfile::tempdir().expect("directory");
        let put = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("directory");
            fs::write(path, name).expect("written");
        };
        for name in ["b.yaml", "a/z", "a/b/c", ".git/config", ".env", "a/.gitignore"] {
            put(name);
        }
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).expect("link");
        std::os::unix::fs::symlink("b.yaml", dir.path().join("link")).expect("link");
        let mut skipped = Vec::new();
        let named = dir.path().join("b.yaml");
        let absent = dir.path().join("absent");
        let inputs = expand(&[absent, dir.path().to_owned(), named], &mut skipped);
        let found: Vec<_> = inputs
            .iter()
            .map(|input| {
                input
                    .path
                    .strip_prefix(dir.path())
                    .expect("inside")
                    .display()
                    .to_string()
            })
            .collect();
        assert_eq!(found, ["absent", ".env", "a/.gitignore", "a/b/c", "a/z", "b.yaml"]);
        assert!(skipped.is_empty(), "{skipped:?}");
        assert!(inputs[0].read().is_err_and(|skipped| skipped.named));
        assert_eq!(inputs[3].read().expect("read"), b"a/b/c");
    }

    #[test]
    fn large_files_are_skipped() {
        let dir = tempfile::tempdir().expect("directory");
        for (name, size, want) in [("fits", MOST, true), ("does-not", MOST + 1, false)] {
            let file = File::create(dir.path().join(name)).expect("created");
            file.set_len(size).expect("sparse");
            let mut skipped = Vec::new();
            let inputs = expand(&[dir.path().join(name)], &mut skipped);
            assert_eq!(inputs[0].read().is_ok(), want, "{name}");
        }
    }
}
