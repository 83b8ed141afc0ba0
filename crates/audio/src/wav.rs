//! RIFF WAVE, 16-bit mono.
//!
//! A WAV file opens with its own length, which a stream does not know. So the encoder writes
//! `0xFFFFFFFF`, which players read as "until the end", and [`Encoder::opening`] has the true
//! numbers where the output is a file. There is no trailer: some players would play it as sound.

use crate::{Encoder, pcm::PcmEncoder};

/// The length of the header that comes before the samples.
pub const HEADER_BYTES: usize = 44;

/// What stands for a length that is not known, or too long for the 32 bits it has.
const UNKNOWN: u32 = u32::MAX;

/// Encodes as WAV with unknown length; see [`Encoder::opening`].
#[derive(Clone, Copy, Debug)]
pub struct WavEncoder {
    rate_hz: u32,
    data_bytes: u64,
    started: bool,
}

impl Encoder for WavEncoder {
    fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>) {
        self.start(out);
        let start = out.len();
        PcmEncoder.encode(samples, out);
        self.data_bytes += (out.len() - start) as u64;
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.start(out);
    }

    fn opening(&self) -> Option<Vec<u8>> {
        Some(header(self.rate_hz, Some(self.data_bytes)).to_vec())
    }
}

impl WavEncoder {
    /// For sound at that rate.
    pub fn new(rate_hz: u32) -> Self {
        Self { rate_hz, data_bytes: 0, started: false }
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if !self.started {
            self.started = true;
            out.extend_from_slice(&header(self.rate_hz, None));
        }
    }
}

/// The header of a file with so many bytes of samples, or of a stream of unknown length. Past 4 GiB
/// (a day of sound) the sizes stay unknown.
pub fn header(rate_hz: u32, data_bytes: Option<u64>) -> [u8; HEADER_BYTES] {
    const BLOCK_BYTES: u16 = 2;
    let [riff_size, data_size] = sizes(data_bytes);
    let mut header = [0; HEADER_BYTES];
    let mut rest = &mut header[..];
    let mut put = |bytes: &[u8]| {
        let (head, tail) = std::mem::take(&mut rest).split_at_mut(bytes.len());
        head.copy_from_slice(bytes);
        rest = tail;
    };
    put(b"RIFF");
    put(&riff_size.to_le_bytes());
    put(b"WAVEfmt ");
    put(&16_u32.to_le_bytes()); // length of the format description
    put(&1_u16.to_le_bytes()); // integer samples
    put(&1_u16.to_le_bytes()); // channels
    put(&rate_hz.to_le_bytes());
    put(&(rate_hz * u32::from(BLOCK_BYTES)).to_le_bytes());
    put(&BLOCK_BYTES.to_le_bytes());
    put(&16_u16.to_le_bytes()); // bits of a sample
    put(b"data");
    put(&data_size.to_le_bytes());
    header
}

/// The two lengths in the header: of all that follows the first one, and of the samples.
fn sizes(data_bytes: Option<u64>) -> [u32; 2] {
    const BEFORE_DATA: u64 = HEADER_BYTES as u64 - 8;
    data_bytes
        .and_then(|bytes| {
            Some([u32::try_from(bytes + BEFORE_DATA).ok()?, u32::try_from(bytes).ok()?])
        })
        .unwrap_or([UNKNOWN, UNKNOWN])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn a_file_tells_its_length_and_a_stream_does_not() {
        let mut bytes = Vec::new();
        let mut encoder = WavEncoder::new(24_000);
        encoder.encode(&[0.1; 5], &mut bytes);
        encoder.finish(&mut bytes);
        assert_eq!((u32_at(&bytes, 4), u32_at(&bytes, 40)), (UNKNOWN, UNKNOWN));
        let opening = encoder.opening().unwrap();
        assert_eq!(opening.len(), HEADER_BYTES);
        assert_eq!((u32_at(&opening, 4), u32_at(&opening, 40)), (36 + 10, 10));
        assert_eq!((u32_at(&opening, 24), u32_at(&opening, 28)), (24_000, 48_000));
    }

    #[test]
    fn no_sound_still_makes_a_whole_header() {
        let mut bytes = Vec::new();
        WavEncoder::new(8000).finish(&mut bytes);
        assert_eq!(bytes, header(8000, None));
    }

    #[test]
    fn a_file_past_four_gib_keeps_unknown_sizes() {
        assert_eq!(sizes(Some(u64::from(u32::MAX) - 36)), [u32::MAX, u32::MAX - 36]);
        assert_eq!(sizes(Some(u64::from(u32::MAX) - 35)), [UNKNOWN, UNKNOWN]);
    }
}
