//! The elementwise kernels: sixteen at a time, then what is left over.

use super::{LANES, Simd, maths};
use crate::activation::Snake;

/// Every number of `x` to `function` of it.
#[inline(always)]
fn map<S: Simd>(s: S, x: &mut [f32], function: impl Fn(S, S::V) -> S::V) {
    let (vectors, rest) = x.as_chunks_mut::<LANES>();
    for x in vectors {
        let y = function(s, s.load(x));
        s.store(y, x);
    }
    if !rest.is_empty() {
        let y = function(s, s.load_part(rest));
        s.store_part(y, rest);
    }
}

/// Every number of `out` to `function` of it and the one of `x`.
#[inline(always)]
fn zip<S: Simd>(s: S, x: &[f32], out: &mut [f32], function: impl Fn(S, S::V, S::V) -> S::V) {
    let (x_vectors, x_rest) = x.as_chunks::<LANES>();
    let (out_vectors, out_rest) = out.as_chunks_mut::<LANES>();
    for (x, out) in x_vectors.iter().zip(out_vectors) {
        let y = function(s, s.load(x), s.load(out));
        s.store(y, out);
    }
    if !out_rest.is_empty() {
        let y = function(s, s.load_part(x_rest), s.load_part(out_rest));
        s.store_part(y, out_rest);
    }
}

#[inline(always)]
pub(super) fn exp<S: Simd>(s: S, x: &mut [f32]) {
    map(s, x, maths::exp);
}

#[inline(always)]
pub(super) fn tanh<S: Simd>(s: S, x: &mut [f32]) {
    map(s, x, maths::tanh);
}

#[inline(always)]
pub(super) fn sigmoid<S: Simd>(s: S, x: &mut [f32]) {
    map(s, x, maths::sigmoid);
}

#[inline(always)]
pub(super) fn gelu<S: Simd>(s: S, x: &mut [f32]) {
    map(s, x, maths::gelu);
}

#[inline(always)]
pub(super) fn add<S: Simd>(s: S, x: &[f32], out: &mut [f32]) {
    zip(s, x, out, |s, x, out| s.add(out, x));
}

#[inline(always)]
pub(super) fn add_scale<S: Simd>(s: S, x: &[f32], factor: f32, out: &mut [f32]) {
    let factor = s.splat(factor);
    zip(s, x, out, |s, x, out| s.mul(s.add(out, x), factor));
}

#[inline(always)]
pub(super) fn leaky<S: Simd>(s: S, x: &[f32], slope: f32, out: &mut [f32]) {
    let slope = s.splat(slope);
    zip(s, x, out, |s, x, _| s.if_negative(x, s.mul(x, slope), x));
}

#[inline(always)]
pub(super) fn sin_cos<S: Simd>(s: S, x: &[f32], sin: &mut [f32], cos: &mut [f32]) {
    let (x_vectors, x_rest) = x.as_chunks::<LANES>();
    let (sin_vectors, sin_rest) = sin.as_chunks_mut::<LANES>();
    let (cos_vectors, cos_rest) = cos.as_chunks_mut::<LANES>();
    for ((x, sin), cos) in x_vectors.iter().zip(sin_vectors).zip(cos_vectors) {
        let (sine, cosine) = maths::sin_cos(s, s.load(x));
        s.store(sine, sin);
        s.store(cosine, cos);
    }
    if !x_rest.is_empty() {
        let (sine, cosine) = maths::sin_cos(s, s.load_part(x_rest));
        s.store_part(sine, sin_rest);
        s.store_part(cosine, cos_rest);
    }
}

#[inline(always)]
pub(super) fn affine_leaky<S: Simd>(
    s: S,
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    slope: f32,
    out: &mut [f32],
) {
    let slope = s.splat(slope);
    let leaky = |x, scale, shift| {
        let y = s.mul_add(x, scale, shift);
        s.if_negative(y, s.mul(y, slope), y)
    };
    let c = scale.len();
    let (scales, scale_rest) = scale.as_chunks::<LANES>();
    let (shifts, shift_rest) = shift.as_chunks::<LANES>();
    for (row, out) in x.chunks_exact(c).zip(out.chunks_exact_mut(c)) {
        let (row, row_rest) = row.as_chunks::<LANES>();
        let (out, out_rest) = out.as_chunks_mut::<LANES>();
        for (((x, out), scale), shift) in row.iter().zip(out).zip(scales).zip(shifts) {
            s.store(leaky(s.load(x), s.load(scale), s.load(shift)), out);
        }
        if !row_rest.is_empty() {
            let [x, scale, shift] = [row_rest, scale_rest, shift_rest].map(|x| s.load_part(x));
            s.store_part(leaky(x, scale, shift), out_rest);
        }
    }
}

#[inline(always)]
pub(super) fn affine_snake<S: Simd>(s: S, x: &[f32], snake: Snake<'_>, out: &mut [f32]) {
    let one = |x, scale, shift, alpha, inverse_alpha| {
        let y = s.mul_add(x, scale, shift);
        s.mul_add(maths::sin_squared(s, s.mul(alpha, y)), inverse_alpha, y)
    };
    let c = snake.scale.len();
    let (scales, scale_rest) = snake.scale.as_chunks::<LANES>();
    let (shifts, shift_rest) = snake.shift.as_chunks::<LANES>();
    let (alphas, alpha_rest) = snake.alpha.as_chunks::<LANES>();
    let (inverses, inverse_rest) = snake.inverse_alpha.as_chunks::<LANES>();
    for (row, out) in x.chunks_exact(c).zip(out.chunks_exact_mut(c)) {
        let (row, row_rest) = row.as_chunks::<LANES>();
        let (out, out_rest) = out.as_chunks_mut::<LANES>();
        let coefficients = scales.iter().zip(shifts).zip(alphas).zip(inverses);
        for ((x, out), (((scale, shift), alpha), inverse)) in row.iter().zip(out).zip(coefficients)
        {
            let [x, scale, shift, alpha, inverse] =
                [x, scale, shift, alpha, inverse].map(|x| s.load(x));
            s.store(one(x, scale, shift, alpha, inverse), out);
        }
        if !row_rest.is_empty() {
            let [x, scale, shift, alpha, inverse] =
                [row_rest, scale_rest, shift_rest, alpha_rest, inverse_rest]
                    .map(|x| s.load_part(x));
            s.store_part(one(x, scale, shift, alpha, inverse), out_rest);
        }
    }
}
