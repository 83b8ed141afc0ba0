//! Generator: decoder features and F0 to sound, where three quarters of the time go.
//!
//! Follows `istftnet.py` (`Generator`, `AdaINResBlock1`) of the reference. At each of two rates:
//! the features are upsampled by a transposed convolution, what the harmonic source sounds like
//! at that rate is added, and the mean of several residual blocks is taken. An inverse STFT makes
//! samples of the last features.

use koe_kernels::activation;
use koe_kernels::gemm::{Output, Rows};

use super::context::Context;
use super::input::{Activated, Activation, Block};
use super::norm::{AdaIn, Coefficients, Moments, StyleLayer};
use super::output::Finish;
use super::product::Product;
use super::source::{Noise, Source};
use super::stft::Stft;
use crate::buffer::Buffer;
use crate::profile::Work;
use crate::threads::Queue;
use crate::weights::{Loader, Section};
use crate::{Config, Error};

/// The slope before each upsampling, and PyTorch's own before the last convolution.
const SLOPE: f32 = 0.1;
const LAST_SLOPE: f32 = 0.01;
/// Taps of the last convolution.
const LAST_TAPS: usize = 7;

pub(crate) struct Generator {
    source: Source,
    stft: Stft,
    rates: Vec<Rate>,
    last: Product,
    scale: usize,
}

/// One rate in time.
struct Rate {
    up: Upsample,
    /// The source's spectrum at this rate.
    source_conv: Product,
    source_stride: usize,
    source_padding: usize,
    source_block: SnakeBlock,
    blocks: Vec<SnakeBlock>,
    channels: usize,
    /// The last rate gets one more row at the start, as the inverse STFT has one more frame.
    reflect: bool,
}

/// The four largest buffers, `[T][C]` at one rate, in which everything else finds room when they
/// are not in use: a long text needs little memory beside them.
#[derive(Default)]
pub(crate) struct Large {
    /// What comes in.
    pub(crate) x: Buffer,
    /// One block's way; behind it, until the last rate needs it all, the source's spectrum.
    pub(crate) way: Buffer,
    /// The sum of all blocks; at first the decoder's features `[2F][C]`.
    pub(crate) sum: Buffer,
    /// Between the two convolutions of a step.
    pub(crate) middle: Buffer,
}

/// What the generator makes sound of, beside the features in [`Large`].
pub(crate) struct Voiced<'a> {
    /// In Hz, `[2F]`.
    pub(crate) f0: &'a [f32],
    /// The table of what layers make of the style.
    pub(crate) styles: &'a [f32],
    pub(crate) excitation: Excitation<'a>,
}

