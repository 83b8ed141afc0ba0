//! Decoder trunk: text features, F0 and energy at the frame rate to the generator's input.
//!
//! Follows `istftnet.py` (`Decoder`) of the reference.

use koe_kernels::gemm::Rows;

use super::context::Context;
use super::norm::StyleLayer;
use super::output::Finish;
use super::product::Product;
use super::residual::{BlockScratch, ResidualBlock};
use crate::buffer::Buffer;
use crate::weights::{Loader, Section};
use crate::{Config, Error};

pub(crate) struct Decoder {
    /// Three taps and a bias: halves the rate of the F0 curve.
    f0_conv: Section,
    energy_conv: Section,
    encode: ResidualBlock,
    /// Text features that bypass the trunk.
    bypass: Product,
    decode: Vec<ResidualBlock>,
}

impl Decoder {
    pub(crate) fn load(load: &mut Loader<'_>, config: &Config) -> Result<Self, Error> {
        let (c, width, bypass) = (config.hidden_dim, config.decoder_dim, config.asr_res_dim);
        let halve = |load: &mut Loader<'_>, name: &str| {
            load.section(&format!("{name}.weight"), 4, |source| {
                let mut taps = source.f32(&format!("{name}.weight"), &[1, 1, 3])?;
                taps.extend(source.f32(&format!("{name}.bias"), &[1])?);
                Ok(taps)
            })
        };
        let inner = width + 2 + bypass;
        let last = config.istftnet.upsample_initial_channel;
        let block = |load: &mut Loader<'_>, i: usize| {
            let (n, upsample) = if i == 3 { (last, true) } else { (width, false) };
            ResidualBlock::load(load, &format!("decoder.decode.{i}"), inner, n, upsample)
        };
        Ok(Self {
            f0_conv: halve(load, "decoder.F0_conv")?,
            energy_conv: halve(load, "decoder.N_conv")?,
            encode: ResidualBlock::load(load, "decoder.encode", c + 2, width, false)?,
            bypass: Product::conv(load, "decoder.asr_res.0", c, bypass, 1, true)?,
            decode: (0..4).map(|i| block(load, i)).collect::<Result<_, _>>()?,
        })
    }

    /// In the order in which they are loaded.
    pub(crate) fn styles(&self) -> impl Iterator<Item = &StyleLayer> {
        self.encode.styles().chain(self.decode.iter().flat_map(ResidualBlock::styles))
    }

    /// `text` `[F][C]` and both curves `[2F]` to `out` `[2F][upsample_initial_channel]`.
    pub(crate) fn run(
        &self,
        cx: &mut Context<'_, '_>,
        text: &[f32],
        curves: (&[f32], &[f32]),
        styles: &[f32],
        scratch: (&mut BlockScratch<'_>, &mut Buffer),
        out: &mut [f32],
    ) -> Result<(), Error> {
        let (blocks, room) = scratch;
        let n = curves.0.len() / 2;
        let c = text.len() / n;
        let width = self.encode.n_out();
        let n_joined = n * (width + self.bypass.n + 2).max(c + 2);
        let room = room.take(2 * n + n_joined + n * width + n * self.bypass.n);
        let (f0, room) = room.split_at_mut(n);
        let (energy, room) = room.split_at_mut(n);
        let (joined, room) = room.split_at_mut(n_joined);
        let (x, bypass) = room.split_at_mut(n * width);
        halve(curves.0, &self.f0_conv, f0);
        halve(curves.1, &self.energy_conv, energy);

        let first = &mut joined[..n * (c + 2)];
        join(&[(text, c), (f0, 1), (energy, 1)], first);
        self.encode.run(cx, first, styles, blocks, x)?;

        self.bypass.apply(cx, Rows::plain(text, c), bypass, Finish::Store)?;
        let joined = &mut joined[..n * (width + self.bypass.n + 2)];
        for block in &self.decode {
            join(&[(x, width), (bypass, self.bypass.n), (f0, 1), (energy, 1)], joined);
            let y = if block.rows_out(n) == n { &mut *x } else { &mut *out };
            cx.let_go();
            block.run(cx, joined, styles, blocks, y)?;
        }
        Ok(())
    }
}

/// Convolution of one channel with three taps, stride 2 and a zero at either end.
fn halve(x: &[f32], taps: &[f32], out: &mut [f32]) {
    let at = |i: isize| usize::try_from(i).ok().and_then(|i| x.get(i)).copied().unwrap_or(0.0);
    for (t, out) in out.iter_mut().enumerate() {
        let i = 2 * t as isize;
        *out = taps[0] * at(i - 1) + taps[1] * at(i) + taps[2] * at(i + 1) + taps[3];
    }
}

/// Sets the channels of several `[T][c]` side by side.
fn join(parts: &[(&[f32], usize)], out: &mut [f32]) {
    let width: usize = parts.iter().map(|(_, c)| c).sum();
    for (t, mut out) in out.chunks_exact_mut(width).enumerate() {
        for (part, c) in parts {
            let (now, rest) = out.split_at_mut(*c);
            now.copy_from_slice(&part[t * c..][..*c]);
            out = rest;
        }
    }
}
