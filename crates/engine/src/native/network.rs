//! The forward pass, told straight: `KModel.forward_with_tokens` of the reference.

use koe_kernels::gemm::Rows;

use super::albert::Albert;
use super::context::Context;
use super::decoder::Decoder;
use super::generator::{Excitation, Generator, Large, Voiced};
use super::norm::{Coefficients, Moments, StyleLayer};
use super::output::Finish;
use super::product::Product;
use super::prosody::{Prosody, ProsodyScratch};
use super::residual::BlockScratch;
use super::text_encoder::TextEncoder;
use crate::buffer::Buffer;
use crate::config::HALF_STYLE;
use crate::weights::Loader;
use crate::{Config, Error, FRAME_SAMPLES, MAX_FRAMES};

/// All layers of one checkpoint.
pub(crate) struct Network {
    bert: Albert,
    bert_encoder: Product,
    prosody: Prosody,
    text_encoder: TextEncoder,
    decoder: Decoder,
    generator: Generator,
    /// Text channels.
    channels: usize,
    bert_width: usize,
    /// Channels between decoder and generator.
    features: usize,
    /// Numbers that layers make of the style: those of the prosodic half, and all.
    n_prosodic: usize,
    n_styles: usize,
}

/// What one synthesis is of.
pub(crate) struct Input<'a> {
    pub(crate) tokens: &'a [u16],
    pub(crate) style: &'a [f32],
    pub(crate) speed: f32,
    pub(crate) excitation: Excitation<'a>,
}

/// Every intermediate of one synthesis, and its results.
#[derive(Default)]
pub(crate) struct Scratch {
    /// With a padding zero at either end.
    tokens: Vec<u16>,
    /// `0..T`
    identity: Vec<u32>,
    /// Which token each frame is of, `[F]`.
    token_of_frame: Vec<u32>,
    /// Frames of every token, padding included.
    pub(crate) frames: Vec<u32>,
    /// `[N]`
    pub(crate) samples: Buffer,
    pub(crate) n_samples: usize,
    bert_out: Buffer,
    hidden: Buffer,
    encoded: Buffer,
    durations: Buffer,
    /// What layers make of the style.
    styles: Buffer,
    curves: Buffer,
    text: Buffer,
    aligned: Buffer,
    prosody: ProsodyScratch,
    moments: Moments,
    coefficients: Coefficients,
    /// Of what comes into each of the generator's residual blocks.
    input_moments: Moments,
    /// The generator's, in which all that comes before finds its room.
    large: Large,
}

impl Network {
    pub(crate) fn load(load: &mut Loader<'_>, config: &Config) -> Result<Self, Error> {
        let (c, bert_width) = (config.hidden_dim, config.plbert.hidden_size);
        let bert = Albert::load(load, config)?;
        let bert_encoder = Product::linear(load, "bert_encoder", bert_width, c)?;
        let prosody = load.in_f32(|load| Prosody::load(load, config))?;
        let n_prosodic = load.n_styles();
        let text_encoder = TextEncoder::load(load, config)?;
        let decoder = Decoder::load(load, config)?;
        let generator = Generator::load(load, config)?;
        Ok(Self {
            bert,
            bert_encoder,
            prosody,
            text_encoder,
            decoder,
            generator,
            channels: c,
            bert_width,
            features: config.istftnet.upsample_initial_channel,
            n_prosodic,
            n_styles: load.n_styles(),
        })
    }

