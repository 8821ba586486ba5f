//! What was found in the parts of one event, looked for once however many fields ask.

use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};

use super::allow::{Allow, AllowEntry};
use super::{Detector, Finding};

/// A part of an event that is inspected as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Part {
    /// `data`, `binaryData` and the last applied configuration of a ConfigMap.
    ConfigMap,
    /// Literal environment values and command lines of pods and pod templates.
    Pod,
    /// Annotations of any object.
    Annotations,
}

/// How many parts there are.
const PARTS: usize = Part::Annotations as usize + 1;

/// A finding and the key that it is under: an entry of `data`, a variable, an annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub key: Box<str>,
    pub finding: Finding,
}

/// What came of inspecting a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspected {
    /// The event is about something else.
    Nothing,
    /// It is about this part, and does not show it. The reason.
    NotInspectable(&'static str),
    /// In the order of the object.
    Found(Vec<Found>),
}

/// Finds credentials for all who evaluate in this process, so that the same secret has the same tag for all of them.
#[derive(Debug)]
pub struct Inspector {
    pub detector: Detector,
    /// What is known and not told.
    pub allow: Allow,
}

impl Inspector {
    /// An inspector with a key that nobody else has, and what saker.yaml allows.
    pub fn new(allow: Vec<AllowEntry>) -> Inspector {
        // INVARIANT: a system without randomness runs no TLS either. Tags never leave the process.
        let key = random_key().unwrap_or_default();
        Inspector {
            detector: Detector::new(&key),
            allow: Allow { entries: allow },
        }
    }
}

/// A key for the hash of a detector; nothing where the system gives no random numbers.
pub fn random_key() -> Option<[u8; 32]> {
    let mut key = [0; 32];
    SystemRandom::new().fill(&mut key).ok().map(|()| key)
}

impl Default for Inspector {
    fn default() -> Inspector {
        Inspector::new(Vec::new())
    }
}

/// The parts of the event at hand that were inspected.
#[derive(Debug, Default)]
pub struct Inspections {
    inspector: Arc<Inspector>,
    parts: [Option<Inspected>; PARTS],
}

impl Inspections {
    pub fn new(inspector: Arc<Inspector>) -> Inspections {
        Inspections {
            inspector,
            parts: Default::default(),
        }
    }

    /// Forgets the event before.
    #[inline]
    pub fn begin(&mut self) {
        for part in &mut self.parts {
            if part.is_some() {
                *part = None;
            }
        }
    }

    pub fn inspector(&self) -> Arc<Inspector> {
        Arc::clone(&self.inspector)
    }

    /// What was found in a part, if anybody has asked.
    pub fn get(&self, part: Part) -> Option<&Inspected> {
        self.parts[part as usize].as_ref()
    }

    pub fn set(&mut self, part: Part, inspected: Inspected) {
        self.parts[part as usize] = Some(inspected);
    }

    /// Everything that was found in this event.
    pub fn found(&self) -> impl Iterator<Item = &Found> {
        self.parts.iter().flatten().flat_map(|part| match part {
            Inspected::Found(found) => &found[..],
            _ => &[],
        })
    }
}
