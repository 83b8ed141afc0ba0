//! Functions of one number at a time, against f64 and against each other.

use koe_kernels::{Isa, activation, lstm};

use crate::support::{LENGTHS, POISON, bits, fast_isas, for_each_isa, noise, note, ulps};

/// Largest errors of the fast kernels, in units of the last place.
mod max_ulps {
    pub(crate) const EXP: f64 = 1.1;
    pub(crate) const TANH: f64 = 2.6;
    /// Where the result is a normal number.
    pub(crate) const SIGMOID: f64 = 2.6;
    /// For `|x|` up to 1e4.
    pub(crate) const SIN_COS: f64 = 1.7;
    /// Where both parts are 0 or normal numbers.
    pub(crate) const PHASE: f64 = 3.0;
    pub(crate) const MAGNITUDE: f64 = 1.5;
}

/// Largest error of GELU: of the result for positive numbers, of `x` times this for all.
const GELU_ERROR: f64 = 4e-7;

/// Largest error of Snake's `sin²`, for arguments up to 1e3.
const SIN_SQUARED_ERROR: f64 = 2e-7;

/// Every 997th f32 of either sign, all the special ones, and their neighbours.
pub(crate) fn sweep() -> Vec<f32> {
    let mut x: Vec<f32> = (0..=u32::MAX / 997).map(|i| f32::from_bits(i * 997)).collect();
    let special = [0.0, f32::MIN_POSITIVE, 1.0, f32::MAX, f32::INFINITY, 1e-45, 88.722_84, 103.97];
    for x0 in special {
        for x0 in [x0, f32::next_up(x0), f32::next_down(x0)] {
            x.extend([x0, -x0]);
        }
    }
    x.extend([f32::NAN, -f32::NAN]);
    x
}

/// Holds `function` to `want` over all of `x`: `error` of what came out and what was wanted
/// stays within `bound`.
fn check(
    name: &str,
    bound: f64,
    x: &[f32],
    function: impl Fn(Isa, &mut [f32]),
    error: impl Fn(f32, f32) -> f64,
) {
    for_each_isa(|isa| {
        let mut y = x.to_vec();
        function(isa, &mut y);
        let worst = x.iter().zip(&y).map(|(&x, &y)| (error(x, y), x, y));
        let (worst, x, y) = worst.max_by(|a, b| a.0.total_cmp(&b.0)).expect("not empty");
        note(&format!("{name} {isa:?}: {worst:.3e} at {x:e}"));
        assert!(worst <= bound, "{name} {isa:?}: {worst} at {x:e}: {y:e}");
    });
}

#[test]
fn exp_is_right_from_zero_to_infinity() {
    let error = |x, y| ulps(y, f64::from(x).exp());
    check("exp", max_ulps::EXP, &sweep(), activation::exp, error);
}

#[test]
fn tanh_is_right_everywhere() {
    let error = |x, y| ulps(y, f64::from(x).tanh());
    check("tanh", max_ulps::TANH, &sweep(), activation::tanh, error);
}

#[test]
fn sigmoid_is_right_everywhere() {
    let error = |x: f32, y: f32| {
        let want = 1.0 / (1.0 + (-f64::from(x)).exp());
        let small = f64::from(f32::MIN_POSITIVE);
        // Below the normal numbers e^-x may be infinite, and the result 0.
        if want < small && f64::from(y) < small { 0.0 } else { ulps(y, want) }
    };
    check("sigmoid", max_ulps::SIGMOID, &sweep(), activation::sigmoid, error);
}

#[test]
fn gelu_is_right_everywhere() {
    let error = |x: f32, y: f32| {
        if x.is_nan() || x == f32::NEG_INFINITY {
            return if y.is_nan() { 0.0 } else { f64::INFINITY };
        }
        if x == f32::INFINITY {
            return if y == x { 0.0 } else { f64::INFINITY };
        }
        let x = f64::from(x);
        let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
        let want = 0.5 * x * (1.0 + inner.tanh());
        (f64::from(y) - want).abs() / x.abs().max(f64::from(f32::MIN_POSITIVE))
    };
    check("gelu", GELU_ERROR, &sweep(), activation::gelu, error);
}

#[test]
fn sin_cos_are_right_up_to_ten_thousand() {
    let mut x = sweep();
    x.retain(|x| x.abs() <= 1e4 || !x.is_finite());
    // Where reduction is hardest: about the multiples of π/2.
    for n in -6366..=6366 {
        let near = (f64::from(n) * std::f64::consts::FRAC_PI_2) as f32;
        x.extend([near, near.next_up(), near.next_down()]);
    }
    let sin = |isa, x: &mut [f32]| {
        let (from, mut cos) = (x.to_vec(), vec![0.0; x.len()]);
        activation::sin_cos(isa, &from, x, &mut cos);
    };
    let cos = |isa, x: &mut [f32]| {
        let (from, mut sin) = (x.to_vec(), vec![0.0; x.len()]);
        activation::sin_cos(isa, &from, &mut sin, x);
    };
    check("sin", max_ulps::SIN_COS, &x, sin, |x, y| ulps(y, f64::from(x).sin()));
    check("cos", max_ulps::SIN_COS, &x, cos, |x, y| ulps(y, f64::from(x).cos()));
}

