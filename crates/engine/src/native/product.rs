//! Linear layers and convolutions: one packed product, applied to blocks of rows.
//!
//! A block of input rows is activated into a thread's own memory, with the rows around it that
//! the taps reach, and multiplied from there while it is in the cache. What the next layer's
//! normalisation must know of the output is gathered before the block leaves the cache. Nothing
//! that is computed depends on the number of threads: blocks are cut by shape alone, but where no
//! number depends on the cut.
//!
//! The pass that activates a block also rounds it, where the product is of bf16. Where a product is
//! shared out by columns, or is of f32 that are split, all rows are activated first, for all threads.

use std::time::Instant;

use bytemuck::Pod;
use koe_kernels::gemm::{Output, Rows, gemm};
use koe_kernels::number::Number;
use koe_kernels::winograd::Shape;
use koe_kernels::{Isa, activation};

use super::columns::{self, most_rows};
use super::context::Context;
use super::input::{Activated, Block};
use super::norm::Moments;
use super::operands::{Operands, is_split, split};
use super::output::{Finish, Pieces};
use crate::buffer::Buffer;
use crate::profile::Work;
use crate::threads::{Queue, Stage};
use crate::weights::{Loader, Section, Weights};
use crate::{Error, Precision};

/// Rows that every kernel computes together divide this; blocks are multiples of it.
const TILE: usize = 12;
/// Of a block whose rows are read as they are.
const MOST_TILES: usize = 8;

/// A linear layer or a convolution of stride 1.
pub(crate) struct Product {
    /// As in the checkpoint, without `.weight`.
    name: Box<str>,
    /// `[taps * depth][n]`, packed; or transformed, if quick.
    weights: Weights,
    /// Computes a convolution by fewer multiplications.
    quick: Option<Shape>,
    /// `[n]`, or empty.
    bias: Section,
    pub(crate) n_taps: usize,
    /// Input channels.
    pub(crate) depth: usize,
    /// Output channels.
    pub(crate) n: usize,
}

impl Product {
    /// `name.weight` `[n][n_in]` and `name.bias` `[n]`; f32 in every precision.
    pub(crate) fn linear(
        load: &mut Loader<'_>,
        name: &str,
        n_in: usize,
        n: usize,
    ) -> Result<Self, Error> {
        Self::stacked(load, name, &[name], n_in, n)
    }

    /// Linear layers of one input, as one product whose outputs stand side by side.
    pub(crate) fn stacked(
        load: &mut Loader<'_>,
        section: &str,
        names: &[&str],
        n_in: usize,
        n_each: usize,
    ) -> Result<Self, Error> {
        let n = n_each * names.len();
        let weights = load.packed(&format!("{section}.weight"), n_in, n, |source| {
            let parts = names
                .iter()
                .map(|name| source.f32(&format!("{name}.weight"), &[n_each, n_in]))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(move |k: usize, n: usize| parts[n / n_each][n % n_each * n_in + k])
        })?;
        let bias = load.section(&format!("{section}.bias"), n, |source| {
            let mut bias = Vec::new();
            for name in names {
                bias.extend(source.f32(&format!("{name}.bias"), &[n_each])?);
            }
            Ok(bias)
        })?;
        Ok(Self::from_parts(section, Weights::F32(weights), bias, 1, n_in, n))
    }

    /// `name.weight` `[n][n_in][n_taps]`, and `name.bias` `[n]` where `bias`.
    pub(crate) fn conv(
        load: &mut Loader<'_>,
        name: &str,
        n_in: usize,
        n: usize,
        n_taps: usize,
        bias: bool,
    ) -> Result<Self, Error> {
        let weights = load.weights(&format!("{name}.weight"), (n_taps, n_in), n, |source| {
            let weight = source.f32(&format!("{name}.weight"), &[n, n_in, n_taps])?;
            Ok(move |k: usize, n: usize| weight[(n * n_in + k % n_in) * n_taps + k / n_in])
        })?;
        let bias = if bias {
            load.section(&format!("{name}.bias"), n, |source| {
                source.f32(&format!("{name}.bias"), &[n])
            })?
        } else {
            Section::default()
        };
        Ok(Self::from_parts(name, weights, bias, n_taps, n_in, n))
    }

