//! The formats that koe writes and the one trait that all encoders share.
//!
//! A format is chosen by name or by a file's extension; its encoder takes samples as they are made
//! and gives bytes at once, so that a listener need not wait for the end.

use crate::{pcm::PcmEncoder, wav::WavEncoder};

/// Turns samples into the bytes of one continuous stream.
pub trait Encoder: Send {
    /// Appends the bytes of `samples` to `out`, as far as they are settled.
    fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>);

    /// Appends what is left, so that nothing of the sound is lost. Nothing may follow.
    fn finish(&mut self, out: &mut Vec<u8>);
}

/// What the bytes of the sound look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// RIFF WAVE, 16 bit.
    Wav,
    /// Signed 16-bit little-endian samples and nothing else.
    Pcm,
}

impl Format {
    /// Every format, the preferred one first.
    pub const ALL: &'static [Self] = &[Self::Wav, Self::Pcm];

    /// The name in options and requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Pcm => "pcm",
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
            _ => None,
        }
    }

    /// A new encoder, for one stream.
    pub fn encoder(self) -> Box<dyn Encoder> {
        match self {
            Self::Wav => Box::new(WavEncoder::default()),
            Self::Pcm => Box::new(PcmEncoder),
        }
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
        assert_eq!(Format::of_extension("xyz"), None);
    }

    #[test]
    fn bytes_do_not_depend_on_how_the_samples_were_cut() {
        let samples: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.1).sin()).collect();
        for &format in Format::ALL {
            let (mut whole, mut parts) = (Vec::new(), Vec::new());
            let mut encoder = format.encoder();
            encoder.encode(&samples, &mut whole);
            encoder.finish(&mut whole);
            let mut encoder = format.encoder();
            for part in samples.chunks(7) {
                encoder.encode(part, &mut parts);
            }
            encoder.finish(&mut parts);
            assert!(whole == parts, "{}", format.name());
        }
    }
}
