//! Measures what this machine makes of koe: how soon it is ready and sounds, what idleness and long
//! use do to it, how much it gets through.
//!
//! Each measurement prints a table; those of whole servers or services can be kept as JSON, to be
//! compared with a later one. Nothing here is used by any other room.

pub mod client;
pub mod first_audio;
pub mod idle;
pub mod memory;
pub mod model;
mod server;
pub mod startup;
pub mod throughput;

use std::path::Path;
use std::time::{Duration, Instant};

use koe_engine::Model;
use serde::{Deserialize, Serialize};

use crate::machine;
pub use server::{Target, clean_up};

/// What went wrong.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A measurement with all that it depends on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Which one.
    pub bench: String,
    /// The processor, its threads and the instructions computed with.
    pub machine: String,
    /// The model, with its precision.
    pub model: String,
    /// The program's version and, if the build was told, the commit.
    pub program: String,
    /// What was measured, in the order it is shown.
    pub rows: Vec<Row>,
    /// Values over time, for plots: each with a name and points of x and y.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<Series>,
}

/// One measured thing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What it is.
    pub measure: String,
    /// In which unit.
    pub unit: String,
    /// The middle one of the samples.
    pub median: f64,
    /// Nineteen of twenty are not above it.
    pub p95: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many samples there were.
    pub n: usize,
}

/// Values over time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Series {
    /// What they are, with units.
    pub name: String,
    /// Where and how much.
    pub points: Vec<(f64, f64)>,
}

/// Has the system drop a model's mapped weights. Whether they left, but for a tenth.
fn evict(model: &Model) -> bool {
    const PATIENCE: Duration = Duration::from_secs(5);
    let begun = Instant::now();
    loop {
        // A page that was just used is spared once, and one that is mapped twice as long as it is:
        // whoever used the model before may still be about to let it go.
        let has_left = model.page_out()
            && model.residency().is_some_and(|(resident, all)| resident < all / 10);
        if has_left || begun.elapsed() > PATIENCE {
            return has_left;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

impl Report {
    /// Without rows yet.
    pub fn new(bench: &str, target: &Target) -> Self {
        let processor = machine::processor(Path::new("/")).unwrap_or_else(|| "unknown".to_owned());
        let commit = option_env!("KOE_COMMIT").unwrap_or("no commit told");
        Self {
            bench: bench.to_owned(),
            machine: format!("{processor}, {} threads, {}", target.threads(), target.isa().name()),
            model: target.model_name(),
            program: format!("koe {} ({commit})", env!("CARGO_PKG_VERSION")),
            rows: Vec::new(),
            series: Vec::new(),
        }
    }

    /// Adds a row of samples; none adds none.
    pub fn push(&mut self, measure: impl Into<String>, unit: &str, samples: &[f64]) {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |q: f64| sorted[((sorted.len() as f64 * q).ceil() as usize).max(1) - 1];
        if sorted.is_empty() {
            return;
        }
        self.rows.push(Row {
            measure: measure.into(),
            unit: unit.to_owned(),
            median: at(0.5),
            p95: at(0.95),
            min: at(0.0),
            max: at(1.0),
            n: sorted.len(),
        });
    }

    /// The median of a row.
    pub fn median(&self, measure: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.measure == measure).map(|row| row.median)
    }

    /// A table for people, beside an earlier measurement if there is one.
    pub fn table(&self, earlier: Option<&Self>) -> String {
        let mut text = format!(
            "{}: {}; {}; {}\n\n| measure | median | p95 | min | max | n |{}\n| --- | ---: | ---: | ---: | ---: | ---: |{}\n",
            self.bench,
            self.machine,
            self.model,
            self.program,
            if earlier.is_some() { " earlier | ratio |" } else { "" },
            if earlier.is_some() { " ---: | ---: |" } else { "" },
        );
        for row in &self.rows {
            let Row { measure, unit, median, p95, min, max, n } = row;
            text.push_str(&format!(
                "| {measure}, {unit} | {} | {} | {} | {} | {n} |",
                shown(*median),
                shown(*p95),
                shown(*min),
                shown(*max)
            ));
            if let Some(earlier) = earlier {
                match earlier.median(measure) {
                    Some(was) if was != 0.0 => {
                        text.push_str(&format!(" {} | {:.2} |", shown(was), median / was));
                    }
                    _ => text.push_str(" | |"),
                }
            }
            text.push('\n');
        }
        text
    }
}

/// Three digits or so.
fn shown(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        ..1.0 => format!("{value:.3}"),
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A text of so many words.
pub fn words(n: usize) -> String {
    const SENTENCES: &str = "The ship left the harbour before the sun was up. Nobody on the pier \
        said a word, and the gulls were quiet too. By noon the wind had turned, so the captain \
        asked for more sail. It was a long way to the islands, and the water was cold. ";
    let mut text = SENTENCES.split_whitespace().cycle().take(n).collect::<Vec<_>>().join(" ");
    if !text.ends_with('.') {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            bench: "b".to_owned(),
            machine: "m".to_owned(),
            model: "k".to_owned(),
            program: "p".to_owned(),
            rows: Vec::new(),
            series: Vec::new(),
        }
    }

    #[test]
    fn quantiles_are_samples_and_a_comparison_is_a_ratio() {
        let (mut now, mut earlier) = (report(), report());
        now.push("first", "ms", &[3.0, 1.0, 2.0]);
        now.push("nothing", "ms", &[]);
        earlier.push("first", "ms", &[4.0]);
        let row = &now.rows[0];
        assert_eq!((row.median, row.p95, row.min, row.max, row.n), (2.0, 3.0, 1.0, 3.0, 3));
        assert_eq!(now.rows.len(), 1);
        let table = now.table(Some(&earlier));
        assert!(
            table.contains("| first, ms | 2.00 | 3.00 | 1.00 | 3.00 | 3 | 4.00 | 0.50 |"),
            "{table}"
        );
        assert!(!now.table(None).contains("ratio"));
    }

    #[test]
    fn texts_have_as_many_words_as_asked_for() {
        for n in [1, 10, 1000] {
            assert_eq!(words(n).split_whitespace().count(), n);
        }
    }
}
