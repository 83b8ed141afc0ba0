//! Instance normalisation with a style (AdaIN), as one affine map a channel.
//!
//! `(1 + γ) (x - mean) / sqrt(variance + ε) + β` is `x * scale + shift`, so the layer costs a
//! pass for the moments, which the layer before gathers as it writes, and a multiply-add in the
//! activation of the layer behind.

use std::slice::ChunksMut;

use koe_kernels::gemm::{Output, Rows};
use koe_kernels::norm::{channel_moments, combine_moments};

use super::context::Context;
use super::input::Activation;
use super::product::{Product, block_rows};
use crate::Error;
use crate::buffer::Buffer;
use crate::config::HALF_STYLE;
use crate::profile::Work;
use crate::threads::Queue;
use crate::weights::Loader;

/// `InstanceNorm1d`'s default, which Kokoro uses.
const EPSILON: f32 = 1e-5;

/// Mean and squared deviation of every channel for every block of rows.
#[derive(Default)]
pub(crate) struct Moments {
    n_rows: usize,
    block: usize,
    channels: usize,
    /// `[blocks][channels]`
    mean: Buffer,
    /// `[blocks][channels]`
    m2: Buffer,
}

impl Moments {
    /// Room for the moments of `n_rows` rows in blocks of `block`, one chunk a block.
    pub(crate) fn blocks(
        &mut self,
        n_rows: usize,
        block: usize,
        channels: usize,
    ) -> (ChunksMut<'_, f32>, ChunksMut<'_, f32>) {
        (self.n_rows, self.block, self.channels) = (n_rows, block, channels);
        let n = n_rows.div_ceil(block) * channels;
        (self.mean.take(n).chunks_mut(channels), self.m2.take(n).chunks_mut(channels))
    }

    /// The moments of `x` `[T][channels]`, in a pass of their own.
    pub(crate) fn measure(
        &mut self,
        cx: &mut Context<'_, '_>,
        x: &[f32],
        channels: usize,
    ) -> Result<(), Error> {
        cx.go_on()?;
        let started = cx.clock();
        let n_rows = x.len() / channels;
        let block = block_rows(n_rows, channels);
        let isa = cx.isa;
        let (mean, m2) = self.blocks(n_rows, block, channels);
        let pieces = Queue::new(x.chunks(block * channels).zip(mean.zip(m2)));
        cx.threads.run(|_| {
            while let Some((x, (mean, m2))) = pieces.next() {
                channel_moments(isa, x, mean, m2);
            }
        });
        let work = Work::moving(size_of_val(x) as f64);
        cx.record(started, "moments", work);
        Ok(())
    }

    /// Mean and variance over all rows.
    fn combine(&self, mean: &mut [f32], variance: &mut [f32]) {
        let c = self.channels;
        let n_blocks = self.n_rows.div_ceil(self.block);
        let rows_left = |block_idx| self.n_rows - block_idx * self.block;
        let blocks = (0..n_blocks)
            .zip(self.mean.get(n_blocks * c).chunks_exact(c))
            .zip(self.m2.get(n_blocks * c).chunks_exact(c))
            .map(|((i, mean), m2)| (rows_left(i).min(self.block), mean, m2));
        combine_moments(blocks, mean, variance);
    }
}

/// The affine map that a normalisation came to.
#[derive(Default)]
pub(crate) struct Coefficients {
    n: usize,
    scale: Buffer,
    shift: Buffer,
}

impl Coefficients {
    /// The map, then the leaky rectifier.
    pub(crate) fn leaky(&self, slope: f32) -> Activation<'_> {
        Activation::NormLeaky {
            scale: self.scale.get(self.n),
            shift: self.shift.get(self.n),
            slope,
        }
    }

    /// The map, then Snake; `alpha` is `[2][C]`, α and 1/α.
    pub(crate) fn snake<'a>(&'a self, alpha: &'a [f32]) -> Activation<'a> {
        let (alpha, inverse_alpha) = alpha.split_at(self.n);
        let (scale, shift) = (self.scale.get(self.n), self.shift.get(self.n));
        Activation::NormSnake { scale, shift, alpha, inverse_alpha }
    }
}

