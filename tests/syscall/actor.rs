//! The program that acts: `actor.c`, compiled once, told its system calls by name.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use saker::fields::syscall::calls::CALLS;

/// The compiled program; its directory stays until the tests end.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("syscall");
        std::fs::create_dir_all(&directory).unwrap();
        let (source, program) = ("tests/syscall/actor.c", directory.join("actor"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        let status = Command::new("cc")
            .args(["-O1", "-Wall", "-o"])
            .args([&program, &source])
            .arg("-lpthread")
            .status();
        assert!(status.expect("rustc links by cc, so it is there").success());
        program
    })
}

/// The words of a script, with numbers in the place of names. Nothing for a call that this architecture has not.
fn words(script: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for call in script.split(" ; ") {
        let mut parts = call.split(' ');
        let name = parts.next()?;
        if !words.is_empty() {
            words.push(";".to_owned());
        }
        match CALLS.iter().find(|row| row.name == name) {
            Some(row) => words.push(row.nr.to_string()),
            None if ["fork", "vfork", "thread", "sleep"].contains(&name) => words.push(name.to_owned()),
            None if cfg!(target_arch = "x86_64") => panic!("{name} is no call"),
            None => return None,
        }
        words.extend(parts.map(|word| blanks(word).unwrap_or_else(|| word.to_owned())));
    }
    Some(words)
}

/// Blanks in texts are written as `␣`.
fn blanks(word: &str) -> Option<String> {
    word.contains('␣').then(|| word.replace('␣', " "))
}

/// Starts the script in a directory; nothing where a call of it is not there.
pub fn start(script: &str, directory: &Path) -> Option<Child> {
    let child = Command::new(program())
        .args(words(script)?)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    Some(child.unwrap())
}

/// Runs the script to its end, and returns the process id that it had.
pub fn run(script: &str, directory: &Path) -> Option<u32> {
    let mut child = start(script, directory)?;
    let pid = child.id();
    child.wait().unwrap();
    Some(pid)
}
