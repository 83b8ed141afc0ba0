//! The generator's small Fourier transforms, 20 samples every 5, as matrix products.
//!
//! What `torch.stft` and `torch.istft` compute with a periodic Hann window and centred frames.

use std::f64::consts::TAU;

use koe_kernels::activation;
use koe_kernels::gemm::{Output, Rows};

use super::albert::each_row_block;
use super::context::Context;
use super::output::Finish;
use super::product::Product;
use crate::Error;
use crate::buffer::Buffer;
use crate::config::IstftnetConfig;
use crate::profile::Work;
use crate::threads::{Queue, Stage};
use crate::weights::{Loader, Section, Weights};

pub(crate) struct Stft {
    n_fft: usize,
    hop: usize,
    /// Windowed samples to real and imaginary parts, `[n_fft][2 * bins]`.
    forward: Product,
    /// And back, windowed again, `[2 * bins][n_fft]`.
    inverse: Product,
    /// The window squared, `[n_fft]`.
    window_square: Section,
}

fn hann(i: usize, n: usize) -> f64 {
    0.5 - 0.5 * (TAU * i as f64 / n as f64).cos()
}

impl Stft {
    pub(crate) fn load(load: &mut Loader<'_>, config: &IstftnetConfig) -> Result<Self, Error> {
        let (n, hop) = (config.gen_istft_n_fft, config.gen_istft_hop_size);
        let bins = n / 2 + 1;
        let angle = move |bin: usize, i: usize| TAU * ((bin * i) % n) as f64 / n as f64;
        // The first and the last bin of a real signal have no imaginary part.
        let edge = move |bin: usize| bin == 0 || bin == n / 2;
        let forward = load.packed("koe.stft.forward", n, 2 * bins, |_| {
            Ok(move |i: usize, column: usize| match column.checked_sub(bins) {
                None => (hann(i, n) * angle(column, i).cos()) as f32,
                Some(bin) if edge(bin) => 0.0,
                Some(bin) => (-hann(i, n) * angle(bin, i).sin()) as f32,
            })
        })?;
        let inverse = load.packed("koe.stft.inverse", 2 * bins, n, |_| {
            Ok(move |row: usize, i: usize| {
                let scale = hann(i, n) / n as f64;
                let wave = match row.checked_sub(bins) {
                    None if edge(row) => angle(row, i).cos(),
                    None => 2.0 * angle(row, i).cos(),
                    Some(bin) if edge(bin) => 0.0,
                    Some(bin) => -2.0 * angle(bin, i).sin(),
                };
                (scale * wave) as f32
            })
        })?;
        let window_square = load.section("koe.stft.window_square", n, |_| {
            Ok((0..n).map(|i| (hann(i, n) * hann(i, n)) as f32).collect())
        })?;
        let none = Section::default;
        Ok(Self {
            n_fft: n,
            hop,
            forward: Product::from_parts("stft", Weights::F32(forward), none(), 1, n, 2 * bins),
            inverse: Product::from_parts("istft", Weights::F32(inverse), none(), 1, 2 * bins, n),
            window_square,
        })
    }

    /// Magnitudes and phases together.
    pub(crate) fn width(&self) -> usize {
        self.forward.n
    }

    /// Frames of `n_samples`.
    pub(crate) fn n_frames(&self, n_samples: usize) -> usize {
        n_samples / self.hop + 1
    }

    /// `wave` `[N]` to magnitude and phase, `out` `[frames][2][bins]`.
    pub(crate) fn polar(
        &self,
        cx: &mut Context<'_, '_>,
        wave: &[f32],
        padded: &mut Buffer,
        out: &mut [f32],
    ) -> Result<(), Error> {
        let (half, n) = (self.n_fft / 2, wave.len());
        let padded = padded.take(n + 2 * half);
        for i in 0..half {
            padded[i] = wave[half - i];
            padded[half + n + i] = wave[n - 2 - i];
        }
        padded[half..half + n].copy_from_slice(wave);
        let rows = Rows {
            data: padded,
            row_stride: self.hop,
            n_taps: 1,
            tap_stride: 0,
            depth: self.n_fft,
        };
        self.forward.apply(cx, rows, out, Finish::Store)?;
        let started = cx.clock();
        let bins = self.width() / 2;
        each_row_block(cx, out, 2 * bins, |isa, rows| {
            for row in rows.chunks_exact_mut(2 * bins) {
                let (real, imaginary) = row.split_at_mut(bins);
                activation::polar(isa, real, imaginary);
            }
        });
        let work = Work::moving(2.0 * size_of_val(out) as f64);
        cx.record(started, "stft, to polar", work);
        Ok(())
    }

