//! Both sides of a product, whichever kind of numbers they are, and the multiplication itself.

use koe_kernels::Isa;
use koe_kernels::gemm::{Output, Rows, gemm, packed_len};
use koe_kernels::split::{self, SLICE, Terms};

use super::columns::LEAST_COLUMNS;
use crate::buffer::Buffer;
use crate::threads::{Queue, Threads};

/// Fewer rows than two tiles have are multiplied faster as they are than weights are split. (By
/// reckoning: see `docs/performance.md`.)
const MIN_SPLIT_ROWS: usize = 32;

/// Rows of input, and packed weights.
#[derive(Clone, Copy)]
pub(super) enum Operands<'a> {
    F32(Rows<'a>, &'a [f32]),
    Bf16(Rows<'a, u16>, &'a [u16]),
    /// f32 that are multiplied in tiles, as sums of bf16.
    Split(split::Rows<'a>, &'a [f32]),
}

/// Whether `n_rows` of `rows`, of f32, are better split for tiles, for `n` columns. Few of them are not worth
/// splitting the input, nor is a depth that is mostly filled up. A choice by shape: the bytes of the
/// result depend on it.
pub(super) fn is_split(rows: &Rows<'_>, n_rows: usize, n: usize) -> bool {
    let Rows { row_stride, tap_stride, depth, .. } = *rows;
    n_rows >= MIN_SPLIT_ROWS
        && n >= LEAST_COLUMNS
        && depth >= 2 * SLICE
        && row_stride.is_multiple_of(depth)
        && tap_stride.is_multiple_of(depth)
}

/// The terms of all that `n_rows` of `rows` reach over, made in `room` on all threads. Strides are
/// multiples of the depth.
pub(super) fn split<'a>(
    threads: &mut Threads,
    isa: Isa,
    rows: Rows<'_>,
    n_rows: usize,
    room: &'a mut Buffer,
) -> split::Rows<'a> {
    let Rows { data, row_stride, n_taps, tap_stride, depth } = rows;
    let data = &data[..rows.reach(n_rows)];
    let n_all = data.len() / depth;
    let lanes = room.take(split::terms_len(n_all, depth));
    let slices = Queue::new(lanes.chunks_mut(split::slice_len(n_all)).enumerate());
    threads.run(|_| {
        while let Some((slice_idx, lanes)) = slices.next() {
            split::split(isa, data, depth, slice_idx, lanes);
        }
    });
    let terms = Terms::new(lanes, n_all, depth);
    let (row_step, tap_step) = (row_stride / depth, tap_stride / depth);
    split::Rows { terms, first: 0, row_step, n_taps, tap_step }
}

impl Operands<'_> {
    /// Without the first `n` rows.
    pub(super) fn skip_rows(mut self, n: usize) -> Self {
        match &mut self {
            Self::F32(rows, _) => rows.data = &rows.data[n * rows.row_stride..],
            Self::Bf16(rows, _) => rows.data = &rows.data[n * rows.row_stride..],
            Self::Split(rows, _) => rows.first += n * rows.row_step,
        }
        self
    }

    /// The columns `first..first + n` alone; whole panels, but for the last of all.
    pub(super) fn columns(mut self, first: usize, n: usize) -> Self {
        let k = self.k();
        let (from, to) = (packed_len(k, first), packed_len(k, first + n));
        match &mut self {
            Self::F32(_, weights) | Self::Split(_, weights) => *weights = &weights[from..to],
            Self::Bf16(_, weights) => *weights = &weights[from..to],
        }
        self
    }

    /// Numbers of input for one of output.
    fn k(&self) -> usize {
        match self {
            Self::F32(rows, _) => rows.n_taps * rows.depth,
            Self::Bf16(rows, _) => rows.n_taps * rows.depth,
            Self::Split(rows, _) => rows.n_taps * rows.depth(),
        }
    }

    /// Takes the memory that [`Operands::multiply`] needs, for a thread that may come to call it.
    pub(super) fn reserve(&self, room: &mut Buffer) {
        if let Self::Split(rows, _) = self {
            room.take(split::room_len(rows.n_taps, rows.depth()));
        }
    }

    /// `n_rows` rows of the product, plus `bias`, into `out` `[n_rows][n]`, on this thread. `room` is
    /// lent.
    pub(super) fn multiply(
        self,
        isa: Isa,
        n_rows: usize,
        bias: Option<&[f32]>,
        out: &mut [f32],
        output: Output,
        room: &mut Buffer,
    ) {
        let n = out.len() / n_rows;
        match self {
            Self::F32(rows, weights) => gemm(isa, rows, n_rows, weights, n, bias, out, n, output),
            Self::Bf16(rows, weights) => gemm(isa, rows, n_rows, weights, n, bias, out, n, output),
            Self::Split(rows, weights) => {
                let room = room.take(split::room_len(rows.n_taps, rows.depth()));
                split::gemm(isa, rows, n_rows, weights, n, bias, out, n, output, room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use koe_kernels::gemm::{PANEL, pack};

    /// Whatever part of a product is computed, of whatever rows, the terms are found where they are.
    /// (Without tiles, by the plain reference; `koe-kernels` holds tiles to it.)
    #[test]
    fn split_operands_give_the_product_of_the_whole_ones() {
        let isa = Isa::SCALAR;
        let (n_rows, n) = (37, 2 * PANEL + 5);
        let wave = |i: usize| ((i * 7919) % 2001) as f32 / 1000.0 - 1.0;
        // A linear layer; a convolution; heads as taps; every other row.
        for (depth, n_taps, row_step, tap_step) in
            [(64, 1, 1, 0), (32, 3, 1, 5), (32, 2, 1, 37), (64, 3, 2, 1)]
        {
            let n_all = (n_rows - 1) * row_step + (n_taps - 1) * tap_step + 1;
            let data: Vec<f32> = (0..n_all * depth).map(wave).collect();
            let (row_stride, tap_stride) = (row_step * depth, tap_step * depth);
            let rows = Rows { data: &data, row_stride, n_taps, tap_stride, depth };
            let k = n_taps * depth;
            let mut weights = vec![0.0; packed_len(k, n)];
            pack(k, n, &mut weights, |k, i| wave(3 * (k * n + i)));
            let mut room = Buffer::default();
            for n_threads in [1, 3] {
                let mut terms = Buffer::default();
                let mut threads = Threads::new(n_threads);
                let terms = split(&mut threads, isa, rows, n_rows, &mut terms);
                let (split, whole) =
                    (Operands::Split(terms, &weights), Operands::F32(rows, &weights));
                for (skipped, first, width) in [(0, 0, n), (1, 0, PANEL), (24, PANEL, n - PANEL)] {
                    let mut multiply = |operands: Operands<'_>| {
                        let n_rows = n_rows - skipped;
                        let mut out = vec![f32::NAN; n_rows * width];
                        let operands = operands.skip_rows(skipped).columns(first, width);
                        let (out_rows, output) = (&mut out[..], Output::Store);
                        operands.multiply(isa, n_rows, None, out_rows, output, &mut room);
                        out
                    };
                    let (got, want) = (multiply(split), multiply(whole));
                    assert!(got == want, "{depth} {n_taps}: {skipped} rows, column {first} on");
                }
            }
        }
    }
}
