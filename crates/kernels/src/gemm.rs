//! Matrix products over shifted rows: the door for every linear layer and convolution.
//!
//! ```text
//! out[t][n] = bias[n] + Σ_tap Σ_d data[t * row_stride + tap * tap_stride + d] * w[tap * depth + d][n]
//! ```
//!
//! A linear layer has one tap. A convolution of `k` taps and dilation `δ` over rows of `C`
//! channels has `depth = C`, `tap_stride = δ C`, `row_stride = C` (times the stride); no im2col
//! is needed. A transposed convolution of rate `r` is one with `r N` output channels.
//!
//! Input and weights are both f32 or both bf16; the depth of bf16 is even, because they are
//! multiplied in pairs: of each, the second product is added first, both rounded to f32. (Where
//! [`Isa::has_own_bf16_sums`], the order or the rounding is another.) Products of bf16 count numbers
//! below 2^-126 as zero or not, as the instruction set likes.
//!
//! Each output is summed over `k` in one order, ascending but for AMX, whatever rows and columns are
//! computed together, so the result does not depend on how the caller cuts the rows into blocks.

use crate::Isa;
use crate::number::Number;

/// Columns in a panel of packed weights.
pub const PANEL: usize = 32;

/// The left side of a product: rows that may overlap.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, T = f32> {
    /// Where tap 0 of row 0 starts at index 0.
    pub data: &'a [T],
    /// From one output row's input to the next's.
    pub row_stride: usize,
    /// How many taps.
    pub n_taps: usize,
    /// From one tap to the next.
    pub tap_stride: usize,
    /// Numbers a tap.
    pub depth: usize,
}

impl<'a, T> Rows<'a, T> {
    /// Plain contiguous rows of `depth` numbers.
    pub fn plain(data: &'a [T], depth: usize) -> Self {
        Self { data, row_stride: depth, n_taps: 1, tap_stride: 0, depth }
    }

    /// Length of `data` that `n_rows` rows reach into; `usize::MAX` where it overflows, which no
    /// slice has.
    pub fn reach(&self, n_rows: usize) -> usize {
        if n_rows == 0 || self.n_taps == 0 {
            return 0;
        }
        let row = (n_rows - 1).saturating_mul(self.row_stride);
        let tap = (self.n_taps - 1).saturating_mul(self.tap_stride);
        row.saturating_add(tap).saturating_add(self.depth)
    }
}

/// What to do with a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// `out = product`.
    Store,
    /// `out += product`.
    Add,
}

/// A product whose lengths have been checked: what the implementations get.
pub(crate) struct Product<'a, T, R = Rows<'a, T>> {
    pub rows: R,
    pub n_rows: usize,
    pub packed: &'a [T],
    pub n: usize,
    pub bias: Option<&'a [f32]>,
    pub out: &'a mut [f32],
    pub out_stride: usize,
    pub output: Output,
}

/// Length of the packed form of weights `[k][n]`.
pub const fn packed_len(k: usize, n: usize) -> usize {
    n.div_ceil(PANEL).saturating_mul(PANEL).saturating_mul(k)
}

/// Packs weights into panels `[n / PANEL][k][PANEL]`, the last one filled up with zeros;
/// `at(k, n)` gives one weight. In panels of bf16 each pair of `k` lies side by side,
/// `[k / 2][PANEL][2]`; `k` is even.
pub fn pack<T: Number>(k: usize, n: usize, packed: &mut [T], at: impl Fn(usize, usize) -> f32) {
    assert!(packed.len() == packed_len(k, n) && k.is_multiple_of(T::GROUP));
    if k == 0 || n == 0 {
        return;
    }
    for (panel_idx, panel) in packed.chunks_exact_mut(k * PANEL).enumerate() {
        let first = panel_idx * PANEL;
        let width = PANEL.min(n - first);
        for (step, rows) in panel.chunks_exact_mut(T::GROUP * PANEL).enumerate() {
            for (i, weights) in rows.chunks_exact_mut(T::GROUP).enumerate() {
                for (j, weight) in weights.iter_mut().enumerate() {
                    let k = step * T::GROUP + j;
                    *weight = if i < width { T::of(at(k, first + i)) } else { T::default() };
                }
            }
        }
    }
}

/// `n_rows` rows of `rows` times `packed` (of [`pack`], `k = n_taps * depth`), plus `bias`
/// `[n]`, into rows of `n` numbers that lie `out_stride` apart.
#[expect(clippy::too_many_arguments, reason = "a product has this many parts")]
pub fn gemm<T: Number>(
    isa: Isa,
    mut rows: Rows<'_, T>,
    n_rows: usize,
    packed: &[T],
    n: usize,
    bias: Option<&[f32]>,
    out: &mut [f32],
    out_stride: usize,
    output: Output,
) {
    if n_rows == 0 || n == 0 {
        return;
    }
    assert!(rows.data.len() >= rows.reach(n_rows), "input rows too short");
    assert!(rows.depth.is_multiple_of(T::GROUP), "the depth of bf16 is even");
    assert_eq!(packed.len(), packed_len(rows.n_taps.saturating_mul(rows.depth), n));
    assert!(bias.is_none_or(|bias| bias.len() == n));
    let out_reach = (n_rows - 1).saturating_mul(out_stride).saturating_add(n);
    assert!(out_stride >= n && out.len() >= out_reach, "output too short");
    if rows.depth == 0 {
        rows.n_taps = 0;
    } else if rows.tap_stride == rows.depth && rows.n_taps > 0 && !T::keeps_taps(isa, rows.depth) {
        // Taps that adjoin are one long tap.
        rows.depth *= rows.n_taps;
        rows.n_taps = 1;
    }
    T::gemm(isa, Product { rows, n_rows, packed, n, bias, out, out_stride, output });
}
