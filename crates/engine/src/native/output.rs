//! Where a product goes, in blocks of rows, and what is done with it there.

use std::slice::{Chunks, ChunksMut};

use koe_kernels::gemm::Output;
use koe_kernels::{Isa, activation};

use super::norm::Moments;
use crate::threads::Queue;

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

impl Finish<'_> {
    pub(super) fn output(&self) -> Output {
        if matches!(self, Self::Add) { Output::Add } else { Output::Store }
    }
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
