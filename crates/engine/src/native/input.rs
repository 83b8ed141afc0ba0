//! What a product reads: rows, activated, with zeros around them.

use bytemuck::Pod;
use koe_kernels::gemm::Rows;
use koe_kernels::number::Number;
use koe_kernels::{Isa, activation};

use crate::buffer::Buffer;
use crate::threads::{Queue, Threads};

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
        let staged = room.take_of::<T>(self.n_staged());
        stage_rows(isa, input, self.first, staged, self.depth);
        self.rows(staged)
    }

    /// The same on all threads, for all of them.
    pub(super) fn stage_on<'a, T: Number + Pod>(
        &self,
        threads: &mut Threads,
        isa: Isa,
        input: Activated<'_>,
        room: &'a mut Buffer,
    ) -> Rows<'a, T> {
        let staged = room.take_of::<T>(self.n_staged());
        let n_rows = (staged.len() / self.depth).div_ceil(2 * threads.count());
        let parts = Queue::new(staged.chunks_mut(n_rows * self.depth).enumerate());
        threads.run(|_| {
            while let Some((index, part)) = parts.next() {
                let first = self.first + (index * n_rows) as isize;
                stage_rows(isa, input, first, part, self.depth);
            }
        });
        self.rows(staged)
    }

    /// As a product takes them, from where they are staged.
    pub(super) fn rows<'a, T>(&self, data: &'a [T]) -> Rows<'a, T> {
        let Self { n_taps, dilation, depth, .. } = *self;
        Rows { data, row_stride: depth, n_taps, tap_stride: dilation * depth, depth }
    }
}

/// Fills `stage` with the activated rows of the input `[T][c]` from row `first` on; rows before the
/// start and after the end are zero.
fn stage_rows<T: Number>(isa: Isa, input: Activated<'_>, first: isize, stage: &mut [T], c: usize) {
    let (n_rows, n_staged) = (input.x.len() / c, stage.len() / c);
    let n_before = (-first).clamp(0, n_staged as isize) as usize;
    let from = (first.max(0) as usize).min(n_rows);
    let n_inside = (n_rows - from).min(n_staged - n_before);
    let (head, rest) = stage.split_at_mut(n_before * c);
    let (body, tail) = rest.split_at_mut(n_inside * c);
    head.fill(T::default());
    input.by.apply(isa, &input.x[from * c..][..n_inside * c], body);
    tail.fill(T::default());
}
