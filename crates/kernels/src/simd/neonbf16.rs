//! NEON with products of bf16 (FEAT_BF16: Neoverse N2 and V1, Apple M2, and later ones).
//!
//! The idea: `bfmmla` multiplies two rows of four numbers by two columns of four and adds the 2 x 2
//! products to a register, four times what a multiply-add of f32 does. Twelve pairs of rows by two
//! pairs of columns fill 24 of the 32 registers with sums:
//!
//! ```text
//!               columns 0 1   columns 2 3
//! rows 0 1      sums 0 0      sums 0 1
//! rows 2 3      sums 1 0      sums 1 1
//!      …             …             …
//! rows 22 23    sums 11 0     sums 11 1
//! ```
//!
//! 1. Four numbers of two rows have to lie side by side. They are set so once for two panels of
//!    columns, a slice of the depth at a time, in scratch on the stack. Integer registers do that,
//!    so that the units of vectors have nothing but products. Taps become one long row in passing.
//! 2. Two registers of packed weights, a pair of the depth each, become two pairs of columns by two
//!    shuffles. These compete with the products, so the tile is high and narrow: 2 for 24. (6 rows by
//!    16 columns, shuffled in the loop, are 11 for 24, and 12 by 8 are 10.)
//! 3. The instruction adds the products of a pair to each other, and then to the sum; then it does
//!    the same with the second pair. Both additions round to odd, and numbers below 2^-126 are zero.
//!    So a sum takes its pairs in ascending order whatever the tile, and does not depend on how a
//!    caller cuts the rows; but its last bits are not those of the other instruction sets.
//! 4. A pair that is left of the depth is filled up with zeros, and a row without another takes
//!    itself for one, whose sums are dropped.
//! 5. Two panels are finished for all rows before the next, as is one in [`super::gemm`], and for
//!    the same reason.
//!
//! The instruction is written in assembler because its intrinsic is not stable yet. The rest of the
//! kernels are those of NEON.

use std::arch::aarch64::*;
use std::arch::asm;
use std::mem::MaybeUninit;
use std::ops::Range;

pub(crate) use super::neon::*;
use crate::gemm::{Output, PANEL, Product, Rows};

/// Pairs of rows in a tile.
const PAIRS: usize = 12;
/// Numbers of the depth in a step.
const STEP: usize = 4;
/// Steps in a slice of the depth: what 24 rows have there, 12 KiB, stays in the first-level cache for
/// all strips of columns, beside the 8 KiB of half a panel whose lines four strips share.
const SLICE: usize = 64;
/// Strips of four columns in a panel.
const STRIPS: usize = PANEL / 4;
/// Panels that the same operands are multiplied with.
const GROUP: usize = 2;

/// What fills a register: a step of two rows, or a pair of the depth for each column of a strip.
type Operand = [[u16; 4]; 2];
/// Of a pair of rows by a strip, two columns to a register: those of the first row, then those of
/// the second.
type Sums = [float32x4_t; 2];

/// What a tile of `R` pairs of rows writes before it reads it.
struct Scratch {
    /// Of a slice, `[step][R]`.
    operands: [MaybeUninit<Operand>; SLICE * PAIRS],
    /// From one slice to the next, `[strip][R]`.
    sums: [MaybeUninit<Sums>; GROUP * STRIPS * PAIRS],
}

#[target_feature(enable = "neon,bf16")]
pub(crate) fn gemm_bf16(mut product: Product<'_, u16>) {
    let mut scratch = Scratch {
        operands: [const { MaybeUninit::uninit() }; SLICE * PAIRS],
        sums: [const { MaybeUninit::uninit() }; GROUP * STRIPS * PAIRS],
    };
    let (product, scratch) = (&mut product, &mut scratch);
    for first in (0..product.n).step_by(GROUP * PANEL) {
        let mut t = 0;
        while t < product.n_rows {
            // Tiles of like height: low ones hide less of the latency.
            let left = (product.n_rows - t).div_ceil(2);
            let height = left.div_ceil(left.div_ceil(PAIRS));
            match height {
                1 => tile::<1>(product, scratch, t, first),
                2 => tile::<2>(product, scratch, t, first),
                3 => tile::<3>(product, scratch, t, first),
                4 => tile::<4>(product, scratch, t, first),
                5 => tile::<5>(product, scratch, t, first),
                6 => tile::<6>(product, scratch, t, first),
                7 => tile::<7>(product, scratch, t, first),
                8 => tile::<8>(product, scratch, t, first),
                9 => tile::<9>(product, scratch, t, first),
                10 => tile::<10>(product, scratch, t, first),
                11 => tile::<11>(product, scratch, t, first),
                12 => tile::<12>(product, scratch, t, first),
                _ => unreachable!("no tile is higher than twelve pairs"),
            }
            t += 2 * height;
        }
    }
}

