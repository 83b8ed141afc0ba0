//! The clock of a listener.

use std::time::{Duration, Instant};

/// Until when the sound that was handed on lasts a listener who plays it as it comes, and stops while
/// there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Playback {
    until: Option<Instant>,
}

impl Playback {
    /// More sound is handed on, in samples at [`koe_audio::SAMPLE_RATE_HZ`].
    pub(crate) fn add(&mut self, samples: u64, now: Instant) {
        let from = self.until.map_or(now, |until| until.max(now));
        self.until = Some(from + Duration::from_secs_f64(koe_audio::seconds(samples)));
    }

    /// When the last of it will have been heard; none before the first.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// How long there is still something to hear.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_lasts_from_the_end_of_what_was_there_or_from_now() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let seconds = |n| n * u64::from(koe_audio::SAMPLE_RATE_HZ);
        let mut playback = Playback::default();
        assert_eq!((playback.until(), playback.left(begun)), (None, Duration::ZERO));
        playback.add(seconds(4), begun);
        assert_eq!(playback.left(after(1)), Duration::from_secs(3));
        playback.add(seconds(2), after(1));
        assert_eq!(playback.until(), Some(after(6)));
        // The listener waited from then on: the next sound begins when it comes.
        assert_eq!(playback.left(after(10)), Duration::ZERO);
        playback.add(seconds(1), after(10));
        assert_eq!(playback.left(after(10)), Duration::from_secs(1));
    }
}
