//! Conditions: what parses, what compiles, what is true, and how constants and trees are written.

use saker::engine::diagnostic::Code;
use saker::engine::{ast, parser};
use serde_json::{Value, json};

use crate::mocks::{World, rule};
use crate::report::{Outcome, Report, text};

/// Nesting that upstream's parser allows by itself; its rule loader allows more.
const PARSER_DEPTH: u32 = 100;

pub fn run(report: &mut Report) {
    let name = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let parses = |v: &Value| parser::parse_with_depth(v.as_str().expect("a string"), PARSER_DEPTH).map(drop);
    let accept = |v: &Value| match parses(v) {
        Ok(()) => Outcome::Pass,
        Err(e) => Outcome::Fail(format!("refused at {:?}: {e}", e.span)),
    };
    report.file("parser_accept.txt", name, accept);
    if report.read("parser_accept_whitespace_variants.txt").is_some() {
        report.file("parser_accept_whitespace_variants.txt", name, accept);
    }
    report.file("parser_reject.txt", name, |v| match parses(v) {
        Ok(()) => Outcome::Fail("accepted".to_owned()),
        Err(_) => Outcome::Pass,
    });
    let expr = |v: &Value| text(v, "expr").to_owned();
    report.file("filter_boolean_eval.jsonl", expr, |case| {
        let world = World::new(&constants());
        let loaded = world.load(rule(text(case, "expr"), "x"));
        if let Some(e) = loaded.errors().next() {
            return Outcome::Fail(e.message.clone());
        }
        Outcome::equal(world.holds(&loaded), case["expected"] == true)
    });
    report.file("filter_compile.jsonl", expr, compile);
    report.file("operator_eval.jsonl", expr, |case| {
        let world = World::new(&case["fields"]);
        let loaded = world.load(rule(text(case, "expr"), "x"));
        let got = match loaded.errors().next() {
            Some(_) => "error",
            None if world.holds(&loaded) => "true",
            None => "false",
        };
        let why: Vec<String> = loaded.errors().map(|e| e.message.clone()).collect();
        match Outcome::equal(got, text(case, "expected")) {
            Outcome::Fail(diff) => Outcome::Fail(format!("{diff} {why:?} fields {}", case["fields"])),
            other => other,
        }
    });
    report.file("condition_warnings.jsonl", expr, warnings);
    report.file(
        "escaping.jsonl",
        |v| format!("{} {}", text(v, "test"), v["in_latin1"]),
        escaping,
    );
    report.file(
        "ast_equal.jsonl",
        |v| format!("{} | {}", text(v, "a"), text(v, "b")),
        |case| {
            let tree = |key: &str| parser::parse(text(case, key)).expect("a condition").to_string();
            Outcome::equal(tree("a") == tree("b"), case["ast_equal"] == true)
        },
    );
}

/// The fields that upstream's compiler tests take as given.
fn constants() -> Value {
    json!({
        "c.true": {"type": "string", "value": "1"},
        "c.false": {"type": "string", "value": "0"},
        "c.singlequote": {"type": "string", "value": "hello 'quoted'"},
        "c.doublequote": {"type": "string", "value": "hello \"quoted\""},
        "c.buffer": {"type": "bytes", "hex": "00"},
    })
}

fn compile(case: &Value) -> Outcome {
    let loaded = World::new(&constants()).load(rule(text(case, "expr"), "x"));
    let errors: Vec<&str> = loaded.errors().map(|e| e.message.as_str()).collect();
    if errors.is_empty() != (case["compiles"] == true) {
        return Outcome::Fail(format!("compiles should be {}, errors {errors:?}", case["compiles"]));
    }
    if let Some(message) = case["message"].as_str() {
        return Outcome::equal(errors, vec![message]);
    }
    let warned = loaded.diagnostics.iter().filter(|d| !d.is_error()).count();
    Outcome::equal(warned as u64, case["warnings"].as_u64().unwrap_or(0))
}

fn warnings(case: &Value) -> Outcome {
    let world = World::new(&json!({
        "some.field": {"type": "string", "value": null},
        "ka.field": {"type": "string", "value": null},
        "jevt.field": {"type": "string", "value": null},
    }));
    let loaded = world.load(rule(text(case, "expr"), "x"));
    let codes: Vec<Code> = loaded.diagnostics.iter().map(|d| d.code).collect();
    let known = codes
        .iter()
        .all(|c| matches!(c, Code::UnsafeNaCheck | Code::DeprecatedItem));
    if !known {
        return Outcome::Fail(format!("{codes:?}"));
    }
    Outcome::equal(!codes.is_empty(), case["warns"] == true)
}

fn escaping(case: &Value) -> Outcome {
    let latin1 = |key: &str| -> Vec<u8> { text(case, key).chars().map(|c| c as u32 as u8).collect() };
    let unescape = |quoted: &[u8]| parser::unescape(std::str::from_utf8(quoted).expect("text"));
    let input = latin1("in_latin1");
    match text(case, "op") {
        "escape" => Outcome::equal(ast::escape(&input).into_bytes(), latin1("out_latin1")),
        "escape_then_unescape" => {
            let escaped = ast::escape(&input);
            let back = if escaped.starts_with('"') {
                unescape(escaped.as_bytes()).expect("what was escaped")
            } else {
                escaped.into_bytes()
            };
            Outcome::equal(back, latin1("out_latin1"))
        }
        _ => match (unescape(&input), case["ok"] != false) {
            (Ok(bytes), true) => Outcome::equal(bytes, latin1("out_latin1")),
            (got, ok) => Outcome::equal(got.is_ok(), ok),
        },
    }
}