/// What drives the generator.
#[derive(Clone, Copy)]
pub(crate) enum Excitation<'a> {
    /// Made from the F0 curve.
    Noise(Noise),
    /// The given source signal, one number a sample.
    Source(&'a [f32]),
    /// The given source spectrum, `[frames][2][bins]`.
    Spectrum(&'a [f32]),
}

impl Generator {
    pub(crate) fn load(load: &mut Loader<'_>, config: &Config) -> Result<Self, Error> {
        let net = &config.istftnet;
        let n_rates = net.upsample_rates.len();
        let stft = Stft::load(load, net)?;
        let mut rates = Vec::new();
        let mut n_in = net.upsample_initial_channel;
        for i in 0..n_rates {
            let (c, last) = (n_in / 2, i + 1 == n_rates);
            let name = |part: &str, i: usize| format!("decoder.generator.{part}.{i}");
            let stride: usize = net.upsample_rates[i + 1..].iter().product();
            let taps = if last { 1 } else { 2 * stride };
            let source = name("noise_convs", i);
            // As the reference has them, not in its configuration.
            let (size, dilations) = (if last { 11 } else { 7 }, [1, 3, 5]);
            let n_blocks = net.resblock_kernel_sizes.len();
            let blocks = net.resblock_kernel_sizes.iter().zip(&net.resblock_dilation_sizes);
            let blocks = blocks
                .enumerate()
                .map(|(j, (&size, dilations))| {
                    let name = name("resblocks", i * n_blocks + j);
                    SnakeBlock::load(load, &name, c, size, dilations)
                })
                .collect::<Result<_, _>>()?;
            let (rate, kernel) = (net.upsample_rates[i], net.upsample_kernel_sizes[i]);
            rates.push(Rate {
                up: Upsample::load(load, &name("ups", i), n_in, c, rate, kernel)?,
                source_conv: Product::conv(load, &source, stft.width(), c, taps, true)?,
                source_stride: stride,
                source_padding: if last { 0 } else { stride.div_ceil(2) },
                source_block: SnakeBlock::load(load, &name("noise_res", i), c, size, &dilations)?,
                blocks,
                channels: c,
                reflect: last,
            });
            n_in = c;
        }
        // Its output goes through `exp`: in bf16 it alone would move the sound by 0.6 dB, three
        // times as much as all the rest, for a third of a percent of the work.
        let last = load.in_f32(|load| {
            let name = "decoder.generator.conv_post";
            Product::conv(load, name, n_in, stft.width(), LAST_TAPS, true)
        })?;
        let scale = config.samples_per_curve_point();
        Ok(Self { source: Source::load(load, scale)?, stft, rates, last, scale })
    }

    /// The most numbers that `[T][C]` has at any rate but the last, and what it has at the last.
    fn room(&self, n_points: usize) -> (usize, usize) {
        let (mut n_rows, mut before, mut last) = (n_points, 0, 0);
        for rate in &self.rates {
            before = before.max(last);
            n_rows = rate.up.rows_out(n_rows, rate.reflect);
            last = n_rows * rate.channels;
        }
        (before, last)
    }

    /// Lets the large buffers grow at once to what `n_points` curve points will need. If they grew
    /// step by step, the allocator would keep what each step gave back.
    pub(crate) fn reserve(&self, n_points: usize, large: &mut Large) {
        let (before, last) = self.room(n_points);
        let Large { x, way, sum, middle } = large;
        for room in [x, way, sum, middle] {
            room.take(before.max(last));
        }
    }

    /// In the order in which they are loaded.
    pub(crate) fn styles(&self) -> impl Iterator<Item = &StyleLayer> {
        let blocks =
            self.rates.iter().flat_map(|rate| rate.blocks.iter().chain([&rate.source_block]));
        blocks.flat_map(SnakeBlock::styles)
    }

    /// To `samples` `[2F * scale]`.
    pub(crate) fn run(
        &self,
        cx: &mut Context<'_, '_>,
        input: &Voiced<'_>,
        scratch: (&mut Moments, &mut Large, &mut Moments, &mut Coefficients),
        samples: &mut [f32],
    ) -> Result<(), Error> {
        let Voiced { f0, styles, excitation } = *input;
        let (input, large, moments, coefficients) = scratch;
        let Large { x, way, sum, middle } = large;
        let n_samples = f0.len() * self.scale;
        let width = self.stft.width();
        let n_frames = self.stft.n_frames(n_samples);
        let margin = self.rates.iter().map(|rate| rate.source_padding).max().unwrap_or(0);
        let (n_way, n_last) = self.room(f0.len());
        let n_spectrum = (n_frames + 2 * margin) * width;
        // Behind what the rates before the last need of this room.
        let n_room = n_last.max(n_way + n_spectrum);
        let padded = &mut way.take(n_room)[n_way..][..n_spectrum];
        padded[..margin * width].fill(0.0);
        padded[(margin + n_frames) * width..].fill(0.0);
        let spectrum = &mut padded[margin * width..][..n_frames * width];
        match excitation {
            Excitation::Spectrum(given) => spectrum.copy_from_slice(given),
            Excitation::Source(given) => self.stft.polar(cx, given, middle, spectrum)?,
            Excitation::Noise(noise) => {
                let source = x.take(n_samples);
                self.source.run(cx, f0, noise, source)?;
                cx.stage("source", source, 1);
                self.stft.polar(cx, source, middle, spectrum)?;
            }
        }
        cx.stage("har", spectrum, width);
        let mut snake = SnakeScratch { input, moments, coefficients, middle };
        let snake = &mut snake;

        let mut n_rows = f0.len();
        for rate in &self.rates {
            cx.let_go();
            let c = rate.channels;
            let n_out = rate.up.rows_out(n_rows, rate.reflect);
            let x = x.take(n_out * c);
            let taps = rate.source_conv.n_taps;
            let padded = &way.get(n_room)[n_way..][..n_spectrum];
            let rows = Rows {
                data: &padded[(margin - rate.source_padding) * width..],
                row_stride: rate.source_stride * width,
                n_taps: taps,
                tap_stride: width,
                depth: width,
            };
            rate.source_conv.apply(cx, rows, x, Finish::Store)?;
            rate.source_block.run_in_place(cx, x, styles, snake)?;
            let before = sum.get(n_rows * 2 * c);
            rate.up.add(cx, before, rate.reflect, x)?;
            cx.let_go();
            n_rows = n_out;

            snake.input.measure(cx, x, c)?;
            let x = &*x;
            let sum = sum.take(x.len());
            let mean_of = rate.blocks.len();
            for (j, block) in rate.blocks.iter().enumerate() {
                if j == 0 {
                    block.run(cx, x, styles, snake, sum)?;
                    continue;
                }
                cx.let_go();
                let way = way.take(x.len());
                block.run(cx, x, styles, snake, way)?;
                let factor = if j + 1 == mean_of { 1.0 / mean_of as f32 } else { 1.0 };
                add_scaled(cx, way, factor, sum, c);
            }
        }
        let c = self.last.depth;
        let last = x.take(n_rows * width);
        let x = sum.get(n_rows * c);
        let input = Activated { x, by: Activation::Leaky(LAST_SLOPE) };
        self.last.convolve(cx, input, 1, last, Finish::Store, None)?;
        self.stft.synthesize(cx, last, way, samples)?;
        cx.stage("waveform", samples, 1);
        Ok(())
    }
}

/// `out = (out + x) * factor`, on all threads.
fn add_scaled(cx: &mut Context<'_, '_>, x: &[f32], factor: f32, out: &mut [f32], c: usize) {
    let started = cx.clock();
    let isa = cx.isa;
    let block = 256 * c;
    let blocks = Queue::new(x.chunks(block).zip(out.chunks_mut(block)));
    cx.threads.run(|_| {
        while let Some((x, out)) = blocks.next() {
            activation::add_scale(isa, x, factor, out);
        }
    });
    let work = Work::moving(3.0 * size_of_val(x) as f64);
    cx.record(started, "sum of blocks", work);
}

/// `AdaINResBlock1`: three times norm, Snake, dilated convolution, norm, Snake, convolution, and
/// the way around.
struct SnakeBlock {
    steps: Vec<SnakeStep>,
}

struct SnakeStep {
    norm1: AdaIn,
    norm2: AdaIn,
    /// α and 1/α, `[2][C]`.
    alpha1: Section,
    alpha2: Section,
    conv1: Product,
    conv2: Product,
    dilation: usize,
}

struct SnakeScratch<'a> {
    /// Of the block's input.
    input: &'a mut Moments,
    moments: &'a mut Moments,
    coefficients: &'a mut Coefficients,
    middle: &'a mut Buffer,
}

