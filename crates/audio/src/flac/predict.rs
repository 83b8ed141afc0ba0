//! Guessing a sample from those before it: what is written is only how far the guess was off.
//!
//! The weights come from the sound's autocorrelation by Levinson's recursion and are rounded to
//! whole numbers, as the decoder must make the same guesses bit for bit. Only the four operations
//! of arithmetic are used here, so that the bytes are the same on every machine.

/// The most weights that are tried: speech is a tube of about as many sections.
pub(super) const MAX_ORDER: usize = 12;

/// Bits of a weight, its sign included. 16-bit samples times 12 weights then stay within 32 bits.
pub(super) const WEIGHT_BITS: u32 = 12;

/// Whole weights, of which the sum of products is shifted down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Predictor {
    /// The weight of the latest sample first.
    pub(super) weights: Vec<i32>,
    pub(super) shift: u32,
}

impl Predictor {
    /// How far off the guesses are for the samples past the first `weights.len()`. None if one does
    /// not fit what can be written.
    pub(super) fn residual(&self, samples: &[i32]) -> Option<Vec<i32>> {
        let order = self.weights.len();
        samples
            .windows(order + 1)
            .map(|window| {
                let past = window[..order].iter().rev();
                let sum: i64 =
                    self.weights.iter().zip(past).map(|(&w, &x)| i64::from(w) * i64::from(x)).sum();
                let off = i64::from(window[order]) - (sum >> self.shift);
                // Far within 32 bits, so that folding its sign in cannot overflow.
                i32::try_from(off).ok().filter(|off| off.unsigned_abs() < 1 << 24)
            })
            .collect()
    }
}

/// The predictors of every order up to [`MAX_ORDER`] that suit `samples`.
pub(super) fn predictors(samples: &[i32]) -> Vec<Predictor> {
    let correlation = autocorrelation(samples);
    let mut error = correlation[0];
    let mut weights: Vec<f64> = Vec::new();
    let mut predictors = Vec::new();
    for order in 0..MAX_ORDER.min(samples.len().saturating_sub(1)) {
        if error <= 0.0 {
            break;
        }
        // Levinson and Durbin: the next order from the last one and what that leaves unexplained.
        let explained: f64 =
            weights.iter().enumerate().map(|(i, w)| w * correlation[order - i]).sum();
        let reflection = (correlation[order + 1] - explained) / error;
        let mirrored: Vec<f64> = weights.iter().rev().copied().collect();
        for (weight, mirrored) in weights.iter_mut().zip(mirrored) {
            *weight -= reflection * mirrored;
        }
        weights.push(reflection);
        error *= 1.0 - reflection * reflection;
        predictors.extend(round(&weights));
    }
    predictors
}

/// Of `samples` under a window that falls off to both ends as a parabola, for lags up to
/// [`MAX_ORDER`].
fn autocorrelation(samples: &[i32]) -> [f64; MAX_ORDER + 1] {
    let middle = (samples.len() as f64 - 1.0) / 2.0;
    let windowed: Vec<f64> = samples
        .iter()
        .enumerate()
        .map(|(i, &sample)| {
            let x = (i as f64 - middle) / (middle + 1.0);
            f64::from(sample) * (1.0 - x * x)
        })
        .collect();
    let mut correlation = [0.0; MAX_ORDER + 1];
    for (lag, sum) in correlation.iter_mut().enumerate() {
        let later = windowed.get(lag..).unwrap_or_default();
        *sum = windowed.iter().zip(later).map(|(a, b)| a * b).sum();
    }
    correlation
}

/// To whole numbers of [`WEIGHT_BITS`], with as fine a shift as the largest allows. What rounding
/// takes from one weight is given to the next.
fn round(weights: &[f64]) -> Option<Predictor> {
    const LIMIT: f64 = (1 << (WEIGHT_BITS - 1)) as f64;
    const MAX_SHIFT: u32 = 15;
    let largest = weights.iter().fold(0.0_f64, |largest, weight| largest.max(weight.abs()));
    if !largest.is_finite() || largest >= LIMIT {
        return None;
    }
    let mut shift = 0;
    while shift < MAX_SHIFT && largest * f64::from(2_u32 << shift) < LIMIT - 1.0 {
        shift += 1;
    }
    let mut carried = 0.0;
    let weights = weights
        .iter()
        .map(|weight| {
            let wanted = weight * f64::from(1_u32 << shift) + carried;
            let rounded = wanted.round().clamp(-LIMIT, LIMIT - 1.0);
            carried = wanted - rounded;
            rounded as i32
        })
        .collect();
    Some(Predictor { weights, shift })
}
