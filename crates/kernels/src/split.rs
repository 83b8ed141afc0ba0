//! Products of f32 where bf16 is multiplied in tiles: as exact as those of [`crate::gemm`], in less
//! time where there are many rows.
//!
//! The idea: an f32 has 24 bits, a bf16 eight. So an f32 is the sum of three bf16, its *terms*, with
//! no error: the nearest bf16, the nearest to what is left, and the rest. The product of two such
//! sums is nine products of bf16. The three smallest are together no more than about 2^-24 of the
//! whole, which is what one rounding of f32 costs; the other six are summed, in f32 as always.
//! (Terms below 2^-126 count as zero, as they do in tiles. Numbers from 2^111 on become NaN, as an
//! infinity does.)
//!
//! Input is split once, by whoever calls, because all columns need it:
//!
//! ```text
//! [depth / 32][3 terms][row][16 lanes]      a lane: numbers i and i + 16 of the 32, as a pair
//! ```
//!
//! In this order the rows of a tile adjoin, wherever it starts, so that the taps of a convolution
//! are an offset here too. Weights come as [`gemm::pack`](crate::gemm::pack) has them and are split a
//! panel at a time, in memory that the caller lends.
//!
//! Each output is summed in one order, whatever rows and columns are computed together.

use crate::Isa;
use crate::gemm::{Output, PANEL, Product, packed_len};
use crate::isa::{Level, dispatch};
use crate::number::widen;
use crate::simd::LANES;

/// Numbers of the depth that are split together; the last ones are filled up with zeros.
pub const SLICE: usize = 32;

/// Products of bf16 in place of one of f32.
pub const N_PRODUCTS: usize = 6;

/// bf16 that an f32 is the sum of.
pub(crate) const TERMS: usize = 3;

/// 2^16 + 1: what leaves the upper eight bits of 24.
pub(crate) const SPLITTER: f32 = 65_537.0;

/// Three bf16, as f32, whose sum is `x`. Each is the upper part of what is left by Veltkamp's
/// splitting (Dekker, "A floating-point technique for extending the available precision", 1971).
pub(crate) fn terms(x: f32) -> [f32; TERMS] {
    let upper = |x: f32| {
        let scaled = x * SPLITTER;
        scaled - (scaled - x)
    };
    let first = upper(x);
    let second = upper(x - first);
    [first, second, x - first - second]
}

/// Rows of input, split.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    lanes: &'a [f32],
    n_rows: usize,
    depth: usize,
}

/// Length of one slice of the terms of `n_rows` rows.
pub const fn slice_len(n_rows: usize) -> usize {
    n_rows.saturating_mul(TERMS * LANES)
}

/// Length of all slices of the terms of `[n_rows][depth]`.
pub const fn terms_len(n_rows: usize, depth: usize) -> usize {
    depth.div_ceil(SLICE).saturating_mul(slice_len(n_rows))
}

/// Length of the memory that [`gemm`] is lent.
pub const fn room_len(n_taps: usize, depth: usize) -> usize {
    let n_slices = n_taps.saturating_mul(depth.div_ceil(SLICE));
    n_slices.saturating_mul(TERMS * SLICE / 2 * PANEL)
}

/// Splits the numbers from `slice_idx * SLICE` on of all rows `x` `[n_rows][depth]` into `lanes`, of
/// [`slice_len`].
pub fn split(isa: Isa, x: &[f32], depth: usize, slice_idx: usize, lanes: &mut [f32]) {
    assert!(slice_idx < depth.div_ceil(SLICE) && x.len().is_multiple_of(depth), "no such slice");
    assert_eq!(lanes.len(), slice_len(x.len() / depth));
    dispatch!(isa, split(x, depth, slice_idx * SLICE, lanes));
}

impl<'a> Terms<'a> {
    /// What [`split`] made, slice after slice.
    pub fn new(lanes: &'a [f32], n_rows: usize, depth: usize) -> Self {
        assert!(depth > 0 && lanes.len() == terms_len(n_rows, depth));
        Self { lanes, n_rows, depth }
    }
}

/// The left side of a product: rows of a split matrix, which may overlap.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The matrix.
    pub terms: Terms<'a>,
    /// Its row that is tap 0 of row 0.
    pub first: usize,
    /// From one output row's input to the next's.
    pub row_step: usize,
    /// How many taps.
    pub n_taps: usize,
    /// From one tap to the next.
    pub tap_step: usize,
}

impl Rows<'_> {
    /// How many rows of the matrix `n_rows` rows reach over.
    fn reach(&self, n_rows: usize) -> usize {
        let row = (n_rows - 1).saturating_mul(self.row_step);
        let tap = (self.n_taps.saturating_sub(1)).saturating_mul(self.tap_step);
        self.first.saturating_add(row).saturating_add(tap).saturating_add(1)
    }

    /// Row of the matrix that is tap `tap` of row `t`.
    pub(crate) fn row(&self, t: usize, tap: usize) -> usize {
        self.first + t * self.row_step + tap * self.tap_step
    }

    /// Number `d` of tap `tap` of row `t`: the sum of its terms.
    pub(crate) fn number(&self, t: usize, tap: usize, d: usize) -> f32 {
        let (slice, term_len) = self.slice(d / SLICE);
        let at = self.row(t, tap) * LANES + d % LANES;
        let term = |term: usize| {
            let pair = slice[term * term_len + at].to_bits();
            widen(if d % SLICE < LANES { pair as u16 } else { (pair >> 16) as u16 })
        };
        term(2) + term(1) + term(0)
    }

    /// Numbers a tap.
    pub fn depth(&self) -> usize {
        self.terms.depth
    }

    /// A slice, and from one of its terms to the next.
    pub(crate) fn slice(&self, slice_idx: usize) -> (&[f32], usize) {
        let len = slice_len(self.terms.n_rows);
        (&self.terms.lanes[slice_idx * len..][..len], self.terms.n_rows * LANES)
    }
}

/// `n_rows` rows of `rows` times `packed` (of [`gemm::pack`](crate::gemm::pack),
/// `k = n_taps * depth`), plus `bias` `[n]`, into rows of `n` numbers that lie `out_stride` apart.
/// `room` is lent, of [`room_len`]. Without tiles ([`Isa::has_tiles`]) it is the plain reference,
/// slow.
#[expect(clippy::too_many_arguments, reason = "a product has this many parts")]
pub fn gemm(
    isa: Isa,
    rows: Rows<'_>,
    n_rows: usize,
    packed: &[f32],
    n: usize,
    bias: Option<&[f32]>,
    out: &mut [f32],
    out_stride: usize,
    output: Output,
    room: &mut [f32],
) {
    if n_rows == 0 || n == 0 {
        return;
    }
    assert!(rows.terms.n_rows >= rows.reach(n_rows), "input rows too short");
    assert_eq!(packed.len(), packed_len(rows.n_taps.saturating_mul(rows.depth()), n));
    assert!(bias.is_none_or(|bias| bias.len() == n));
    let out_reach = (n_rows - 1).saturating_mul(out_stride).saturating_add(n);
    assert!(out_stride >= n && out.len() >= out_reach, "output too short");
    assert!(room.len() >= room_len(rows.n_taps, rows.depth()), "too little room");
    let product = Product { rows, n_rows, packed, n, bias, out, out_stride, output };
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Level::Amx => {
            // SAFETY: the level exists only where `Isa::available` saw AVX-512F, and AMX that this
            // process may use.
            unsafe { crate::simd::amx::gemm_split(product, room) }
        }
        _ => crate::scalar::gemm_split(product),
    }
}
