//! Keeping samples in range.
//!
//! The model now and then makes a sample beyond ±1. Cutting it off is harsh and wrapping it is a
//! crack, so the top of the range is bent: what is quieter than [`KNEE`] passes untouched, bit for
//! bit. The curve has no memory, so the result does not depend on how a stream was cut.

/// Where the bend begins: about 1 dB below full scale.
pub const KNEE: f32 = 0.9;

/// Brings one sample into ±1. The identity up to [`KNEE`], with the same slope there; not a number
/// becomes silence.
pub fn limit(sample: f32) -> f32 {
    let size = sample.abs();
    if size <= KNEE {
        return sample;
    }
    if sample.is_nan() {
        return 0.0;
    }
    let room = 1.0 - KNEE;
    (KNEE + room * ((size - KNEE) / room).tanh()).copysign(sample)
}

/// One sample as a 16-bit number, limited first. Full scale is 32,767 on both sides, as nearly all
/// decoders divide by 32,768 and none must wrap.
pub fn to_s16(sample: f32) -> i16 {
    (limit(sample) * 32_767.0).round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_samples_pass_untouched_and_loud_ones_never_wrap() {
        for sample in [0.0, -0.0, 1e-20, 0.5, -0.9, 0.9] {
            assert_eq!(limit(sample).to_bits(), f32::to_bits(sample));
        }
        for sample in [0.91, 1.0, 1.5, 100.0, f32::MAX, f32::INFINITY] {
            assert!((KNEE..=1.0).contains(&limit(sample)), "{sample}");
            assert_eq!(limit(-sample), -limit(sample));
        }
        assert_eq!(limit(f32::NAN), 0.0);
        assert_eq!((to_s16(f32::INFINITY), to_s16(f32::NEG_INFINITY)), (32_767, -32_767));
    }

    #[test]
    fn the_bend_rises_without_a_step() {
        let curve: Vec<f32> = (0..3000).map(|i| limit(i as f32 * 0.001)).collect();
        for pair in curve.windows(2) {
            assert!(pair[1] >= pair[0] && pair[1] - pair[0] < 0.001_001, "{pair:?}");
        }
    }
}
