//! Rule files: what is valid, which errors and warnings there are, and what rules come to.

use saker::engine::{Loaded, Options, RuleFile, load};
use saker::event::Source;
use serde_json::Value;

use crate::report::{Outcome, Report, text, texts};

pub fn run(report: &mut Report) {
    report.file("rule_loader.jsonl", |v| text(v, "id").to_owned(), rule_loader);
    let file = "upstream_runs/conditions_syscall_validate.jsonl";
    report.file(
        file,
        |v| text(v, "id").to_owned(),
        |case| {
            let loaded = load_all(vec![text(case, "rules_yaml").to_owned()]);
            let results = case["validate_json"]["falco_load_results"].clone();
            Outcome::all([
                valid(&loaded, case["load_ok"] == true),
                results_match(&loaded, &results),
            ])
        },
    );
}

/// Loads texts as files, with every source enabled.
pub fn load_all(texts: Vec<String>) -> Loaded {
    let options = Options {
        sources: Source::RULE_SOURCES.to_vec(),
        ..Options::default()
    };
    let files = texts.into_iter().enumerate().map(|(i, text)| RuleFile {
        name: format!("rules{i}.yaml"),
        text,
    });
    load(files.collect(), &options).expect("no fields of the user's own")
}

pub fn valid(loaded: &Loaded, want: bool) -> Outcome {
    match loaded.rules.is_some() == want {
        true => Outcome::Pass,
        false => Outcome::Fail(format!("valid should be {want}: {:?}", found(loaded, true))),
    }
}

fn found(loaded: &Loaded, errors: bool) -> Vec<(String, String)> {
    let all = loaded.diagnostics.iter().filter(|d| d.is_error() == errors);
    // Upstream has no codes of ours.
    let all = all.filter(|d| !d.code.name().starts_with("SAKER_"));
    all.map(|d| (d.code.name().to_owned(), d.message.clone())).collect()
}

/// Upstream's results of every file against ours: its error (it gives only the first) is among ours, its warnings
/// are ours. Its messages are kept, but for those of its YAML library and those it leaves empty.
pub fn results_match(loaded: &Loaded, results: &Value) -> Outcome {
    let of = |key: &str| -> Vec<(String, String)> {
        let results = results.as_array().map(Vec::as_slice).unwrap_or_default();
        let issues = results.iter().flat_map(|r| r[key].as_array().into_iter().flatten());
        issues
            .map(|i| (text(i, "code").to_owned(), text(i, "message").to_owned()))
            .collect()
    };
    let same = |want: &(String, String), got: &(String, String)| {
        let free = want.1.is_empty() || want.0 == "LOAD_ERR_YAML_PARSE";
        want.0 == got.0 && (free || want.1 == got.1)
    };
    let errors = found(loaded, true);
    for want in of("errors") {
        if !errors.iter().any(|got| same(&want, got)) {
            return Outcome::Fail(format!("error: got {errors:?}\n     want {want:?}"));
        }
    }
    let mut warnings = found(loaded, false);
    let mut missing = Vec::new();
    // The recordings were made without the plugin, which is built in here.
    let wanted = of("warnings");
    for want in wanted.iter().filter(|w| w.1 != "Unknown source k8s_audit, skipping") {
        match warnings.iter().position(|got| same(want, got)) {
            Some(at) => drop(warnings.remove(at)),
            None => missing.push(want.clone()),
        }
    }
    if loaded.rules.is_none() {
        // After its first error upstream looks no further; warnings of unused names need a whole file.
        warnings.retain(|(code, _)| code.starts_with("LOAD_UNUSED"));
    }
    if missing.is_empty() && warnings.is_empty() {
        return Outcome::Pass;
    }
    Outcome::Fail(format!("warnings: missing {missing:?}, beyond {warnings:?}"))
}

