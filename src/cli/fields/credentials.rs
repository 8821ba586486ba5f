//! `saker fields --credentials`: the table of kinds of credentials.

use serde_json::{Value, json};

use crate::credentials::kinds::{Check, Kind, OTHERS, TOKENS};
use crate::credentials::{Confidence, allow};

/// A kind by its name, which several rows of the table may have.
pub struct Row {
    pub name: &'static str,
    pub titles: Vec<&'static str>,
    /// Of what is told by form and structure in full.
    pub confidence: Confidence,
    /// Forms of tokens, or words.
    pub told_by: Vec<&'static str>,
    pub checks: Vec<&'static str>,
    /// Each is no secret.
    pub examples: Vec<&'static str>,
    pub sources: Vec<&'static str>,
}

/// All kinds, in the order of the table.
pub fn rows() -> Vec<Row> {
    allow::kind_names().into_iter().map(row).collect()
}

fn row(name: &'static str) -> Row {
    let kinds: Vec<&Kind> = TOKENS.iter().chain(OTHERS).filter(|kind| kind.name == name).collect();
    let told_by = |kind: &&'static Kind| -> Vec<&'static str> {
        match kind.forms {
            "" => vec![kind.told_by],
            forms => forms.split(' ').filter(|form| !form.is_empty()).collect(),
        }
    };
    Row {
        name,
        titles: once(kinds.iter().map(|kind| kind.title)),
        confidence: kinds
            .iter()
            .map(|kind| kind.confidence)
            .max()
            .unwrap_or(Confidence::Low),
        told_by: once(kinds.iter().flat_map(told_by)),
        checks: once(kinds.iter().filter_map(|kind| check(kind.check))),
        examples: once(kinds.iter().map(|kind| kind.example)),
        sources: once(kinds.iter().map(|kind| kind.source)),
    }
}

fn once(texts: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut all = Vec::new();
    for text in texts {
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

fn check(check: Check) -> Option<&'static str> {
    match check {
        Check::Base62Crc32 => Some("check sum in base 62"),
        Check::HexCrc32 => Some("check sum in hexadecimal digits"),
        Check::Random => Some("drawn at random"),
        Check::Jwt => Some("first part is JSON"),
        Check::None => None,
    }
}

pub fn text() -> String {
    let rows = rows();
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let block = |row: &Row| {
        let mut out = format!(
            "{:width$}  {:6}  {}\n  told by    {}\n",
            row.name,
            row.confidence.name(),
            row.titles.join("; "),
            row.told_by.join("\n             "),
        );
        if !row.checks.is_empty() {
            out += &format!("  checked    {}\n", row.checks.join("; "));
        }
        out + &format!(
            "  no secret  {}\n  source     {}\n\n",
            row.examples.join("\n             "),
            row.sources.join("; ")
        )
    };
    format!(
        "{LEGEND}\n\n{}",
        rows.iter().map(block).collect::<String>().trim_end().to_owned() + "\n"
    )
}

pub fn json() -> String {
    let rows: Vec<Value> = rows()
        .iter()
        .map(|row| {
            json!({
                "name": row.name, "title": row.titles.join("; "), "confidence": row.confidence,
                "told_by": row.told_by, "checks": row.checks, "examples": row.examples, "sources": row.sources,
            })
        })
        .collect();
    serde_json::to_string_pretty(&rows).unwrap_or_default() + "\n"
}

const LEGEND: &str = "\
In forms, <class:least-most> stands for a run of characters: d digits, h and H hexadecimal digits, l lower-case letters
and digits, u upper-case letters and digits, a letters, w letters and digits, b and B those of base64, x those and dots,
p letters, digits and %, s those of hashes.";

pub fn markdown() -> String {
    let mut out =
        String::from("| kind | what it is | confidence | told by | no secret | source |\n|---|---|---|---|---|---|\n");
    let code = |texts: &[&str]| {
        let quoted = texts.iter().map(|text| quoted(&text.replace('|', "\\|")));
        quoted.collect::<Vec<_>>().join(" ")
    };
    for row in rows() {
        let is_form = TOKENS.iter().any(|kind| kind.name == row.name);
        let mut told_by = match is_form {
            true => code(&row.told_by),
            false => row.told_by.join("; "),
        };
        if !row.checks.is_empty() {
            told_by += &format!("; {}", row.checks.join("; "));
        }
        out += &format!(
            "| `{}` | {} | {} | {told_by} | {} | {} |\n",
            row.name,
            row.titles.join("; "),
            row.confidence.name(),
            code(&row.examples),
            row.sources.join("; "),
        );
    }
    out
}

/// Code of Markdown, whatever quotes it has.
fn quoted(text: &str) -> String {
    match text.contains('`') {
        true => format!("`` {text} ``"),
        false => format!("`{text}`"),
    }
}

/// docs/credential-kinds.md.
pub fn documentation() -> String {
    format!(
        "# Kinds of credentials\n\nMade by `UPDATE_DOCS=1 cargo test --test tidy` from the table in `src/credentials/kinds.rs`.\n\n\
         What `saker scan` finds, and the names that `credentials.allow` of saker.yaml uses. The confidence is that of a finding\n\
         whose check holds; others are less sure. Examples are no secrets.\n\n{}\n\n{}",
        LEGEND.replace('<', "`<").replace('>', ">`"),
        markdown()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_once_and_whole() {
        let rows = rows();
        for kind in TOKENS.iter().chain(OTHERS) {
            let of: Vec<&Row> = rows.iter().filter(|row| row.name == kind.name).collect();
            let [row] = of[..] else {
                panic!("{} is listed {} times", kind.name, of.len())
            };
            assert!(row.titles.contains(&kind.title) && row.sources.contains(&kind.source));
            assert!(
                kind.forms
                    .split(' ')
                    .filter(|f| !f.is_empty())
                    .all(|f| row.told_by.contains(&f))
            );
            assert!(row.confidence >= kind.confidence);
            for text in [text(), markdown(), json()] {
                assert!(text.contains(kind.name), "{}", kind.name);
            }
        }
    }
}
