//! Findings for machines: Falco's result object, SARIF 2.1.0, GitHub workflow commands.

use serde_json::{Value, json};

use super::check::Checked;
use crate::engine::diagnostic::{Code, Diagnostic, Expression, Severity, printable};
use crate::engine::source::{Location, SourceMap};

/// Falco's `falco_load_results`: one result per file, positions counted from 0 as it does. What Falco does not have
/// is beside it under `saker`, counted from 1.
pub fn json(checked: &Checked) -> String {
    let sources = &checked.loaded.sources;
    let mut results: Vec<Value> = Vec::new();
    for (file, why) in &checked.unreadable {
        let context = json!({"locations": [location("rules content", "", file, 0, 0, 0)], "snippet": ""});
        results.push(json!({
            "name": file, "successful": false, "schema_valid": false, "schema_warnings": [],
            "errors": [{
                "code": Code::FileRead.name(), "codedesc": Code::FileRead.description(), "message": why,
                "context": context, "saker": {"line": null, "column": null, "end_column": null, "help": null},
            }],
            "warnings": [],
        }));
    }
    for (number, file) in sources.files().enumerate() {
        let here = || {
            let all = checked.loaded.diagnostics.iter();
            all.filter(move |d| sources.file_of(d.at.start) == number)
        };
        let issues = |errors: bool| -> Vec<Value> {
            here()
                .filter(|d| d.is_error() == errors)
                .map(|d| issue(d, sources, &file.name))
                .collect()
        };
        let shape: Vec<&str> = here()
            .filter(|d| is_about_shape(d.code))
            .map(|d| d.message.as_str())
            .collect();
        results.push(json!({
            "name": file.name, "successful": !here().any(Diagnostic::is_error),
            "schema_valid": shape.is_empty(), "schema_warnings": shape,
            "errors": issues(true), "warnings": issues(false),
        }));
    }
    json!({ "falco_load_results": results }).to_string() + "\n"
}

/// Findings that a schema of rule files would have made.
fn is_about_shape(code: Code) -> bool {
    matches!(
        code,
        Code::YamlParse | Code::YamlValidate | Code::UnknownItem | Code::UnknownKey
    )
}

fn location(item_type: &str, item_name: &str, file: &str, line: usize, column: usize, offset: usize) -> Value {
    let position = json!({"name": file, "line": line, "column": column, "offset": offset});
    json!({"item_type": item_type, "item_name": item_name, "position": position})
}

fn at(item_type: &str, item_name: &str, place: &Location<'_>) -> Value {
    location(
        item_type,
        item_name,
        place.file,
        place.line - 1,
        place.column - 1,
        place.offset,
    )
}

/// A place in a condition: upstream names the condition for a file, and counts lines and columns from 1 here where it
/// counts from 0 elsewhere, on from the place of the item around.
fn inside(expression: &Expression, parent: &Location<'_>) -> Value {
    const SHOWN: usize = 20;
    let text = expression.text.replace('\n', " ");
    let name = match text.chars().count() > SHOWN {
        true => format!("\"{}...\"", text.chars().take(SHOWN - 3).collect::<String>()),
        false => format!("\"{text}\""),
    };
    let (line, column, offset) = match expression.offset {
        None => (0, 0, 0),
        Some(offset) => {
            let before = &expression.text[..offset];
            let (_, last) = before.rsplit_once('\n').unwrap_or(("", before));
            (before.matches('\n').count() + 1, last.len() + 1, offset)
        }
    };
    let (line, column) = (parent.line - 1 + line, parent.column - 1 + column);
    location("condition expression", "", &name, line, column, parent.offset + offset)
}