fn rule_loader(case: &Value) -> Outcome {
    let loaded = load_all(texts(&case["rules"]));
    let fragments = |key: &str, errors: bool| {
        let found = found(&loaded, errors);
        texts(&case[key]).into_iter().find_map(|want| {
            let has = found.iter().any(|(_, message)| message.contains(&want));
            (!has).then(|| Outcome::Fail(format!("no {want:?} in {found:?}")))
        })
    };
    let codes = |key: &str, errors: bool| {
        let found = found(&loaded, errors);
        texts(&case[key]).into_iter().find_map(|want| {
            // Without its plugin upstream does not know the source.
            let known = want == "LOAD_UNKNOWN_SOURCE" && case["rules"].to_string().contains("source: k8s_audit");
            let has = known || found.iter().any(|(code, _)| *code == want);
            (!has).then(|| Outcome::Fail(format!("no {want} in {found:?}")))
        })
    };
    let absent = texts(&case["warnings_absent"]).into_iter().find_map(|unwanted| {
        let has = found(&loaded, false).into_iter().find(|(_, m)| m.contains(&unwanted));
        has.map(|got| Outcome::Fail(format!("unwanted {got:?}")))
    });
    let parts = [
        Some(valid(&loaded, case["valid"] == true)),
        codes("error_codes", true),
        codes("warning_codes", false),
        fragments("errors_contain", true),
        fragments("warnings_contain", false),
        absent,
        Some(results_match(&loaded, &case["upstream_validate"]["results"])),
        Some(compiled(&loaded, case)),
        Some(described(&loaded, &case["describe"])),
    ];
    Outcome::all(parts.into_iter().flatten())
}

fn compiled(loaded: &Loaded, case: &Value) -> Outcome {
    let Some(rules) = &loaded.rules else {
        return Outcome::Pass;
    };
    if let Some(count) = case["enabled_rules"].as_u64()
        && rules.rules().count() as u64 != count
    {
        return Outcome::Fail(format!(
            "{count} rules should be enabled, {} are",
            rules.rules().count()
        ));
    }
    let none = serde_json::Map::new();
    for (name, want) in case["compiled_conditions"].as_object().unwrap_or(&none) {
        let got = rules.rules().find(|r| *r.name == **name).map(|r| r.condition.as_str());
        if got != want.as_str() {
            return Outcome::equal(got, want.as_str());
        }
    }
    Outcome::Pass
}

/// The parts of upstream's description of rules, each named by its path there.
fn described(loaded: &Loaded, wanted: &Value) -> Outcome {
    let definitions = &loaded.definitions;
    let none = serde_json::Map::new();
    for (path, want) in wanted.as_object().unwrap_or(&none) {
        let first = definitions.rules.first();
        let got: Value = match path.as_str() {
            "size:rules" => definitions.rules.len().into(),
            "size:macros" => definitions.macros.len().into(),
            "size:lists" => definitions.lists.len().into(),
            "size:lists.0.details.items_compiled" => definitions.lists[0].items.len().into(),
            "size:lists.0.details.lists" => {
                let named = |item: &&saker::engine::source::Text| {
                    definitions.lists.iter().any(|list| list.name == item.as_str())
                };
                definitions.lists[0].items.iter().filter(named).count().into()
            }
            "rules[0].info.condition" => first.map(|r| r.condition.as_str()).into(),
            "rules[0].info.output" => first.map(|r| r.output.as_str()).into(),
            "rules[0].info.description" => first.map(|r| r.desc.as_str()).into(),
            "rules[0].info.priority" => first.map(|r| r.priority.name()).into(),
            "rules[0].info.capture" => first.map(|r| r.capture).into(),
            "rules[0].info.capture_duration" => first.map(|r| r.capture_duration).into(),
            other => return Outcome::Fail(format!("cannot describe {other}")),
        };
        if got != *want {
            return Outcome::Fail(format!("{path}: got {got} want {want}"));
        }
    }
    Outcome::Pass
}
