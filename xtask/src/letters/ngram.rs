//! An n-gram model with interpolated modified Kneser-Ney smoothing, then pruned by entropy.
//!
//! Idea: count all n-grams of the training sequences; lower orders count in how many contexts a
//! sequence occurs instead of how often (Chen & Goodman 1999). Pruning drops each n-gram whose
//! absence changes the model least (Stolcke 1998), with the probability of a history taken
//! from raw counts because Kneser-Ney's lower orders are no marginals (Chelba et al. 2010).
//!
//! An n-gram is a key: its tokens in order, [`TOKEN_BITS`] each, first token highest. Sorted keys
//! are then a trie in depth order.

/// Bits of a token in a key; 10 tokens fit 128 bits.
const TOKEN_BITS: u32 = 12;
/// The token before the first of a word.
pub(crate) const START: u16 = 0;
/// The token after the last of a word.
pub(crate) const END: u16 = 1;

/// All n-grams of one length, sorted by key.
#[derive(Clone, Default)]
pub(crate) struct Level {
    pub keys: Vec<u128>,
    /// Natural logarithm of the probability of the last token after the others.
    pub log_p: Vec<f32>,
    /// What to add where this n-gram is the context and the next token is not listed.
    pub back_off: Vec<f32>,
    /// How often it occurs in the training data.
    raw: Vec<u32>,
}

/// The model: `levels[n - 1]` holds the n-grams of length n.
#[derive(Clone)]
pub(crate) struct Ngram {
    pub levels: Vec<Level>,
}

fn suffix(key: u128, n: usize) -> u128 {
    key & ((1 << (TOKEN_BITS * n as u32)) - 1)
}

/// The last token of a key.
pub(crate) fn last(key: u128) -> u16 {
    (key & ((1 << TOKEN_BITS) - 1)) as u16
}

/// A key without its last token.
pub(crate) fn context(key: u128) -> u128 {
    key >> TOKEN_BITS
}

/// Ranges of equal context in a level.
pub(crate) fn groups(keys: &[u128]) -> Vec<std::ops::Range<usize>> {
    let mut out = Vec::new();
    let mut from = 0;
    for i in 1..=keys.len() {
        if i == keys.len() || context(keys[i]) != context(keys[from]) {
            out.push(from..i);
            from = i;
        }
    }
    out
}

impl Ngram {
    /// Trains on token sequences, each with its weight; START and END are added here.
    pub(crate) fn train(words: &[(Vec<u16>, u32)], n_tokens: usize, order: usize) -> Ngram {
        let mut levels: Vec<Level> = (1..=order).map(|n| count(words, n)).collect();
        let mut counts: Vec<Vec<u32>> = levels.iter().map(|level| level.raw.clone()).collect();
        for n in 1..order {
            let (low, high) = levels.split_at(n);
            let mut contexts = vec![0u32; low[n - 1].keys.len()];
            for key in &high[0].keys {
                if let Ok(at) = low[n - 1].keys.binary_search(&suffix(*key, n)) {
                    contexts[at] += 1;
                }
            }
            for (at, key) in low[n - 1].keys.iter().enumerate() {
                // Nothing precedes START, so what begins with it keeps its raw count.
                let first = (key >> (TOKEN_BITS * (n as u32 - 1))) as u16;
                if first != START {
                    counts[n - 1][at] = contexts[at];
                }
            }
        }
        for n in 1..=order {
            estimate(&mut levels, &counts[n - 1], n, n_tokens);
        }
        Ngram { levels }
    }

    /// Log probability of the last token of `key`, an n-gram of length `n`, with backing off.
    pub(crate) fn log_p(&self, key: u128, n: usize) -> f32 {
        if let Ok(at) = self.levels[n - 1].keys.binary_search(&key) {
            return self.levels[n - 1].log_p[at];
        }
        if n == 1 {
            return -99.0;
        }
        let back_off = match self.levels[n - 2].keys.binary_search(&context(key)) {
            Ok(at) => self.levels[n - 2].back_off[at],
            Err(_) => 0.0,
        };
        back_off + self.log_p(suffix(key, n - 1), n - 1)
    }

    /// Drops every n-gram whose absence raises perplexity by less than `threshold`, relatively.
    pub(crate) fn prune(&mut self, threshold: f64) {
        let total: f64 = self.levels[0].raw.iter().map(|c| f64::from(*c)).sum();
        let order = self.levels.len();
        let mut needed: Vec<bool> = vec![false; self.levels[order - 1].keys.len()];
        for n in (2..=order).rev() {
            let level = &self.levels[n - 1];
            let low = &self.levels[n - 2];
            let mut keep = needed.clone();
            for group in groups(&level.keys) {
                let Ok(at) = low.keys.binary_search(&context(level.keys[group.start])) else {
                    continue;
                };
                let history = f64::from(low.raw[at]) / total;
                let p = |i: usize| f64::from(level.log_p[i]).exp();
                let p_low = |i: usize| {
                    let key = suffix(level.keys[i], n - 1);
                    low.keys.binary_search(&key).map_or(0.0, |i| f64::from(low.log_p[i]).exp())
                };
                let left: f64 = 1.0 - group.clone().map(p).sum::<f64>();
                let left_low: f64 = 1.0 - group.clone().map(p_low).sum::<f64>();
                let (left, left_low) = (left.max(1e-9), left_low.max(1e-9));
                let back_off = (left / left_low).ln();
                for i in group {
                    let (p, p_low) = (p(i), p_low(i));
                    let changed = ((left + p) / (left_low + p_low)).ln();
                    let loss = -history
                        * (p * (p_low.ln() + changed - p.ln()) + left * (changed - back_off));
                    if loss.exp() - 1.0 >= threshold {
                        keep[i] = true;
                    }
                }
            }
            needed = vec![false; low.keys.len()];
            let mut kept = Level::default();
            for i in 0..keep.len() {
                if keep[i] {
                    kept.keys.push(level.keys[i]);
                    kept.log_p.push(level.log_p[i]);
                    kept.back_off.push(0.0);
                    kept.raw.push(level.raw[i]);
                    if let Ok(at) = low.keys.binary_search(&context(level.keys[i])) {
                        needed[at] = true;
                    }
                }
            }
            self.levels[n - 1] = kept;
        }
        self.weigh_back_off();
    }

