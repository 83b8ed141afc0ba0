//! Elementwise functions over slices, some with an affine map per channel in the same pass.
//! Those that prepare the input of a product write it as f32 or bf16, whichever `out` is.
//!
//! Errors are the largest of f32 results, as the tests hold them on every instruction set, in units
//! of the last place (ulp) where nothing else is said.

use crate::Isa;
use crate::isa::dispatch;
use crate::number::Number;

/// The coefficients of a Snake, `[C]` each: what the implementations get.
#[derive(Clone, Copy)]
pub(crate) struct Snake<'a> {
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    pub alpha: &'a [f32],
    pub inverse_alpha: &'a [f32],
}

/// `out = leaky(x * scale + shift)` for rows `[T][C]`, `scale` and `shift` `[C]`: AdaIN and the
/// activation in one pass. `slope` multiplies negative numbers.
pub fn affine_leaky<T: Number>(
    isa: Isa,
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    slope: f32,
    out: &mut [T],
) {
    let c = scale.len();
    assert!(c > 0 && shift.len() == c && x.len() == out.len() && x.len().is_multiple_of(c));
    dispatch!(isa, affine_leaky(x, scale, shift, slope, out));
}

/// `y = x * scale + shift`, `out = y + sin²(alpha y) / alpha` (Snake, arXiv:2006.08195) for rows
/// `[T][C]`; `scale`, `shift`, `alpha` and `inverse_alpha` are `[C]`. The error of `sin²` is 2e-7 for
/// `alpha y` within ±1e3.
pub fn affine_snake<T: Number>(
    isa: Isa,
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    alpha: &[f32],
    inverse_alpha: &[f32],
    out: &mut [T],
) {
    let c = scale.len();
    assert!(c > 0 && shift.len() == c && alpha.len() == c && inverse_alpha.len() == c);
    assert!(x.len() == out.len() && x.len().is_multiple_of(c));
    dispatch!(isa, affine_snake(x, Snake { scale, shift, alpha, inverse_alpha }, out));
}

/// `out = x`, negative numbers times `slope`.
pub fn leaky<T: Number>(isa: Isa, x: &[f32], slope: f32, out: &mut [T]) {
    assert_eq!(x.len(), out.len());
    dispatch!(isa, leaky(x, slope, out));
}

/// `out = x`, rounded where `out` is bf16.
pub fn convert<T: Number>(isa: Isa, x: &[f32], out: &mut [T]) {
    assert_eq!(x.len(), out.len());
    dispatch!(isa, convert(x, out));
}

/// The tanh form of GELU, in place. Error: 4e-7 of `x`.
pub fn gelu(isa: Isa, x: &mut [f32]) {
    dispatch!(isa, gelu(x));
}

/// `e^x` in place. Error: 1.1 ulp.
pub fn exp(isa: Isa, x: &mut [f32]) {
    dispatch!(isa, exp(x));
}

/// Hyperbolic tangent in place. Error: 2.6 ulp.
pub fn tanh(isa: Isa, x: &mut [f32]) {
    dispatch!(isa, tanh(x));
}

/// Logistic function in place. Error: 2.6 ulp where the result is a normal number.
pub fn sigmoid(isa: Isa, x: &mut [f32]) {
    dispatch!(isa, sigmoid(x));
}

/// `sin = sin(x)`, `cos = cos(x)`; `x` within ±1e4. Error: 1.7 ulp.
pub fn sin_cos(isa: Isa, x: &[f32], sin: &mut [f32], cos: &mut [f32]) {
    assert!(x.len() == sin.len() && x.len() == cos.len());
    dispatch!(isa, sin_cos(x, sin, cos));
}

/// Complex numbers to magnitudes and phases, in place: the phase is `atan2(imaginary, real)`, within
/// ±π, with the sign of the imaginary part. Parts are finite, and so are their sum and the square of
/// the magnitude; where both are below 2^-126 the phase leans towards the nearest axis. Error: 1.5 ulp of
/// magnitudes, 3 of phases.
pub fn polar(isa: Isa, real: &mut [f32], imaginary: &mut [f32]) {
    assert_eq!(real.len(), imaginary.len());
    dispatch!(isa, polar(real, imaginary));
}

/// `out += x`.
pub fn add(isa: Isa, x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    dispatch!(isa, add(x, out));
}

/// `out = (out + x) * factor`.
pub fn add_scale(isa: Isa, x: &[f32], factor: f32, out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    dispatch!(isa, add_scale(x, factor, out));
}
