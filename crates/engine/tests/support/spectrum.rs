//! How far two sounds are apart as the ear has it: the distance of their log spectra. Shared by the
//! engine's tests and examples and by the comparison with the reference.

/// Samples a window, and from one window to the next.
const WINDOW: usize = 1024;
const HOP: usize = 256;
/// Magnitudes below this count as this: silence has no spectrum to differ in.
const FLOOR: f64 = 1e-4;

/// Root mean square difference of the log spectra in dB, averaged over windows.
pub(crate) fn log_spectral_distance(ours: &[f32], theirs: &[f32]) -> f64 {
    if ours.len() != theirs.len() {
        return f64::NAN;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, level: f64) -> Vec<f32> {
        (0..8192)
            .map(|i| (level * (std::f64::consts::TAU * hz * f64::from(i) / 24_000.0).sin()) as f32)
            .collect()
    }

    #[test]
    fn distance_of_a_sound_to_itself_is_zero() {
        assert_eq!(log_spectral_distance(&tone(440.0, 0.1), &tone(440.0, 0.1)), 0.0);
    }

    #[test]
    fn distance_of_another_level_is_that_level_where_there_is_sound() {
        // An impulse has all frequencies alike: half of it is 6.02 dB less in every bin.
        let impulse = |level: f32| {
            let mut x = vec![0.0; WINDOW];
            x[WINDOW / 2] = level;
            x
        };
        let distance = log_spectral_distance(&impulse(1.0), &impulse(0.5));
        assert!((distance - 6.0206).abs() < 1e-3, "{distance}");
    }

    #[test]
    fn fourier_finds_the_tone() {
        let wave: Vec<_> = (0..64)
            .map(|i| ((std::f64::consts::TAU * 5.0 * f64::from(i) / 64.0).cos(), 0.0))
            .collect();
        for (k, (re, im)) in fourier(&wave).into_iter().enumerate() {
            let expected = if k == 5 || k == 59 { 32.0 } else { 0.0 };
            assert!((re.hypot(im) - expected).abs() < 1e-9, "bin {k}");
        }
    }
}
