//! The formats that koe writes and the one trait that all encoders share.
//!
//! A format is chosen by name or by a file's extension; its encoder takes the model's samples as
//! they are made, at whatever rate the bytes are to have, and gives bytes at once, so that a
//! listener need not wait for the end. What a file can say of itself only at its end, its opening,
//! is asked for then.

use crate::aac::{self, AacEncoder};
use crate::flac::FlacEncoder;
use crate::mp3::{self, Mp3Encoder};
use crate::opus::{self, OpusEncoder};
use crate::pcm::PcmEncoder;
use crate::resample::{RATES_HZ, Resampler, UnsupportedRate};
use crate::wav::WavEncoder;
use crate::{SAMPLE_RATE_HZ, level::limit};

/// Turns samples into the bytes of one continuous stream.
pub trait Encoder: Send {
    /// Appends the bytes of `samples` to `out`, as far as they are settled.
    fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>);

    /// Appends what is left, so that nothing of the sound is lost. Nothing may follow.
    fn finish(&mut self, out: &mut Vec<u8>);

    /// After [`Encoder::finish`], what belongs in place of the very first bytes of a file, which
    /// now can tell its length. None if there is nothing to tell.
    fn opening(&self) -> Option<Vec<u8>> {
        None
    }
}

/// What the bytes of the sound look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// RIFF WAVE, 16 bit.
    Wav,
    /// Signed 16-bit little-endian samples and nothing else.
    Pcm,
    /// MPEG Layer III, constant bit rate.
    Mp3,
    /// Opus in Ogg.
    Opus,
    /// AAC-LC in ADTS frames.
    Aac,
    /// FLAC, 16 bit.
    Flac,
}

impl Format {
    /// Every format, the preferred one first.
    pub const ALL: &'static [Self] =
        &[Self::Wav, Self::Mp3, Self::Opus, Self::Aac, Self::Flac, Self::Pcm];

    /// The name in options and requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Pcm => "pcm",
            Self::Mp3 => "mp3",
            Self::Opus => "opus",
            Self::Aac => "aac",
            Self::Flac => "flac",
        }
    }

    /// The format of that [`Format::name`].
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|format| format.name().eq_ignore_ascii_case(name))
    }

    /// The format that files with this extension (without its dot) hold.
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "wav" | "wave" => Some(Self::Wav),
            "pcm" | "raw" | "s16" => Some(Self::Pcm),
            "mp3" => Some(Self::Mp3),
            "opus" | "ogg" | "oga" => Some(Self::Opus),
            "aac" | "adts" => Some(Self::Aac),
            "flac" => Some(Self::Flac),
            _ => None,
        }
    }

    /// The sample rates that it can have.
    pub fn rates_hz(self) -> &'static [u32] {
        match self {
            Self::Opus => opus::RATES_HZ,
            _ => RATES_HZ,
        }
    }

    /// By how many samples (of the bytes' own rate) the sound of a stream comes late, as a decoder
    /// cannot know what to cut off. Files of this format may say it: see [`Format::file_encoder`].
    pub fn delay_samples(self) -> usize {
        match self {
            Self::Mp3 => mp3::DELAY_SAMPLES,
            Self::Aac => aac::DELAY_SAMPLES,
            Self::Wav | Self::Pcm | Self::Opus | Self::Flac => 0,
        }
    }

    /// A new encoder, for one stream that plays at `rate_hz`. It takes samples at
    /// [`SAMPLE_RATE_HZ`] in any case.
    pub fn encoder(self, rate_hz: u32) -> Result<Box<dyn Encoder>, UnsupportedRate> {
        self.new_encoder(rate_hz, false)
    }

    /// The same for a file whose first bytes will be written anew with [`Encoder::opening`]; its
    /// decoded sound is then exactly as long as what went in and starts with it, but for AAC.
    pub fn file_encoder(self, rate_hz: u32) -> Result<Box<dyn Encoder>, UnsupportedRate> {
        self.new_encoder(rate_hz, true)
    }

    fn new_encoder(self, rate_hz: u32, file: bool) -> Result<Box<dyn Encoder>, UnsupportedRate> {
        UnsupportedRate::check(self.name(), rate_hz, self.rates_hz())?;
        let encoder: Box<dyn Encoder> = match self {
            Self::Wav => Box::new(WavEncoder::new(rate_hz)),
            Self::Pcm => Box::new(PcmEncoder),
            Self::Mp3 => Box::new(Mp3Encoder::new(rate_hz, file)?),
            Self::Opus => Box::new(OpusEncoder::new(rate_hz)?),
            Self::Aac => Box::new(AacEncoder::new(rate_hz)?),
            Self::Flac => Box::new(FlacEncoder::new(rate_hz)?),
        };
        if rate_hz == SAMPLE_RATE_HZ {
            return Ok(encoder);
        }
        let resampler = Some(Resampler::new(rate_hz)?);
        Ok(Box::new(Resampled { resampler, limited: Vec::new(), samples: Vec::new(), encoder }))
    }
}

/// An encoder behind a resampler, which is gone once its end was taken.
struct Resampled {
    resampler: Option<Resampler>,
    limited: Vec<f32>,
    samples: Vec<f32>,
    encoder: Box<dyn Encoder>,
}

impl Encoder for Resampled {
    fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>) {
        if let Some(resampler) = &mut self.resampler {
            // Bent before as well as after, so that what is no number stays one sample of silence
            // and does not spread over a window of the resampler.
            self.limited.clear();
            self.limited.extend(samples.iter().map(|&sample| limit(sample)));
            self.samples.clear();
            resampler.push(&self.limited, &mut self.samples);
            self.encoder.encode(&self.samples, out);
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(resampler) = self.resampler.take() {
            self.samples.clear();
            resampler.finish(&mut self.samples);
            self.encoder.encode(&self.samples, out);
        }
        self.encoder.finish(out);
    }

    fn opening(&self) -> Option<Vec<u8>> {
        self.encoder.opening()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_found_by_its_name_and_by_its_name_as_an_extension() {
        for &format in Format::ALL {
            assert_eq!(Format::named(format.name()), Some(format));
            assert_eq!(Format::of_extension(format.name()), Some(format));
        }
        assert_eq!(Format::of_extension("RAW"), Some(Format::Pcm));
        assert_eq!(Format::of_extension("ogg"), Some(Format::Opus));
        assert_eq!(Format::of_extension("xyz"), None);
    }

    #[test]
    fn a_rate_that_a_format_cannot_have_is_refused_with_those_that_it_can() {
        for &format in Format::ALL {
            for rate_hz in [0, 7999, 11_025, 24_000, 44_100, 96_000, u32::MAX] {
                let possible = format.rates_hz().contains(&rate_hz);
                assert_eq!(
                    format.encoder(rate_hz).is_ok(),
                    possible,
                    "{} {rate_hz}",
                    format.name()
                );
            }
        }
        let message = Format::Opus.encoder(44_100).err().unwrap().to_string();
        let wanted = "opus cannot have 44100 samples a second; \
                      choose one of 8000, 12000, 16000, 24000, 48000";
        assert_eq!(message, wanted);
    }
}
