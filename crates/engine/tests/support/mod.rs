//! How far apart two sounds are, and texts to hear it on; for the test of bf16 and for the example
//! that measures more of it.

use koe_engine::{Cancel, Request, Session, Voice};

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

/// Samples a window, and from one window to the next.
const WINDOW: usize = 1024;
const HOP: usize = 256;
/// Magnitudes below this count as this: silence has no spectrum to differ in.
const FLOOR: f64 = 1e-4;

/// Root mean square difference of the log spectra in dB, averaged over windows.
fn log_spectral_distance(ours: &[f32], theirs: &[f32]) -> f64 {
    let n_windows = ours.len().saturating_sub(WINDOW) / HOP + 1;
    let total: f64 = (0..n_windows)
        .map(|i| {
            let (a, b) = (log_spectrum(&ours[i * HOP..]), log_spectrum(&theirs[i * HOP..]));
            let squares = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2));
            (squares.sum::<f64>() / a.len() as f64).sqrt()
        })
        .sum();
    total / n_windows as f64
}

/// dB of the bins of one Hann window at the start of `samples`, zeros after their end.
fn log_spectrum(samples: &[f32]) -> Vec<f64> {
    let mut wave = vec![(0.0, 0.0); WINDOW];
    for (i, (out, &x)) in wave.iter_mut().zip(samples).enumerate() {
        let angle = std::f64::consts::TAU * i as f64 / WINDOW as f64;
        out.0 = f64::from(x) * (0.5 - 0.5 * angle.cos());
    }
    let bins = fourier(&wave);
    bins[..=WINDOW / 2].iter().map(|&(re, im)| 20.0 * re.hypot(im).max(FLOOR).log10()).collect()
}

/// The discrete Fourier transform of a power of two of complex numbers, by halves.
fn fourier(x: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let n = x.len();
    if n == 1 {
        return x.to_vec();
    }
    let part = |odd: usize| -> Vec<(f64, f64)> {
        fourier(&x.iter().skip(odd).step_by(2).copied().collect::<Vec<_>>())
    };
    let (even, odd) = (part(0), part(1));
    let mut out = vec![(0.0, 0.0); n];
    for k in 0..n / 2 {
        let (sin, cos) = (-std::f64::consts::TAU * k as f64 / n as f64).sin_cos();
        let turned = (odd[k].0 * cos - odd[k].1 * sin, odd[k].0 * sin + odd[k].1 * cos);
        out[k] = (even[k].0 + turned.0, even[k].1 + turned.1);
        out[k + n / 2] = (even[k].0 - turned.0, even[k].1 - turned.1);
    }
    out
}
