//! Turns American pronunciations into British ones, as far as the two dictionaries teach it.
//!
//! CMUdict has tens of thousands of names and no British sister. Words that both of misaki's
//! dialects have are aligned unit by unit; from those a [`Rewriter`] learns what each American
//! unit becomes, given its letters and its neighbours (`ɑ` written with an o becomes `ɒ`, `ɹ` before
//! a consonant goes away, and so on).

use super::align::Aligner;
use super::corpus::{Entry, Rewriter, is_vowel, units, unstressed};
use std::collections::BTreeMap;

/// American to British.
pub(crate) struct ToBritish {
    aligner: Aligner,
    rewriter: Rewriter,
}

impl ToBritish {
    /// Learns from the words that both lexicons have.
    pub(crate) fn learn(us: &[Entry], gb: &[Entry]) -> ToBritish {
        let aligner = Aligner::learn(us);
        let by_word: BTreeMap<&str, &Entry> = gb.iter().map(|e| (e.word.as_str(), e)).collect();
        let mut pairs = Vec::new();
        for entry in us {
            let Some(british) = by_word.get(entry.word.as_str()) else { continue };
            let Some(from) = lettered(&aligner, entry) else { continue };
            pairs.push((from, align(&entry.units, &british.units)));
        }
        ToBritish { aligner, rewriter: Rewriter::learn(&pairs) }
    }

    /// The British pronunciation of an American entry; none if it does not align.
    pub(crate) fn convert(&self, entry: &Entry) -> Option<Entry> {
        let from = lettered(&self.aligner, entry)?;
        let to: String = self
            .rewriter
            .apply(&from)
            .iter()
            .map(|unit| unit.split('/').next().unwrap_or_default())
            .collect();
        Some(Entry { word: entry.word.clone(), units: units(&to)? })
    }
}

/// The units of an entry, each with the letters that spell it, such as `ˈɑ/o`.
fn lettered(aligner: &Aligner, entry: &Entry) -> Option<Vec<String>> {
    let (graphones, _) = aligner.align(entry)?;
    let mut out = Vec::new();
    for graphone in graphones {
        let [first, second] = graphone.letters.map(|l| char::from(b'`' + l));
        for unit in units(&graphone.sound)? {
            let second = if second == '`' { String::new() } else { second.to_string() };
            out.push(format!("{unit}/{first}{second}"));
        }
    }
    Some(out)
}

/// What stands in `to` for every unit of `from`: nothing, one unit, or two.
fn align(from: &[String], to: &[String]) -> Vec<String> {
    let cost = |a: &str, b: &str| -> f64 {
        let (bare_a, bare_b) = (unstressed(a), unstressed(b).trim_end_matches('ː'));
        let stress = if (a == bare_a) == (b == unstressed(b)) { 0.0 } else { 0.3 };
        match (is_vowel(a), is_vowel(b)) {
            _ if bare_a == bare_b => stress,
            (true, true) => 0.4 + stress,
            (false, false) => {
                if (a, b) == ("T", "t") {
                    0.0
                } else {
                    0.7
                }
            }
            _ => 2.0,
        }
    };
    let width = to.len() + 1;
    let mut best = vec![(f64::INFINITY, 0usize); (from.len() + 1) * width];
    best[0].0 = 0.0;
    for i in 0..from.len() {
        for j in 0..=to.len() {
            let here = best[i * width + j].0;
            if !here.is_finite() {
                continue;
            }
            let mut step = |taken: usize, cost: f64| {
                let next = &mut best[(i + 1) * width + j + taken];
                if here + cost < next.0 {
                    *next = (here + cost, taken);
                }
            };
            step(0, if from[i] == "ɹ" { 0.3 } else { 0.9 });
            if j < to.len() {
                step(1, cost(&from[i], &to[j]));
            }
            if j + 1 < to.len() {
                step(2, 0.8 + cost(&from[i], &to[j]).min(cost(&from[i], &to[j + 1])));
            }
        }
    }
    let mut out = vec![String::new(); from.len()];
    let mut j = to.len();
    if !best[from.len() * width + j].0.is_finite() {
        return out;
    }
    for i in (0..from.len()).rev() {
        let taken = best[(i + 1) * width + j].1;
        j -= taken;
        out[i] = to[j..j + taken].concat();
    }
    out
}
