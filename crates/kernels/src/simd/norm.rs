//! Means, variances and the normalisations built on them.

use super::{LANES, Simd, maths};

/// Channels whose moments are summed in registers at once, in vectors.
const GROUP: usize = 2;

/// Down the rows for one group of channels after another, so that the sums stay in registers.
#[inline(always)]
pub(super) fn channel_moments<S: Simd>(s: S, x: &[f32], mean: &mut [f32], m2: &mut [f32]) {
    let c = mean.len();
    let mut first = 0;
    while first + GROUP * LANES <= c {
        group_moments::<S, GROUP>(s, x, first, mean, m2);
        first += GROUP * LANES;
    }
    while first < c {
        group_moments::<S, 1>(s, x, first, mean, m2);
        first += LANES;
    }
}

/// The moments of `G` vectors of channels from `first` on.
#[inline(always)]
fn group_moments<S: Simd, const G: usize>(
    s: S,
    x: &[f32],
    first: usize,
    mean: &mut [f32],
    m2: &mut [f32],
) {
    let c = mean.len();
    // Only a group of one vector may be cut short by the end of the row.
    let columns: [_; G] =
        std::array::from_fn(|g| first + g * LANES..(first + (g + 1) * LANES).min(c));
    let origin: [_; G] = std::array::from_fn(|g| s.load_some(&x[columns[g].clone()]));
    let mut sums = [s.splat(0.0); G];
    let mut squares = [s.splat(0.0); G];
    for row in x.chunks_exact(c) {
        for g in 0..G {
            let deviation = s.sub(s.load_some(&row[columns[g].clone()]), origin[g]);
            sums[g] = s.add(sums[g], deviation);
            squares[g] = s.mul_add(deviation, deviation, squares[g]);
        }
    }
    let n = s.splat((x.len() / c) as f32);
    for g in 0..G {
        let shift = s.div(sums[g], n);
        let squares = s.neg_mul_add(sums[g], shift, squares[g]);
        s.store_some(s.add(origin[g], shift), &mut mean[columns[g].clone()]);
        s.store_some(s.max(s.splat(0.0), squares), &mut m2[columns[g].clone()]);
    }
}

/// Sum over a row of `term(x)`, where `term` gives 0 for the lanes past the end.
#[inline(always)]
fn sum<S: Simd>(s: S, row: &[f32], term: impl Fn(S::V) -> S::V) -> f32 {
    // Four sums at once hide the latency of the addition.
    let mut sums = [s.splat(0.0); 4];
    let (vectors, rest) = row.as_chunks::<LANES>();
    let (fours, ones) = vectors.as_chunks::<4>();
    for four in fours {
        for i in 0..4 {
            sums[i] = s.add(sums[i], term(s.load(&four[i])));
        }
    }
    for one in ones {
        sums[0] = s.add(sums[0], term(s.load(one)));
    }
    let sums = s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]));
    let mut lanes = s.to_array(sums);
    if !rest.is_empty() {
        let terms = s.to_array(term(s.load_part(rest)));
        for i in 0..rest.len() {
            lanes[i] += terms[i];
        }
    }
    across(lanes, |a, b| a + b)
}

/// All lanes joined, neighbours last: the same tree everywhere.
#[inline(always)]
fn across(mut lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut n = LANES;
    while n > 1 {
        n /= 2;
        for i in 0..n {
            lanes[i] = join(lanes[i], lanes[i + n]);
        }
    }
    lanes[0]
}

#[inline(always)]
pub(super) fn layer_norm<S: Simd>(s: S, x: &mut [f32], gain: &[f32], bias: &[f32], epsilon: f32) {
    let c = gain.len();
    for row in x.chunks_exact_mut(c) {
        let mean = s.splat(sum(s, row, |x| x) / c as f32);
        let variance = sum(s, row, |x| {
            let deviation = s.sub(x, mean);
            s.mul(deviation, deviation)
        }) / c as f32;
        let inverse = s.splat(1.0 / (variance + epsilon).sqrt());
        for first in (0..c).step_by(LANES) {
            let columns = first..c.min(first + LANES);
            let [x, gain, bias] = [&*row, gain, bias].map(|x| s.load_some(&x[columns.clone()]));
            let y = s.mul_add(s.mul(s.sub(x, mean), inverse), gain, bias);
            s.store_some(y, &mut row[columns]);
        }
    }
}

#[inline(always)]
pub(super) fn softmax<S: Simd>(s: S, x: &mut [f32], c: usize, scale: f32) {
    let scale = s.splat(scale);
    for row in x.chunks_exact_mut(c) {
        let (vectors, rest) = row.as_chunks::<LANES>();
        let mut max = s.splat(f32::NEG_INFINITY);
        for x in vectors {
            max = s.max(max, s.load(x));
        }
        let max = across(s.to_array(max), f32::max);
        let max = s.splat(rest.iter().copied().fold(max, f32::max));
        let (vectors, rest) = row.as_chunks_mut::<LANES>();
        for x in vectors {
            let y = maths::exp(s, s.mul(s.sub(s.load(x), max), scale));
            s.store(y, x);
        }
        if !rest.is_empty() {
            let y = maths::exp(s, s.mul(s.sub(s.load_part(rest), max), scale));
            s.store_part(y, rest);
        }
        let inverse = s.splat(1.0 / sum(s, row, |x| x));
        for first in (0..c).step_by(LANES) {
            let columns = first..c.min(first + LANES);
            let y = s.mul(s.load_some(&row[columns.clone()]), inverse);
            s.store_some(y, &mut row[columns]);
        }
    }
}
