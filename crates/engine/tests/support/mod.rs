//! How far apart two sounds are, and texts to hear it on; for the test of bf16 and for the example
//! that measures more of it.

mod spectrum;

use koe_engine::{Cancel, Request, Session, Voice};
use spectrum::log_spectral_distance;

/// Twenty sentences in the vocabulary's symbols, one a line.
pub(crate) fn sentences() -> impl Iterator<Item = &'static str> {
    include_str!("../data/sentences.txt").lines()
}

/// What one sentence became in two precisions.
pub(crate) struct Pair {
    /// dB.
    pub(crate) distance: f64,
    pub(crate) same_durations: bool,
}

/// Speaks a sentence with both sessions, with the same seed.
pub(crate) fn speak_both(sessions: [&mut Session; 2], voice: &Voice, symbols: &str) -> Pair {
    let [(ours, our_frames), (theirs, their_frames)] = sessions.map(|session| {
        let (tokens, _) = session.model().tokens(symbols);
        let style = voice.style(tokens.len());
        let request = Request { tokens: &tokens, style, speed: 1.0, seed: 1 };
        let speech =
            session.synthesize(&request, &Cancel::new()).expect("a sentence can be spoken");
        (speech.samples.to_vec(), speech.frames.to_vec())
    });
    let same_durations = our_frames == their_frames;
    let distance =
        if same_durations { log_spectral_distance(&ours, &theirs) } else { f64::INFINITY };
    Pair { distance, same_durations }
}

/// The most that bf16 may move a sentence: in the median of many, and the worst.
pub(crate) const MEDIAN_DB: f64 = 0.5;
pub(crate) const WORST_DB: f64 = 1.0;
