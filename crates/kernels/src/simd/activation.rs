//! The elementwise kernels: sixteen at a time, then what is left over.
//!
//! The two loops are macros because a closure may not be marked `#[inline(always)]`, and a large
//! one is not inlined by itself.

use super::{LANES, Simd, maths};
use crate::activation::Snake;
use crate::number::Kind;

/// Every number `x` of a slice becomes the given expression of it.
macro_rules! map {
    ($s:ident, $slice:ident, |$x:ident| $expression:expr) => {
        let (vectors, rest) = $slice.as_chunks_mut::<LANES>();
        for vector in vectors {
            let $x = $s.load(vector);
            $s.store($expression, vector);
        }
        if !rest.is_empty() {
            let $x = $s.load_part(rest);
            $s.store_part($expression, rest);
        }
    };
}

/// Every number `y` of a slice becomes the given expression of it and of the number `x` that
/// lies in the same place of another slice.
macro_rules! zip {
    ($s:ident, $from:ident, $to:ident, |$x:ident, $y:ident| $expression:expr) => {
        let (from_vectors, from_rest) = $from.as_chunks::<LANES>();
        let (to_vectors, to_rest) = $to.as_chunks_mut::<LANES>();
        for (from, to) in from_vectors.iter().zip(to_vectors) {
            let ($x, $y) = ($s.load(from), $s.load(to));
            $s.store($expression, to);
        }
        if !to_rest.is_empty() {
            let ($x, $y) = ($s.load_part(from_rest), $s.load_part(to_rest));
            $s.store_part($expression, to_rest);
        }
    };
}

#[inline(always)]
pub(super) fn exp<S: Simd>(s: S, x: &mut [f32]) {
    map!(s, x, |v| maths::exp(s, v));
}

#[inline(always)]
pub(super) fn tanh<S: Simd>(s: S, x: &mut [f32]) {
    map!(s, x, |v| maths::tanh(s, v));
}

#[inline(always)]
pub(super) fn sigmoid<S: Simd>(s: S, x: &mut [f32]) {
    map!(s, x, |v| maths::sigmoid(s, v));
}

#[inline(always)]
pub(super) fn gelu<S: Simd>(s: S, x: &mut [f32]) {
    map!(s, x, |v| maths::gelu(s, v));
}

#[inline(always)]
pub(super) fn add<S: Simd>(s: S, x: &[f32], out: &mut [f32]) {
    zip!(s, x, out, |x, y| s.add(y, x));
}

#[inline(always)]
pub(super) fn add_scale<S: Simd>(s: S, x: &[f32], factor: f32, out: &mut [f32]) {
    let factor = s.splat(factor);
    zip!(s, x, out, |x, y| s.mul(s.add(y, x), factor));
}

#[inline(always)]
pub(super) fn leaky<S: Simd, T: Kind>(s: S, x: &[f32], slope: f32, out: &mut [T]) {
    let slope = s.splat(slope);
    for (x, out) in x.chunks(LANES).zip(out.chunks_mut(LANES)) {
        let x = s.load_some(x);
        T::store(s, s.if_negative(x, s.mul(x, slope), x), out);
    }
}

#[inline(always)]
pub(super) fn convert<S: Simd, T: Kind>(s: S, x: &[f32], out: &mut [T]) {
    for (x, out) in x.chunks(LANES).zip(out.chunks_mut(LANES)) {
        T::store(s, s.load_some(x), out);
    }
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
pub(super) fn polar<S: Simd>(s: S, real: &mut [f32], imaginary: &mut [f32]) {
    for (real, imaginary) in real.chunks_mut(LANES).zip(imaginary.chunks_mut(LANES)) {
        let (re, im) = (s.load_some(real), s.load_some(imaginary));
        let magnitude = s.sqrt(s.mul_add(re, re, s.mul(im, im)));
        s.store_some(magnitude, real);
        s.store_some(maths::atan2(s, im, re), imaginary);
    }
}

#[inline(always)]
pub(super) fn affine_leaky<S: Simd, T: Kind>(
    s: S,
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    slope: f32,
    out: &mut [T],
) {
    let slope = s.splat(slope);
    let c = scale.len();
    for (row, out) in x.chunks_exact(c).zip(out.chunks_exact_mut(c)) {
        for first in (0..c).step_by(LANES) {
            let end = c.min(first + LANES);
            let (scale, shift) = (s.load_some(&scale[first..end]), s.load_some(&shift[first..end]));
            let y = s.mul_add(s.load_some(&row[first..end]), scale, shift);
            T::store(s, s.if_negative(y, s.mul(y, slope), y), &mut out[first..end]);
        }
    }
}

#[inline(always)]
pub(super) fn affine_snake<S: Simd, T: Kind>(s: S, x: &[f32], snake: Snake<'_>, out: &mut [T]) {
    let c = snake.scale.len();
    for (row, out) in x.chunks_exact(c).zip(out.chunks_exact_mut(c)) {
        for first in (0..c).step_by(LANES) {
            let end = c.min(first + LANES);
            let scale = s.load_some(&snake.scale[first..end]);
            let shift = s.load_some(&snake.shift[first..end]);
            let alpha = s.load_some(&snake.alpha[first..end]);
            let inverse_alpha = s.load_some(&snake.inverse_alpha[first..end]);
            let y = s.mul_add(s.load_some(&row[first..end]), scale, shift);
            let sine = maths::sin_squared(s, s.mul(alpha, y));
            T::store(s, s.mul_add(sine, inverse_alpha, y), &mut out[first..end]);
        }
    }
}