fn issue(diagnostic: &Diagnostic, sources: &SourceMap, file: &str) -> Value {
    let mut locations = vec![location("rules content", "", file, 0, 0, 0)];
    for context in &diagnostic.context {
        let place = sources.locate(context.at.start);
        locations.extend(place.map(|p| at(context.item_type, &context.item_name, &p)));
    }
    if let Some(expression) = &diagnostic.expression
        && let Some(parent) = diagnostic.context.last().and_then(|c| sources.locate(c.at.start))
    {
        locations.push(inside(expression, &parent));
    }
    let place = sources.locate(diagnostic.at.start);
    let snippet = place.as_ref().map_or(String::new(), |p| {
        format!("{}\n{}^\n", p.text, " ".repeat(p.before.chars().count()))
    });
    let end = place.as_ref().map(|p| p.column + diagnostic.width(sources, p));
    json!({
        "code": diagnostic.code.name(), "codedesc": diagnostic.code.description(), "message": diagnostic.message,
        "context": {"locations": locations, "snippet": snippet},
        "saker": {
            "file": place.as_ref().map(|p| p.file),
            "line": place.as_ref().map(|p| p.line), "column": place.as_ref().map(|p| p.column),
            "end_column": end, "help": diagnostic.help,
        },
    })
}

/// SARIF 2.1.0 with every code as a rule.
pub fn sarif(checked: &Checked) -> String {
    let rules: Vec<Value> = Code::ALL
        .iter()
        .map(|code| {
            json!({
                "id": code.name(), "shortDescription": {"text": code.description()},
                "defaultConfiguration": {"level": level(*code)},
            })
        })
        .collect();
    let result = |code: Code, message: &str, help: Option<&str>, physical: Value| {
        let text = help.map_or(message.to_owned(), |help| format!("{message}\n{help}"));
        json!({
            "ruleId": code.name(), "ruleIndex": Code::ALL.iter().position(|c| *c == code), "level": level(code),
            "message": {"text": text}, "locations": [{"physicalLocation": physical}],
        })
    };
    let mut results: Vec<Value> = Vec::new();
    for (file, why) in &checked.unreadable {
        let physical = json!({"artifactLocation": {"uri": uri(file)}});
        results.push(result(Code::FileRead, why, None, physical));
    }
    let sources = &checked.loaded.sources;
    for diagnostic in &checked.loaded.diagnostics {
        let Some(place) = sources.locate(diagnostic.at.start) else {
            continue;
        };
        let end = place.column + diagnostic.width(sources, &place);
        let region =
            json!({"startLine": place.line, "startColumn": place.column, "endLine": place.line, "endColumn": end});
        let physical = json!({"artifactLocation": {"uri": uri(place.file)}, "region": region});
        results.push(result(
            diagnostic.code,
            &diagnostic.message,
            diagnostic.help.as_deref(),
            physical,
        ));
    }
    let driver = json!({"name": "saker", "version": env!("CARGO_PKG_VERSION"), "rules": rules});
    let run = json!({"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results});
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run],
    });
    serde_json::to_string_pretty(&log).unwrap_or_default() + "\n"
}

const fn level(code: Code) -> &'static str {
    match code.severity() {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// A file's name as a relative reference (RFC 3986).
pub fn uri(file: &str) -> String {
    let mut out = String::new();
    for byte in file.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            other => out += &format!("%{other:02X}"),
        }
    }
    out
}

/// Workflow commands, one line each.
pub fn github(checked: &Checked) -> String {
    let mut out = String::new();
    for (file, why) in &checked.unreadable {
        let title = Code::FileRead.name();
        out += &format!("::error file={},title={title}::{}\n", property(file), data(why));
    }
    let sources = &checked.loaded.sources;
    for diagnostic in &checked.loaded.diagnostics {
        let Some(place) = sources.locate(diagnostic.at.start) else {
            continue;
        };
        let help = diagnostic.help.as_ref().map(|help| format!("\nhelp: {help}"));
        out += &format!(
            "::{} file={},line={},col={},endColumn={},title={}::{}\n",
            level(diagnostic.code),
            property(place.file),
            place.line,
            place.column,
            place.column + diagnostic.width(sources, &place),
            diagnostic.code.name(),
            data(&(diagnostic.message.clone() + help.as_deref().unwrap_or_default())),
        );
    }
    out
}

/// Text of a command: a line's end would end the command and let the text begin another.
fn data(text: &str) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    printable(&text)
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_cannot_be_broken_out_of() {
        assert_eq!(data("a\r\n::error::b 100%"), "a%0D%0A::error::b 100%25");
        assert_eq!(property("a,b:c\n"), "a%2Cb%3Ac%0A");
        assert_eq!(uri("a, b/c%.yaml"), "a%2C%20b/c%25.yaml");
    }
}
