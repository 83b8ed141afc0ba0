//! FLAC (RFC 9639): the 16-bit samples of [`crate::pcm`], smaller and exactly.
//!
//! A stream opens with a description that has room for its length and the checksum of its sound.
//! Both are zero, which stands for unknown; where the output is a file, [`Encoder::opening`] gives
//! the description with the true length. Then come frames, each complete in itself. How one is
//! predicted and written is in `frame`.

mod frame;
mod predict;

use crate::{Encoder, UnsupportedRate, level::to_s16, resample::RATES_HZ};

/// Samples in a frame: 96 ms at 24 kHz, so that sound comes soon.
const N_FRAME: usize = 2304;

/// Encodes as FLAC.
#[derive(Clone, Debug)]
pub struct FlacEncoder {
    rate_hz: u32,
    /// Less than a frame.
    samples: Vec<i32>,
    n_samples: u64,
    n_frames: u32,
    started: bool,
    finished: bool,
}

impl FlacEncoder {
    /// For a stream, or for a file that [`Encoder::opening`] completes.
    pub fn new(rate_hz: u32) -> Result<Self, UnsupportedRate> {
        UnsupportedRate::check("flac", rate_hz, RATES_HZ)?;
        Ok(Self {
            rate_hz,
            samples: Vec::with_capacity(N_FRAME),
            n_samples: 0,
            n_frames: 0,
            started: false,
            finished: false,
        })
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.started, true) {
            out.extend_from_slice(&description(self.rate_hz, None));
        }
    }

    fn frame(&mut self, out: &mut Vec<u8>) {
        frame::write(self.rate_hz, self.n_frames, &self.samples, out);
        self.samples.clear();
        // 31 bits is what a frame's number can be: six years of sound.
        self.n_frames = (self.n_frames + 1) & 0x7fff_ffff;
    }
}

impl Encoder for FlacEncoder {
    fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>) {
        self.start(out);
        self.n_samples += samples.len() as u64;
        for &sample in samples {
            self.samples.push(i32::from(to_s16(sample)));
            if self.samples.len() == N_FRAME {
                self.frame(out);
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        if !self.samples.is_empty() {
            self.frame(out);
        }
        self.finished = true;
    }

    fn opening(&self) -> Option<Vec<u8>> {
        self.finished.then(|| description(self.rate_hz, Some(self.n_samples)))
    }
}

/// The signature and the one block of metadata that there must be.
fn description(rate_hz: u32, n_samples: Option<u64>) -> Vec<u8> {
    /// The last block of metadata, and of the kind that describes the stream.
    const LAST_STREAMINFO: u8 = 0x80;
    const STREAMINFO_BYTES: u8 = 34;
    let mut bytes = Vec::from(b"fLaC");
    bytes.extend_from_slice(&[LAST_STREAMINFO, 0, 0, STREAMINFO_BYTES]);
    for _smallest_and_largest in 0..2 {
        bytes.extend_from_slice(&(N_FRAME as u16).to_be_bytes());
    }
    bytes.extend_from_slice(&[0; 6]); // bytes of the smallest and the largest frame
    // 20 bits of rate, 3 of channels less one, 5 of bits a sample less one, 36 of length.
    let n_samples = n_samples.filter(|&n| n < 1 << 36).unwrap_or(0);
    let packed = u64::from(rate_hz) << 44 | 15 << 36 | n_samples;
    bytes.extend_from_slice(&packed.to_be_bytes());
    bytes.extend_from_slice(&[0; 16]); // checksum of the sound
    bytes
}
