//! The integers of a checkpoint, read from its `config.json`; nothing about the network's shape
//! is written anywhere else.

use std::collections::HashMap;

use serde::Deserialize;

use crate::Error;

/// What `config.json` says, in the published file's own names.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Text channels: width of the text encoder and the prosody predictor.
    pub hidden_dim: usize,
    /// Convolutions in the text encoder, and LSTMs in the duration encoder.
    pub n_layer: usize,
    /// Size of the embedding tables; larger than the vocabulary, whose ids are sparse.
    pub n_token: usize,
    /// Half of a style row: acoustic and prosodic parts are as long.
    pub style_dim: usize,
    /// The most frames that one token lasts at speed 1.
    pub max_dur: usize,
    /// Taps of the text encoder's convolutions.
    pub text_encoder_kernel_size: usize,
    /// The sound-making part.
    pub istftnet: IstftnetConfig,
    /// The phoneme BERT.
    pub plbert: PlbertConfig,
    /// Phoneme symbol to token id.
    pub vocab: HashMap<char, u16>,
    /// Width of the decoder's trunk; the published file leaves it out.
    #[serde(default = "decoder_dim")]
    pub decoder_dim: usize,
    /// Text channels that bypass the trunk; the published file leaves it out.
    #[serde(default = "asr_res_dim")]
    pub asr_res_dim: usize,
    /// What koe's own checkpoints add.
    #[serde(default)]
    pub koe: KoeConfig,
}

/// The generator's dimensions.
#[derive(Clone, Debug, Deserialize)]
pub struct IstftnetConfig {
    /// Channels before the first upsampling; each halves them.
    pub upsample_initial_channel: usize,
    /// Factors in time.
    pub upsample_rates: Vec<usize>,
    /// Taps of the transposed convolutions.
    pub upsample_kernel_sizes: Vec<usize>,
    /// Taps of the residual blocks that are averaged at each rate.
    pub resblock_kernel_sizes: Vec<usize>,
    /// Dilations inside each of them.
    pub resblock_dilation_sizes: Vec<Vec<usize>>,
    /// Samples in a frame of the final inverse STFT.
    pub gen_istft_n_fft: usize,
    /// Samples between its frames.
    pub gen_istft_hop_size: usize,
}

/// The phoneme BERT's dimensions; one layer's weights serve all layers (ALBERT).
#[derive(Clone, Debug, Deserialize)]
pub struct PlbertConfig {
    /// Width of the embeddings; the published file leaves it out.
    #[serde(default = "embedding_size")]
    pub embedding_size: usize,
    /// Width of the layers.
    pub hidden_size: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Width inside the feed-forward part.
    pub intermediate_size: usize,
    /// The longest input, padding tokens included.
    pub max_position_embeddings: usize,
    /// How often the layer is applied.
    pub num_hidden_layers: usize,
}

/// Extra keys of koe's own checkpoints.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct KoeConfig {
    /// The voice to use when none is asked for.
    pub default_voice: Option<String>,
    /// Factor on the samples of a voice, to level voices with each other.
    #[serde(default)]
    pub gain: HashMap<String, f32>,
}

fn decoder_dim() -> usize {
    1024
}

fn asr_res_dim() -> usize {
    64
}

fn embedding_size() -> usize {
    128
}

