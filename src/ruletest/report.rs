//! A report as text, JSON, or JUnit XML.

use serde_json::json;

use super::run::Report;

/// For people: failures first, then what the tests leave open.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    for outcome in report.outcomes.iter().filter(|o| !o.failures.is_empty()) {
        out += &format!("FAILED {}: {}\n", outcome.file.display(), outcome.test);
        for failure in &outcome.failures {
            out += &format!("    {failure}\n");
        }
    }
    for (rule, missing) in report.uncovered() {
        out += &format!("rule `{rule}` lacks {missing}\n");
    }
    for (rule, conjunct) in report.undecided() {
        out += &format!("rule `{rule}`: no test decides `{}`\n", shortened(conjunct));
    }
    let failed = report.failed();
    out + &format!(
        "{} tests: {} passed, {failed} failed; {} rules\n",
        report.outcomes.len(),
        report.outcomes.len() - failed,
        report.coverage.len()
    )
}

/// Expanded lists make conjuncts long; their beginning says which one is meant.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 100;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// For programs.
pub fn json(report: &Report) -> String {
    let tests: Vec<_> = report
        .outcomes
        .iter()
        .map(|o| json!({"file": o.file, "name": o.test, "passed": o.failures.is_empty(), "failures": o.failures, "seconds": o.seconds}))
        .collect();
    let rules: Vec<_> = report
        .coverage
        .iter()
        .map(|(rule, c)| {
            let undecided: Vec<_> = c
                .conjuncts
                .iter()
                .filter(|(_, decided)| !decided)
                .map(|(text, _)| text)
                .collect();
            json!({"rule": rule, "firing_test": c.fires, "quiet_test": c.quiet, "undecided": undecided})
        })
        .collect();
    serde_json::to_string_pretty(&json!({"tests": tests, "rules": rules})).unwrap_or_default() + "\n"
}

/// For CI systems.
pub fn junit(report: &Report) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let seconds: f64 = report.outcomes.iter().map(|o| o.seconds).sum();
    out += &format!(
        "<testsuite name=\"saker rules\" tests=\"{}\" failures=\"{}\" time=\"{seconds:.3}\">\n",
        report.outcomes.len(),
        report.failed()
    );
    for outcome in &report.outcomes {
        let class = xml(&outcome.file.display().to_string());
        out += &format!(
            "  <testcase classname=\"{class}\" name=\"{}\" time=\"{:.3}\"",
            xml(&outcome.test),
            outcome.seconds
        );
        if outcome.failures.is_empty() {
            out += "/>\n";
        } else {
            let message = outcome.failures.join("\n");
            out += &format!(
                ">\n    <failure message=\"{}\">{}</failure>\n  </testcase>\n",
                xml(&outcome.failures[0]),
                xml(&message)
            );
        }
    }
    out + "</testsuite>\n"
}

/// Text inside XML; characters that XML does not have become U+FFFD.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            c if c.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    out
}
