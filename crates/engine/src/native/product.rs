//! Linear layers and convolutions: one packed product, applied to blocks of rows.
//!
//! A block of input rows is activated into a thread's own memory, with the rows around it that
//! the taps reach, and multiplied from there while it is in the cache. What the next layer's
//! normalisation must know of the output is gathered before the block leaves the cache. Nothing
//! that is computed depends on the number of threads: blocks are cut by shape alone.
//!
//! The pass that activates a block also rounds it, where the product is of bf16.

use std::slice::{Chunks, ChunksMut};

use bytemuck::Pod;
use koe_kernels::gemm::{Output, Rows, gemm};
use koe_kernels::number::Number;
use koe_kernels::winograd::Shape;
use koe_kernels::{Isa, activation};

use super::columns::{Columns, Input, most_rows};
use super::context::Context;
use super::norm::Moments;
use crate::buffer::Buffer;
use crate::profile::Work;
use crate::threads::{Queue, Stage, Threads};
use crate::weights::{Loader, Section, Weights};
use crate::{Error, Precision};

/// Rows that every kernel computes together divide this; blocks are multiples of it.
const TILE: usize = 12;

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

/// What is done to the input before the product; coefficients are one a channel.
#[derive(Clone, Copy)]
pub(crate) enum Activation<'a> {
    None,
    /// Leaky rectifier with this slope.
    Leaky(f32),
    /// A normalisation as an affine map, then the leaky rectifier.
    NormLeaky {
        scale: &'a [f32],
        shift: &'a [f32],
        slope: f32,
    },
    /// A normalisation as an affine map, then Snake.
    NormSnake {
        scale: &'a [f32],
        shift: &'a [f32],
        alpha: &'a [f32],
        inverse_alpha: &'a [f32],
    },
}

impl Activation<'_> {
    pub(crate) fn apply<T: Number>(&self, isa: Isa, x: &[f32], out: &mut [T]) {
        match *self {
            Self::None => activation::convert(isa, x, out),
            Self::Leaky(slope) => activation::leaky(isa, x, slope, out),
            Self::NormLeaky { scale, shift, slope } => {
                activation::affine_leaky(isa, x, scale, shift, slope, out);
            }
            Self::NormSnake { scale, shift, alpha, inverse_alpha } => {
                activation::affine_snake(isa, x, scale, shift, alpha, inverse_alpha, out);
            }
        }
    }
}

/// What a convolution reads: `x` `[T][depth]`, activated, with zeros around it.
#[derive(Clone, Copy)]
pub(crate) struct Activated<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) by: Activation<'a>,
}