    /// Logarithms of magnitudes, and numbers whose sines are phases, `x` `[frames][2][bins]`, to
    /// `out` `[(frames - 1) * hop]`.
    pub(crate) fn synthesize(
        &self,
        cx: &mut Context<'_, '_>,
        x: &[f32],
        frames: &mut Buffer,
        out: &mut [f32],
    ) -> Result<(), Error> {
        cx.go_on()?;
        let started = cx.clock();
        let (bins, n_fft, hop, isa) = (self.width() / 2, self.n_fft, self.hop, cx.isa);
        let n_frames = x.len() / (2 * bins);
        let frames = frames.take(n_frames * n_fft);
        const BLOCK: usize = 240;
        let blocks = Queue::new(x.chunks(BLOCK * 2 * bins).zip(frames.chunks_mut(BLOCK * n_fft)));
        cx.threads.run(|Stage { rows, out: polar, .. }| {
            let n = BLOCK.min(n_frames) * bins;
            let (polar, spectrum) = (polar.take(4 * n), rows.take(2 * n));
            while let Some((x, frames)) = blocks.next() {
                let n_rows = x.len() / (2 * bins);
                let n = n_rows * bins;
                let (magnitude, rest) = polar.split_at_mut(n);
                let (phase, rest) = rest.split_at_mut(n);
                let (sin, rest) = rest.split_at_mut(n);
                let cos = &mut rest[..n];
                for (i, x) in x.chunks_exact(2 * bins).enumerate() {
                    magnitude[i * bins..][..bins].copy_from_slice(&x[..bins]);
                    sin[i * bins..][..bins].copy_from_slice(&x[bins..]);
                }
                activation::exp(isa, magnitude);
                // The phase is itself a sine.
                activation::sin_cos(isa, sin, phase, cos);
                activation::sin_cos(isa, phase, sin, cos);
                let spectrum = &mut spectrum[..2 * n];
                for (i, row) in spectrum.chunks_exact_mut(2 * bins).enumerate() {
                    for bin in 0..bins {
                        let at = i * bins + bin;
                        row[bin] = magnitude[at] * cos[at];
                        row[bins + bin] = magnitude[at] * sin[at];
                    }
                }
                let spectrum = Rows::plain(spectrum, 2 * bins);
                self.inverse.multiply(isa, spectrum, n_rows, frames, Output::Store);
            }
        });

        // Overlap and add: hop `row` of the untrimmed signal is in frames `row - overlap + 1` to
        // `row`; the first and last half window are cut off.
        cx.go_on()?;
        let overlap = n_fft / hop;
        let trimmed = overlap / 2;
        let frames = &*frames;
        let blocks = Queue::new(out.chunks_mut(BLOCK * hop).enumerate());
        cx.threads.run(|_| {
            while let Some((block_idx, out)) = blocks.next() {
                for (i, out) in out.chunks_exact_mut(hop).enumerate() {
                    let row = block_idx * BLOCK + i + trimmed;
                    out.fill(0.0);
                    let mut norm = [0.0f32; 64];
                    let norm = &mut norm[..hop];
                    for part in 0..overlap {
                        let Some(frame) = row.checked_sub(part).filter(|&f| f < n_frames) else {
                            continue;
                        };
                        let samples = &frames[frame * n_fft + part * hop..][..hop];
                        let squares = &self.window_square[part * hop..][..hop];
                        for k in 0..hop {
                            out[k] += samples[k];
                            norm[k] += squares[k];
                        }
                    }
                    for k in 0..hop {
                        out[k] /= norm[k];
                    }
                }
            }
        });
        let mut work = self.inverse.work(n_frames);
        work += Work::moving((size_of_val(frames) + size_of_val(out)) as f64);
        cx.record(started, "istft", work);
        Ok(())
    }
}