/// `R` pairs of rows from `t` on, by the columns of a group of panels from `first` on.
#[target_feature(enable = "neon,bf16")]
fn tile<const R: usize>(
    product: &mut Product<'_, u16>,
    scratch: &mut Scratch,
    t: usize,
    first: usize,
) {
    let k = product.rows.n_taps * product.rows.depth;
    let n_strips = (GROUP * STRIPS).min((product.n - first).div_ceil(PANEL / STRIPS));
    let (operands, _) = scratch.operands.as_chunks_mut::<R>();
    let (sums, _) = scratch.sums.as_chunks_mut::<R>();
    let sums = &mut sums[..n_strips];
    let mut slice = 0..k.min(SLICE * STEP);
    loop {
        set_side_by_side(&product.rows, product.n_rows, t, slice.clone(), operands);
        for (strip, sums) in sums.iter_mut().enumerate() {
            let panel = &product.packed[(first / PANEL + strip / STRIPS) * k * PANEL..];
            let (weights, _) = panel[slice.start * PANEL..slice.end * PANEL].as_chunks();
            let (weights, _) = weights.as_chunks::<2>();
            // SAFETY: the steps of the slice have been set, and the sums if it is not the first.
            unsafe { multiply_add(operands, weights, strip % STRIPS, slice.start > 0, sums) };
        }
        if slice.end == k {
            break;
        }
        slice = slice.end..k.min(slice.end + SLICE * STEP);
    }
    // SAFETY: the sums of every strip have been set.
    finish(product, t, first, unsafe { sums.as_flattened().assume_init_ref() }, R);
}

/// Sets a slice of the depth over all taps, of the rows from `t` on, into operands.
fn set_side_by_side<const R: usize>(
    rows: &Rows<'_, u16>,
    n_rows: usize,
    t: usize,
    slice: Range<usize>,
    operands: &mut [[MaybeUninit<Operand>; R]],
) {
    for pair in 0..R {
        let t = t + 2 * pair;
        // Where a tap ends in the middle of a step, the next one's first pair is its second half.
        let mut begun: Option<[[u16; 2]; 2]> = None;
        let mut operands = &mut *operands;
        let mut k = slice.start;
        while k < slice.end {
            let (tap, d) = (k / rows.depth, k % rows.depth);
            let len = (rows.depth - d).min(slice.end - k);
            let start = tap * rows.tap_stride + d;
            let mut upper = &rows.data[t * rows.row_stride + start..][..len];
            let mut lower = &rows.data[(t + 1).min(n_rows - 1) * rows.row_stride + start..][..len];
            k += len;
            if let Some([[a, b], [c, d]]) = begun.take() {
                operands[0][pair].write([[a, b, upper[0], upper[1]], [c, d, lower[0], lower[1]]]);
                (upper, lower, operands) = (&upper[2..], &lower[2..], &mut operands[1..]);
            }
            let ((upper, upper_end), (lower, lower_end)) = (upper.as_chunks(), lower.as_chunks());
            let (whole, after) = operands.split_at_mut(upper.len());
            copy(upper, lower, whole, pair);
            operands = after;
            if let (&[a, b], &[c, d]) = (upper_end, lower_end) {
                begun = Some([[a, b], [c, d]]);
            }
        }
        if let Some([[a, b], [c, d]]) = begun {
            operands[0][pair].write([[a, b, 0, 0], [c, d, 0, 0]]);
        }
    }
}

/// Whole steps, four at a time because one is little beside the loop about it.
#[inline(always)]
fn copy<const R: usize>(
    upper: &[[u16; STEP]],
    lower: &[[u16; STEP]],
    operands: &mut [[MaybeUninit<Operand>; R]],
    pair: usize,
) {
    let ((upper_4, upper), (lower_4, lower)) = (upper.as_chunks::<4>(), lower.as_chunks::<4>());
    let (operands_4, operands) = operands.as_chunks_mut::<4>();
    for ((upper, lower), operands) in upper_4.iter().zip(lower_4).zip(operands_4) {
        for i in 0..4 {
            operands[i][pair].write([upper[i], lower[i]]);
        }
    }
    for ((upper, lower), operands) in upper.iter().zip(lower).zip(operands) {
        operands[pair].write([*upper, *lower]);
    }
}

