//! One frame: its header, the samples in whichever of FLAC's forms is shortest, checksums.
//!
//! The samples are constant, predicted by whole weights of our own or by one of five fixed rules,
//! or written as they are. What a prediction is off by is written as Rice numbers: the low bits as
//! they are and the rest as a row of zeros, the split chosen anew for each part of the frame.

use super::predict::{self, Predictor, WEIGHT_BITS};
use crate::crc::{crc8, crc16};

const SAMPLE_BITS: u32 = 16;

/// Parts of a frame that choose their own split: up to two to this power.
const MAX_SPLIT_POWER: u32 = 5;

/// The splits that four bits can name; the last number is kept for another purpose.
const N_SPLITS: usize = 15;

/// The weights of FLAC's fixed predictors, by order.
const FIXED: [&[i32]; 5] = [&[], &[1], &[2, -1], &[3, -3, 1], &[4, -6, 4, -1]];

/// Appends the frame of that number. `samples` are of 16 bits, at least one and at most 65,535.
pub(super) fn write(rate_hz: u32, number: u32, samples: &[i32], out: &mut Vec<u8>) {
    let mut bits = Bits::default();
    header(rate_hz, number, samples.len(), &mut bits);
    let checksum = crc8(&bits.bytes);
    bits.put(u32::from(checksum), 8);
    let start = out.len();
    subframe(samples, &mut bits);
    bits.align();
    out.extend_from_slice(&bits.bytes);
    let checksum = crc16(&out[start..]);
    out.extend_from_slice(&checksum.to_be_bytes());
}

fn header(rate_hz: u32, number: u32, n_samples: usize, bits: &mut Bits) {
    /// Frames of one size, numbered.
    const SYNC: u32 = 0xfff8;
    bits.put(SYNC, 16);
    // 576 times a power of two, or else told in 16 bits at the end.
    let (size, told) = match n_samples {
        576 => (2, None),
        1152 => (3, None),
        2304 => (4, None),
        4608 => (5, None),
        _ => (7, Some(n_samples as u32 - 1)),
    };
    bits.put(size, 4);
    // The same for rates.
    let (rate, told_rate) = match rate_hz {
        8000 => (4, None),
        16_000 => (5, None),
        22_050 => (6, None),
        24_000 => (7, None),
        32_000 => (8, None),
        44_100 => (9, None),
        48_000 => (10, None),
        _ => (13, Some(rate_hz)),
    };
    bits.put(rate, 4);
    bits.put(0, 4); // one channel
    bits.put(4, 3); // 16 bits
    bits.put(0, 1);
    number_as_utf8(number, bits);
    for told in [told, told_rate].into_iter().flatten() {
        bits.put(told, 16);
    }
}

/// As UTF-8 writes characters, but up to 31 bits.
fn number_as_utf8(number: u32, bits: &mut Bits) {
    if number < 0x80 {
        return bits.put(number, 8);
    }
    let n_bits = 32 - number.leading_zeros();
    // With n more bytes of 6 bits, 6 - n bits are left in the first.
    let n_more = (n_bits - 2) / 5;
    let ones = 0xff_u32 << (7 - n_more) & 0xff;
    bits.put(ones | number >> (6 * n_more), 8);
    for i in (0..n_more).rev() {
        bits.put(0x80 | number >> (6 * i) & 0x3f, 8);
    }
}

fn subframe(samples: &[i32], bits: &mut Bits) {
    const CONSTANT: u32 = 0;
    const VERBATIM: u32 = 1;
    // A zero, six bits of form, and that no bits are wasted.
    let form = |form: u32, bits: &mut Bits| bits.put(form << 1, 8);
    let n_verbatim = samples.len() * SAMPLE_BITS as usize;
    if samples.iter().all(|sample| *sample == samples[0]) {
        form(CONSTANT, bits);
        bits.put_signed(samples[0], SAMPLE_BITS);
    } else if let Some(coded) = coded(samples).filter(|coded| coded.n_bits < n_verbatim) {
        form(coded.guess.form(), bits);
        coded.write(samples, bits);
    } else {
        form(VERBATIM, bits);
        samples.iter().for_each(|&sample| bits.put_signed(sample, SAMPLE_BITS));
    }
}

/// The samples by the predictor that suits them best. To try every way of writing with each would
/// take five times as long for hardly a byte.
fn coded(samples: &[i32]) -> Option<Coded> {
    let rules = FIXED.iter().map(|weights| Predictor { weights: weights.to_vec(), shift: 0 });
    let rules = rules.filter_map(|rule| Guess::new(samples, rule, true));
    let ours = predict::predictors(samples);
    let ours = ours.into_iter().filter_map(|predictor| Guess::new(samples, predictor, false));
    let best = rules.chain(ours).min_by_key(|guess| guess.estimate)?;
    Some(Coded::new(samples.len(), best))
}

/// A predictor and what it is off by.
struct Guess {
    predictor: Predictor,
    /// One of the rules that every decoder knows.
    fixed: bool,
    /// Sign in the lowest bit.
    folded: Vec<u32>,
    /// About how many bits it would take to write.
    estimate: u64,
}

impl Guess {
    /// None if the predictor does not suit the samples at all.
    fn new(samples: &[i32], predictor: Predictor, fixed: bool) -> Option<Self> {
        if predictor.weights.len() >= samples.len() {
            return None;
        }
        let residual = predictor.residual(samples)?;
        let folded: Vec<u32> = residual.iter().map(|&x| (x << 1 ^ x >> 31) as u32).collect();
        let (n, sum) = (folded.len() as u64, folded.iter().map(|&x| u64::from(x)).sum::<u64>());
        // With the split that suits the mean.
        let split = (sum / n).checked_ilog2().unwrap_or(0);
        let mut guess = Self { predictor, fixed, folded, estimate: 0 };
        guess.estimate = (sum >> split) + n * u64::from(split + 1) + guess.overhead() as u64;
        Some(guess)
    }