impl SnakeBlock {
    fn load(
        load: &mut Loader<'_>,
        name: &str,
        c: usize,
        taps: usize,
        dilations: &[usize],
    ) -> Result<Self, Error> {
        let alpha = |load: &mut Loader<'_>, part: &str, i: usize| {
            let name = format!("{name}.{part}.{i}");
            load.section(&name, 2 * c, |source| {
                let mut alpha = source.f32(&name, &[1, c, 1])?;
                alpha.extend_from_within(..);
                alpha[c..].iter_mut().for_each(|alpha| *alpha = 1.0 / *alpha);
                Ok(alpha)
            })
        };
        let conv = |load: &mut Loader<'_>, part: &str, i: usize, dilation: usize| {
            Product::quick_conv(load, &format!("{name}.{part}.{i}"), c, taps, dilation)
        };
        let norm = |load: &mut Loader<'_>, part: &str, i: usize| {
            AdaIn::load(load, &format!("{name}.{part}.{i}"), c)
        };
        let step = |(i, &dilation): (usize, &usize)| {
            Ok(SnakeStep {
                norm1: norm(load, "adain1", i)?,
                norm2: norm(load, "adain2", i)?,
                alpha1: alpha(load, "alpha1", i)?,
                alpha2: alpha(load, "alpha2", i)?,
                conv1: conv(load, "convs1", i, dilation)?,
                conv2: conv(load, "convs2", i, 1)?,
                dilation,
            })
        };
        Ok(Self { steps: dilations.iter().enumerate().map(step).collect::<Result<_, Error>>()? })
    }

    /// In the order in which they are loaded.
    fn styles(&self) -> impl Iterator<Item = &StyleLayer> {
        self.steps.iter().flat_map(|step| [step.norm1.style(), step.norm2.style()])
    }

    /// `x` `[T][C]`, whose moments are in `scratch.input`, to `out`.
    fn run(
        &self,
        cx: &mut Context<'_, '_>,
        x: &[f32],
        styles: &[f32],
        scratch: &mut SnakeScratch<'_>,
        out: &mut [f32],
    ) -> Result<(), Error> {
        let SnakeScratch { input, moments, coefficients, middle } = scratch;
        let middle = middle.take(x.len());
        for (i, step) in self.steps.iter().enumerate() {
            if i == 0 {
                step.norm1.coefficients(cx, styles, input, coefficients);
                step.first(cx, x, coefficients, middle, moments)?;
                step.norm2.coefficients(cx, styles, moments, coefficients);
                let finish = Finish::Join { with: x, factor: 1.0 };
                step.second(cx, middle, coefficients, out, finish, moments)?;
            } else {
                step.in_place(cx, out, styles, (moments, coefficients, middle))?;
            }
        }
        Ok(())
    }

    /// The same, over its input.
    fn run_in_place(
        &self,
        cx: &mut Context<'_, '_>,
        x: &mut [f32],
        styles: &[f32],
        scratch: &mut SnakeScratch<'_>,
    ) -> Result<(), Error> {
        let SnakeScratch { moments, coefficients, middle, .. } = scratch;
        let middle = middle.take(x.len());
        let Some(first) = self.steps.first() else { return Ok(()) };
        moments.measure(cx, x, first.conv1.depth)?;
        for step in &self.steps {
            step.in_place(cx, x, styles, (moments, coefficients, middle))?;
        }
        Ok(())
    }
}