#[test]
fn polar_is_right_in_every_direction() {
    // Every pair of these, so that all signs, zeros and ratios meet.
    let mut parts = vec![0.0, 1.0, f32::MIN_POSITIVE, 1e-30, 1e15, 0.414_213_57];
    parts.extend(noise(60, 3.0, 1).into_iter().map(f32::abs));
    parts.extend(noise(60, 8.0, 2).into_iter().map(f32::exp2));
    let near = parts.clone();
    parts.extend(near.iter().flat_map(|x| [x.next_up(), x * 0.414_213_57]));
    parts.extend(parts.clone().into_iter().map(|x| -x));
    parts.retain(|x| *x == 0.0 || x.is_normal());
    let (re, im): (Vec<f32>, Vec<f32>) =
        parts.iter().flat_map(|&re| parts.iter().map(move |&im| (re, im))).unzip();
    let one = |part: usize| {
        let (re, im) = (re.clone(), im.clone());
        move |isa, i: &mut [f32]| {
            let at = |parts: &[f32]| i.iter().map(|&i| parts[i as usize]).collect::<Vec<_>>();
            let mut out = [at(&re), at(&im)];
            let [a, b] = &mut out;
            activation::polar(isa, a, b);
            i.copy_from_slice(&out[part]);
        }
    };
    let index: Vec<f32> = (0..re.len()).map(|i| i as f32).collect();
    let wide = |i: f32| (f64::from(re[i as usize]), f64::from(im[i as usize]));
    check("magnitude", max_ulps::MAGNITUDE, &index, one(0), |i, got| {
        let (re, im) = wide(i);
        let want = re.hypot(im);
        // The squares of the smallest and largest leave the range.
        if (1e-15..1e15).contains(&want) { ulps(got, want) } else { 0.0 }
    });
    check("phase", max_ulps::PHASE, &index, one(1), |i, got| {
        let (re, im) = wide(i);
        assert_eq!(got.is_sign_negative(), im.is_sign_negative(), "({re:e}, {im:e}): {got}");
        let want = im.atan2(re);
        // A quotient may be too small for a normal number.
        if want != 0.0 && want.abs() < 2f64.powi(-126) { 0.0 } else { ulps(got, want) }
    });
}

#[test]
fn the_sine_of_snake_is_right_up_to_a_thousand() {
    // With a scale and alpha of 1 the door computes x + sin² x; the sum's own rounding is taken
    // off where it is coarse by an inverse alpha that lifts the sine above x.
    const LIFT: f32 = 8192.0;
    let x = noise(1 << 20, 1e3, 9);
    let one = vec![1.0; 1 << 20];
    let snake = |isa, x: &mut [f32]| {
        let from = x.to_vec();
        let (shift, lift) = (vec![0.0; x.len()], vec![LIFT; x.len()]);
        activation::affine_snake(isa, &from, &one, &shift, &one, &lift, x);
    };
    let error = |x: f32, y: f32| {
        (f64::from(y) - f64::from(x)) / f64::from(LIFT) - f64::from(x).sin().powi(2)
    };
    check("sin²", SIN_SQUARED_ERROR, &x, snake, |x, y| error(x, y).abs());
}

/// A door over three inputs and two outputs of one length, all off alignment.
pub(crate) type Door = fn(Isa, [&[f32]; 3], [&mut [f32]; 2]);

pub(crate) const DOORS: [(&str, Door); 11] = [
    ("exp", |isa, _, [a, _]| activation::exp(isa, a)),
    ("tanh", |isa, _, [a, _]| activation::tanh(isa, a)),
    ("sigmoid", |isa, _, [a, _]| activation::sigmoid(isa, a)),
    ("gelu", |isa, _, [a, _]| activation::gelu(isa, a)),
    ("sin_cos", |isa, [x, ..], [a, b]| activation::sin_cos(isa, x, a, b)),
    ("polar", |isa, _, [a, b]| activation::polar(isa, a, b)),
    ("leaky", |isa, [x, ..], [a, _]| activation::leaky(isa, x, 0.2, a)),
    ("add", |isa, [x, ..], [a, _]| activation::add(isa, x, a)),
    ("add_scale", |isa, [x, ..], [a, _]| activation::add_scale(isa, x, 0.7, a)),
    ("affine_leaky", |isa, [x, scale, shift], [a, _]| {
        if !x.is_empty() {
            activation::affine_leaky(isa, x, scale, shift, 0.2, a);
        }
    }),
    ("affine_snake", |isa, [x, scale, shift], [a, _]| {
        if !x.is_empty() {
            activation::affine_snake(isa, x, scale, shift, scale, shift, a);
        }
    }),
];

