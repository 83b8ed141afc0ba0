//! Prosody predictor: how long each token lasts, and the F0 and energy curves.
//!
//! Follows `modules.py` (`ProsodyPredictor`, `DurationEncoder`) of the reference.

use koe_kernels::gemm::Rows;
use koe_kernels::{activation, norm};

use super::context::Context;
use super::lstm::BiLstm;
use super::norm::StyleLayer;
use super::output::Finish;
use super::product::Product;
use super::residual::{BlockScratch, ResidualBlock};
use crate::buffer::Buffer;
use crate::config::HALF_STYLE;
use crate::weights::Loader;
use crate::{Config, Error};

/// `AdaLayerNorm`'s ε.
const EPSILON: f32 = 1e-5;

pub(crate) struct Prosody {
    encoder: Vec<(BiLstm, StyleLayer)>,
    lstm: BiLstm,
    durations: Product,
    shared: BiLstm,
    f0: Curve,
    energy: Curve,
    channels: usize,
}

/// Three residual blocks and a projection to one number a row.
struct Curve {
    blocks: [ResidualBlock; 3],
    projection: Product,
}

#[derive(Default)]
pub(crate) struct ProsodyScratch {
    gain: Buffer,
    out: Buffer,
    logits: Buffer,
}

impl Prosody {
    pub(crate) fn load(load: &mut Loader<'_>, config: &Config) -> Result<Self, Error> {
        let c = config.hidden_dim;
        let wide = c + HALF_STYLE;
        // The reference keeps LSTMs and norms in one list, in turn.
        let layer = |i: usize| {
            let name = |i: usize| format!("predictor.text_encoder.lstms.{i}");
            let lstm = BiLstm::load(load, &name(2 * i), wide, c / 2)?;
            Ok((lstm, StyleLayer::load(load, &name(2 * i + 1), c)?))
        };
        let encoder = (0..config.n_layer).map(layer).collect::<Result<_, Error>>()?;
        let durations = "predictor.duration_proj.linear_layer";
        Ok(Self {
            encoder,
            lstm: BiLstm::load(load, "predictor.lstm", wide, c / 2)?,
            durations: Product::linear(load, durations, c, config.max_dur)?,
            shared: BiLstm::load(load, "predictor.shared", wide, c / 2)?,
            f0: Curve::load(load, "predictor.F0", c)?,
            energy: Curve::load(load, "predictor.N", c)?,
            channels: c,
        })
    }

    /// In the order in which they are loaded.
    pub(crate) fn styles(&self) -> impl Iterator<Item = &StyleLayer> {
        let curves = [&self.f0, &self.energy].into_iter().flat_map(|curve| &curve.blocks);
        self.encoder.iter().map(|(_, layer)| layer).chain(curves.flat_map(ResidualBlock::styles))
    }

    /// Width of [`Prosody::encode`]'s output.
    pub(crate) fn width(&self) -> usize {
        self.channels + HALF_STYLE
    }

    /// Text features `x` `[T][C]` to `out` `[T][C + style]`, the style behind each row; with the table
    /// of what layers make of the style.
    pub(crate) fn encode(
        &self,
        cx: &mut Context<'_, '_>,
        x: &[f32],
        (style, styles): (&[f32], &[f32]),
        identity: &[u32],
        scratch: (&mut ProsodyScratch, &mut Buffer),
        out: &mut [f32],
    ) -> Result<(), Error> {
        let c = self.channels;
        let (scratch, lstm_room) = scratch;
        with_style(x, c, style, out);
        for (lstm, layer) in &self.encoder {
            let y = scratch.out.take(x.len());
            lstm.run(cx, out, identity, lstm_room, y)?;
            let (gamma, beta) = layer.of(styles);
            let gain = scratch.gain.take(c);
            gain.iter_mut().zip(gamma).for_each(|(gain, gamma)| *gain = 1.0 + gamma);
            norm::layer_norm(cx.isa, y, gain, beta, EPSILON);
            with_style(y, c, style, out);
        }
        Ok(())
    }

    /// Frames of every token, before rounding: `encoded` `[T][C + style]` to `frames` `[T]`.
    pub(crate) fn durations(
        &self,
        cx: &mut Context<'_, '_>,
        encoded: &[f32],
        identity: &[u32],
        speed: f32,
        scratch: (&mut ProsodyScratch, &mut Buffer),
        frames: &mut [f32],
    ) -> Result<(), Error> {
        let (scratch, lstm_room) = scratch;
        let x = scratch.out.take(frames.len() * self.channels);
        self.lstm.run(cx, encoded, identity, lstm_room, x)?;
        let logits = scratch.logits.take(frames.len() * self.durations.n);
        self.durations.apply(cx, Rows::plain(x, self.channels), logits, Finish::Store)?;
        activation::sigmoid(cx.isa, logits);
        for (frames, row) in frames.iter_mut().zip(logits.chunks_exact(self.durations.n)) {
            *frames = row.iter().sum::<f32>() / speed;
        }
        Ok(())
    }

    /// F0 in Hz and energy, `[2 frames]` each; `row_of_frame` says which token each frame is of.
    pub(crate) fn curves(
        &self,
        cx: &mut Context<'_, '_>,
        encoded: &[f32],
        styles: &[f32],
        row_of_frame: &[u32],
        scratch: (&mut Buffer, &mut BlockScratch<'_>, &mut Buffer),
        out: (&mut [f32], &mut [f32]),
    ) -> Result<(), Error> {
        let (lstm_room, block_scratch, room) = scratch;
        // The last two blocks have twice the rows and half the channels.
        let n = row_of_frame.len() * self.channels;
        let (shared, rest) = room.take(3 * n).split_at_mut(n);
        let (a, b) = rest.split_at_mut(n);
        self.shared.run(cx, encoded, row_of_frame, lstm_room, shared)?;
        cx.let_go();
        self.f0.run(cx, shared, styles, (a, b, block_scratch), out.0)?;
        self.energy.run(cx, shared, styles, (a, b, block_scratch), out.1)
    }
}

impl Curve {
    fn load(load: &mut Loader<'_>, name: &str, c: usize) -> Result<Self, Error> {
        let half = c / 2;
        let mut block = |i: usize, n_in, n, upsample| {
            ResidualBlock::load(load, &format!("{name}.{i}"), n_in, n, upsample)
        };
        let blocks =
            [block(0, c, c, false)?, block(1, c, half, true)?, block(2, half, half, false)?];
        let projection = Product::conv(load, &format!("{name}_proj"), half, 1, 1, true)?;
        Ok(Self { blocks, projection })
    }

    fn run(
        &self,
        cx: &mut Context<'_, '_>,
        x: &[f32],
        styles: &[f32],
        scratch: (&mut [f32], &mut [f32], &mut BlockScratch<'_>),
        out: &mut [f32],
    ) -> Result<(), Error> {
        let (a, b, block_scratch) = scratch;
        let [first, second, third] = &self.blocks;
        first.run(cx, x, styles, block_scratch, a)?;
        second.run(cx, a, styles, block_scratch, b)?;
        third.run(cx, b, styles, block_scratch, a)?;
        self.projection.apply(cx, Rows::plain(a, third.n_out()), out, Finish::Store)
    }
}

/// Rows of `x` `[T][c]` with the style behind each.
fn with_style(x: &[f32], c: usize, style: &[f32], out: &mut [f32]) {
    for (x, out) in x.chunks_exact(c).zip(out.chunks_exact_mut(c + style.len())) {
        out[..c].copy_from_slice(x);
        out[c..].copy_from_slice(style);
    }
}
