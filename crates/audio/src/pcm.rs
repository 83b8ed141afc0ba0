//! Raw samples: signed 16 bit, little-endian, mono, no header. What OpenAI's clients call `pcm`
//! and what every player takes on its standard input.

use crate::{Encoder, level::to_s16};

/// Encodes as raw 16-bit samples.
#[derive(Clone, Copy, Debug, Default)]
pub struct PcmEncoder;

impl Encoder for PcmEncoder {
    fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>) {
        out.reserve(samples.len() * 2);
        for &sample in samples {
            out.extend_from_slice(&to_s16(sample).to_le_bytes());
        }
    }

    fn finish(&mut self, _out: &mut Vec<u8>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_little_endian() {
        let mut out = Vec::new();
        PcmEncoder.encode(&[0.0, 2.0 / 32_767.0, -1.0 / 32_767.0], &mut out);
        assert_eq!(out, [0, 0, 2, 0, 0xff, 0xff]);
    }
}