    /// The same with a bias and as many outputs as inputs, by fewer multiplications where those are
    /// worth it, which fixes the dilation.
    pub(crate) fn quick_conv(
        load: &mut Loader<'_>,
        name: &str,
        n: usize,
        n_taps: usize,
        dilation: usize,
    ) -> Result<Self, Error> {
        if !load.is_quick() {
            return Self::conv(load, name, n, n, n_taps, true);
        }
        let shape = Shape { n_taps, dilation, depth: n, n };
        let weights = load.quick_weights(&format!("{name}.weight"), shape, |source| {
            let weight = source.f32(&format!("{name}.weight"), &[n, n, n_taps])?;
            Ok(move |k: usize, i: usize| weight[(i * n + k % n) * n_taps + k / n])
        })?;
        let bias = format!("{name}.bias");
        let bias = load.section(&bias, n, |source| source.f32(&bias, &[n]))?;
        let product = Self::from_parts(name, weights, bias, n_taps, n, n);
        Ok(Self { quick: Some(shape), ..product })
    }

    /// A product of given parts.
    pub(crate) fn from_parts(
        name: &str,
        weights: Weights,
        bias: Section,
        n_taps: usize,
        depth: usize,
        n: usize,
    ) -> Self {
        Self { name: name.into(), weights, quick: None, bias, n_taps, depth, n }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What `n_rows` rows take.
    pub(crate) fn work(&self, n_rows: usize) -> Work {
        let macs = n_rows * self.n_taps * self.depth * self.n;
        let multiplied = self.quick.map_or(macs, |shape| shape.n_multiplications(n_rows));
        let (weights, precision) = match &self.weights {
            Weights::F32(weights) => (size_of_val::<[f32]>(weights), Precision::F32),
            Weights::Bf16(weights) => (size_of_val::<[u16]>(weights), Precision::Bf16),
        };
        let numbers = n_rows * (self.depth + self.n);
        Work {
            flop: 2.0 * macs as f64,
            multiplied: 2.0 * multiplied as f64,
            bytes: (weights + numbers * size_of::<f32>()) as f64,
            precision: Some(precision),
        }
    }

    fn bias(&self) -> Option<&[f32]> {
        if self.bias.is_empty() { None } else { Some(&self.bias) }
    }

    /// Whether `rows` are split for tiles, in a session that splits.
    fn is_split(&self, rows: &Rows<'_>, n_rows: usize) -> bool {
        let is_plain_f32 = matches!((&self.weights, self.quick), (Weights::F32(_), None));
        is_plain_f32 && is_split(rows, n_rows, self.n)
    }

    /// The most rows of `depth` numbers that are shared out by columns among so many threads.
    fn most_by_columns(&self, n_threads: usize, depth: usize, is_split: bool) -> usize {
        match &self.weights {
            _ if self.quick.is_some() => 0,
            // One thread gains nothing, but that it splits weights once and not for every block.
            _ if n_threads == 1 && !is_split => 0,
            Weights::F32(_) => most_rows::<f32>(depth, self.n),
            Weights::Bf16(_) => most_rows::<u16>(depth, self.n),
        }
    }

    /// The product itself, on this thread, for `n_rows` rows into rows of `n` numbers; only of
    /// f32.
    pub(crate) fn multiply(
        &self,
        isa: Isa,
        rows: Rows<'_>,
        n_rows: usize,
        out: &mut [f32],
        output: Output,
    ) {
        let Weights::F32(weights) = &self.weights else { unreachable!("{} is bf16", self.name) };
        gemm(isa, rows, n_rows, weights, self.n, self.bias(), out, self.n, output);
    }

    /// One block of a convolution, on this thread: the activated input in `stage`, then the
    /// product.
    pub(crate) fn multiply_block(
        &self,
        isa: Isa,
        input: Activated<'_>,
        block: Block,
        stage: &mut Stage,
        out: &mut [f32],
        output: Output,
    ) {
        let bias = self.bias();
        let n_rows = block.n_rows;
        match (&self.weights, self.quick) {
            (Weights::F32(weights), None) => {
                let operands = Operands::F32(block.stage(isa, input, &mut stage.rows), weights);
                operands.multiply(isa, n_rows, bias, out, output, &mut stage.packed);
            }
            (Weights::Bf16(weights), None) => {
                let operands = Operands::Bf16(block.stage(isa, input, &mut stage.rows), weights);
                operands.multiply(isa, n_rows, bias, out, output, &mut stage.packed);
            }
            (Weights::F32(weights), Some(shape)) => {
                quick(isa, input, block, (weights, shape, bias), stage, out, output);
            }
            (Weights::Bf16(weights), Some(shape)) => {
                quick(isa, input, block, (weights, shape, bias), stage, out, output);
            }
        }
    }

    /// Memory enough for blocks of `n_rows` rows, whatever blocks a thread happens to get, so that
    /// later ones allocate nothing.
    pub(crate) fn reserve(&self, n_rows: usize, dilation: usize, stage: &mut Stage) {
        self.reserve_staged(n_rows, dilation, &mut stage.rows);
        if let Some(shape) = self.quick {
            let (n_inputs, n_products) = shape.scratch_len(n_rows);
            stage.packed.take(n_inputs);
            stage.out.take(n_products);
        }
    }

    fn reserve_staged(&self, n_rows: usize, dilation: usize, rows: &mut Buffer) {
        let n_staged = (n_rows + (self.n_taps - 1) * dilation) * self.depth;
        if matches!((&self.weights, self.quick), (Weights::Bf16(_), None)) {
            rows.take_of::<u16>(n_staged);
        } else {
            rows.take(n_staged);
        }
    }

    /// The layer over `rows` as they are, on all threads: `out` `[n_rows][n]`.
    pub(crate) fn apply(
        &self,
        cx: &mut Context<'_, '_>,
        rows: Rows<'_>,
        out: &mut [f32],
        finish: Finish<'_>,
    ) -> Result<(), Error> {
        cx.go_on()?;
        let started = cx.clock();
        let n_rows = out.len() / self.n;
        let isa = cx.isa;
        let is_split = cx.splits && self.is_split(&rows, n_rows);
        // Each output is the same however the rows are cut, so here threads may decide. Weights are
        // split for each block anew.
        let n_tiles = n_rows.div_ceil(TILE);
        let most_tiles = if is_split { 2 * MOST_TILES } else { MOST_TILES };
        let most = n_tiles.div_ceil(cx.threads.count()).clamp(1, most_tiles);
        let block = cx.threads.fairest(n_tiles, (most.div_ceil(2)..=most).rev()) * TILE;
        let pieces = Pieces::new(out, block * self.n, finish, None);
        match &self.weights {
            Weights::F32(weights) => {
                // Lent while the threads run.
                let mut terms = std::mem::take(&mut cx.threads.terms);
                let operands = if is_split {
                    Operands::Split(split(cx.threads, isa, rows, n_rows, &mut terms), weights)
                } else {
                    Operands::F32(rows, weights)
                };
                let k = rows.n_taps * rows.depth;
                let most_by_columns = self.most_by_columns(cx.threads.count(), k, is_split);
                let size = (n_rows, most_by_columns);
                self.multiply_shared(cx, operands, size, &pieces, finish);
                cx.threads.terms = terms;
            }
            Weights::Bf16(weights) => cx.threads.run(|stage| {
                // Fewer rows may be cut into longer blocks.
                stage.rows.take_of::<u16>(rows.reach((MOST_TILES * TILE).min(n_rows)));
                while let Some(piece) = pieces.next() {
                    let n_rows = piece.out.len() / self.n;
                    let data = &rows.data[piece.first_row(self.n) * rows.row_stride..];
                    let rounded = stage.rows.take_of::<u16>(rows.reach(n_rows));
                    activation::convert(isa, &data[..rounded.len()], rounded);
                    let Rows { row_stride, n_taps, tap_stride, depth, .. } = rows;
                    let rows = Rows { data: &*rounded, row_stride, n_taps, tap_stride, depth };
                    let (operands, room) = (Operands::Bf16(rows, weights), &mut stage.packed);
                    operands.multiply(isa, n_rows, self.bias(), piece.out, finish.output(), room);
                    piece.finish(isa);
                }
            }),
        }
        self.record(cx, started, n_rows, is_split);
        Ok(())
    }

    /// Notes that the layer ran from `started` until now.
    fn record(
        &self,
        cx: &mut Context<'_, '_>,
        started: Option<Instant>,
        n_rows: usize,
        is_split: bool,
    ) {
        let work = self.work(n_rows);
        cx.record(started, &self.name, if is_split { work.split() } else { work });
    }

    /// The product of operands that all threads read: by columns up to `most_by_columns` rows, by
    /// blocks of rows above that.
    fn multiply_shared(
        &self,
        cx: &mut Context<'_, '_>,
        operands: Operands<'_>,
        (n_rows, most_by_columns): (usize, usize),
        pieces: &Queue<Pieces<'_>>,
        finish: Finish<'_>,
    ) {
        let (isa, n, bias) = (cx.isa, self.n, self.bias());
        // So that fewer rows allocate nothing later.
        cx.threads.columns.take(most_by_columns.min(n_rows) * n);
        if (1..=most_by_columns).contains(&n_rows) {
            columns::multiply(isa, cx.threads, operands, bias, (n_rows, n), pieces, finish);
            return;
        }
        cx.threads.run(|stage| {
            operands.reserve(&mut stage.packed);
            while let Some(piece) = pieces.next() {
                let operands = operands.skip_rows(piece.first_row(n));
                let (n_rows, room) = (piece.out.len() / n, &mut stage.packed);
                operands.multiply(isa, n_rows, bias, piece.out, finish.output(), room);
                piece.finish(isa);
            }
        });
    }

    /// The convolution over time: as many rows of `out` `[T][n]` as of input. `moments` of the
    /// output are gathered if wanted.
    pub(crate) fn convolve(
        &self,
        cx: &mut Context<'_, '_>,
        input: Activated<'_>,
        dilation: usize,
        out: &mut [f32],
        finish: Finish<'_>,
        moments: Option<&mut Moments>,
    ) -> Result<(), Error> {
        cx.go_on()?;
        let started = cx.clock();
        let (c, n_rows) = (self.depth, input.x.len() / self.depth);
        assert_eq!(out.len(), n_rows * self.n);
        assert!(self.quick.is_none_or(|shape| shape.dilation == dilation));
        let reach = (self.n_taps - 1) * dilation;
        let (size, most_of_block) = match self.quick {
            None => (block_rows(n_rows, c.max(self.n)), block_rows(n_rows, c.max(self.n))),
            Some(_) => quick_block_rows(n_rows, c),
        };
        let isa = cx.isa;
        let pieces = Pieces::new(out, size * self.n, finish, moments.map(|m| (m, self.n)));
        let first = -((reach / 2) as isize);
        let whole = Block { first, n_rows, n_taps: self.n_taps, dilation, depth: c };
        let is_split = cx.splits && self.is_split(&whole.rows(&[]), n_rows);
        let most_by_columns = self.most_by_columns(cx.threads.count(), c, is_split);
        if is_split {
            // Fewer rows may not be.
            cx.threads.run(|stage| self.reserve(most_of_block.min(n_rows), dilation, stage));
        }
        if is_split || n_rows <= most_by_columns {
            self.convolve_whole(cx, input, (whole, most_by_columns, is_split), &pieces, finish);
        } else {
            if most_by_columns > 0 {
                // Fewer rows may be by columns.
                self.reserve_staged(most_by_columns, dilation, &mut cx.threads.rows);
                cx.threads.columns.take(most_by_columns * self.n);
            }
            cx.threads.run(|stage| {
                self.reserve(most_of_block.min(n_rows), dilation, stage);
                while let Some(piece) = pieces.next() {
                    let n_rows = piece.out.len() / self.n;
                    let first = whole.first + piece.first_row(self.n) as isize;
                    let block = Block { first, n_rows, ..whole };
                    self.multiply_block(isa, input, block, stage, piece.out, finish.output());
                    piece.finish(isa);
                }
            });
        }
        self.record(cx, started, n_rows, is_split);
        Ok(())
    }

    /// A convolution whose input is activated for all threads before any of it is multiplied.
    fn convolve_whole(
        &self,
        cx: &mut Context<'_, '_>,
        input: Activated<'_>,
        (whole, most_by_columns, is_split): (Block, usize, bool),
        pieces: &Queue<Pieces<'_>>,
        finish: Finish<'_>,
    ) {
        let (isa, n_rows) = (cx.isa, whole.n_rows);
        // Lent while the threads run.
        let mut room = std::mem::take(&mut cx.threads.rows);
        let mut terms = std::mem::take(&mut cx.threads.terms);
        let operands = match &self.weights {
            Weights::F32(weights) => {
                let rows = whole.stage_on(cx.threads, isa, input, &mut room);
                if is_split {
                    Operands::Split(split(cx.threads, isa, rows, n_rows, &mut terms), weights)
                } else {
                    Operands::F32(rows, weights)
                }
            }
            Weights::Bf16(weights) => {
                Operands::Bf16(whole.stage_on(cx.threads, isa, input, &mut room), weights)
            }
        };
        self.multiply_shared(cx, operands, (n_rows, most_by_columns), pieces, finish);
        (cx.threads.rows, cx.threads.terms) = (room, terms);
    }
}

/// A block of a convolution by fewer multiplications.
fn quick<T: Number + Pod>(
    isa: Isa,
    input: Activated<'_>,
    block: Block,
    (weights, shape, bias): (&[T], Shape, Option<&[f32]>),
    stage: &mut Stage,
    out: &mut [f32],
    output: Output,
) {
    let staged = block.stage::<f32>(isa, input, &mut stage.rows).data;
    let (n_inputs, n_products) = shape.scratch_len(block.n_rows);
    let scratch = (stage.packed.take_of::<T>(n_inputs), stage.out.take(n_products));
    shape.convolve(isa, staged, block.n_rows, weights, bias, out, output, scratch);
}

/// How many rows to take at once: enough for the weights to be worth fetching, few enough for
/// the rows to stay in a cache of a megabyte, and pieces enough for a few threads. It depends on
/// the shape alone, because moments are summed by block.
pub(crate) fn block_rows(n_rows: usize, channels: usize) -> usize {
    let fits = (49_152 / channels).clamp(96, 384);
    (n_rows / 8).clamp(TILE, fits).next_multiple_of(TILE)
}

/// The same for convolutions by fewer multiplications, which hold more beside the rows. A
/// multiple of eight blocks shares evenly among threads. The second number is the most that as
/// many rows or fewer come to, which memory is taken for.
fn quick_block_rows(n_rows: usize, channels: usize) -> (usize, usize) {
    let fits = (30_720 / channels).max(TILE);
    let n_blocks = n_rows.div_ceil(fits).next_multiple_of(8);
    let block = |n_blocks| n_rows.div_ceil(n_blocks).next_multiple_of(TILE);
    (block(n_blocks), block(8).min(fits.next_multiple_of(TILE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is transformed has another layout than what is split.
    #[test]
    fn only_plain_products_of_f32_are_split() {
        const N: usize = 128;
        let product = |weights| Product::from_parts("", weights, Section::default(), 3, N, N);
        let rows = Rows { data: &[], row_stride: N, n_taps: 3, tap_stride: N, depth: N };
        let f32 = || Weights::F32(Section::default());
        assert!(product(f32()).is_split(&rows, 100));
        assert!(!product(f32()).is_split(&rows, 10), "few rows are not worth it");
        assert!(!product(Weights::Bf16(Section::default())).is_split(&rows, 100));
        let quick = Some(Shape { n_taps: 3, dilation: 1, depth: N, n: N });
        assert!(!Product { quick, ..product(f32()) }.is_split(&rows, 100));
    }
}