impl SnakeStep {
    /// Over its input, whose moments are given, and those of the output left behind.
    fn in_place(
        &self,
        cx: &mut Context<'_, '_>,
        x: &mut [f32],
        styles: &[f32],
        scratch: (&mut Moments, &mut Coefficients, &mut [f32]),
    ) -> Result<(), Error> {
        let (moments, coefficients, middle) = scratch;
        self.norm1.coefficients(cx, styles, moments, coefficients);
        self.first(cx, x, coefficients, middle, moments)?;
        self.norm2.coefficients(cx, styles, moments, coefficients);
        self.second(cx, middle, coefficients, x, Finish::Add, moments)
    }

    fn first(
        &self,
        cx: &mut Context<'_, '_>,
        x: &[f32],
        coefficients: &Coefficients,
        out: &mut [f32],
        moments: &mut Moments,
    ) -> Result<(), Error> {
        let input = Activated { x, by: coefficients.snake(&self.alpha1) };
        self.conv1.convolve(cx, input, self.dilation, out, Finish::Store, Some(moments))
    }

    fn second(
        &self,
        cx: &mut Context<'_, '_>,
        x: &[f32],
        coefficients: &Coefficients,
        out: &mut [f32],
        finish: Finish<'_>,
        moments: &mut Moments,
    ) -> Result<(), Error> {
        let input = Activated { x, by: coefficients.snake(&self.alpha2) };
        self.conv2.convolve(cx, input, 1, out, finish, Some(moments))
    }
}

