//! Any path of a cgroup is of a container or not; an id stands in its path.
#![no_main]

use saker::processes::cgroup::parse;

libfuzzer_sys::fuzz_target!(|path: &[u8]| {
    if let Some(found) = parse(path) {
        assert!((12..=64).contains(&found.id.len()));
        assert!(path.windows(found.id.len()).any(|part| part == found.id.as_bytes()));
        assert!(found.pod.is_none_or(|pod| matches!(pod.len(), 32 | 36)));
    }
});
