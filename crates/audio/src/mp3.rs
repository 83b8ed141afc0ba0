//! MPEG Layer III, constant bit rate, mono.
//!
//! A stream is frames and nothing else. Layer III delays sound by [`DELAY_SAMPLES`] and ends on
//! a whole frame, and only the Info frame that LAME invented can say so, at the start, with the
//! length of all of it. So a file has one, filled in at the end, and decoders cut exactly; a stream
//! has none: its first sound comes 44 ms late at 24 kHz, and nothing of it is lost.
//!
//! Frames are coded one by one: the encoder's own streams put that frame into every stream, and
//! from 32 kHz on keep back all sound until the end.

use rusty_mp3::Mp3Encode;
use rusty_mp3::encode::lametag::{self, TagInfo, TagStats};
use rusty_mp3::header::FrameHeader;

use crate::{Encoder, UnsupportedRate, level::limit, resample::RATES_HZ};

/// How much later than it went in a sample comes out of any decoder: the two filter banks.
pub const DELAY_SAMPLES: usize = lametag::ENCODER_DELAY + lametag::DECODER_DELAY;

/// Encodes as MP3.
pub struct Mp3Encoder {
    encoder: Mp3Encode,
    header: FrameHeader,
    /// Less than a frame.
    samples: Vec<f32>,
    n_samples: u64,
    /// What the Info frame tells; none in a stream.
    info: Option<TagStats>,
    started: bool,
    finished: bool,
}

impl Mp3Encoder {
    /// For a stream, or for a file that [`Encoder::opening`] completes.
    pub fn new(rate_hz: u32, file: bool) -> Result<Self, UnsupportedRate> {
        let unsupported = UnsupportedRate { what: "mp3", rate_hz, rates_hz: RATES_HZ };
        let header = rusty_mp3::encoder_header(rate_hz, 1, bit_rate_kbps(rate_hz))
            .map_err(|_| unsupported)?;
        let info = file.then(|| TagStats::new(lametag::tag_header(&header).frame_size()));
        Ok(Self {
            encoder: Mp3Encode::new(),
            header,
            samples: Vec::new(),
            n_samples: 0,
            info,
            started: false,
            finished: false,
        })
    }

    fn n_frame(&self) -> usize {
        self.header.version.samples_per_frame()
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.started, true)
            && let Some(info) = &self.info
        {
            out.extend_from_slice(&self.info_frame(info));
        }
    }

    fn info_frame(&self, info: &TagStats) -> Vec<u8> {
        let padding = lametag::padding_for(self.n_samples, lametag::ENCODER_DELAY, self.n_frame());
        let padding = usize::try_from(padding).unwrap_or(usize::MAX);
        let told = TagInfo { vbr: false, delay: lametag::ENCODER_DELAY, padding };
        lametag::tag_frame(&lametag::tag_header(&self.header), info, &told)
    }

    fn push(&mut self, sample: f32, out: &mut Vec<u8>) {
        self.samples.push(sample);
        if self.samples.len() == self.n_frame() {
            let frame = self
                .encoder
                .encode_frame(&self.header, &[&self.samples], None)
                .expect("a whole frame always encodes");
            self.samples.clear();
            if let Some(info) = &mut self.info {
                info.add_frame(&frame);
            }
            out.extend_from_slice(&frame);
        }
    }
}

impl Encoder for Mp3Encoder {
    fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>) {
        self.start(out);
        self.n_samples += samples.len() as u64;
        for &sample in samples {
            self.push(limit(sample), out);
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        let n_frames = lametag::frames_for(self.n_samples, lametag::ENCODER_DELAY, self.n_frame());
        for _ in self.n_samples..n_frames * self.n_frame() as u64 {
            self.push(0.0, out);
        }
        self.finished = true;
    }

    fn opening(&self) -> Option<Vec<u8>> {
        self.info.as_ref().filter(|_| self.finished).map(|info| self.info_frame(info))
    }
}

/// 4 bits a sample at 24 kHz, where Layer III has at most 160 kbit/s. 64 is usual for speech with
/// the best encoders; this one keeps no reservoir of bits for the loud moments of a stream, so it is
/// given half as much again.
fn bit_rate_kbps(rate_hz: u32) -> u32 {
    match rate_hz {
        0..=12_000 => 48,
        12_001..=16_000 => 64,
        16_001..=24_000 => 96,
        _ => 128,
    }
}
