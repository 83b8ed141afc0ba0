//! Aligns letters with phoneme units by expectation maximisation.
//!
//! A pair takes one letter and no, one or two units, or two letters and one unit. Stress is left
//! out while learning, so that stressed and unstressed vowels teach each other, and put back in
//! the result. Result: words as sequences of such pairs ("graphones"), for the n-gram.

use super::corpus::{Entry, unstressed};
use std::collections::{BTreeMap, BTreeSet};

/// Letters a to z are 1..=26, the apostrophe 27; 0 means none.
pub(crate) const N_LETTERS: usize = 28;

/// One step of a spelling: up to two letters and the units they speak.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Graphone {
    /// One or two letter codes; the second is 0 if there is but one.
    pub letters: [u8; 2],
    /// Phoneme units run together, with stress; may be empty.
    pub sound: String,
}

/// The code of a letter.
pub(crate) fn letter(c: u8) -> u8 {
    match c {
        b'a'..=b'z' => c - b'a' + 1,
        _ => 27,
    }
}

const ROUNDS: usize = 12;
/// Letters and units that a pair may take: (letters, units), and its weight before learning.
const SHAPES: [(usize, usize, f64); 4] = [(1, 1, 1.0), (1, 0, 0.1), (1, 2, 0.1), (2, 1, 0.3)];

/// The learnt pair probabilities, dense: [letter pair][unit pair].
pub(crate) struct Aligner {
    sounds: BTreeMap<String, usize>,
    weights: Vec<f64>,
}

struct Word {
    letters: Vec<u8>,
    sounds: Vec<usize>,
}

impl Aligner {
    /// Learns from all entries.
    pub(crate) fn learn(entries: &[Entry]) -> Aligner {
        let names: BTreeSet<&str> =
            entries.iter().flat_map(|e| e.units.iter().map(|u| unstressed(u))).collect();
        let sounds = names.iter().enumerate().map(|(i, s)| ((*s).to_string(), i + 1)).collect();
        let mut aligner = Aligner { sounds, weights: Vec::new() };
        let words: Vec<Word> = entries.iter().filter_map(|e| aligner.word(e)).collect();
        let size = N_LETTERS * N_LETTERS * (aligner.sounds.len() + 1).pow(2);
        aligner.weights = vec![0.0; size];
        for round in 0..ROUNDS {
            let mut counts = vec![0.0; size];
            for word in &words {
                aligner.expect(word, round == 0, &mut counts);
            }
            let total: f64 = counts.iter().sum();
            aligner.weights = counts.iter().map(|c| c / total).collect();
        }
        aligner
    }

    fn word(&self, entry: &Entry) -> Option<Word> {
        let sounds: Option<Vec<usize>> =
            entry.units.iter().map(|u| self.sounds.get(unstressed(u)).copied()).collect();
        Some(Word { letters: entry.word.bytes().map(letter).collect(), sounds: sounds? })
    }

    fn pair(&self, word: &Word, l: usize, s: usize, shape: (usize, usize)) -> usize {
        let n = self.sounds.len() + 1;
        let second = if shape.0 == 2 { word.letters[l + 1] as usize } else { 0 };
        let first_sound = if shape.1 > 0 { word.sounds[s] } else { 0 };
        let second_sound = if shape.1 == 2 { word.sounds[s + 1] } else { 0 };
        ((word.letters[l] as usize * N_LETTERS + second) * n + first_sound) * n + second_sound
    }

    /// Adds the posterior count of every pair of a word.
    fn expect(&self, word: &Word, first_round: bool, counts: &mut [f64]) {
        let (n, m) = (word.letters.len(), word.sounds.len());
        let at = |l: usize, s: usize| l * (m + 1) + s;
        let weight = |l: usize, s: usize, (dl, ds, start): (usize, usize, f64)| {
            if first_round { start } else { self.weights[self.pair(word, l, s, (dl, ds))] }
        };
        let mut forward = vec![0.0; (n + 1) * (m + 1)];
        forward[0] = 1.0;
        for l in 0..n {
            for s in 0..=m {
                let here = forward[at(l, s)];
                if here == 0.0 {
                    continue;
                }
                for shape in SHAPES {
                    if l + shape.0 <= n && s + shape.1 <= m {
                        forward[at(l + shape.0, s + shape.1)] += here * weight(l, s, shape);
                    }
                }
            }
        }
        let total = forward[at(n, m)];
        if total <= 0.0 {
            return;
        }
        let mut backward = vec![0.0; (n + 1) * (m + 1)];
        backward[at(n, m)] = 1.0;
        for l in (0..n).rev() {
            for s in (0..=m).rev() {
                for shape in SHAPES {
                    if l + shape.0 <= n && s + shape.1 <= m {
                        let edge = weight(l, s, shape) * backward[at(l + shape.0, s + shape.1)];
                        backward[at(l, s)] += edge;
                        if forward[at(l, s)] > 0.0 && edge > 0.0 {
                            counts[self.pair(word, l, s, (shape.0, shape.1))] +=
                                forward[at(l, s)] * edge / total;
                        }
                    }
                }
            }
        }
    }

    /// The best alignment of one entry and its log probability per letter.
    pub(crate) fn align(&self, entry: &Entry) -> Option<(Vec<Graphone>, f64)> {
        let word = self.word(entry)?;
        let (n, m) = (word.letters.len(), word.sounds.len());
        let at = |l: usize, s: usize| l * (m + 1) + s;
        let mut best = vec![(f64::NEG_INFINITY, 0, 0); (n + 1) * (m + 1)];
        best[0].0 = 0.0;
        for l in 0..n {
            for s in 0..=m {
                for (dl, ds, _) in SHAPES {
                    if l + dl > n || s + ds > m {
                        continue;
                    }
                    // A pair of two counts twice, or the longest pairs would always win.
                    let log = self.weights[self.pair(&word, l, s, (dl, ds))].ln();
                    let score = best[at(l, s)].0 + log * dl.max(ds) as f64;
                    let next = &mut best[at(l + dl, s + ds)];
                    if score > next.0 {
                        *next = (score, dl, ds);
                    }
                }
            }
        }
        let score = best[at(n, m)].0;
        if score == f64::NEG_INFINITY {
            return None;
        }
        let (mut l, mut s) = (n, m);
        let mut out = Vec::new();
        while l > 0 {
            let (_, dl, ds) = best[at(l, s)];
            (l, s) = (l - dl, s - ds);
            let second = if dl == 2 { word.letters[l + 1] } else { 0 };
            out.push(Graphone {
                letters: [word.letters[l], second],
                sound: entry.units[s..s + ds].concat(),
            });
        }
        out.reverse();
        Some((out, score / n as f64))
    }
}
