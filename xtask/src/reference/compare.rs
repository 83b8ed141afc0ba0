//! Reading a reference dump, and the measures of difference.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use safetensors::{Dtype, SafeTensors};

/// What rounding may do to a number of a spectrum, as a part of the largest in its frame.
const ROUNDING: f32 = 1e-5;

/// One file that `bench/reference.py` wrote.
pub(super) struct Dump {
    bytes: Vec<u8>,
    name: String,
}

impl Dump {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).with_context(|| name.clone())?;
        SafeTensors::deserialize(&bytes).with_context(|| name.clone())?;
        Ok(Self { bytes, name })
    }

    fn tensor(&self, name: &str, dtype: Dtype) -> Result<(Vec<usize>, Vec<[u8; 4]>)> {
        let all = SafeTensors::deserialize(&self.bytes)?;
        let tensor = all.tensor(name).with_context(|| format!("{}: {name}", self.name))?;
        ensure!(tensor.dtype() == dtype, "{}: {name} is {:?}", self.name, tensor.dtype());
        let (words, _) = tensor.data().as_chunks::<4>();
        Ok((tensor.shape().to_vec(), words.to_vec()))
    }

    pub(super) fn shape(&self, name: &str) -> Result<Vec<usize>> {
        Ok(self.tensor(name, Dtype::F32)?.0)
    }

    pub(super) fn integers(&self, name: &str) -> Result<Vec<i32>> {
        Ok(self.tensor(name, Dtype::I32)?.1.into_iter().map(i32::from_le_bytes).collect())
    }

    pub(super) fn floats(&self, name: &str) -> Result<Vec<f32>> {
        Ok(self.tensor(name, Dtype::F32)?.1.into_iter().map(f32::from_le_bytes).collect())
    }

    /// A stage as `[T][C]`, from `[C, T]` if it is kept channels first.
    pub(super) fn rows(&self, name: &str, channels_first: bool) -> Result<Vec<f32>> {
        let values = self.floats(name)?;
        if !channels_first {
            return Ok(values);
        }
        let shape = self.shape(name)?;
        ensure!(shape.len() == 2, "{}: {name} has shape {shape:?}", self.name);
        let (c, t) = (shape[0], shape[1]);
        Ok((0..t * c).map(|i| values[i % c * t + i / c]).collect())
    }
}

/// `‖ours − theirs‖ / ‖theirs‖`; not a number where the lengths differ.
pub(super) fn relative_error(ours: &[f32], theirs: &[f32]) -> f64 {
    if ours.len() != theirs.len() {
        return f64::NAN;
    }
    let square = |x: f64| x * x;
    let error: f64 =
        ours.iter().zip(theirs).map(|(&a, &b)| square(f64::from(a) - f64::from(b))).sum();
    let norm: f64 = theirs.iter().map(|&b| square(f64::from(b))).sum();
    (error / norm).sqrt()
}

/// The largest difference; not a number where the lengths differ or one is none.
pub(super) fn max_error(ours: &[f32], theirs: &[f32]) -> f64 {
    if ours.len() != theirs.len() {
        return f64::NAN;
    }
    let differences = ours.iter().zip(theirs).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
    differences.fold(0.0, |most, x| if x > most || x.is_nan() { x } else { most })
}

/// The relative error of spectra `[frames][2][bins]` of magnitudes and phases, as complex numbers:
/// a phase of π and one of −π are the same.
pub(super) fn polar_error(ours: &[f32], theirs: &[f32], bins: usize) -> f64 {
    let complex = |rows: &[f32]| -> Vec<f32> {
        let frames = rows.chunks_exact(2 * bins);
        let parts = frames.flat_map(|frame| {
            let (magnitudes, phases) = frame.split_at(bins);
            magnitudes.iter().zip(phases).flat_map(|(m, p)| [m * p.cos(), m * p.sin()])
        });
        parts.collect()
    };
    relative_error(&complex(ours), &complex(theirs))
}

/// Phases of spectra `[frames][2][bins]` that are half a turn or more apart.
///
/// The noise convolutions take phases as numbers, so π for −π changes the sound though not the
/// spectrum. It happens where the imaginary part is zero but for rounding: always in the first
/// frame, which its mirrored padding makes symmetric.
#[derive(Default)]
pub(super) struct Turned {
    /// The two are one complex number but for rounding.
    pub(super) by_rounding: usize,
    /// Truly different.
    pub(super) wrong: usize,
}

/// Counts them.
pub(super) fn turned_phases(ours: &[f32], theirs: &[f32], bins: usize) -> Turned {
    let mut turned = Turned::default();
    for (a, b) in ours.chunks_exact(2 * bins).zip(theirs.chunks_exact(2 * bins)) {
        let largest = b[..bins].iter().fold(0.0f32, |most, &x| most.max(x));
        for bin in 0..bins {
            let (phase_a, phase_b) = (a[bins + bin], b[bins + bin]);
            if (phase_a - phase_b).abs() < std::f32::consts::PI {
                continue;
            }
            let re = a[bin] * phase_a.cos() - b[bin] * phase_b.cos();
            let im = a[bin] * phase_a.sin() - b[bin] * phase_b.sin();
            if re.hypot(im) <= ROUNDING * largest {
                turned.by_rounding += 1;
            } else {
                turned.wrong += 1;
            }
        }
    }
    turned
}

/// Where and by how much two stages differ, for a person who looks for the fault.
pub(super) fn describe(ours: &[f32], theirs: &[f32]) -> String {
    if ours.len() != theirs.len() {
        return format!("{} numbers, the reference has {}", ours.len(), theirs.len());
    }
    let mut worst = 0;
    let difference = |i: usize| (ours[i] - theirs[i]).abs();
    for i in 0..ours.len() {
        if difference(i) > difference(worst) || difference(i).is_nan() {
            worst = i;
        }
    }
    format!(
        "relative error {:.2e}, largest difference at {worst} of {}: {} against {}",
        relative_error(ours, theirs),
        ours.len(),
        ours[worst],
        theirs[worst]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_a_turn_apart_are_equal() {
        let pi = std::f32::consts::PI;
        assert!(polar_error(&[1.0, pi], &[1.0, -pi], 1) < 1e-6);
        assert!(polar_error(&[1.0, 0.1], &[1.0, 0.2], 1) > 0.05);
    }

    #[test]
    fn only_one_and_the_same_number_may_turn() {
        let pi = std::f32::consts::PI;
        let (ours, theirs) = ([1.0, 1.0, 1.0, pi, 2.0, 0.5], [1.0, 1.0, 1.0, -pi, -2.0, 0.4]);
        let turned = turned_phases(&ours, &theirs, 3);
        assert_eq!((turned.by_rounding, turned.wrong), (1, 1));
    }

    #[test]
    fn a_missing_sample_and_a_nan_never_pass() {
        assert!(relative_error(&[1.0], &[1.0, 2.0]).is_nan());
        assert!(max_error(&[f32::NAN, 1.0], &[0.0, 1.0]).is_nan());
        assert!(max_error(&[1.0], &[1.0, 2.0]).is_nan());
    }
}
