//! Which parts of the process are ready, told by the parts themselves and read by `/readyz`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A handle that every part holds a clone of.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    parts: Arc<Mutex<BTreeMap<&'static str, Result<(), String>>>>,
    /// What is worth a look and makes nothing unready.
    notes: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Readiness {
    pub fn new() -> Readiness {
        Readiness::default()
    }

    /// Makes `part` count: it is not ready until it says so.
    pub fn expect(&self, part: &'static str) {
        self.set(part, Err("starting".to_owned()));
    }

    /// `part` is ready, or is not for a reason.
    pub fn set(&self, part: &'static str, state: Result<(), String>) {
        self.parts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(part, state);
    }

    /// Says what is wrong with a part though work goes on, or that nothing is any more.
    pub fn note(&self, part: &'static str, text: Option<String>) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        match text {
            Some(text) => drop(notes.insert(part, text)),
            None => drop(notes.remove(part)),
        }
    }

    /// What is worth a look.
    pub fn notes(&self) -> BTreeMap<&'static str, String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All parts as they are now, by name.
    pub fn parts(&self) -> BTreeMap<&'static str, Result<(), String>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Ready as a whole: something has reported, and nothing has reported a reason why not.
pub fn all_ready(parts: &BTreeMap<&'static str, Result<(), String>>) -> bool {
    !parts.is_empty() && parts.values().all(Result::is_ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_part_is() {
        let readiness = Readiness::new();
        assert!(!all_ready(&readiness.parts()), "nothing has reported yet");
        readiness.expect("rules");
        readiness.set("webhook", Ok(()));
        assert!(!all_ready(&readiness.parts()));
        readiness.set("rules", Ok(()));
        assert!(all_ready(&readiness.parts()));
        readiness.set("webhook", Err("draining".to_owned()));
        assert!(!all_ready(&readiness.parts()));
    }
}
