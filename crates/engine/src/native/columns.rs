//! A product of few rows, shared out by columns.
//!
//! A short text has fewer rows than it takes to keep the CPU busy while weights come from memory.
//! A thread that took a part of the rows would still read all the weights, and with many threads
//! there would not be rows for all. Here each thread takes all rows and a part of the columns, so
//! that weights are read once; what it gets is set side by side afterwards, which for few rows
//! costs little. Each number is the same as by rows.

use bytemuck::Pod;
use koe_kernels::gemm::{Output, PANEL, Rows, gemm};
use koe_kernels::number::Number;
use koe_kernels::{Isa, activation};

use super::product::{Activated, Block, Finish, Pieces};
use crate::threads::{Queue, Threads};

/// The input, which is read again for every panel of weights, must stay in a second-level cache.
const INPUT_BYTES: usize = 256 << 10;
/// Pieces for each thread, so that a neighbour's work on one CPU costs less.
const PIECES: usize = 2;

/// The most rows of `depth` numbers of type `T` for which it is worth while, with `n` columns.
pub(super) fn most_rows<T>(depth: usize, n: usize) -> usize {
    if n < 4 * PANEL { 0 } else { INPUT_BYTES / (depth * size_of::<T>()) }
}

/// What a product by columns reads.
pub(super) enum Input<'a, T> {
    /// Rows as they are.
    Rows(Rows<'a, T>),
    /// A convolution's rows, which each thread activates for itself.
    Block(Block, Activated<'a>),
}

/// A product's weights, their columns, and the bias.
pub(super) struct Columns<'a, T> {
    pub(super) weights: &'a [T],
    pub(super) n: usize,
    pub(super) bias: Option<&'a [f32]>,
}

impl<T: Number + Pod> Columns<'_, T> {
    /// The product of `n_rows` rows, to where `pieces` say.
    pub(super) fn run(
        &self,
        isa: Isa,
        threads: &mut Threads,
        n_rows: usize,
        input: &Input<'_, T>,
        pieces: &Queue<Pieces<'_>>,
        finish: Finish<'_>,
    ) {
        let n = self.n;
        let n_panels = n.div_ceil(PANEL);
        let width = n_panels.div_ceil(PIECES * threads.count()) * PANEL;
        let per_panel = self.weights.len() / n_panels;
        // Lent while the threads run.
        let mut room = std::mem::take(&mut threads.columns);
        let products = room.take(n_rows * n);
        let parts = Queue::new(products.chunks_mut(n_rows * width).enumerate());
        threads.run(|stage| {
            let rows = match *input {
                Input::Rows(rows) => rows,
                Input::Block(block, input) => block.stage(isa, input, &mut stage.rows),
            };
            while let Some((index, out)) = parts.next() {
                let n = out.len() / n_rows;
                let first = index * width;
                let weights = &self.weights[first / PANEL * per_panel..];
                let weights = &weights[..n.div_ceil(PANEL) * per_panel];
                let bias = self.bias.map(|bias| &bias[first..first + n]);
                gemm(isa, rows, n_rows, weights, n, bias, out, n, Output::Store);
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
}

#[cfg(test)]
mod tests {
    use super::super::product::Activation;
    use super::*;
    use koe_kernels::gemm::{pack, packed_len};

    const DEPTH: usize = 10;
    const TAPS: usize = 3;
    /// Five panels, the last not full.
    const N: usize = 150;

    fn wave(i: usize) -> f32 {
        ((i * 7919) % 2001) as f32 / 1000.0 - 1.0
    }

    fn by_columns_equals_by_rows<T: Number + Pod>() {
        for n_rows in [1, 2, 13, 31] {
            let x: Vec<f32> = (0..n_rows * DEPTH).map(wave).collect();
            let mut weights = vec![T::default(); packed_len(TAPS * DEPTH, N)];
            pack(TAPS * DEPTH, N, &mut weights, |k, n| wave(3 * (k * N + n)));
            let bias: Vec<f32> = (0..N).map(|i| wave(5 * i)).collect();
            let block = Block { first: -1, n_rows, n_taps: TAPS, dilation: 1, depth: DEPTH };
            let input = Activated { x: &x, by: Activation::Leaky(0.2) };
            let before: Vec<f32> = (0..n_rows * N).map(|i| wave(11 * i)).collect();
            for &isa in Isa::available() {
                let mut staged = crate::buffer::Buffer::default();
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
                        let columns = Columns { weights: &weights, n: N, bias };
                        let mut threads = Threads::new(n_threads);
                        let input = Input::Block(block, input);
                        columns.run(isa, &mut threads, n_rows, &input, &pieces, finish);
                        assert!(found == expected, "{n_rows} rows, {n_threads} threads, {isa:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn by_columns_gives_the_same_bytes_as_by_rows() {
        by_columns_equals_by_rows::<f32>();
        by_columns_equals_by_rows::<u16>();
    }
}
