//! No panic on any bytes; what is told of a value does not hold what was found in it; masked JSON stays JSON.
#![no_main]

use saker::credentials::{Detector, mask, ranges};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (name, value) = match bytes.iter().position(|b| *b == b'\n') {
        Some(at) => (String::from_utf8_lossy(&bytes[..at]), &bytes[at + 1..]),
        None => ("app.env".into(), bytes),
    };
    let mut findings = Vec::new();
    Detector::new(&[1; 32]).scan(&name, value, &mut findings);
    let ranges = ranges(&name, value);
    assert!(findings.is_empty() || !ranges.is_empty(), "{findings:?}");
    for &(start, end) in &ranges {
        assert!(start <= end && end <= value.len());
    }
    let secrets: Vec<&[u8]> = ranges.iter().map(|&(start, end)| &value[start..end]).filter(|s| s.len() >= 12).collect();
    for finding in &findings {
        assert!(finding.line >= 1 && finding.excerpt.contains("***") || finding.excerpt.contains(" bytes"));
        for secret in &secrets {
            let text = String::from_utf8_lossy(secret);
            assert!(!finding.excerpt.contains(&*text), "{finding:?}");
        }
    }
    if let Ok(before) = serde_json::from_slice::<serde_json::Value>(value)
        && let Some(masked) = mask::text(value)
        && (before.is_object() || before.is_array())
    {
        serde_json::from_slice::<serde_json::Value>(&masked).expect("JSON");
    }
});
