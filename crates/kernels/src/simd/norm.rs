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

/// The moments of `G` vectors of channels from `first` on; only the last may be cut short by the
/// end of the row.
#[inline(always)]
fn group_moments<S: Simd, const G: usize>(
    s: S,
    x: &[f32],
    first: usize,
    mean: &mut [f32],
    m2: &mut [f32],
) {
    let c = mean.len();
    let n = s.splat((x.len() / c) as f32);
    let end = c.min(first + G * LANES);
    let mut origin = [s.splat(0.0); G];
    for (origin, x) in origin.iter_mut().zip(x[first..end].chunks(LANES)) {
        *origin = s.load_some(x);
    }
    let mut sums = [s.splat(0.0); G];
    let mut squares = [s.splat(0.0); G];
    for row in x.chunks_exact(c) {
        for (g, x) in row[first..end].chunks(LANES).enumerate() {
            let deviation = s.sub(s.load_some(x), origin[g]);
            sums[g] = s.add(sums[g], deviation);
            squares[g] = s.mul_add(deviation, deviation, squares[g]);
        }
    }
    let outputs = mean[first..end].chunks_mut(LANES).zip(m2[first..end].chunks_mut(LANES));
    for (g, (mean, m2)) in outputs.enumerate() {
        let shift = s.div(sums[g], n);
        s.store_some(s.add(origin[g], shift), mean);
        s.store_some(s.max(s.splat(0.0), s.neg_mul_add(sums[g], shift, squares[g])), m2);
    }
}

/// Sum over a row of what lies above `centre`, or of the squares of that.
#[inline(always)]
fn sum<S: Simd, const SQUARES: bool>(s: S, row: &[f32], centre: f32) -> f32 {
    // Four sums at once hide the latency of the addition.
    let mut sums = [s.splat(0.0); 4];
    let centre_16 = s.splat(centre);
    let (vectors, rest) = row.as_chunks::<LANES>();
    for four in vectors.chunks(4) {
        for (sum, x) in sums.iter_mut().zip(four) {
            let x = s.sub(s.load(x), centre_16);
            *sum = if SQUARES { s.mul_add(x, x, *sum) } else { s.add(*sum, x) };
        }
    }
    let sums = s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]));
    let mut lanes = s.to_array(sums);
    for (lane, x) in lanes.iter_mut().zip(rest) {
        let x = x - centre;
        *lane += if SQUARES { x * x } else { x };
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
        let mean = sum::<S, false>(s, row, 0.0) / c as f32;
        let variance = sum::<S, true>(s, row, mean) / c as f32;
        let inverse = s.splat(1.0 / (variance + epsilon).sqrt());
        let mean = s.splat(mean);
        let coefficients = gain.chunks(LANES).zip(bias.chunks(LANES));
        for (x, (gain, bias)) in row.chunks_mut(LANES).zip(coefficients) {
            let normal = s.mul(s.sub(s.load_some(x), mean), inverse);
            s.store_some(s.mul_add(normal, s.load_some(gain), s.load_some(bias)), x);
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
        let inverse = s.splat(1.0 / sum::<S, false>(s, row, 0.0));
        for x in row.chunks_mut(LANES) {
            s.store_some(s.mul(s.load_some(x), inverse), x);
        }
    }
}