    /// The first part of [`Network::speak`]: tokens and style to `scratch.frames`, and to
    /// `scratch.encoded` for the parts that follow.
    pub(crate) fn durations(
        &self,
        cx: &mut Context<'_, '_>,
        input: &Input<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let s = scratch;
        let c = self.channels;
        let prosodic = &input.style[HALF_STYLE..];
        s.tokens.clear();
        s.tokens.push(0);
        s.tokens.extend_from_slice(input.tokens);
        s.tokens.push(0);
        let n = s.tokens.len();
        s.identity.clear();
        s.identity.extend(0..n as u32);

        let styles = &mut s.styles.take(self.n_styles)[..self.n_prosodic];
        StyleLayer::fill(cx, self.prosody.styles(), prosodic, 0, styles)?;
        cx.let_go();
        let styles = &*styles;

        // How it is said: durations from BERT and the prosodic style.
        let bert = s.bert_out.take(n * self.bert_width);
        self.bert.run(cx, &s.tokens, &mut s.large.middle, bert)?;
        cx.stage("bert", bert, self.bert_width);
        cx.let_go();
        let hidden = s.hidden.take(n * c);
        self.bert_encoder.apply(cx, Rows::plain(bert, self.bert_width), hidden, Finish::Store)?;
        let width = self.prosody.width();
        let encoded = s.encoded.take(n * width);
        let room = (&mut s.prosody, &mut s.large.sum);
        self.prosody.encode(cx, hidden, (prosodic, styles), &s.identity, room, encoded)?;
        cx.stage("prosody_text", encoded, width);
        cx.let_go();
        let durations = s.durations.take(n);
        let room = (&mut s.prosody, &mut s.large.sum);
        self.prosody.durations(cx, encoded, &s.identity, input.speed, room, durations)?;
        cx.stage("duration", durations, 1);
        cx.let_go();

        // Which token each frame is of.
        s.frames.clear();
        s.frames.extend(durations.iter().map(|d| d.round_ties_even().max(1.0) as u32));
        let n_frames = s.frames.iter().map(|&n| n as usize).sum::<usize>();
        if n_frames > MAX_FRAMES {
            return Err(Error::TooLong { frames: n_frames, limit: MAX_FRAMES });
        }
        Ok(())
    }

    /// Tokens and style to `scratch.samples` and `scratch.frames`.
    pub(crate) fn speak(
        &self,
        cx: &mut Context<'_, '_>,
        input: &Input<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        self.durations(cx, input, scratch)?;
        let s = scratch;
        let c = self.channels;
        let acoustic = &input.style[..HALF_STYLE];
        let styles = s.styles.take(self.n_styles);
        let layers = self.decoder.styles().chain(self.generator.styles());
        StyleLayer::fill(cx, layers, acoustic, self.n_prosodic, &mut styles[self.n_prosodic..])?;
        cx.let_go();
        let styles = &*styles;
        let n = s.tokens.len();
        let n_frames = s.frames.iter().map(|&n| n as usize).sum::<usize>();
        let encoded = s.encoded.get(n * self.prosody.width());
        s.token_of_frame.clear();
        for (token_idx, &frames) in s.frames.iter().enumerate() {
            let token_idx = token_idx as u32;
            s.token_of_frame.extend(std::iter::repeat_n(token_idx, frames as usize));
        }

        self.generator.reserve(2 * n_frames, &mut s.large);

        // The melody: F0 and energy at twice the frame rate.
        let (f0, energy) = s.curves.take(4 * n_frames).split_at_mut(2 * n_frames);
        let mut blocks = BlockScratch {
            moments: &mut s.moments,
            coefficients: &mut s.coefficients,
            room: &mut s.large.way,
        };
        let room = (&mut s.large.sum, &mut blocks, &mut s.large.x);
        let curves = (&mut *f0, &mut *energy);
        self.prosody.curves(cx, encoded, styles, &s.token_of_frame, room, curves)?;
        cx.stage("f0", f0, 1);
        cx.stage("n", energy, 1);
        cx.let_go();

        // What is said, stretched to its durations.
        let text = s.text.take(n * c);
        let room = (&mut s.large.x, &mut s.large.sum);
        self.text_encoder.run(cx, &s.tokens, &s.identity, room, text)?;
        cx.stage("text", text, c);
        cx.let_go();
        let aligned = s.aligned.take(n_frames * c);
        for (row, &token_idx) in aligned.chunks_exact_mut(c).zip(&s.token_of_frame) {
            row.copy_from_slice(&text[token_idx as usize * c..][..c]);
        }

        // The sound of it.
        let features = s.large.sum.take(2 * n_frames * self.features);
        let mut blocks = BlockScratch {
            moments: &mut s.moments,
            coefficients: &mut s.coefficients,
            room: &mut s.large.way,
        };
        let room = (&mut blocks, &mut s.large.x);
        self.decoder.run(cx, aligned, (f0, energy), styles, room, features)?;
        cx.stage("decoder_features", features, self.features);
        s.n_samples = n_frames * FRAME_SAMPLES;
        let samples = s.samples.take(s.n_samples);
        let room = (&mut s.input_moments, &mut s.large, &mut s.moments, &mut s.coefficients);
        let voiced = Voiced { f0, styles, excitation: input.excitation };
        self.generator.run(cx, &voiced, room, samples)
    }
}
