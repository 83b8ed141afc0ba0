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

/// The forms in which samples can be written.
enum Form<'a> {
    Constant,
    Verbatim,
    Fixed(&'a Coded),
    Predicted(&'a Predictor, &'a Coded),
}

fn subframe(samples: &[i32], bits: &mut Bits) {
    const VERBATIM: u32 = 1;
    const FIXED_BASE: u32 = 8;
    const PREDICTED_BASE: u32 = 31;
    let fixed: Vec<Coded> = FIXED
        .iter()
        .map(|weights| Predictor { weights: weights.to_vec(), shift: 0 })
        .filter_map(|rule| Coded::new(samples, &rule, 0))
        .collect();
    let predicted: Vec<(Predictor, Coded)> = predict::predictors(samples)
        .into_iter()
        .filter_map(|predictor| {
            let overhead = 4 + 5 + WEIGHT_BITS as usize * predictor.weights.len();
            let coded = Coded::new(samples, &predictor, overhead)?;
            Some((predictor, coded))
        })
        .collect();
    let verbatim = (samples.len() * SAMPLE_BITS as usize, Form::Verbatim);
    let constant = samples.iter().all(|sample| *sample == samples[0]);
    let constant = constant.then_some((SAMPLE_BITS as usize, Form::Constant));
    let fixed = fixed.iter().map(|coded| (coded.n_bits, Form::Fixed(coded)));
    let predicted = predicted.iter().map(|(p, coded)| (coded.n_bits, Form::Predicted(p, coded)));
    let forms = constant.into_iter().chain(fixed).chain(predicted).chain([verbatim]);
    let Some((_, form)) = forms.min_by_key(|(n_bits, _)| *n_bits) else { return };
    // A zero, six bits of form, and that no bits are wasted.
    let kind = |kind: u32, bits: &mut Bits| bits.put(kind << 1, 8);
    match form {
        Form::Constant => {
            kind(0, bits);
            bits.put_signed(samples[0], SAMPLE_BITS);
        }
        Form::Verbatim => {
            kind(VERBATIM, bits);
            samples.iter().for_each(|&sample| bits.put_signed(sample, SAMPLE_BITS));
        }
        Form::Fixed(coded) => {
            let order = samples.len() - coded.folded.len();
            kind(FIXED_BASE + order as u32, bits);
            samples[..order].iter().for_each(|&sample| bits.put_signed(sample, SAMPLE_BITS));
            coded.write(samples.len(), bits);
        }
        Form::Predicted(predictor, coded) => {
            let order = predictor.weights.len();
            kind(PREDICTED_BASE + order as u32, bits);
            samples[..order].iter().for_each(|&sample| bits.put_signed(sample, SAMPLE_BITS));
            bits.put(WEIGHT_BITS - 1, 4);
            bits.put(predictor.shift, 5);
            predictor.weights.iter().for_each(|&weight| bits.put_signed(weight, WEIGHT_BITS));
            coded.write(samples.len(), bits);
        }
    }
}

/// What a predictor is off by, and the cheapest way to write it.
struct Coded {
    /// Sign in the lowest bit.
    folded: Vec<u32>,
    split_power: u32,
    /// Of each part, how many low bits are written as they are.
    splits: Vec<u32>,
    /// All of the subframe but its first byte.
    n_bits: usize,
}

impl Coded {
    /// None if the predictor does not suit the samples at all.
    fn new(samples: &[i32], predictor: &Predictor, overhead: usize) -> Option<Self> {
        let order = predictor.weights.len();
        if order >= samples.len() {
            return None;
        }
        let residual = predictor.residual(samples)?;
        let folded: Vec<u32> = residual.iter().map(|&x| (x << 1 ^ x >> 31) as u32).collect();
        // Parts are of one length, of which the first begins `order` samples late.
        let power = (0..=MAX_SPLIT_POWER).rev().find(|power| {
            samples.len().is_multiple_of(1 << power) && samples.len() >> power > order
        })?;
        let mut costs = costs(&folded, samples.len() >> power, order);
        let mut best: Option<(usize, Vec<u32>, u32)> = None;
        for power in (0..=power).rev() {
            let chosen: Vec<(usize, u32)> = costs.iter().map(cheapest).collect();
            let n_bits = chosen.iter().map(|(n_bits, _)| 4 + n_bits).sum();
            if best.as_ref().is_none_or(|best| n_bits < best.0) {
                best = Some((n_bits, chosen.iter().map(|(_, split)| *split).collect(), power));
            }
            costs = costs
                .chunks(2)
                .map(|pair| std::array::from_fn(|i| pair.iter().map(|costs| costs[i]).sum()))
                .collect();
        }
        let (n_bits, splits, split_power) = best?;
        let n_bits = n_bits + 2 + 4 + overhead + order * SAMPLE_BITS as usize;
        Some(Self { folded, split_power, splits, n_bits })
    }

    fn write(&self, n_samples: usize, bits: &mut Bits) {
        bits.put(0, 2); // splits of four bits
        bits.put(self.split_power, 4);
        let n_part = n_samples >> self.split_power;
        let mut rest = &self.folded[..];
        let mut take = n_part - (n_samples - self.folded.len());
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
