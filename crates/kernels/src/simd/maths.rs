//! Elementary functions of sixteen numbers.
//!
//! Each reduces its argument to a small interval and evaluates a polynomial there. The
//! coefficients are minimax fits (Remez exchange in 120-bit arithmetic, each coefficient rounded
//! to f32 in turn, lowest power first, and the rest refitted); the error beside a polynomial is
//! that of the rounded coefficients over the interval, evaluated exactly.
//!
//! Rounding to an integer is done by adding and taking away [`ROUND`]. It costs two additions,
//! is the same on every instruction set, and leaves the integer in the low bits of the first sum.

use super::Simd;

/// `1.5 * 2^23`: numbers of this size lie 1 apart, so adding it rounds to the nearest integer,
/// halves to even, for anything within ±2^22.
const ROUND: f32 = 12_582_912.0;

// π, π/2 and ln 2 as sums of f32 of falling size. With a multiply-add that rounds once, taking
// away an integer times the first part is exact, and the second and third mend what it lacks.
const PI: [f32; 3] = [std::f32::consts::PI, -8.742_278e-8, -3.430_249e-15];
const LN_2: [f32; 2] = [std::f32::consts::LN_2, -1.904_654_2e-9];

/// `c[0] + c[1] x + c[2] x² + …`, by Horner's rule.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, c: [f32; N], x: S::V) -> S::V {
    let mut sum = s.splat(c[N - 1]);
    for &c in c[..N - 1].iter().rev() {
        sum = s.mul_add(sum, x, s.splat(c));
    }
    sum
}

/// `2^n` for integers `n` from -126 to 127: the exponent is written into the bits. Adding
/// `2^23 + 127` leaves `n + 127` in the low eight bits, and the shift drops all others.
#[inline(always)]
fn power_of_two<S: Simd>(s: S, n: S::V) -> S::V {
    s.shift_left::<23>(s.add(n, s.splat(8_388_608.0 + 127.0)))
}

/// `(n, e^r - 1)` with `x = n ln 2 + r`, `n` an integer and `|r| ≤ ln 2 / 2`; for `|x|` up to
/// 1e3.
#[inline(always)]
fn reduced_exp_m1<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    // e^r = 1 + r + r² p(r), error 1.4e-8 of e^r - 1.
    const P: [f32; 5] = [0.499_999_97, 0.166_665_39, 0.041_667_75, 0.008_367_088, 0.001_383_786_8];
    let round = s.splat(ROUND);
    let n = s.sub(s.mul_add(x, s.splat(std::f32::consts::LOG2_E), round), round);
    let r = s.neg_mul_add(n, s.splat(LN_2[0]), x);
    let r = s.neg_mul_add(n, s.splat(LN_2[1]), r);
    (n, s.mul_add(s.mul(r, r), polynomial(s, P, r), r))
}

/// `e^x`.
#[inline(always)]
pub(super) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    // Past these the result is surely 0 or infinite; NaN passes both.
    let x = s.min(s.splat(89.0), s.max(s.splat(-105.0), x));
    let (n, m1) = reduced_exp_m1(s, x);
    let y = s.add(m1, s.splat(1.0));
    // In two factors, because 2^n leaves the normal range where the result is infinite or
    // denormal. The first product is exact, so the result is still rounded once.
    let round = s.splat(ROUND);
    let half = s.sub(s.mul_add(n, s.splat(0.5), round), round);
    s.mul(s.mul(y, power_of_two(s, half)), power_of_two(s, s.sub(n, half)))
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.splat(0.0), x))))
}

/// Hyperbolic tangent, as `t / (t + 2)` with `t = e^2x - 1`, which keeps its precision about 0.
#[inline(always)]
pub(super) fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    // From 9.02 on, tanh is 1 in f32.
    let x = s.min(s.splat(9.5), s.max(s.splat(-9.5), x));
    let (n, m1) = reduced_exp_m1(s, s.add(x, x));
    let power = power_of_two(s, n);
    let t = s.mul_add(power, m1, s.sub(power, s.splat(1.0)));
    s.div(t, s.add(t, s.splat(2.0)))
}

/// The tanh form of GELU: `x (1 + tanh u) / 2 = x / (1 + e^-2u)` with
/// `u = √(2/π) (x + 0.044715 x³)`.
#[inline(always)]
pub(super) fn gelu<S: Simd>(s: S, x: S::V) -> S::V {
    const MINUS_2_SQRT_2_OVER_PI: f32 = -1.595_769_2;
    let cubic = s.mul_add(
        s.mul(x, x),
        s.splat(0.044_715 * MINUS_2_SQRT_2_OVER_PI),
        s.splat(MINUS_2_SQRT_2_OVER_PI),
    );
    s.div(x, s.add(s.splat(1.0), exp(s, s.mul(x, cubic))))
}