/// What fast and plain kernels may differ by on numbers within ±3, relative to 1 + the result.
const DOOR_ERROR: f32 = 2e-6;

#[test]
fn doors_agree_at_every_length_and_write_nothing_else() {
    for_each_isa(|_| {});
    for (name, door) in DOORS {
        for n in LENGTHS {
            let inputs = [1, 2, 3].map(|seed| noise(n + 1, 3.0, seed));
            let before = [4, 5].map(|seed| {
                let mut out = noise(n + 1, 3.0, seed);
                out.extend([POISON; 5]);
                out
            });
            let run = |isa| {
                let mut out = before.clone();
                let [a, b] = &mut out;
                let inputs = [0, 1, 2].map(|i| &inputs[i][1..]);
                door(isa, inputs, [&mut a[1..=n], &mut b[1..=n]]);
                out
            };
            let plain = run(Isa::SCALAR);
            for isa in fast_isas() {
                let fast = run(isa);
                for (fast, plain) in fast.iter().zip(&plain) {
                    for (i, (&got, &want)) in fast.iter().zip(plain).enumerate() {
                        let bound = if (1..=n).contains(&i) { DOOR_ERROR } else { 0.0 };
                        let near = (got - want).abs() <= bound * (1.0 + want.abs());
                        assert!(near, "{name} {isa:?} {n}: [{i}] is {got}, not {want}");
                    }
                }
            }
        }
    }
}

#[test]
fn affine_doors_are_right_in_every_row() {
    for_each_isa(|isa| {
        for (c, t) in LENGTHS.skip(1).flat_map(|c| [(c, 1), (c, 2), (c, 5)]) {
            let x = noise(1 + t * c, 3.0, 1);
            let [scale, shift, alpha, inverse] = [2, 3, 4, 5].map(|seed| noise(1 + c, 1.5, seed));
            let mut got = [vec![POISON; t * c + 2], vec![POISON; t * c + 2]];
            let [leaky, snake] = got.each_mut().map(|out| &mut out[1..=t * c]);
            let (x, [scale, shift, alpha, inverse]) =
                (&x[1..], [&scale, &shift, &alpha, &inverse].map(|of| &of[1..]));
            activation::affine_leaky(isa, x, scale, shift, 0.2, leaky);
            activation::affine_snake(isa, x, scale, shift, alpha, inverse, snake);
            for (i, x) in x.iter().enumerate() {
                let [scale, shift, alpha, inverse] =
                    [scale, shift, alpha, inverse].map(|of| f64::from(of[i % c]));
                let y = f64::from(*x) * scale + shift;
                let leaky = if y < 0.0 { 0.2 * y } else { y };
                let snake = y + (alpha * y).sin().powi(2) * inverse;
                for (got, want) in got.iter().zip([leaky, snake]) {
                    let error = (f64::from(got[1 + i]) - want).abs();
                    let bound = f64::from(DOOR_ERROR) * (1.0 + want.abs());
                    assert!(error <= bound, "{isa:?} {t}x{c}: [{i}] is {}, not {want}", got[1 + i]);
                }
            }
            assert!(got.iter().all(|out| out[0] == POISON && out[t * c + 1] == POISON), "{isa:?}");
        }
    });
}

#[test]
fn fast_instruction_sets_give_the_same_bytes() {
    let sets: Vec<_> = fast_isas().collect();
    let x = sweep();
    let x: Vec<f32> = x.into_iter().step_by(7).collect();
    let other = noise(x.len(), 2.0, 8);
    for (name, door) in DOORS {
        let run = |isa| {
            let (mut a, mut b) = (x.clone(), x.clone());
            door(isa, [&x, &other, &other], [&mut a, &mut b]);
            [bits(&a), bits(&b)]
        };
        for pair in sets.windows(2) {
            assert!(run(pair[0]) == run(pair[1]), "{name}: {pair:?} differ");
        }
    }
}

#[test]
fn nan_in_is_nan_out() {
    for_each_isa(|isa| {
        for (name, door) in DOORS {
            let x = [f32::NAN; 19];
            let (mut a, mut b) = (x, x);
            door(isa, [&x, &[1.0; 19], &[1.0; 19]], [&mut a, &mut b]);
            assert!(a.iter().chain(&b).all(|x| x.is_nan()), "{name} {isa:?}: {a:?} {b:?}");
        }
    });
}

#[test]
fn lstm_cell_agrees_at_every_width() {
    for_each_isa(|isa| {
        for h in LENGTHS {
            let gates = noise(4 * h + 1, 6.0, 1);
            let before = noise(h + 1, 2.0, 2);
            let run = |isa| {
                let (mut cell, mut hidden) = (before.clone(), before.clone());
                lstm::cell(isa, &gates[1..], &mut cell[1..], &mut hidden[1..]);
                [cell, hidden].concat()
            };
            for (got, want) in run(isa).iter().zip(run(Isa::SCALAR)) {
                assert!((got - want).abs() <= 1e-6, "{isa:?} {h}: {got}, not {want}");
            }
        }
    });
}
