//! Any bytes get an answer that allows; a patch stands only in answers of the endpoint that patches, and applies.
#![no_main]

use saker::sources::audit::webhook::review::read;
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let review = read(bytes);
    let patch = review.patch();
    for (taken, patch) in [(false, None), (true, None), (true, patch.as_deref())] {
        let answer: Value = serde_json::from_str(&review.answer(taken, patch)).expect("an answer is JSON");
        assert_eq!(answer["response"]["allowed"], true);
        assert_eq!(answer["response"]["uid"], review.uid());
        assert_eq!(answer["response"].get("patch").is_some(), patch.is_some());
        assert_eq!(answer["response"].get("auditAnnotations").is_some(), taken);
    }
    if let Some(patch) = patch {
        let asked: Value = serde_json::from_slice(bytes).expect("what is patched was read whole");
        let command = asked["request"]["object"]["command"].as_array().expect("a command");
        assert!(!command.is_empty() && command.iter().all(Value::is_string));
        assert_eq!(asked["request"]["operation"], "CONNECT");
        assert_eq!(asked["request"]["subResource"], "exec");
        let steps: Vec<Value> = serde_json::from_str(&patch).expect("a patch is JSON");
        assert!(steps.iter().all(|step| step["op"] == "add" && step["path"] == "/command/0"));
    }
});