/// Adds the products of a slice to the sums of a strip, or sets them. A function of its own, so that
/// the compiler keeps all sums in registers.
///
/// # Safety
/// There is an operand for each two pairs of `weights`, and one for a pair that is left; if `more`,
/// there are sums.
#[target_feature(enable = "neon,bf16")]
#[inline(never)]
unsafe fn multiply_add<const R: usize>(
    operands: &[[MaybeUninit<Operand>; R]],
    weights: &[[[u16; 4]; 2]],
    strip: usize,
    more: bool,
    sums: &mut [MaybeUninit<Sums>; R],
) {
    let mut own = [[vdupq_n_f32(0.0); 2]; R];
    if more {
        for r in 0..R {
            // SAFETY: the caller's obligation.
            own[r] = unsafe { sums[r].assume_init() };
        }
    }
    let (steps, rest) = weights.as_chunks::<{ 2 * STRIPS }>();
    // SAFETY: the caller's obligation; the instructions are this function's.
    unsafe {
        for (operands, weights) in operands.iter().zip(steps) {
            step(operands, load(&weights[strip]), load(&weights[STRIPS + strip]), &mut own);
        }
        if let (Some(weights), Some(operands)) = (rest.get(strip), operands.get(steps.len())) {
            step(operands, load(weights), vdupq_n_u16(0), &mut own);
        }
    }
    for r in 0..R {
        sums[r].write(own[r]);
    }
}

/// Four numbers of the depth: two pairs of weights.
///
/// # Safety
/// NEON and FEAT_BF16 are there, and the operands have been set.
#[inline(always)]
unsafe fn step<const R: usize>(
    operands: &[MaybeUninit<Operand>; R],
    pair: uint16x8_t,
    next_pair: uint16x8_t,
    sums: &mut [Sums; R],
) {
    // SAFETY: the caller's obligation.
    unsafe {
        let (pair, next_pair) = (vreinterpretq_u32_u16(pair), vreinterpretq_u32_u16(next_pair));
        let left = vreinterpretq_u16_u32(vzip1q_u32(pair, next_pair));
        let right = vreinterpretq_u16_u32(vzip2q_u32(pair, next_pair));
        for r in 0..R {
            let x = load(operands[r].assume_init_ref());
            sums[r] = [bfmmla(sums[r][0], x, left), bfmmla(sums[r][1], x, right)];
        }
    }
}

/// `sums[i][j] + Σ_k x[i][k] * w[j][k]`.
#[target_feature(enable = "neon,bf16")]
#[inline]
fn bfmmla(mut sums: float32x4_t, x: uint16x8_t, w: uint16x8_t) -> float32x4_t {
    // SAFETY: the function's features are what the instruction needs; it changes one register.
    unsafe {
        asm!("bfmmla {:v}.4s, {:v}.8h, {:v}.8h", inout(vreg) sums, in(vreg) x, in(vreg) w,
            options(pure, nomem, nostack, preserves_flags));
    }
    sums
}

#[target_feature(enable = "neon,bf16")]
#[inline]
fn load(x: &Operand) -> uint16x8_t {
    // SAFETY: the array is eight readable words.
    unsafe { vld1q_u16(x.as_flattened().as_ptr()) }
}

/// `sums` `[strip][height]` plus bias, stored or added to the columns from `first` on of the rows
/// from `t` on.
#[target_feature(enable = "neon,bf16")]
fn finish(product: &mut Product<'_, u16>, t: usize, first: usize, sums: &[Sums], height: usize) {
    let end = product.n.min(first + GROUP * PANEL);
    for pair in 0..height {
        let mut lines = [[[0.0; 4]; GROUP * STRIPS]; 2];
        for (strip, sums) in sums.chunks_exact(height).enumerate() {
            let (left, right) =
                (vreinterpretq_f64_f32(sums[pair][0]), vreinterpretq_f64_f32(sums[pair][1]));
            // SAFETY: each takes four f32.
            unsafe {
                let upper = vreinterpretq_f32_f64(vzip1q_f64(left, right));
                vst1q_f32(lines[0][strip].as_mut_ptr(), upper);
                let lower = vreinterpretq_f32_f64(vzip2q_f64(left, right));
                vst1q_f32(lines[1][strip].as_mut_ptr(), lower);
            }
        }
        let t = t + 2 * pair;
        for (t, line) in (t..product.n_rows).zip(&mut lines) {
            let line = line.as_flattened_mut();
            if let Some(bias) = product.bias {
                line.iter_mut().zip(&bias[first..end]).for_each(|(sum, bias)| *sum += bias);
            }
            let out = &mut product.out[t * product.out_stride..][first..end];
            match product.output {
                Output::Store => out.copy_from_slice(&line[..out.len()]),
                Output::Add => out.iter_mut().zip(line).for_each(|(out, sum)| *out += *sum),
            }
        }
    }
}

#[cfg(test)]
#[path = "neonbf16_tests.rs"]
mod tests;
