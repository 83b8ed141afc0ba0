//! Linear layers and convolutions: one packed product, applied to blocks of rows.
//!
//! A block of input rows is activated into a thread's own memory, with the rows around it that
//! the taps reach, and multiplied from there while it is in the cache. What the next layer's
//! normalisation must know of the output is gathered before the block leaves the cache. Nothing
//! that is computed depends on the number of threads: blocks are cut by shape alone.

use std::slice::{Chunks, ChunksMut};
use std::sync::{Mutex, PoisonError};

use koe_kernels::gemm::{Output, Rows, gemm};
use koe_kernels::{Isa, activation};

use super::context::Context;
use super::norm::Moments;
use crate::Error;
use crate::threads::Stage;
use crate::weights::{Loader, Section};

/// Rows that every kernel computes together divide this; blocks are multiples of it.
const TILE: usize = 12;

/// A linear layer or a convolution of stride 1.
pub(crate) struct Product {
    /// `[taps * depth][n]`, packed.
    weights: Section,
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
    pub(crate) fn apply(&self, isa: Isa, x: &[f32], out: &mut [f32]) {
        match *self {
            Self::None => out.copy_from_slice(x),
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
    /// `name.weight` `[n][n_in]` and `name.bias` `[n]`.
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
        Ok(Self { weights, bias, n_taps: 1, depth: n_in, n })
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
        let weights = load.packed(&format!("{name}.weight"), n_taps * n_in, n, |source| {
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
        Ok(Self { weights, bias, n_taps, depth: n_in, n })
    }

    /// A product of given parts.
    pub(crate) fn from_parts(
        weights: Section,
        bias: Section,
        n_taps: usize,
        depth: usize,
        n: usize,
    ) -> Self {
        Self { weights, bias, n_taps, depth, n }
    }

    fn bias(&self) -> Option<&[f32]> {
        if self.bias.is_empty() { None } else { Some(&self.bias) }
    }

    /// The product itself, on this thread, for `n_rows` rows into rows of `n` numbers.
    pub(crate) fn multiply(
        &self,
        isa: Isa,
        rows: Rows<'_>,
        n_rows: usize,
        out: &mut [f32],
        output: Output,
    ) {
        gemm(isa, rows, n_rows, &self.weights, self.n, self.bias(), out, self.n, output);
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
        let n_rows = out.len() / self.n;
        // Each output is the same however the rows are cut, so here threads may decide.
        let block = n_rows.div_ceil(cx.threads.count()).next_multiple_of(TILE).min(8 * TILE);
        let isa = cx.isa;
        let pieces = Pieces::new(out, block * self.n, finish, None);
        cx.threads.run(|_| {
            while let Some(piece) = pieces.next() {
                let first = piece.index * block;
                let rows = Rows { data: &rows.data[first * rows.row_stride..], ..rows };
                let n_rows = piece.out.len() / self.n;
                self.multiply(isa, rows, n_rows, piece.out, finish.output());
                piece.finish(isa);
            }
        });
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
        let (c, n_rows) = (self.depth, input.x.len() / self.depth);
        assert_eq!(out.len(), n_rows * self.n);
        let reach = (self.n_taps - 1) * dilation;
        let block = block_rows(n_rows, c.max(self.n));
        let isa = cx.isa;
        let pieces = Pieces::new(out, block * self.n, finish, moments.map(|m| (m, self.n)));
        cx.threads.run(|Stage { rows: stage, .. }| {
            // Whatever pieces a thread gets: so that later ones find memory enough.
            let stage = stage.take((block.min(n_rows) + reach) * c);
            while let Some(piece) = pieces.next() {
                let n_rows = piece.out.len() / self.n;
                let stage = &mut stage[..(n_rows + reach) * c];
                let first = (piece.index * block) as isize - (reach / 2) as isize;
                stage_rows(isa, input, first, stage, c);
                let rows = Rows {
                    data: stage,
                    row_stride: c,
                    n_taps: self.n_taps,
                    tap_stride: dilation * c,
                    depth: c,
                };
                self.multiply(isa, rows, n_rows, piece.out, finish.output());
                piece.finish(isa);
            }
        });
        Ok(())
    }
}

impl Finish<'_> {
    fn output(&self) -> Output {
        if matches!(self, Self::Add) { Output::Add } else { Output::Store }
    }
}

/// Fills `stage` with the activated rows of the input `[T][c]` from row `first` on; rows before the
/// start and after the end are zero.
pub(crate) fn stage_rows(
    isa: Isa,
    input: Activated<'_>,
    first: isize,
    stage: &mut [f32],
    c: usize,
) {
    let x = input.x;
    let n_rows = x.len() / c;
    let last = first + (stage.len() / c) as isize;
    let from = first.clamp(0, n_rows as isize);
    let to = last.clamp(from, n_rows as isize);
    let (head, rest) = stage.split_at_mut((from - first) as usize * c);
    let (body, tail) = rest.split_at_mut((to - from) as usize * c);
    head.fill(0.0);
    input.by.apply(isa, &x[from as usize * c..to as usize * c], body);
    tail.fill(0.0);
}

/// How many rows to take at once: enough for the weights to be worth fetching, few enough for
/// the rows to stay in a cache of a megabyte, and pieces enough for a few threads. It depends on
/// the shape alone, because moments are summed by block.
pub(crate) fn block_rows(n_rows: usize, channels: usize) -> usize {
    let fits = (49_152 / channels).clamp(96, 384);
    (n_rows / 8).clamp(TILE, fits).next_multiple_of(TILE)
}

/// Blocks of an output, handed to whichever thread asks next.
struct Pieces<'a>(Mutex<Remaining<'a>>);

struct Remaining<'a> {
    index: usize,
    out: ChunksMut<'a, f32>,
    with: Option<(Chunks<'a, f32>, f32)>,
    moments: Option<(ChunksMut<'a, f32>, ChunksMut<'a, f32>)>,
}

/// One block.
struct Piece<'a> {
    index: usize,
    out: &'a mut [f32],
    with: Option<(&'a [f32], f32)>,
    moments: Option<(&'a mut [f32], &'a mut [f32])>,
}

impl<'a> Pieces<'a> {
    fn new(
        out: &'a mut [f32],
        size: usize,
        finish: Finish<'a>,
        moments: Option<(&'a mut Moments, usize)>,
    ) -> Self {
        let with = match finish {
            Finish::Join { with, factor } => {
                assert_eq!(with.len(), out.len());
                Some((with.chunks(size), factor))
            }
            Finish::Store | Finish::Add => None,
        };
        let moments = moments.map(|(moments, n)| moments.blocks(out.len() / n, size / n, n));
        Self(Mutex::new(Remaining { index: 0, out: out.chunks_mut(size), with, moments }))
    }

    fn next(&self) -> Option<Piece<'a>> {
        let mut rest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let out = rest.out.next()?;
        let with = rest.with.as_mut().and_then(|(chunks, factor)| Some((chunks.next()?, *factor)));
        let moments = rest.moments.as_mut().and_then(|(mean, m2)| Some((mean.next()?, m2.next()?)));
        let index = rest.index;
        rest.index += 1;
        Some(Piece { index, out, with, moments })
    }
}

impl Piece<'_> {
    /// What is left to do once the product is in `out`.
    fn finish(self, isa: Isa) {
        if let Some((with, factor)) = self.with {
            activation::add_scale(isa, with, factor, self.out);
        }
        if let Some((mean, m2)) = self.moments {
            koe_kernels::norm::channel_moments(isa, self.out, mean, m2);
        }
    }
}
