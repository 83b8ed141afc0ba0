//! Text encoder: phoneme tokens to the features that the decoder speaks.

use koe_kernels::{activation, norm};

use super::albert::LayerNorm;
use super::context::Context;
use super::input::{Activated, Activation};
use super::lstm::BiLstm;
use super::output::Finish;
use super::product::Product;
use crate::buffer::Buffer;
use crate::weights::{Loader, Section};
use crate::{Config, Error};

/// The reference's `LayerNorm` and `LeakyReLU`.
const EPSILON: f32 = 1e-5;
const SLOPE: f32 = 0.2;

pub(crate) struct TextEncoder {
    /// `[n_token][C]`
    embedding: Section,
    convs: Vec<(Product, LayerNorm)>,
    lstm: BiLstm,
    channels: usize,
}

impl TextEncoder {
    pub(crate) fn load(load: &mut Loader<'_>, config: &Config) -> Result<Self, Error> {
        let c = config.hidden_dim;
        let name = "text_encoder.embedding.weight";
        let embedding = load
            .section(name, config.n_token * c, |source| source.f32(name, &[config.n_token, c]))?;
        let conv = |i: usize| {
            let name = format!("text_encoder.cnn.{i}");
            let taps = config.text_encoder_kernel_size;
            let conv = Product::conv(load, &format!("{name}.0"), c, c, taps, true)?;
            let (gamma, beta) = (format!("{name}.1.gamma"), format!("{name}.1.beta"));
            Ok((conv, LayerNorm::load(load, &gamma, &beta, c)?))
        };
        let convs = (0..config.n_layer).map(conv).collect::<Result<_, Error>>()?;
        let lstm = BiLstm::load(load, "text_encoder.lstm", c, c / 2)?;
        Ok(Self { embedding, convs, lstm, channels: c })
    }

    /// `tokens` `[T]`, padding included, to `out` `[T][C]`; `identity` is `0..T`. Both
    /// rooms are lent.
    pub(crate) fn run(
        &self,
        cx: &mut Context<'_, '_>,
        tokens: &[u16],
        identity: &[u32],
        (room, lstm_room): (&mut Buffer, &mut Buffer),
        out: &mut [f32],
    ) -> Result<(), Error> {
        let (isa, c) = (cx.isa, self.channels);
        let n = tokens.len() * c;
        let (mut x, mut y) = room.take(2 * n).split_at_mut(n);
        for (row, &token) in x.chunks_exact_mut(c).zip(tokens) {
            row.copy_from_slice(&self.embedding[usize::from(token) * c..][..c]);
        }
        let mut by = Activation::None;
        for (conv, to) in &self.convs {
            conv.convolve(cx, Activated { x, by }, 1, y, Finish::Store, None)?;
            norm::layer_norm(isa, y, &to.gain, &to.bias, EPSILON);
            by = Activation::Leaky(SLOPE);
            std::mem::swap(&mut x, &mut y);
        }
        activation::leaky(isa, x, SLOPE, y);
        self.lstm.run(cx, y, identity, lstm_room, out)
    }
}