/// Sine of `r` within ±π/2, error 4.6e-10 of the result.
#[inline(always)]
fn sin_reduced<S: Simd>(s: S, r: S::V) -> S::V {
    const P: [f32; 5] =
        [-0.166_666_67, 0.008_333_350_5, -0.000_198_430_93, 2.762_706e-6, -2.550_309_8e-8];
    let z = s.mul(r, r);
    s.mul_add(s.mul(r, z), polynomial(s, P, z), r)
}

/// `x - n π`, for half-integers `n` up to 4e3.
#[inline(always)]
fn without_turns<S: Simd>(s: S, x: S::V, n: S::V) -> S::V {
    let r = s.neg_mul_add(n, s.splat(PI[0]), x);
    let r = s.neg_mul_add(n, s.splat(PI[1]), r);
    s.neg_mul_add(n, s.splat(PI[2]), r)
}

/// `(sin x, cos x)` for `|x|` up to 1e4.
///
/// With `x = n π + r`, the sine is `(-1)^n sin r`; with `x = (n + ½) π + r`, the cosine is
/// `-(-1)^n sin r`. Either way `r` is within ±π/2.
#[inline(always)]
pub(super) fn sin_cos<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    let (inverse_pi, round) = (s.splat(std::f32::consts::FRAC_1_PI), s.splat(ROUND));
    let turns = s.mul_add(x, inverse_pi, round);
    let sin = sin_reduced(s, without_turns(s, x, s.sub(turns, round)));
    let sin = s.xor(sin, s.shift_left::<31>(turns));
    let half = s.splat(0.5);
    let turns = s.add(s.sub(s.mul(x, inverse_pi), half), round);
    let cos = sin_reduced(s, without_turns(s, x, s.add(s.sub(turns, round), half)));
    let cos = s.xor(cos, s.shift_left::<31>(s.add(turns, s.splat(1.0))));
    (sin, cos)
}

/// The angle of `(x, y)`, within ±π, with the sign of `y`.
///
/// The angle of the smaller side above the larger is within π/4, and that of a number `t` is the
/// angle of `(t - 1) / (t + 1)` and π/4 more, so a polynomial up to tan π/8 is enough.
#[inline(always)]
pub(super) fn atan2<S: Simd>(s: S, y: S::V, x: S::V) -> S::V {
    use std::f32::consts::{FRAC_PI_2, FRAC_PI_4, PI};
    const TAN_PI_8: f32 = 0.414_213_57;
    // atan t = t + t z p(z), z = t²; error 7e-10 of the result.
    const P: [f32; 5] = [-0.333_333_16, 0.199_985_28, -0.142_443_9, 0.105_991_445, -0.060_899_6];
    let zero = s.splat(0.0);
    let (sign_x, sign_y) = (s.and(x, s.splat(-0.0)), s.and(y, s.splat(-0.0)));
    let (abs_x, abs_y) = (s.xor(x, sign_x), s.xor(y, sign_y));
    // Zero over zero is zero.
    let large = s.max(s.splat(f32::MIN_POSITIVE), s.max(abs_x, abs_y));
    let small = s.min(abs_x, abs_y);
    let is_flat = s.neg_mul_add(large, s.splat(TAN_PI_8), small);
    let over = s.if_negative(is_flat, small, s.sub(small, large));
    let under = s.if_negative(is_flat, large, s.add(small, large));
    let t = s.div(over, under);
    let z = s.mul(t, t);
    let angle = s.mul_add(s.mul(t, z), polynomial(s, P, z), t);
    let angle = s.add(s.if_negative(is_flat, zero, s.splat(FRAC_PI_4)), angle);
    let is_steep = s.sub(abs_x, abs_y);
    let angle = s.if_negative(is_steep, s.sub(s.splat(FRAC_PI_2), angle), angle);
    // The sign alone decides, so that minus zero counts as negative.
    let is_left = s.xor(sign_x, s.splat(1.0));
    let angle = s.if_negative(is_left, s.sub(s.splat(PI), angle), angle);
    s.xor(angle, sign_y)
}

/// `sin² x` for `|x|` up to 1e3. The period is π, so there is no sign to mind: a polynomial in
/// the square of the reduced argument gives it at once.
#[inline(always)]
pub(super) fn sin_squared<S: Simd>(s: S, x: S::V) -> S::V {
    // sin² r = z q(z), z = r²; absolute error 7.8e-9.
    const Q: [f32; 6] = [
        0.999_999_8,
        -0.333_331_94,
        0.044_440_87,
        -0.003_170_380_8,
        0.000_138_561_46,
        -3.517_846_6e-6,
    ];
    let round = s.splat(ROUND);
    let n = s.sub(s.mul_add(x, s.splat(std::f32::consts::FRAC_1_PI), round), round);
    let r = s.neg_mul_add(n, s.splat(PI[0]), x);
    let r = s.neg_mul_add(n, s.splat(PI[1]), r);
    let z = s.mul(r, r);
    s.mul(z, polynomial(s, Q, z))
}
