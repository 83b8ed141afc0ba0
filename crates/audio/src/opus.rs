//! Opus in Ogg (RFC 7845): 20 ms packets, a page every 100 to 200 ms.
//!
//! The header's pre-skip and the last page's position tell a decoder what to cut off at both ends,
//! so that what comes out is as long as what went in, to the sample. Opus always decodes to 48 kHz,
//! and all positions count at that rate.
//!
//! Only the transform half of Opus is used ("restricted low delay"). The encoder does not align
//! its speech half with it: the two differ by 4.6 ms, and sound would jump whenever it changes
//! between them. At the bit rates here the transform is also the closer of the two.

use rusty_opus::{Application, OpusEncoder as Codec};

use crate::{Encoder, UnsupportedRate, level::limit, ogg::Pages};

/// The rates that Opus takes in.
pub const RATES_HZ: &[u32] = &[8000, 12_000, 16_000, 24_000, 48_000];

/// The rate that positions count at and that decoders give.
const POSITION_RATE_HZ: u32 = 48_000;

/// The overlap of the transform, 2.5 ms: a decoder's first samples, of before the sound.
const PRE_SKIP: u16 = 120;

/// 48 kbit/s is usual for mono speech of this band; a third more costs little.
const BIT_RATE_BPS: i32 = 64_000;

/// Past the middle of the scale nothing was gained but time spent; measured in docs/audio.md.
const COMPLEXITY: i32 = 5;

/// The largest packet there is, for one frame (RFC 6716, 3.4).
const MAX_PACKET_BYTES: usize = 1275;

/// Packets in the first page, which should come soon, and in each other one: a page costs 28 bytes
/// and one more for each packet.
const FIRST_PAGE: usize = 5;
const PAGE: usize = 10;

/// Names the stream within a file. There is only one, and the same sound makes the same bytes.
const SERIAL: u32 = u32::from_le_bytes(*b"koe.");

/// Encodes as Ogg Opus.
pub struct OpusEncoder {
    codec: Codec,
    rate_hz: u32,
    pages: Pages,
    /// Less than a packet.
    samples: Vec<f32>,
    n_samples: u64,
    n_packets: u64,
    started: bool,
}

impl OpusEncoder {
    /// For one stream.
    pub fn new(rate_hz: u32) -> Result<Self, UnsupportedRate> {
        UnsupportedRate::check("opus", rate_hz, RATES_HZ)?;
        let unsupported = UnsupportedRate { what: "opus", rate_hz, rates_hz: RATES_HZ };
        let mut codec = Codec::new(rate_hz as i32, 1, Application::RestrictedLowDelay)
            .map_err(|_| unsupported)?;
        codec.bitrate_bps = BIT_RATE_BPS;
        codec.complexity = COMPLEXITY;
        Ok(Self {
            codec,
            rate_hz,
            pages: Pages::new(SERIAL),
            samples: Vec::new(),
            n_samples: 0,
            n_packets: 0,
            started: false,
        })
    }

    /// Samples in a packet.
    fn n_frame(&self) -> usize {
        self.rate_hz as usize / 50
    }

    /// The two headers, each on a page of its own, as the format wants.
    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let mut head = Vec::from(b"OpusHead");
        head.extend_from_slice(&[1, 1]); // version, channels
        head.extend_from_slice(&PRE_SKIP.to_le_bytes());
        head.extend_from_slice(&self.rate_hz.to_le_bytes());
        head.extend_from_slice(&[0, 0, 0]); // no gain, mono or stereo as they come
        self.pages.packet(&head);
        self.pages.page(0, false, out);
        let mut tags = Vec::from(b"OpusTags");
        let vendor = b"koe";
        tags.extend_from_slice(&(vendor.len() as u32).to_le_bytes());
        tags.extend_from_slice(vendor);
        tags.extend_from_slice(&0_u32.to_le_bytes()); // comments
        self.pages.packet(&tags);
        self.pages.page(0, false, out);
    }

    fn push(&mut self, sample: f32, out: &mut Vec<u8>) {
        self.samples.push(sample);
        if self.samples.len() < self.n_frame() {
            return;
        }
        let mut packet = [0; MAX_PACKET_BYTES];
        let n_frame = self.samples.len();
        let n_bytes = self
            .codec
            .encode(&self.samples, n_frame, &mut packet)
            .expect("a frame of 20 ms always encodes");
        self.samples.clear();
        // A full page waits for the packet after it, so that the last page is never empty.
        let full = if self.pages.is_first_of_sound() { FIRST_PAGE } else { PAGE };
        if self.pages.n_packets() == full {
            self.pages.page(self.position(self.n_packets * n_frame as u64), false, out);
        }
        self.pages.packet(&packet[..n_bytes]);
        self.n_packets += 1;
    }

    /// So many samples of the encoder's rate, in those of 48 kHz.
    fn position(&self, n_samples: u64) -> u64 {
        n_samples * u64::from(POSITION_RATE_HZ / self.rate_hz)
    }
}

impl Encoder for OpusEncoder {
    fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>) {
        self.start(out);
        self.n_samples += samples.len() as u64;
        for &sample in samples {
            self.push(limit(sample), out);
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        let end = u64::from(PRE_SKIP) + self.position(self.n_samples);
        while self.position(self.n_packets * self.n_frame() as u64) < end {
            self.push(0.0, out);
        }
        self.pages.page(end, true, out);
    }
}