/// Transposed convolution, as a convolution of few taps with `rate` times the channels.
///
/// Row `m` of the product holds output rows `m rate` to `m rate + rate - 1`, which see input
/// rows `m`, `m - 1` and so on as far as the kernel reaches.
struct Upsample {
    product: Product,
    rate: usize,
    /// Output rows cut off at the start.
    padding: usize,
    channels: usize,
}

impl Upsample {
    fn load(
        load: &mut Loader<'_>,
        name: &str,
        n_in: usize,
        n: usize,
        rate: usize,
        kernel: usize,
    ) -> Result<Self, Error> {
        let taps = kernel.div_ceil(rate);
        let weights =
            load.weights(&format!("{name}.weight"), (taps, n_in), rate * n, |source| {
                let weight = source.f32(&format!("{name}.weight"), &[n_in, n, kernel])?;
                Ok(move |k: usize, column: usize| {
                    let (tap, c_in, phase, c_out) = (k / n_in, k % n_in, column / n, column % n);
                    let i = phase + (taps - 1 - tap) * rate;
                    if i < kernel { weight[(c_in * n + c_out) * kernel + i] } else { 0.0 }
                })
            })?;
        let bias = load.section(&format!("{name}.bias"), rate * n, |source| {
            Ok(source.f32(&format!("{name}.bias"), &[n])?.repeat(rate))
        })?;
        let product = Product::from_parts(name, weights, bias, taps, n_in, rate * n);
        Ok(Self { product, rate, padding: (kernel - rate) / 2, channels: n })
    }

    fn rows_out(&self, n_rows: usize, reflect: bool) -> usize {
        n_rows * self.rate + usize::from(reflect)
    }

    /// Adds the upsampled leaky `x` `[T][n_in]` to `out` `[T * rate][n]`; with `reflect`, there is
    /// one more row at the start, the mirror image of the second.
    fn add(
        &self,
        cx: &mut Context<'_, '_>,
        x: &[f32],
        reflect: bool,
        out: &mut [f32],
    ) -> Result<(), Error> {
        cx.go_on()?;
        let started = cx.clock();
        let (rate, c, n_in, taps) =
            (self.rate, self.channels, self.product.depth, self.product.n_taps);
        let shift = usize::from(reflect);
        // Which row of the uncropped product an output row is.
        let row_of = |out_row: usize| {
            self.padding + if reflect && out_row == 0 { 1 } else { out_row - shift }
        };
        const BLOCK: usize = 24;
        let isa = cx.isa;
        let blocks = Queue::new(out.chunks_mut(BLOCK * rate * c).enumerate());
        // A block of output may begin and end within a row of the product.
        let most_rows = BLOCK + 2;
        cx.threads.run(|stage| {
            self.product.reserve(most_rows, 1, stage);
            // Lent to the product beside the rest of the stage.
            let mut room = std::mem::take(&mut stage.out);
            let wide = room.take(most_rows * rate * c);
            while let Some((block_idx, out)) = blocks.next() {
                let first = block_idx * BLOCK * rate;
                let last = first + out.len() / c - 1;
                let from = row_of(first).min(row_of((first + 1).min(last))) / rate;
                let to = row_of(last).max(row_of(first)) / rate;
                let n_rows = to - from + 1;
                let start = from as isize - (taps - 1) as isize;
                let rows = Block { first: start, n_rows, n_taps: taps, dilation: 1, depth: n_in };
                let input = Activated { x, by: Activation::Leaky(SLOPE) };
                let wide = &mut wide[..n_rows * rate * c];
                self.product.multiply_block(isa, input, rows, stage, wide, Output::Store);
                for (i, out) in out.chunks_exact_mut(c).enumerate() {
                    let row = row_of(first + i) - from * rate;
                    activation::add(isa, &wide[row * c..][..c], out);
                }
            }
            stage.out = room;
        });
        cx.record(started, self.product.name(), self.product.work(x.len() / n_in));
        Ok(())
    }
}
