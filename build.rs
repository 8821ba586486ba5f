//! Embeds the rule files under `rules/` in the binary, in name order, so that a new file is built in by being there.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let mut code =
        String::from("/// Name and text of each built-in rule file.\npub const BUILTIN: &[(&str, &str)] = &[\n");
    for folder in ["rules/k8s_audit", "rules/syscall", "rules/k8s_exec"] {
        println!("cargo::rerun-if-changed={folder}");
        let mut files: Vec<_> = fs::read_dir(Path::new(&root).join(folder))
            .map(|entries| entries.filter_map(|e| e.ok().map(|e| e.path())).collect())
            .unwrap_or_default();
        files.sort();
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if file.extension().is_some_and(|e| e == "yaml") && !name.contains(".test.") {
                writeln!(
                    code,
                    "    ({:?}, include_str!({:?})),",
                    format!("{folder}/{name}"),
                    file
                )
                .expect("a string");
            }
        }
    }
    code.push_str("];\n");
    fs::write(
        Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("builtin_rules.rs"),
        code,
    )
    .expect("writable");
}