/// Style to γ and β, `[2][channels]`: `name.fc`. All of them depend on the style alone, so they are
/// computed together before anything else, on all threads, into one table.
pub(crate) struct StyleLayer {
    fc: Product,
    /// Where the table has this layer's numbers.
    at: usize,
}

impl StyleLayer {
    pub(crate) fn load(load: &mut Loader<'_>, name: &str, channels: usize) -> Result<Self, Error> {
        let fc = load
            .apart(|load| Product::linear(load, &format!("{name}.fc"), HALF_STYLE, 2 * channels))?;
        let at = load.place_in_styles(fc.n);
        Ok(Self { fc, at })
    }

    /// γ and β.
    pub(crate) fn of<'a>(&self, styles: &'a [f32]) -> (&'a [f32], &'a [f32]) {
        styles[self.at..][..self.fc.n].split_at(self.fc.n / 2)
    }

    /// Fills the part of the table from `first` on: for `layers` in the order in which they were
    /// loaded, whose half of the style this is.
    pub(crate) fn fill<'a>(
        cx: &mut Context<'_, '_>,
        layers: impl Iterator<Item = &'a Self> + Send,
        style: &[f32],
        first: usize,
        styles: &mut [f32],
    ) -> Result<(), Error> {
        cx.go_on()?;
        let started = cx.clock();
        let (isa, profiled) = (cx.isa, started.is_some());
        let mut work = Work::default();
        let (end, mut left) = (first + styles.len(), styles);
        let parts = Queue::new(layers.map(|layer| {
            let at = end - left.len();
            assert_eq!(layer.at, at, "{}: layers out of order", layer.fc.name());
            let (out, rest) = std::mem::take(&mut left).split_at_mut(layer.fc.n);
            left = rest;
            if profiled {
                work += layer.fc.work(1);
            }
            (layer, out)
        }));
        cx.threads.run(|_| {
            while let Some((layer, out)) = parts.next() {
                layer.fc.multiply(isa, Rows::plain(style, HALF_STYLE), 1, out, Output::Store);
            }
        });
        drop(parts);
        cx.record(started, "styles", work);
        Ok(())
    }
}

/// Instance normalisation with a style.
pub(crate) struct AdaIn {
    style: StyleLayer,
    channels: usize,
}

impl AdaIn {
    pub(crate) fn load(load: &mut Loader<'_>, name: &str, channels: usize) -> Result<Self, Error> {
        load.require_plain_norm(&format!("{name}.norm"), channels)?;
        Ok(Self { style: StyleLayer::load(load, name, channels)?, channels })
    }

    pub(crate) fn style(&self) -> &StyleLayer {
        &self.style
    }

    /// The affine map for a tensor of these moments.
    pub(crate) fn coefficients(
        &self,
        cx: &mut Context<'_, '_>,
        styles: &[f32],
        moments: &Moments,
        out: &mut Coefficients,
    ) {
        let started = cx.clock();
        let c = self.channels;
        assert_eq!(moments.channels, c);
        out.n = c;
        let (gamma, beta) = self.style.of(styles);
        let (scale, shift) = (out.scale.take(c), out.shift.take(c));
        moments.combine(shift, scale);
        for i in 0..c {
            let (mean, variance) = (shift[i], scale[i]);
            scale[i] = (1.0 + gamma[i]) / (variance + EPSILON).sqrt();
            shift[i] = beta[i] - mean * scale[i];
        }
        let n_blocks = moments.n_rows.div_ceil(moments.block);
        let work = Work::moving((2 * (n_blocks + 2) * c * size_of::<f32>()) as f64);
        cx.record(started, "coefficients", work);
    }
}
