//! An f32 as the sum of three bf16, two vectors at a time.

use super::{LANES, Simd};
use crate::split::{SLICE, SPLITTER, TERMS};

/// The numbers from `first` on of every row of `x` `[rows][depth]`, 32 or fewer and zeros, to
/// `[term][row][16]`.
#[inline(always)]
pub(super) fn split<S: Simd>(s: S, x: &[f32], depth: usize, first: usize, lanes: &mut [f32]) {
    let n_lanes = x.len() / depth * LANES;
    for (row, x) in x.chunks_exact(depth).enumerate() {
        let (low, high) = halves(&x[first..depth.min(first + SLICE)]);
        let terms = pairs(s, s.load_some(low), s.load_some(high));
        for (term, pairs) in terms.into_iter().enumerate() {
            s.store_some(pairs, &mut lanes[term * n_lanes + row * LANES..][..LANES]);
        }
    }
}

/// The first sixteen, and the others.
#[inline(always)]
fn halves(x: &[f32]) -> (&[f32], &[f32]) {
    x.split_at(x.len().min(LANES))
}

/// The terms of two vectors, largest first, side by side in each lane.
#[inline(always)]
pub(super) fn pairs<S: Simd>(s: S, low: S::V, high: S::V) -> [S::V; TERMS] {
    let (low, high) = (terms(s, low), terms(s, high));
    [pair(s, low[0], high[0]), pair(s, low[1], high[1]), pair(s, low[2], high[2])]
}

/// [`crate::split::terms`].
#[inline(always)]
fn terms<S: Simd>(s: S, v: S::V) -> [S::V; TERMS] {
    let first = upper(s, v);
    let rest = s.sub(v, first);
    let second = upper(s, rest);
    [first, second, s.sub(rest, second)]
}

/// Veltkamp's splitting, as in [`crate::split::terms`].
#[inline(always)]
fn upper<S: Simd>(s: S, v: S::V) -> S::V {
    let scaled = s.mul(v, s.splat(SPLITTER));
    s.sub(scaled, s.sub(scaled, v))
}

/// The upper halves of both. The lower ones are zero but where a term is no normal number.
#[inline(always)]
fn pair<S: Simd>(s: S, low: S::V, high: S::V) -> S::V {
    let upper = s.splat(f32::from_bits(0xffff_0000));
    s.xor(s.shift_right::<16>(low), s.and(high, upper))
}
