//! Products of f32 as six products of bf16: see [`crate::split`].

use super::{Block, DEPTH, Layout, ROW_BYTES, Sides, Unit, walk};
use crate::gemm::{PANEL, Product};
use crate::simd::split::pairs;
use crate::simd::{LANES, Simd};
use crate::split::{N_PRODUCTS, Rows, TERMS};

/// Terms of input and of weights that are multiplied, the smallest products first.
const PRODUCTS: [(usize, usize); N_PRODUCTS] = [(2, 0), (1, 1), (0, 2), (1, 0), (0, 1), (0, 0)];
/// Pairs of a slice's weights, one column's below another.
const PAIRS: usize = DEPTH / 2;
/// Lanes of one term of a slice's weights.
const TERM_LEN: usize = PAIRS * PANEL;

/// The whole product.
#[inline(always)]
pub(super) fn multiply<S: Simd>(
    unit: &mut impl Unit,
    s: S,
    mut product: Product<'_, f32, Rows<'_>>,
    room: &mut [f32],
) {
    let mut sides = Split { s, rows: product.rows, packed: product.packed, panel: room };
    walk(unit, s, &mut sides, &mut product);
}

struct Split<'a, S> {
    s: S,
    rows: Rows<'a>,
    packed: &'a [f32],
    /// The weights of a panel, `[tap][slice][term][pair][PANEL]`; a pair is of the numbers `i` and
    /// `i + 16` of a slice, as in the input.
    panel: &'a mut [f32],
}

impl<S: Simd> Sides for Split<'_, S> {
    #[inline(always)]
    fn begin(&mut self, panel: usize) {
        let (s, depth) = (self.s, self.rows.depth());
        let k = self.rows.n_taps * depth;
        let packed = &self.packed[panel * k * PANEL..][..k * PANEL];
        let slices = packed.chunks(depth * PANEL).flat_map(|tap| tap.chunks(DEPTH * PANEL));
        for (weights, out) in slices.zip(self.panel.chunks_exact_mut(TERMS * TERM_LEN)) {
            for i in 0..PAIRS {
                for half in 0..PANEL / LANES {
                    // None where the depth ends within the slice.
                    let vector = |d: usize| weights.get(d * PANEL + half * LANES..)?.get(..LANES);
                    let (low, high) = (vector(i), vector(i + PAIRS));
                    let (low, high) = (low.unwrap_or_default(), high.unwrap_or_default());
                    let terms = pairs(s, s.load_some(low), s.load_some(high));
                    for (term, pair) in terms.into_iter().enumerate() {
                        let at = term * TERM_LEN + i * PANEL + half * LANES;
                        s.store_some(pair, &mut out[at..][..LANES]);
                    }
                }
            }
        }
    }

    /// Six products are of three tiles a side, so half of what they read was just read.
    #[inline(always)]
    fn are_high(&self) -> bool {
        false
    }

    #[inline(always)]
    unsafe fn sum<L: Layout>(&self, unit: &mut impl Unit, block: Block) {
        let rows = self.rows;
        let mut weights = self.panel.chunks_exact(TERMS * TERM_LEN);
        for tap in 0..rows.n_taps {
            let first = rows.row(block.t, tap) * LANES;
            for slice_idx in 0..rows.depth().div_ceil(DEPTH) {
                let (slice, term_len) = rows.slice(slice_idx);
                let Some(weights) = weights.next() else { unreachable!("the door checked") };
                for (x, w) in PRODUCTS {
                    let x = &slice[x * term_len + first..(x + 1) * term_len];
                    let w = &weights[w * TERM_LEN..][..TERM_LEN][block.column..];
                    let (x, w) = (x.as_ptr().cast(), w.as_ptr().cast());
                    // A single row may have any step.
                    let row_bytes = rows.row_step.wrapping_mul(ROW_BYTES);
                    // SAFETY: the door checked that the matrix has all rows that are reached, of
                    // which a slice has 64 bytes each; a term of weights is 16 pairs of a panel. The
                    // shape is the caller's.
                    unsafe { L::step(unit, x, row_bytes, w) };
                }
            }
        }
    }
}
