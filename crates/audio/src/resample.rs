//! From the model's 24 kHz to the rate that a listener asked for.
//!
//! A windowed sinc, one row of taps for every phase between two samples of the input, as the rates
//! are small ratios of each other. It is symmetric about the sample it makes, so there is no delay
//! to account for, and each output sample is one dot product over the same inputs however the
//! stream was cut. Nothing below the band limit is changed audibly: see the tests.

use crate::SAMPLE_RATE_HZ;

/// The rates that can be had: those that MPEG audio knows, from telephones to video.
pub const RATES_HZ: &[u32] =
    &[8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

/// A rate that is not to be had, and those that are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot have {rate_hz} samples a second; choose one of {}", list(rates_hz))]
pub struct UnsupportedRate {
    /// What was to have it: the name of a format, or "sound".
    pub what: &'static str,
    /// What was asked for.
    pub rate_hz: u32,
    /// What can be had.
    pub rates_hz: &'static [u32],
}

impl UnsupportedRate {
    /// That rate, if it is among `rates_hz`.
    pub(crate) fn check(
        what: &'static str,
        rate_hz: u32,
        rates_hz: &'static [u32],
    ) -> Result<u32, Self> {
        match rates_hz.contains(&rate_hz) {
            true => Ok(rate_hz),
            false => Err(Self { what, rate_hz, rates_hz }),
        }
    }
}

fn list(rates_hz: &[u32]) -> String {
    rates_hz.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// Zero crossings of the sinc on each side. With the attenuation below, the step from what passes
/// to what does not is 1.15 kHz wide at 24 kHz and shrinks with the lower of the two rates.
const CROSSINGS: usize = 64;

/// What images and aliases are kept under, in dB: the noise of 16 bits lies at -98.
const ATTENUATION_DB: f64 = 96.0;

/// Makes sound at another rate from sound at 24 kHz, piece by piece.
#[derive(Clone, Debug)]
pub struct Resampler {
    /// `n_out` of the output's samples last as long as `n_in` of the input's, in lowest terms.
    n_in: usize,
    n_out: usize,
    /// `[n_out][n_taps]`: the weights of the inputs around an output of that phase.
    taps: Vec<f32>,
    n_taps: usize,
    /// The inputs that are still needed; the next output's window begins at `start`.
    held: Vec<f32>,
    start: usize,
    phase: usize,
    taken: u64,
    made: u64,
}

impl Resampler {
    /// To one of [`RATES_HZ`].
    pub fn new(rate_hz: u32) -> Result<Self, UnsupportedRate> {
        UnsupportedRate::check("sound", rate_hz, RATES_HZ)?;
        let common = gcd(rate_hz, SAMPLE_RATE_HZ);
        let (n_in, n_out) = ((SAMPLE_RATE_HZ / common) as usize, (rate_hz / common) as usize);
        let taps = taps(n_in, n_out);
        let n_taps = taps.len() / n_out;
        // The first output lies on the first input: what is before it is silence.
        let held = vec![0.0; n_taps / 2 - 1];
        Ok(Self { n_in, n_out, taps, n_taps, held, start: 0, phase: 0, taken: 0, made: 0 })
    }

    /// Takes `samples` and appends what they settle to `out`.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        self.taken += samples.len() as u64;
        self.held.extend_from_slice(samples);
        self.make(u64::MAX, out);
        self.held.drain(..self.start);
        self.start = 0;
    }

    /// Appends the rest. All in all that is the input's length times the ratio of the rates,
    /// rounded to the nearest sample.
    pub fn finish(mut self, out: &mut Vec<f32>) {
        let (n_in, n_out) = (self.n_in as u128, self.n_out as u128);
        let total = (u128::from(self.taken) * n_out + n_in / 2) / n_in;
        self.held.resize(self.held.len() + self.n_taps / 2, 0.0);
        self.make(u64::try_from(total).unwrap_or(u64::MAX), out);
    }

    /// Makes outputs as long as there are inputs for them, up to `total`.
    fn make(&mut self, total: u64, out: &mut Vec<f32>) {
        while self.made < total && self.start + self.n_taps <= self.held.len() {
            let window = &self.held[self.start..self.start + self.n_taps];
            let taps = &self.taps[self.phase * self.n_taps..][..self.n_taps];
            out.push(dot(window, taps));
            self.made += 1;
            self.phase += self.n_in;
            self.start += self.phase / self.n_out;
            self.phase %= self.n_out;
        }
    }
}

/// In eight sums, which the compiler turns into vectors. `a` and `b` have one length.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for (a, b) in a8.iter().zip(b8) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// `[n_out][n_taps]`: tap `j` of phase `p` weighs the input that lies
/// `j - (n_taps / 2 - 1) - p / n_out` samples after the output.
fn taps(n_in: usize, n_out: usize) -> Vec<f32> {
    // Relative to the input's rate; below 1 where the output's is lower.
    let band = (n_out as f64 / n_in as f64).min(1.0);
    let half = (CROSSINGS as f64 / band).ceil();
    // Kaiser's formulas for the shape of the window and the width of the step, of which the far
    // end is put at the Nyquist frequency of the lower rate.
    let beta = 0.1102 * (ATTENUATION_DB - 8.7);
    let step = (ATTENUATION_DB - 7.95) / (14.36 * 2.0 * half);
    let cutoff = band - step;
    let n_taps = 2 * half as usize;
    let mut taps = Vec::with_capacity(n_out * n_taps);
    for phase in 0..n_out {
        let row: Vec<f64> = (0..n_taps)
            .map(|j| j as f64 - (half - 1.0) - phase as f64 / n_out as f64)
            .map(|x| sinc(cutoff * x) * bessel(beta * (1.0 - (x / half).powi(2)).max(0.0).sqrt()))
            .collect();
        // Each phase passes a constant unchanged, so that the phases do not make a tone together.
        let sum: f64 = row.iter().sum();
        taps.extend(row.iter().map(|tap| (tap / sum) as f32));
    }
    taps
}

fn sinc(x: f64) -> f64 {
    match x == 0.0 {
        true => 1.0,
        false => (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x),
    }
}

/// The modified Bessel function of the first kind and order 0, by its series.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1.0);
    while term > sum * 1e-17 {
        term *= (x / (2.0 * k)).powi(2);
        sum += term;
        k += 1.0;
    }
    sum
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resample(rate_hz: u32, samples: &[f32], cut: usize) -> Vec<f32> {
        let (mut resampler, mut out) = (Resampler::new(rate_hz).unwrap(), Vec::new());
        for part in samples.chunks(cut) {
            resampler.push(part, &mut out);
        }
        resampler.finish(&mut out);
        out
    }

    fn tone(hz: f64, rate_hz: u32, n: usize) -> Vec<f32> {
        let step = std::f64::consts::TAU * hz / f64::from(rate_hz);
        (0..n).map(|i| (0.5 * (step * i as f64).sin()) as f32).collect()
    }

    fn worst(samples: impl IntoIterator<Item = f32>) -> f32 {
        samples.into_iter().fold(0.0, |worst, sample| worst.max(sample.abs()))
    }

    #[test]
    fn the_length_is_exact_for_every_rate_and_length() {
        for &rate_hz in RATES_HZ {
            for n in (0..200).chain([23_999, 24_000, 24_001]) {
                let wanted = (n as f64 * f64::from(rate_hz) / 24_000.0).round() as usize;
                assert_eq!(resample(rate_hz, &vec![0.1; n], 50).len(), wanted, "{rate_hz} {n}");
            }
        }
    }

    #[test]
    fn samples_do_not_depend_on_how_the_stream_was_cut() {
        let samples = tone(440.0, 24_000, 3000);
        for &rate_hz in RATES_HZ {
            let whole = resample(rate_hz, &samples, 3000);
            for cut in [1, 7, 997] {
                assert!(resample(rate_hz, &samples, cut) == whole, "{rate_hz} {cut}");
            }
        }
    }

    #[test]
    fn a_tone_in_the_band_is_the_same_tone_at_the_same_time() {
        for &rate_hz in RATES_HZ {
            for hz in [50.0, 1000.0, 0.44 * f64::from(rate_hz.min(24_000))] {
                let made = resample(rate_hz, &tone(hz, 24_000, 12_000), 12_000);
                let wanted = tone(hz, rate_hz, made.len());
                // Away from the ends, where the tone begins and ends with a step.
                let inner = 400..made.len() - 400;
                let error = worst(inner.map(|i| made[i] - wanted[i]));
                assert!(error < 0.5 * 1e-4, "{rate_hz} {hz} {error}");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_gone() {
        for &rate_hz in RATES_HZ.iter().filter(|rate_hz| **rate_hz < 24_000) {
            for above in [1.0, 1.2] {
                let hz = (0.5 * above * f64::from(rate_hz)).min(11_900.0);
                let made = resample(rate_hz, &tone(hz, 24_000, 12_000), 12_000);
                let left = worst(made[400..made.len() - 400].iter().copied());
                assert!(left < 0.5 * 2e-5, "{rate_hz} {hz} {left}");
            }
        }
    }

    #[test]
    fn the_rate_of_the_model_passes_nearly_bit_for_bit_and_the_ends_stay() {
        let mut samples = vec![0.0; 1000];
        samples[500] = 0.5;
        let made = resample(24_000, &samples, 1000);
        assert_eq!(made.iter().position(|&sample| sample > 0.4), Some(500));
        for &rate_hz in RATES_HZ {
            let made = resample(rate_hz, &[0.5; 6000], 100);
            assert!(made[0] > 0.2 && made[made.len() - 1] > 0.2, "{rate_hz}");
        }
    }

    #[test]
    fn another_rate_is_refused_with_those_that_can_be_had() {
        let message = Resampler::new(96_000).unwrap_err().to_string();
        assert!(
            message.starts_with("sound cannot have 96000 samples a second; choose one of 8000,")
        );
    }
}
