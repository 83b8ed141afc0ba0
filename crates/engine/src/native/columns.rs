//! A product of few rows, shared out by columns.
//!
//! A short text has fewer rows than it takes to keep the CPU busy while weights come from memory.
//! A thread that took a part of the rows would still read all the weights, and with many threads
//! there would not be rows for all. Here each thread takes all rows and a part of the columns, so
//! that weights are read once; what it gets is set side by side afterwards, which for few rows
//! costs little. Each number is the same as by rows.

use koe_kernels::gemm::{Output, PANEL};
use koe_kernels::{Isa, activation};

use super::operands::Operands;
use super::output::{Finish, Pieces};
use crate::threads::{Queue, Threads};

/// The input is read again for every panel of weights, so it must stay in a cache: the second-level
/// one of a core that has as much.
const INPUT_BYTES: usize = 1 << 20;

/// More rows keep the CPU busy while weights come, and what is set side by side is then large.
const MOST_ROWS: usize = 512;
/// Fewer are not worth sharing out.
pub(super) const LEAST_COLUMNS: usize = 4 * PANEL;

/// The most rows of `depth` numbers of type `T` for which it is worth while, with `n` columns.
pub(super) fn most_rows<T>(depth: usize, n: usize) -> usize {
    if n < LEAST_COLUMNS { 0 } else { (INPUT_BYTES / (depth * size_of::<T>())).min(MOST_ROWS) }
}

/// `n_rows` rows by `n` columns, to where `pieces` say.
pub(super) fn multiply(
    isa: Isa,
    threads: &mut Threads,
    operands: Operands<'_>,
    bias: Option<&[f32]>,
    (n_rows, n): (usize, usize),
    pieces: &Queue<Pieces<'_>>,
    finish: Finish<'_>,
) {
    let n_panels = n.div_ceil(PANEL);
    // Two pieces for each thread where that is as fair as one: a neighbour's work on one CPU then
    // costs less.
    let share = n_panels.div_ceil(threads.count());
    let width = threads.fairest(n_panels, share.div_ceil(2)..=share) * PANEL;
    // Lent while the threads run.
    let mut room = std::mem::take(&mut threads.columns);
    let products = room.take(n_rows * n);
    let parts = Queue::new(products.chunks_mut(n_rows * width).enumerate());
    threads.run(|stage| {
        operands.reserve(&mut stage.packed);
        while let Some((index, out)) = parts.next() {
            let (first, n) = (index * width, out.len() / n_rows);
            let bias = bias.map(|bias| &bias[first..first + n]);
            let operands = operands.columns(first, n);
            operands.multiply(isa, n_rows, bias, out, Output::Store, &mut stage.packed);
        }
    });
    let products = &*products;
    threads.run(|_| {
        while let Some(piece) = pieces.next() {
            for (t, out) in (piece.first_row(n)..).zip(piece.out.chunks_exact_mut(n)) {
                let parts = products.chunks(n_rows * width);
                for (part, out) in parts.zip(out.chunks_mut(width)) {
                    let product = &part[t * out.len()..][..out.len()];
                    match finish.output() {
                        Output::Store => out.copy_from_slice(product),
                        Output::Add => activation::add(isa, product, out),
                    }
                }
            }
            piece.finish(isa);
        }
    });
    threads.columns = room;
}

#[cfg(test)]
mod tests {
    use super::super::input::{Activated, Activation, Block};
    use super::*;
    use crate::buffer::Buffer;
    use bytemuck::Pod;
    use koe_kernels::gemm::{Rows, gemm, pack, packed_len};
    use koe_kernels::number::Number;

    const DEPTH: usize = 10;
    const TAPS: usize = 3;
    /// Five panels, the last not full.
    const N: usize = 150;

    fn wave(i: usize) -> f32 {
        ((i * 7919) % 2001) as f32 / 1000.0 - 1.0
    }

    fn by_columns_equals_by_rows<T: Number + Pod>(
        operands: for<'a> fn(Rows<'a, T>, &'a [T]) -> Operands<'a>,
    ) {
        for (n_rows, dilation) in [(1, 1), (1, 5), (2, 1), (13, 2), (31, 1)] {
            let x: Vec<f32> = (0..n_rows * DEPTH).map(wave).collect();
            let mut weights = vec![T::default(); packed_len(TAPS * DEPTH, N)];
            pack(TAPS * DEPTH, N, &mut weights, |k, n| wave(3 * (k * N + n)));
            let bias: Vec<f32> = (0..N).map(|i| wave(5 * i)).collect();
            let block =
                Block { first: -(dilation as isize), n_rows, n_taps: TAPS, dilation, depth: DEPTH };
            let input = Activated { x: &x, by: Activation::Leaky(0.2) };
            let before: Vec<f32> = (0..n_rows * N).map(|i| wave(11 * i)).collect();
            for &isa in Isa::available() {
                let mut staged = Buffer::default();
                let rows: Rows<'_, T> = block.stage(isa, input, &mut staged);
                for finish in
                    [Finish::Store, Finish::Add, Finish::Join { with: &before, factor: 0.5 }]
                {
                    let mut expected = before.clone();
                    let bias = Some(&bias[..]);
                    let output = finish.output();
                    gemm(isa, rows, n_rows, &weights, N, bias, &mut expected, N, output);
                    let whole = Pieces::new(&mut expected, n_rows * N, finish, None);
                    whole.next().unwrap().finish(isa);
                    for n_threads in [1, 2, 5] {
                        let mut found = before.clone();
                        let pieces = Pieces::new(&mut found, 12 * N, finish, None);
                        let mut threads = Threads::new(n_threads);
                        let mut staged = Buffer::default();
                        let rows = block.stage_on(&mut threads, isa, input, &mut staged);
                        let operands = operands(rows, &weights);
                        let size = (n_rows, N);
                        multiply(isa, &mut threads, operands, bias, size, &pieces, finish);
                        assert!(found == expected, "{n_rows} rows, {n_threads} threads, {isa:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn by_columns_gives_the_same_bytes_as_by_rows() {
        by_columns_equals_by_rows::<f32>(|rows, weights| Operands::F32(rows, weights));
        by_columns_equals_by_rows::<u16>(|rows, weights| Operands::Bf16(rows, weights));
    }
}