    fn order(&self) -> usize {
        self.predictor.weights.len()
    }

    /// The six bits that name it.
    fn form(&self) -> u32 {
        match self.fixed {
            true => 8 + self.order() as u32,
            false => 31 + self.order() as u32,
        }
    }

    /// The bits of what comes before the residual: the first samples, and the weights.
    fn overhead(&self) -> usize {
        let weights = if self.fixed { 0 } else { 4 + 5 + WEIGHT_BITS as usize * self.order() };
        self.order() * SAMPLE_BITS as usize + weights
    }
}

/// The cheapest way to write a guess.
struct Coded {
    guess: Guess,
    split_power: u32,
    /// Of each part, how many low bits are written as they are.
    splits: Vec<u32>,
    /// All of the subframe but its first byte.
    n_bits: usize,
}

impl Coded {
    fn new(n_samples: usize, guess: Guess) -> Self {
        // Parts are of one length, of which the first begins `order` samples late.
        let fits = |power: &u32| {
            n_samples.is_multiple_of(1 << power) && n_samples >> power > guess.order()
        };
        let finest = (0..=MAX_SPLIT_POWER).rev().find(fits).unwrap_or(0);
        let mut costs = costs(&guess.folded, n_samples >> finest, guess.order());
        let (mut n_least, mut splits, mut split_power) = (usize::MAX, Vec::new(), finest);
        for power in (0..=finest).rev() {
            let chosen: Vec<(usize, u32)> = costs.iter().map(cheapest).collect();
            let n_bits = chosen.iter().map(|(n_bits, _)| 4 + n_bits).sum();
            if n_bits < n_least {
                n_least = n_bits;
                splits = chosen.iter().map(|(_, split)| *split).collect();
                split_power = power;
            }
            costs = costs
                .chunks(2)
                .map(|pair| std::array::from_fn(|i| pair.iter().map(|costs| costs[i]).sum()))
                .collect();
        }
        Self { split_power, splits, n_bits: guess.overhead() + 2 + 4 + n_least, guess }
    }

    fn write(&self, samples: &[i32], bits: &mut Bits) {
        let Guess { predictor, fixed, folded, .. } = &self.guess;
        let order = self.guess.order();
        samples[..order].iter().for_each(|&sample| bits.put_signed(sample, SAMPLE_BITS));
        if !fixed {
            bits.put(WEIGHT_BITS - 1, 4);
            bits.put(predictor.shift, 5);
            predictor.weights.iter().for_each(|&weight| bits.put_signed(weight, WEIGHT_BITS));
        }
        bits.put(0, 2); // splits of four bits
        bits.put(self.split_power, 4);
        let n_part = samples.len() >> self.split_power;
        let (mut rest, mut take) = (&folded[..], n_part - order);
        for &split in &self.splits {
            bits.put(split, 4);
            let (part, after) = rest.split_at(take);
            for &number in part {
                bits.zeros(number >> split);
                bits.put(1, 1);
                bits.put(number & ((1 << split) - 1), split);
            }
            (rest, take) = (after, n_part);
        }
    }
}

/// The bits that each part takes with each split.
fn costs(folded: &[u32], n_part: usize, order: usize) -> Vec<[usize; N_SPLITS]> {
    let (first, others) = folded.split_at(n_part - order);
    std::iter::once(first)
        .chain(others.chunks(n_part))
        .map(|part| {
            std::array::from_fn(|split| {
                let high: usize = part.iter().map(|&number| (number >> split) as usize).sum();
                high + part.len() * (1 + split)
            })
        })
        .collect()
}

fn cheapest(costs: &[usize; N_SPLITS]) -> (usize, u32) {
    let numbered = costs.iter().copied().zip(0..);
    numbered.min().unwrap_or((usize::MAX, 0))
}

/// Bits on their way to bytes, the highest first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    /// Fewer than eight, in the lowest places.
    held: u64,
    n_held: u32,
}

impl Bits {
    /// The lowest `n` bits of `value`, at most 32; those above are zero.
    fn put(&mut self, value: u32, n: u32) {
        self.held = self.held << n | u64::from(value);
        self.n_held += n;
        while self.n_held >= 8 {
            self.n_held -= 8;
            self.bytes.push((self.held >> self.n_held) as u8);
        }
    }

    fn put_signed(&mut self, value: i32, n: u32) {
        self.put(value as u32 & (u32::MAX >> (32 - n)), n);
    }

    fn zeros(&mut self, n: u32) {
        for _ in 0..n / 32 {
            self.put(0, 32);
        }
        self.put(0, n % 32);
    }

    /// Fills the last byte up with zeros.
    fn align(&mut self) {
        self.put(0, (8 - self.n_held) % 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_utf8_writes_characters() {
        for number in [0, 0x7f, 0x80, 0x7ff, 0x800, 0xfffd, 0x1_0000, 0x10_ffff] {
            let mut bits = Bits::default();
            number_as_utf8(number, &mut bits);
            let wanted = char::from_u32(number).unwrap().to_string();
            assert_eq!(bits.bytes, wanted.as_bytes(), "{number:x}");
        }
        let mut bits = Bits::default();
        number_as_utf8(0x7fff_ffff, &mut bits);
        assert_eq!(bits.bytes, [0xfd, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf]);
    }
}
