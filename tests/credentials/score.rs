//! How predictions compare with labels: per key, per ConfigMap, per kind and per origin.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Value, json};

use crate::corpus::Row;

pub struct Prediction {
    pub id: String,
    pub key: String,
    pub kind: String,
    pub excerpt: String,
    pub message: String,
}

impl Prediction {
    pub fn json(&self) -> Value {
        json!({"id": self.id, "key": self.key, "type": self.kind, "excerpt": self.excerpt, "message": self.message})
    }
}

#[derive(Clone, Copy, Default)]
pub struct Counts {
    hit: u32,
    missed: u32,
    flagged: u32,
    clean: u32,
}

impl Counts {
    fn add(&mut self, credential: bool, told: bool) {
        let slot = match (credential, told) {
            (true, true) => &mut self.hit,
            (true, false) => &mut self.missed,
            (false, true) => &mut self.flagged,
            (false, false) => &mut self.clean,
        };
        *slot += 1;
    }

    pub fn precision(self) -> f64 {
        f64::from(self.hit) / f64::from((self.hit + self.flagged).max(1))
    }

    pub fn recall(self) -> f64 {
        f64::from(self.hit) / f64::from((self.hit + self.missed).max(1))
    }

    pub fn flagged_rate(self) -> f64 {
        f64::from(self.flagged) / f64::from((self.flagged + self.clean).max(1))
    }
}

#[derive(Default)]
pub struct Score {
    key: Counts,
    configmap: Counts,
    /// Keys of real repositories that hold nothing.
    real: Counts,
    /// Rows that other tools' rules and examples were the source of.
    derived: Counts,
    kinds: BTreeMap<String, Counts>,
    origins: BTreeMap<String, Counts>,
    leaks: usize,
}

impl Score {
    pub fn of(rows: &[Row], predictions: &[Prediction]) -> Score {
        let told: BTreeSet<(&str, &str)> = predictions.iter().map(|p| (&*p.id, &*p.key)).collect();
        let told_of: BTreeSet<&str> = predictions.iter().map(|p| &*p.id).collect();
        let mut score = Score::default();
        for row in rows {
            let labels = row.labels();
            score
                .configmap
                .add(labels.values().any(|l| l.credential), told_of.contains(&*row.id));
            for (key, label) in labels {
                let told = told.contains(&(&*row.id, key));
                let origin = label.item_origin.clone().unwrap_or_default();
                score.key.add(label.credential, told);
                if origin.starts_with("repo") {
                    score.real.add(label.credential, told);
                }
                if origin.ends_with("-derived") {
                    score.derived.add(label.credential, told);
                }
                let kind = label.kind.as_deref().unwrap_or("none");
                // What other tools call their rules is one group each.
                let kind = match kind.split_once(':') {
                    Some((tool, _)) => tool.to_owned(),
                    None => kind.to_owned(),
                };
                score.kinds.entry(kind).or_default().add(label.credential, told);
                let origin = origin.split('@').next().unwrap_or_default().to_owned();
                score.origins.entry(origin).or_default().add(label.credential, told);
            }
        }
        score.leaks = leaks(rows, predictions);
        score
    }

    /// What was asked for of the development corpus.
    pub fn check(&self) {
        assert_eq!(self.leaks, 0, "alerts tell labelled secrets");
        assert!(
            self.key.precision() >= 0.985,
            "precision of keys {:.4}",
            self.key.precision()
        );
        assert!(self.key.recall() >= 0.97, "recall of keys {:.4}", self.key.recall());
        assert!(
            self.derived.recall() >= 0.85,
            "recall of derived rows {:.4}",
            self.derived.recall()
        );
        assert!(
            self.real.flagged_rate() <= 0.003,
            "real keys flagged {:.4}",
            self.real.flagged_rate()
        );
    }
}

/// Predictions in which a labelled secret of their ConfigMap stands.
fn leaks(rows: &[Row], predictions: &[Prediction]) -> usize {
    let rows: BTreeMap<&str, &Row> = rows.iter().map(|row| (&*row.id, row)).collect();
    let leaks = |p: &&Prediction| {
        let secrets = rows
            .get(&*p.id)
            .into_iter()
            .flat_map(|row| &row.labels)
            .flat_map(|l| &l.secrets);
        let text = format!("{} {}", p.excerpt, p.message);
        secrets
            .filter(|s| s.chars().count() >= 6)
            .any(|s| text.contains(s.as_str()))
    };
    predictions.iter().filter(leaks).count()
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | precision | recall | flagged | found | missed | false |")?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        let rows = [
            ("keys", self.key),
            ("ConfigMaps", self.configmap),
            ("rows derived from other tools", self.derived),
        ];
        for (name, c) in rows {
            writeln!(
                f,
                "| {name} | {:.4} | {:.4} | {:.4} | {} | {} | {} |",
                c.precision(),
                c.recall(),
                c.flagged_rate(),
                c.hit,
                c.missed,
                c.flagged
            )?;
        }
        let real = self.real;
        writeln!(
            f,
            "keys of real repositories flagged: {} of {}; alerts that tell a labelled secret: {}",
            real.flagged,
            real.flagged + real.clean,
            self.leaks
        )?;
        for (title, groups) in [("kind", &self.kinds), ("origin", &self.origins)] {
            writeln!(f, "\n| {title} | credentials | found | clean | flagged |")?;
            writeln!(f, "|---|---|---|---|---|")?;
            for (name, c) in groups {
                writeln!(
                    f,
                    "| {name} | {} | {} | {} | {} |",
                    c.hit + c.missed,
                    c.hit,
                    c.flagged + c.clean,
                    c.flagged
                )?;
            }
        }
        Ok(())
    }
}