    /// Sets every back-off weight so that the probabilities after each context sum to one.
    fn weigh_back_off(&mut self) {
        for level in &mut self.levels {
            level.back_off.iter_mut().for_each(|b| *b = 0.0);
        }
        for n in 2..=self.levels.len() {
            for group in groups(&self.levels[n - 1].keys) {
                let mut left = 1.0;
                let mut left_low = 1.0;
                for i in group.clone() {
                    let key = self.levels[n - 1].keys[i];
                    left -= f64::from(self.levels[n - 1].log_p[i]).exp();
                    left_low -= f64::from(self.log_p(suffix(key, n - 1), n - 1)).exp();
                }
                let back_off = (left.max(1e-6) / left_low.max(1e-6)).ln() as f32;
                let parent = context(self.levels[n - 1].keys[group.start]);
                if let Ok(at) = self.levels[n - 2].keys.binary_search(&parent) {
                    self.levels[n - 2].back_off[at] = back_off;
                }
            }
        }
    }

    /// How many n-grams there are, of all lengths.
    pub(crate) fn len(&self) -> usize {
        self.levels.iter().map(|level| level.keys.len()).sum()
    }
}

fn count(words: &[(Vec<u16>, u32)], n: usize) -> Level {
    let mut seen: Vec<(u128, u32)> = Vec::new();
    for (word, weight) in words {
        let mut padded = vec![START];
        padded.extend(word);
        padded.push(END);
        for window in padded.windows(n) {
            let key = window.iter().fold(0, |key, t| (key << TOKEN_BITS) | u128::from(*t));
            seen.push((key, *weight));
        }
    }
    seen.sort_unstable();
    let mut level = Level::default();
    for (key, weight) in seen {
        if level.keys.last() == Some(&key) {
            if let Some(raw) = level.raw.last_mut() {
                *raw += weight;
            }
        } else {
            level.keys.push(key);
            level.raw.push(weight);
        }
    }
    level.log_p = vec![0.0; level.keys.len()];
    level.back_off = vec![0.0; level.keys.len()];
    level
}

/// Fills the probabilities of level `n` and the back-off weights of level `n - 1`.
fn estimate(levels: &mut [Level], counts: &[u32], n: usize, n_tokens: usize) {
    let mut of_count = [0f64; 5];
    for c in counts {
        if (1..=4).contains(c) {
            of_count[*c as usize] += 1.0;
        }
    }
    let y = of_count[1] / (of_count[1] + 2.0 * of_count[2]).max(1.0);
    let discount = |c: u32| -> f64 {
        let c = c.min(3) as usize;
        if c == 0 || of_count[c] == 0.0 {
            return 0.0;
        }
        let d = c as f64 - (c as f64 + 1.0) * y * of_count[c + 1] / of_count[c];
        d.clamp(0.0, c as f64)
    };
    if n == 1 {
        let total: f64 = counts
            .iter()
            .zip(&levels[0].keys)
            .filter(|(_, k)| last(**k) != START)
            .map(|(c, _)| f64::from(*c))
            .sum();
        let held: f64 = counts.iter().map(|c| discount(*c)).sum();
        for i in 0..counts.len() {
            let p = (f64::from(counts[i]) - discount(counts[i]) + held / n_tokens as f64) / total;
            levels[0].log_p[i] =
                if last(levels[0].keys[i]) == START { -99.0 } else { p.max(1e-12).ln() as f32 };
        }
        return;
    }
    let (low, high) = levels.split_at_mut(n - 1);
    let (low, high) = (&mut low[n - 2], &mut high[0]);
    for group in groups(&high.keys) {
        let total: f64 = group.clone().map(|i| f64::from(counts[i])).sum();
        let held: f64 = group.clone().map(|i| discount(counts[i])).sum();
        let share = (held / total).clamp(1e-9, 1.0);
        for i in group.clone() {
            let lower = low.keys.binary_search(&suffix(high.keys[i], n - 1));
            let p_low = lower.map_or(0.0, |at| f64::from(low.log_p[at]).exp());
            let p = (f64::from(counts[i]) - discount(counts[i])) / total + share * p_low;
            high.log_p[i] = p.max(1e-12).ln() as f32;
        }
        if let Ok(at) = low.keys.binary_search(&context(high.keys[group.start])) {
            low.back_off[at] = share.ln() as f32;
        }
    }
}
