//! What the tests share: the instruction sets, numbers to feed them, and comparisons.

use koe_kernels::Isa;

/// Runs `test` on every instruction set of this CPU, the plain reference too, and prints which.
pub(crate) fn for_each_isa(test: impl Fn(Isa)) {
    for &isa in Isa::available() {
        note(&format!("instruction set: {isa:?}"));
        test(isa);
    }
}

/// What a test run covered and measured, for those who ask with `--nocapture`.
#[expect(clippy::print_stderr, reason = "this is the one place that prints")]
pub(crate) fn note(line: &str) {
    eprintln!("{line}");
}

/// Runs `test` on every instruction set but the plain reference.
pub(crate) fn fast_isas() -> impl Iterator<Item = Isa> + Clone {
    Isa::available().iter().copied().filter(|&isa| isa != Isa::SCALAR)
}

/// Lengths that end before, at and after one and two vectors, in a buffer that starts off
/// alignment by one: `0..=33`.
pub(crate) const LENGTHS: std::ops::RangeInclusive<usize> = 0..=33;

/// Pseudo-random numbers in ±`size`, the same for the same seed (xorshift).
pub(crate) fn noise(n: usize, size: f32, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    std::iter::repeat_with(next).take(n).map(|x| (2.0 * x - 1.0) * size).collect()
}

/// A number that no kernel produces, to find writes where there should be none.
pub(crate) const POISON: f32 = -1.234_567_8e30;

pub(crate) fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// How far `got` is from `want`, in units of the last place of `want` rounded to f32.
/// NaN equals NaN alone, an infinity only itself.
pub(crate) fn ulps(got: f32, want: f64) -> f64 {
    let rounded = want as f32;
    if got.is_nan() || rounded.is_nan() {
        return if got.is_nan() && rounded.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if got.is_infinite() || rounded.is_infinite() {
        return if got == rounded { 0.0 } else { f64::INFINITY };
    }
    let exponent = rounded.abs().max(f32::MIN_POSITIVE).to_bits() >> 23;
    let ulp = 2f64.powi(exponent as i32 - 127 - 23);
    (f64::from(got) - want).abs() / ulp
}
