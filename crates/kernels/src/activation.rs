//! Elementwise functions over slices, some with an affine map per channel in the same pass.

use crate::isa::Level;
use crate::{Isa, scalar};

/// `out = leaky(x * scale + shift)` for rows `[T][C]`, `scale` and `shift` `[C]`: AdaIN and the
/// activation in one pass. `slope` multiplies negative numbers.
pub fn affine_leaky(
    isa: Isa,
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    slope: f32,
    out: &mut [f32],
) {
    let c = scale.len();
    assert!(c > 0 && shift.len() == c && x.len() == out.len() && x.len().is_multiple_of(c));
    match isa.0 {
        Level::Scalar => scalar::affine_leaky(x, scale, shift, slope, out),
    }
}

/// `y = x * scale + shift`, `out = y + sin²(alpha y) / alpha` (Snake, arXiv:2006.08195) for rows
/// `[T][C]`; `scale`, `shift`, `alpha` and `inverse_alpha` are `[C]`.
#[expect(clippy::too_many_arguments, reason = "four rows of coefficients")]
pub fn affine_snake(
    isa: Isa,
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    alpha: &[f32],
    inverse_alpha: &[f32],
    out: &mut [f32],
) {
    let c = scale.len();
    assert!(c > 0 && shift.len() == c && alpha.len() == c && inverse_alpha.len() == c);
    assert!(x.len() == out.len() && x.len().is_multiple_of(c));
    match isa.0 {
        Level::Scalar => scalar::affine_snake(x, scale, shift, alpha, inverse_alpha, out),
    }
}

/// `out = x`, negative numbers times `slope`.
pub fn leaky(isa: Isa, x: &[f32], slope: f32, out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    match isa.0 {
        Level::Scalar => scalar::leaky(x, slope, out),
    }
}

/// The tanh form of GELU, in place.
pub fn gelu(isa: Isa, x: &mut [f32]) {
    match isa.0 {
        Level::Scalar => scalar::gelu(x),
    }
}

/// `e^x` in place.
pub fn exp(isa: Isa, x: &mut [f32]) {
    match isa.0 {
        Level::Scalar => scalar::exp(x),
    }
}

/// Hyperbolic tangent in place.
pub fn tanh(isa: Isa, x: &mut [f32]) {
    match isa.0 {
        Level::Scalar => scalar::tanh(x),
    }
}

/// Logistic function in place.
pub fn sigmoid(isa: Isa, x: &mut [f32]) {
    match isa.0 {
        Level::Scalar => scalar::sigmoid(x),
    }
}

/// `sin = sin(x)`, `cos = cos(x)`; `x` within ±1e4.
pub fn sin_cos(isa: Isa, x: &[f32], sin: &mut [f32], cos: &mut [f32]) {
    assert!(x.len() == sin.len() && x.len() == cos.len());
    match isa.0 {
        Level::Scalar => scalar::sin_cos(x, sin, cos),
    }
}

/// `out += x`.
pub fn add(isa: Isa, x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    match isa.0 {
        Level::Scalar => scalar::add(x, out),
    }
}

/// `out = (out + x) * factor`.
pub fn add_scale(isa: Isa, x: &[f32], factor: f32, out: &mut [f32]) {
    assert_eq!(x.len(), out.len());
    match isa.0 {
        Level::Scalar => scalar::add_scale(x, factor, out),
    }
}
