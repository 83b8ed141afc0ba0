//! `AdainResBlk1d`: the residual block of the F0, energy and decoder trunks.
//!
//! norm → leaky → (upsample) → conv → norm → leaky → conv, plus a shortcut, over √2.

use super::context::Context;
use super::input::{Activated, Activation};
use super::norm::{AdaIn, Coefficients, Moments, StyleLayer};
use super::output::Finish;
use super::product::Product;
use crate::Error;
use crate::buffer::Buffer;
use crate::weights::{Loader, Section};

const SLOPE: f32 = 0.2;

pub(crate) struct ResidualBlock {
    norm1: AdaIn,
    norm2: AdaIn,
    conv1: Product,
    conv2: Product,
    /// Of one tap, where input and output differ in width.
    shortcut: Option<Product>,
    /// Doubles the rows.
    upsample: Option<Upsample>,
}

/// Depthwise transposed convolution of 3 taps and stride 2.
struct Upsample {
    /// `[3][C]`
    weights: Section,
    bias: Section,
}

/// Scratch of one pass: small numbers of its own, and room lent by whoever runs it.
pub(crate) struct BlockScratch<'a> {
    pub(crate) moments: &'a mut Moments,
    pub(crate) coefficients: &'a mut Coefficients,
    pub(crate) room: &'a mut Buffer,
}

impl ResidualBlock {
    pub(crate) fn load(
        load: &mut Loader<'_>,
        name: &str,
        n_in: usize,
        n: usize,
        upsample: bool,
    ) -> Result<Self, Error> {
        let upsample = if upsample { Some(Upsample::load(load, name, n_in)?) } else { None };
        let shortcut = if n_in == n {
            None
        } else {
            Some(Product::conv(load, &format!("{name}.conv1x1"), n_in, n, 1, false)?)
        };
        Ok(Self {
            norm1: AdaIn::load(load, &format!("{name}.norm1"), n_in)?,
            norm2: AdaIn::load(load, &format!("{name}.norm2"), n)?,
            conv1: Product::conv(load, &format!("{name}.conv1"), n_in, n, 3, true)?,
            conv2: Product::conv(load, &format!("{name}.conv2"), n, n, 3, true)?,
            shortcut,
            upsample,
        })
    }

    /// In the order in which they are loaded.
    pub(crate) fn styles(&self) -> impl Iterator<Item = &StyleLayer> {
        [self.norm1.style(), self.norm2.style()].into_iter()
    }

    /// Width of the output.
    pub(crate) fn n_out(&self) -> usize {
        self.conv2.n
    }

    /// Rows of output for `n_rows` rows of input.
    pub(crate) fn rows_out(&self, n_rows: usize) -> usize {
        if self.upsample.is_some() { 2 * n_rows } else { n_rows }
    }

    /// `x` `[T][n_in]` to `out` `[T or 2T][n]`.
    pub(crate) fn run(
        &self,
        cx: &mut Context<'_, '_>,
        x: &[f32],
        styles: &[f32],
        scratch: &mut BlockScratch<'_>,
        out: &mut [f32],
    ) -> Result<(), Error> {
        let (n_in, n) = (self.conv1.depth, self.conv1.n);
        let n_rows = x.len() / n_in;
        let n_rows_out = self.rows_out(n_rows);
        let BlockScratch { moments, coefficients, room } = scratch;
        // Before the first convolution, its output, the shortcut, and the shortcut before its
        // rows are repeated.
        let n_before = if self.upsample.is_some() { 3 * x.len() } else { 0 };
        let n_after = n_rows_out * n;
        let room = room.take(n_before + 2 * n_after + n_rows * n);
        let (before, room) = room.split_at_mut(n_before);
        let (middle, room) = room.split_at_mut(n_after);
        let (side, narrow) = room.split_at_mut(n_after);

        moments.measure(cx, x, n_in)?;
        self.norm1.coefficients(cx, styles, moments, coefficients);
        let active = coefficients.leaky(SLOPE);
        let input = match &self.upsample {
            None => Activated { x, by: active },
            Some(upsample) => {
                let (activated, upsampled) = before.split_at_mut(x.len());
                active.apply(cx.isa, x, activated);
                upsample.run(activated, upsampled);
                Activated { x: upsampled, by: Activation::None }
            }
        };
        self.conv1.convolve(cx, input, 1, middle, Finish::Store, Some(moments))?;

        self.norm2.coefficients(cx, styles, moments, coefficients);
        let side = match &self.shortcut {
            None if self.upsample.is_none() => x,
            None => {
                repeat_rows(x, n, side);
                side
            }
            Some(shortcut) => {
                // A product row by row: it may as well come before the rows are repeated.
                let rows = koe_kernels::gemm::Rows::plain(x, n_in);
                shortcut.apply(cx, rows, narrow, Finish::Store)?;
                if self.upsample.is_some() {
                    repeat_rows(narrow, n, side);
                    side
                } else {
                    narrow
                }
            }
        };
        let finish = Finish::Join { with: side, factor: std::f32::consts::FRAC_1_SQRT_2 };
        let input = Activated { x: middle, by: coefficients.leaky(SLOPE) };
        self.conv2.convolve(cx, input, 1, out, finish, None)
    }
}

impl Upsample {
    fn load(load: &mut Loader<'_>, name: &str, n: usize) -> Result<Self, Error> {
        let weights = load.section(&format!("{name}.pool.weight"), 3 * n, |source| {
            let weight = source.f32(&format!("{name}.pool.weight"), &[n, 1, 3])?;
            Ok((0..3 * n).map(|i| weight[i % n * 3 + i / n]).collect())
        })?;
        let bias = format!("{name}.pool.bias");
        let bias = load.section(&bias, n, |source| source.f32(&bias, &[n]))?;
        Ok(Self { weights, bias })
    }

    /// `x` `[T][C]` to `out` `[2T][C]`: with padding and output padding of one, even rows see
    /// the middle tap, odd rows the last tap of their own and the first of the next row.
    fn run(&self, x: &[f32], out: &mut [f32]) {
        let c = self.bias.len();
        let (first, rest) = self.weights.split_at(c);
        let (middle, last) = rest.split_at(c);
        let n_rows = x.len() / c;
        for (t, out) in out.chunks_exact_mut(2 * c).enumerate() {
            let (even, odd) = out.split_at_mut(c);
            let now = &x[t * c..][..c];
            for i in 0..c {
                even[i] = now[i] * middle[i] + self.bias[i];
                odd[i] = now[i] * last[i] + self.bias[i];
            }
            if t + 1 < n_rows {
                let next = &x[(t + 1) * c..][..c];
                for i in 0..c {
                    odd[i] += next[i] * first[i];
                }
            }
        }
    }
}

/// Each row twice.
fn repeat_rows(x: &[f32], c: usize, out: &mut [f32]) {
    for (x, out) in x.chunks_exact(c).zip(out.chunks_exact_mut(2 * c)) {
        out[..c].copy_from_slice(x);
        out[c..].copy_from_slice(x);
    }
}