/// What is done with the product.
#[derive(Clone, Copy)]
pub(crate) enum Finish<'a> {
    /// `out = product`.
    Store,
    /// `out += product`.
    Add,
    /// `out = (product + with) * factor`; `with` has the shape of `out`.
    Join { with: &'a [f32], factor: f32 },
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

    /// The most rows that a convolution shares out by columns among so many threads.
    fn most_by_columns(&self, n_threads: usize) -> usize {
        match &self.weights {
            _ if self.quick.is_some() || n_threads == 1 => 0,
            Weights::F32(_) => most_rows::<f32>(self.depth, self.n),
            Weights::Bf16(_) => most_rows::<u16>(self.depth, self.n),
        }
    }

    fn convolve_by_columns(
        &self,
        isa: Isa,
        threads: &mut Threads,
        (block, input): (Block, Activated<'_>),
        pieces: &Queue<Pieces<'_>>,
        finish: Finish<'_>,
    ) {
        let (n, bias, n_rows) = (self.n, self.bias(), block.n_rows);
        match &self.weights {
            Weights::F32(weights) => {
                let input = Input::Block(block, input);
                Columns { weights, n, bias }.run(isa, threads, n_rows, &input, pieces, finish);
            }
            Weights::Bf16(weights) => {
                let input = Input::Block(block, input);
                Columns { weights, n, bias }.run(isa, threads, n_rows, &input, pieces, finish);
            }
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

    /// Of either kind: what is f32 is rounded first where the weights are bf16.
    fn multiply_any(
        &self,
        isa: Isa,
        rows: Rows<'_>,
        n_rows: usize,
        stage: &mut Stage,
        out: &mut [f32],
        output: Output,
    ) {
        let Weights::Bf16(weights) = &self.weights else {
            return self.multiply(isa, rows, n_rows, out, output);
        };
        let reach = rows.reach(n_rows);
        let rounded = stage.rows.take_of::<u16>(reach);
        activation::convert(isa, &rows.data[..reach], rounded);
        let Rows { row_stride, n_taps, tap_stride, depth, .. } = rows;
        let rows = Rows { data: &*rounded, row_stride, n_taps, tap_stride, depth };
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
        match (&self.weights, self.quick) {
            (Weights::F32(weights), None) => {
                direct(isa, input, block, (weights, self.n, bias), stage, out, output);
            }
            (Weights::Bf16(weights), None) => {
                direct(isa, input, block, (weights, self.n, bias), stage, out, output);
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
        let n_staged = (n_rows + (self.n_taps - 1) * dilation) * self.depth;
        stage.rows.take(n_staged);
        if let Some(shape) = self.quick {
            let (n_inputs, n_products) = shape.scratch_len(n_rows);
            stage.packed.take(n_inputs);
            stage.out.take(n_products);
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
        // Each output is the same however the rows are cut, so here threads may decide.
        let block = n_rows.div_ceil(cx.threads.count()).next_multiple_of(TILE).min(8 * TILE);
        let isa = cx.isa;
        let pieces = Pieces::new(out, block * self.n, finish, None);
        if let Weights::F32(weights) = &self.weights
            && cx.threads.count() > 1
        {
            let most = most_rows::<f32>(rows.n_taps * rows.depth, self.n);
            cx.threads.columns.take(most.min(n_rows) * self.n);
            if n_rows <= most {
                let columns = Columns { weights, n: self.n, bias: self.bias() };
                columns.run(isa, cx.threads, n_rows, &Input::Rows(rows), &pieces, finish);
                cx.record(started, &self.name, self.work(n_rows));
                return Ok(());
            }
        }
        cx.threads.run(|stage| {
            if matches!(self.weights, Weights::Bf16(_)) {
                stage.rows.take_of::<u16>(rows.reach(block.min(n_rows)));
            }
            while let Some(piece) = pieces.next() {
                let first = piece.index * block;
                let rows = Rows { data: &rows.data[first * rows.row_stride..], ..rows };
                let n_rows = piece.out.len() / self.n;
                self.multiply_any(isa, rows, n_rows, stage, piece.out, finish.output());
                piece.finish(isa);
            }
        });
        cx.record(started, &self.name, self.work(n_rows));
        Ok(())
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
        let (size, most) = match self.quick {
            None => (block_rows(n_rows, c.max(self.n)), block_rows(n_rows, c.max(self.n))),
            Some(_) => quick_block_rows(n_rows, c),
        };
        let isa = cx.isa;
        let pieces = Pieces::new(out, size * self.n, finish, moments.map(|m| (m, self.n)));
        let first = -((reach / 2) as isize);
        let whole = Block { first, n_rows, n_taps: self.n_taps, dilation, depth: c };
        let most = match self.most_by_columns(cx.threads.count()) {
            0 => most,
            by_columns => {
                cx.threads.columns.take(by_columns.min(n_rows) * self.n);
                if n_rows <= by_columns {
                    let input = (whole, input);
                    self.convolve_by_columns(isa, cx.threads, input, &pieces, finish);
                    cx.record(started, &self.name, self.work(n_rows));
                    return Ok(());
                }
                most.max(by_columns)
            }
        };
        cx.threads.run(|stage| {
            self.reserve(most.min(n_rows), dilation, stage);
            while let Some(piece) = pieces.next() {
                let n_rows = piece.out.len() / self.n;
                let first = whole.first + (piece.index * size) as isize;
                let block = Block { first, n_rows, ..whole };
                self.multiply_block(isa, input, block, stage, piece.out, finish.output());
                piece.finish(isa);
            }
        });
        cx.record(started, &self.name, self.work(n_rows));
        Ok(())
    }
}

/// Rows of a convolution that are computed together.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    /// Input row of the first tap of the first row.
    pub(crate) first: isize,
    pub(crate) n_rows: usize,
    pub(crate) n_taps: usize,
    pub(crate) dilation: usize,
    /// Input channels.
    pub(crate) depth: usize,
}

impl Block {
    /// Numbers of input.
    fn n_staged(&self) -> usize {
        (self.n_rows + (self.n_taps - 1) * self.dilation) * self.depth
    }

    /// The activated input, in `room`, as a product takes it.
    pub(super) fn stage<'a, T: Number + Pod>(
        &self,
        isa: Isa,
        input: Activated<'_>,
        room: &'a mut Buffer,
    ) -> Rows<'a, T> {
        let Self { first, n_taps, dilation, depth, .. } = *self;
        let staged = room.take_of::<T>(self.n_staged());
        stage_rows(isa, input, first, staged, depth);
        let data = &*staged;
        Rows { data, row_stride: depth, n_taps, tap_stride: dilation * depth, depth }
    }
}

/// A block of a plain product; the weights come with their width and bias.
fn direct<T: Number + Pod>(
    isa: Isa,
    input: Activated<'_>,
    block: Block,
    (weights, n, bias): (&[T], usize, Option<&[f32]>),
    stage: &mut Stage,
    out: &mut [f32],
    output: Output,
) {
    let rows = block.stage(isa, input, &mut stage.rows);
    gemm(isa, rows, block.n_rows, weights, n, bias, out, n, output);
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
    let staged = stage.rows.take(block.n_staged());
    stage_rows(isa, input, block.first, staged, block.depth);
    let (n_inputs, n_products) = shape.scratch_len(block.n_rows);
    let scratch = (stage.packed.take_of::<T>(n_inputs), stage.out.take(n_products));
    shape.convolve(isa, staged, block.n_rows, weights, bias, out, output, scratch);
}

impl Finish<'_> {
    pub(super) fn output(&self) -> Output {
        if matches!(self, Self::Add) { Output::Add } else { Output::Store }
    }
}

/// Fills `stage` with the activated rows of the input `[T][c]` from row `first` on; rows before the
/// start and after the end are zero.
fn stage_rows<T: Number>(isa: Isa, input: Activated<'_>, first: isize, stage: &mut [T], c: usize) {
    let x = input.x;
    let n_rows = x.len() / c;
    let last = first + (stage.len() / c) as isize;
    let from = first.clamp(0, n_rows as isize);
    let to = last.clamp(from, n_rows as isize);
    let (head, rest) = stage.split_at_mut((from - first) as usize * c);
    let (body, tail) = rest.split_at_mut((to - from) as usize * c);
    head.fill(T::default());
    input.by.apply(isa, &x[from as usize * c..to as usize * c], body);
    tail.fill(T::default());
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

/// The blocks of an output, with what belongs to each.
pub(super) struct Pieces<'a> {
    index: usize,
    size: usize,
    out: ChunksMut<'a, f32>,
    with: Option<(Chunks<'a, f32>, f32)>,
    moments: Option<(ChunksMut<'a, f32>, ChunksMut<'a, f32>)>,
}

/// One block.
pub(super) struct Piece<'a> {
    index: usize,
    size: usize,
    pub(super) out: &'a mut [f32],
    with: Option<(&'a [f32], f32)>,
    moments: Option<(&'a mut [f32], &'a mut [f32])>,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(
        out: &'a mut [f32],
        size: usize,
        finish: Finish<'a>,
        moments: Option<(&'a mut Moments, usize)>,
    ) -> Queue<Self> {
        let with = match finish {
            Finish::Join { with, factor } => {
                assert_eq!(with.len(), out.len());
                Some((with.chunks(size), factor))
            }
            Finish::Store | Finish::Add => None,
        };
        let moments = moments.map(|(moments, n)| moments.blocks(out.len() / n, size / n, n));
        Queue::new(Self { index: 0, size, out: out.chunks_mut(size), with, moments })
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let out = self.out.next()?;
        let with = self.with.as_mut().and_then(|(chunks, factor)| Some((chunks.next()?, *factor)));
        let moments = self.moments.as_mut().and_then(|(mean, m2)| Some((mean.next()?, m2.next()?)));
        let index = self.index;
        self.index += 1;
        Some(Piece { index, size: self.size, out, with, moments })
    }
}

impl Piece<'_> {
    /// Which row of the whole it starts at, of `n` numbers.
    pub(super) fn first_row(&self, n: usize) -> usize {
        self.index * self.size / n
    }

    /// What is left to do once the product is in `out`.
    pub(super) fn finish(self, isa: Isa) {
        if let Some((with, factor)) = self.with {
            activation::add_scale(isa, with, factor, self.out);
        }
        if let Some((mean, m2)) = self.moments {
            koe_kernels::norm::channel_moments(isa, self.out, mean, m2);
        }
    }
}