impl Config {
    /// Reads and checks `config.json`.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        let config: Self =
            serde_json::from_slice(json).map_err(|error| Error::Config(error.to_string()))?;
        config.check().map_err(Error::Config)?;
        Ok(config)
    }

    /// Frames of the F0 curve for every frame of a token's duration.
    pub const CURVE_RATE: usize = 2;

    /// Samples for every point of the F0 curve.
    pub fn samples_per_curve_point(&self) -> usize {
        self.istftnet.upsample_rates.iter().product::<usize>() * self.istftnet.gen_istft_hop_size
    }

    /// Everything that the network takes for granted about these numbers.
    fn check(&self) -> Result<(), String> {
        let net = &self.istftnet;
        let dims = [
            ("hidden_dim", self.hidden_dim, 4096),
            ("n_layer", self.n_layer, 64),
            ("n_token", self.n_token, 1 << 16),
            ("max_dur", self.max_dur, 1024),
            ("decoder_dim", self.decoder_dim, 8192),
            ("asr_res_dim", self.asr_res_dim, 4096),
            ("upsample_initial_channel", net.upsample_initial_channel, 4096),
            ("gen_istft_n_fft", net.gen_istft_n_fft, 4096),
            ("plbert.embedding_size", self.plbert.embedding_size, 4096),
            ("plbert.hidden_size", self.plbert.hidden_size, 8192),
            ("plbert.intermediate_size", self.plbert.intermediate_size, 1 << 15),
            ("plbert.num_hidden_layers", self.plbert.num_hidden_layers, 256),
            ("plbert.num_attention_heads", self.plbert.num_attention_heads, 256),
        ];
        for (name, value, most) in dims {
            if value == 0 || value > most {
                return Err(format!("{name} is {value}, which is not within 1 to {most}"));
            }
        }
        let rules = [
            (self.style_dim == HALF_STYLE, "style_dim must be 128"),
            (self.hidden_dim.is_multiple_of(2), "hidden_dim must be even"),
            (self.text_encoder_kernel_size % 2 == 1, "text_encoder_kernel_size must be odd"),
            (self.text_encoder_kernel_size <= 63, "text_encoder_kernel_size must be at most 63"),
            (
                self.plbert.hidden_size.is_multiple_of(self.plbert.num_attention_heads),
                "plbert.hidden_size must be a multiple of num_attention_heads",
            ),
            (
                (3..=512).contains(&self.plbert.max_position_embeddings),
                "plbert.max_position_embeddings must be 3 to 512",
            ),
            (!net.upsample_rates.is_empty(), "upsample_rates must not be empty"),
            (
                net.upsample_rates.len() == net.upsample_kernel_sizes.len(),
                "upsample_rates and upsample_kernel_sizes must be as long",
            ),
            (
                net.resblock_kernel_sizes.len() == net.resblock_dilation_sizes.len()
                    && !net.resblock_kernel_sizes.is_empty(),
                "resblock_kernel_sizes and resblock_dilation_sizes must be as long",
            ),
            (
                net.resblock_kernel_sizes.iter().all(|k| k % 2 == 1 && *k <= 31),
                "resblock_kernel_sizes must be odd and at most 31",
            ),
            (
                net.resblock_dilation_sizes
                    .iter()
                    .all(|sizes| !sizes.is_empty() && sizes.iter().all(|d| (1..=31).contains(d))),
                "resblock_dilation_sizes must be lists of 1 to 31",
            ),
            (
                net.upsample_rates.len() < 8
                    && net.upsample_initial_channel.is_multiple_of(1 << net.upsample_rates.len()),
                "upsample_initial_channel must halve at every upsampling",
            ),
            (
                net.upsample_rates.iter().zip(&net.upsample_kernel_sizes).all(|(r, k)| {
                    (1..=64).contains(r) && k >= r && *k <= 8 * r && (k - r).is_multiple_of(2)
                }),
                "upsample_kernel_sizes must exceed upsample_rates by an even number",
            ),
            (
                (1..=64).contains(&net.gen_istft_hop_size)
                    && net.gen_istft_n_fft.is_multiple_of(2 * net.gen_istft_hop_size),
                "gen_istft_n_fft must be a multiple of twice gen_istft_hop_size, which is at most 64",
            ),
            (
                Self::CURVE_RATE * self.samples_per_curve_point() == crate::FRAME_SAMPLES,
                "upsample_rates and gen_istft_hop_size must give 600 samples a frame",
            ),
            (
                self.koe.gain.values().all(|gain| *gain > 0.0 && *gain <= 16.0),
                "koe.gain must be above 0 and at most 16",
            ),
            (
                self.vocab.values().all(|&id| id > 0 && usize::from(id) < self.n_token),
                "vocab must hold ids from 1 to n_token - 1",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err((*rule).to_owned()),
            None => Ok(()),
        }
    }
}

/// Half the length of a style row, acoustic or prosodic; the same in every Kokoro checkpoint.
pub const HALF_STYLE: usize = 128;
/// Token ids of phoneme symbols; the second part lists the symbols that the vocabulary lacks, which
/// have no id.
pub fn tokens(vocabulary: &HashMap<char, u16>, symbols: &str) -> (Vec<u16>, Vec<char>) {
    let mut unknown = Vec::new();
    let ids = symbols.chars().filter_map(|symbol| {
        let id = vocabulary.get(&symbol).copied();
        if id.is_none() {
            unknown.push(symbol);
        }
        id
    });
    (ids.collect(), unknown)
}
