//! Sound on its way out: chunks joined without clicks or dead air, then turned into bytes at the
//! rate and in the format that the listener wants.
//!
//! Everything here is mono `f32` at [`SAMPLE_RATE_HZ`], nominally within ±1; what lies outside is
//! bent back by [`level::limit`] and never wraps. The samples come from the engine through
//! [`join::Joiner`]; the bytes of an [`Encoder`] go to a file, a player or an HTTP body. Nothing
//! here knows of text, voices or models, and nothing opens a file.
//!
//! ```
//! use koe_audio::{Encoder, Format};
//! let mut bytes = Vec::new();
//! let mut encoder = Format::Wav.encoder(24_000)?;
//! encoder.encode(&[0.0, 0.5, -0.5], &mut bytes);
//! encoder.finish(&mut bytes);
//! assert_eq!(&bytes[..4], b"RIFF");
//! assert_eq!(bytes.len(), koe_audio::wav::HEADER_BYTES + 3 * 2);
//! # Ok::<(), koe_audio::UnsupportedRate>(())
//! ```
#![forbid(unsafe_code)]

pub mod aac;
mod crc;
pub mod flac;
pub mod format;
pub mod join;
pub mod level;
pub mod mp3;
mod ogg;
pub mod opus;
pub mod pcm;
pub mod resample;
pub mod wav;

pub use format::{Encoder, Format};
pub use join::{Joiner, Placed};
pub use resample::UnsupportedRate;

/// Samples a second of all sound in koe until it is encoded; Kokoro-82M knows no other rate.
pub const SAMPLE_RATE_HZ: u32 = 24_000;

/// The number of samples that lasts as long as `duration`, rounded to the nearest.
pub fn samples_in(duration: std::time::Duration) -> u64 {
    let samples = duration.as_nanos() * u128::from(SAMPLE_RATE_HZ) + 500_000_000;
    u64::try_from(samples / 1_000_000_000).unwrap_or(u64::MAX)
}

/// How long so many samples last, in seconds: exact to a microsecond over centuries.
pub fn seconds(samples: u64) -> f64 {
    samples as f64 / f64::from(SAMPLE_RATE_HZ)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn durations_become_the_nearest_sample() {
        assert_eq!(samples_in(Duration::from_millis(1500)), 36_000);
        assert_eq!(samples_in(Duration::from_nanos(20_833)), 0);
        assert_eq!(samples_in(Duration::from_nanos(20_834)), 1);
        assert_eq!(samples_in(Duration::MAX), u64::MAX);
    }
}
