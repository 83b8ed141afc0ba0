//! bf16: rounding, products and convolutions, held to the plain reference bit by bit, or, where an
//! instruction set has sums of its own, to the exact ones.

use koe_kernels::gemm::{Output, PANEL, Rows, gemm, pack, packed_len};
use koe_kernels::number::{round, widen};
use koe_kernels::winograd::Shape;
use koe_kernels::{Isa, activation};
use proptest::prelude::*;

use crate::support::{LENGTHS, POISON, bits, for_each_isa, noise, note};

/// Numbers of many sizes, every special one, and those half way between two bf16.
fn sweep() -> Vec<f32> {
    let mut x: Vec<f32> = (0..=u32::MAX / 997).map(|i| f32::from_bits(i * 997)).collect();
    for upper in (0..=u16::MAX).step_by(7) {
        for lower in [0x0000, 0x0001, 0x7fff, 0x8000, 0x8001, 0xffff] {
            x.push(f32::from_bits(u32::from(upper) << 16 | lower));
        }
    }
    x
}

#[test]
fn rounding_goes_to_the_nearest_and_to_the_even_of_two() {
    assert_eq!(round(1.0), 0x3f80);
    assert_eq!(round(f32::from_bits(0x3f80_8000)), 0x3f80, "half way: down to even");
    assert_eq!(round(f32::from_bits(0x3f81_8000)), 0x3f82, "half way: up to even");
    assert_eq!(round(f32::from_bits(0x3f80_8001)), 0x3f81);
    assert_eq!(round(f32::MAX), 0x7f80, "infinity is nearer than any number");
    assert_eq!(round(-f32::NAN), 0x7fc0);
    for x in sweep() {
        let rounded = widen(round(x));
        if x.is_finite() && rounded.is_finite() {
            let [below, above] = [-1i32, 1]
                .map(|step| widen(((i32::from(round(x)) & 0x7fff) + step).clamp(0, 0x7f7f) as u16));
            let error = (f64::from(x.abs()) - f64::from(rounded.abs())).abs();
            for other in [below, above] {
                let other_error = (f64::from(x.abs()) - f64::from(other)).abs();
                assert!(error <= other_error, "{x:e} became {rounded:e}, {other:e} is nearer");
            }
        }
    }
}

#[test]
fn every_instruction_set_rounds_alike() {
    let x = sweep();
    let want: Vec<u16> = x.iter().map(|&x| round(x)).collect();
    for_each_isa(|isa| {
        let mut got = vec![0; x.len()];
        activation::convert(isa, &x, &mut got);
        assert!(got == want, "{isa:?}");
        for n in LENGTHS {
            let mut got = vec![7; n + 2];
            activation::convert(isa, &x[3..n + 3], &mut got[1..=n]);
            assert_eq!((got[0], got[n + 1]), (7, 7), "{isa:?} wrote elsewhere");
            assert_eq!(got[1..=n], want[3..n + 3], "{isa:?}");
        }
    });
}

#[test]
fn activations_round_what_they_write_as_f32() {
    let (t, c) = (5, 37);
    let x = noise(t * c, 3.0, 1);
    let [scale, shift, alpha] = [2, 3, 4].map(|seed| noise(c, 1.0, seed));
    let inverse: Vec<f32> = alpha.iter().map(|x| 1.0 / x).collect();
    for_each_isa(|isa| {
        let check = |name: &str, whole: Vec<f32>, half: Vec<u16>| {
            let want: Vec<u16> = whole.iter().map(|&x| round(x)).collect();
            assert_eq!(half, want, "{name} {isa:?}");
        };
        let (mut whole, mut half) = (vec![POISON; t * c], vec![0u16; t * c]);
        activation::affine_snake(isa, &x, &scale, &shift, &alpha, &inverse, &mut whole);
        activation::affine_snake(isa, &x, &scale, &shift, &alpha, &inverse, &mut half);
        check("snake", whole.clone(), half.clone());
        activation::affine_leaky(isa, &x, &scale, &shift, 0.2, &mut whole);
        activation::affine_leaky(isa, &x, &scale, &shift, 0.2, &mut half);
        check("affine leaky", whole.clone(), half.clone());
        activation::leaky(isa, &x, 0.1, &mut whole);
        activation::leaky(isa, &x, 0.1, &mut half);
        check("leaky", whole, half);
    });
}

/// A product on one instruction set, with everything it reads at odd places, and held to the exact
/// one. The bytes of sets with sums of their own are held to a model of their instruction beside it.
fn product(isa: Isa, shape: (usize, usize, usize, usize), add: bool) -> Vec<f32> {
    let (n_rows, n_taps, depth, n) = shape;
    let k = n_taps * depth;
    let weights = noise(k * n, 1.0, 2);
    let mut packed = vec![0u16; 1 + packed_len(k, n)];
    pack(k, n, &mut packed[1..], |k, i| weights[k * n + i]);
    let tap_stride = depth + 6;
    let row_stride = depth + 3;
    let reach = (n_rows - 1) * row_stride + (n_taps.max(1) - 1) * tap_stride + depth;
    let data: Vec<u16> = noise(1 + reach, 1.0, 1).into_iter().map(round).collect();
    let bias = noise(n, 1.0, 3);
    let mut out = noise(n_rows * n, 1.0, 4);
    let rows = Rows { data: &data[1..], row_stride, n_taps, tap_stride, depth };
    let output = if add { Output::Add } else { Output::Store };
    gemm(isa, rows, n_rows, &packed[1..], n, Some(&bias), &mut out, n, output);
    let before = noise(n_rows * n, 1.0, 4);
    for t in 0..n_rows {
        for i in 0..n {
            let given = [bias[i], if add { before[t * n + i] } else { 0.0 }].map(f64::from);
            let mut sum = given[0] + given[1];
            let mut magnitude = given[0].abs() + given[1].abs();
            for tap in 0..n_taps {
                for d in 0..depth {
                    let x = data[1 + t * row_stride + tap * tap_stride + d];
                    let w = widen(round(weights[(tap * depth + d) * n + i]));
                    let product = f64::from(widen(x)) * f64::from(w);
                    sum += product;
                    magnitude += product.abs();
                }
            }
            // Products of bf16 are exact in f32; every addition may be off by half a unit, or by a
            // whole one where a set has a rounding of its own.
            let units = if isa.has_own_bf16_sums() { 1.0 } else { 0.5 };
            let bound = (k + 4) as f64 * units * f64::from(f32::EPSILON) * magnitude;
            let error = (f64::from(out[t * n + i]) - sum).abs();
            assert!(error <= bound, "{isa:?} {shape:?}: [{t}][{i}] is off by {error}");
        }
    }
    out
}

#[test]
fn every_instruction_set_without_sums_of_its_own_gives_the_bytes_of_the_plain_reference() {
    for n_rows in [1, 2, 3, 5, 11, 12, 13, 26] {
        for n in [1, 16, 33, 64, 130] {
            for (n_taps, depth) in [(1, 2), (1, 30), (3, 16), (2, 50), (0, 4)] {
                let shape = (n_rows, n_taps, depth, n);
                let want = product(Isa::SCALAR, shape, n_rows % 2 == 0);
                for_each_isa(|isa| {
                    let got = product(isa, shape, n_rows % 2 == 0);
                    let alike = bits(&got) == bits(&want);
                    assert!(isa.has_own_bf16_sums() || alike, "{isa:?} {shape:?}");
                });
            }
        }
    }
}

#[test]
fn rows_cut_elsewhere_give_the_same_bytes() {
    let (n_rows, n_taps, depth, n) = (75, 3, 34, 40);
    let mut packed = vec![0u16; packed_len(n_taps * depth, n)];
    let weights = noise(n_taps * depth * n, 1.0, 2);
    pack(n_taps * depth, n, &mut packed, |k, i| weights[k * n + i]);
    let x = noise((n_rows + 4) * depth, 1.0, 1);
    let data: Vec<u16> = x.into_iter().map(round).collect();
    for_each_isa(|isa| {
        let run = |from: usize, to: usize, out: &mut [f32]| {
            let data = &data[from * depth..];
            let rows = Rows { data, row_stride: depth, n_taps, tap_stride: 2 * depth, depth };
            let out = &mut out[from * n..];
            gemm(isa, rows, to - from, &packed, n, None, out, n, Output::Store);
        };
        let mut whole = vec![POISON; n_rows * n];
        run(0, n_rows, &mut whole);
        for step in [1, 2, 7, 16, 24, 33] {
            let mut parts = vec![POISON; n_rows * n];
            for from in (0..n_rows).step_by(step) {
                run(from, n_rows.min(from + step), &mut parts);
            }
            assert_eq!(bits(&whole), bits(&parts), "{isa:?}, {step} rows at once");
        }
    });
}

#[test]
#[cfg(target_os = "linux")]
fn bf16_is_fast_where_there_is_an_instruction_but_for_intels_without_tiles() {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let is_intel =
        info.lines().any(|line| line.starts_with("vendor_id") && line.ends_with("GenuineIntel"));
    for_each_isa(|isa| {
        let is_fast = match isa.name() {
            "amx" | "neonbf16" => true,
            "avx512bf16" => !is_intel,
            _ => false,
        };
        assert_eq!(isa.has_fast_bf16(), is_fast, "{isa:?}");
    });
}

#[test]
fn packing_sets_pairs_side_by_side() {
    let mut packed = vec![1u16; packed_len(4, PANEL + 1)];
    pack(4, PANEL + 1, &mut packed, |k, n| (k * 64 + n) as f32);
    let at = |panel: usize, pair: usize, column: usize, i: usize| {
        widen(packed[((panel * 2 + pair) * PANEL + column) * 2 + i])
    };
    assert_eq!((at(0, 0, 0, 0), at(0, 0, 0, 1), at(0, 1, 5, 1)), (0.0, 64.0, 197.0));
    assert_eq!((at(0, 1, 3, 0), at(1, 1, 0, 0)), (131.0, 160.0));
    assert_eq!((at(1, 0, 1, 0), at(1, 1, 31, 1)), (0.0, 0.0), "padding");
}

/// How far rounding to bf16 moves a convolution, root mean square, relative to the root of the
/// sum of squares of its products: directly and by fewer multiplications.
fn convolution_errors(isa: Isa, n_taps: usize, dilation: usize) -> [f64; 2] {
    let shape = Shape { n_taps, dilation, depth: 128, n: 32 };
    let n_rows = 60;
    let weights = noise(n_taps * shape.depth * shape.n, 1.0, 1);
    let at = |tap: usize, d: usize, i: usize| weights[(tap * shape.depth + d) * shape.n + i];
    let x = noise((n_rows + (n_taps - 1) * dilation) * shape.depth, 1.0, 2);
    let mut direct = vec![0.0; n_rows * shape.n];
    let mut packed = vec![0u16; packed_len(n_taps * shape.depth, shape.n)];
    pack(n_taps * shape.depth, shape.n, &mut packed, |k, i| at(k / 128, k % 128, i));
    let half: Vec<u16> = x.iter().map(|&x| round(x)).collect();
    let rows =
        Rows { data: &half, row_stride: 128, n_taps, tap_stride: 128 * dilation, depth: 128 };
    gemm(isa, rows, n_rows, &packed, shape.n, None, &mut direct, shape.n, Output::Store);
    let mut quick = vec![0.0; n_rows * shape.n];
    let mut packed = vec![0u16; shape.packed_len()];
    shape.pack(&mut packed, at);
    let (inputs, products) = shape.scratch_len(n_rows);
    let mut scratch = (vec![0; inputs], vec![POISON; products]);
    let scratch = (&mut scratch.0[..], &mut scratch.1[..]);
    shape.convolve(isa, &x, n_rows, &packed, None, &mut quick, Output::Store, scratch);
    let mut sums = [0.0; 2];
    for t in 0..n_rows {
        for i in 0..shape.n {
            let (mut sum, mut squares) = (0.0, 0.0);
            for tap in 0..n_taps {
                for d in 0..shape.depth {
                    let x = f64::from(x[(t + tap * dilation) * shape.depth + d]);
                    let product = x * f64::from(at(tap, d, i));
                    sum += product;
                    squares += product * product;
                }
            }
            for (sums, out) in sums.iter_mut().zip([&direct, &quick]) {
                let error = f64::from(out[t * shape.n + i]) - sum;
                *sums += error * error / squares;
            }
        }
    }
    sums.map(|sum| (sum / (n_rows * shape.n) as f64).sqrt())
}

#[test]
fn convolutions_of_bf16_are_as_exact_as_their_rounding() {
    for n_taps in [3, 7, 11] {
        for dilation in [1, 5] {
            let [direct, quick] = convolution_errors(Isa::detect(), n_taps, dilation);
            note(&format!("{n_taps} taps, dilation {dilation}: {direct:.2e}, quickly {quick:.2e}"));
            // Half a unit of eight bits at most, evenly spread, of both factors.
            let rounding = 2f64.powi(-8) / 3f64.sqrt() * 2f64.sqrt();
            assert!(direct < rounding, "{direct}");
            // The transforms let three times as much through.
            assert!(quick < 3.0 * rounding, "{quick}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_product_of_bf16_is_right(
        n_rows in 1usize..30,
        n_taps in 0usize..4,
        half_depth in 0usize..30,
        n in 1usize..140,
        add: bool,
    ) {
        let shape = (n_rows, n_taps, 2 * half_depth, n);
        let want = product(Isa::SCALAR, shape, add);
        for &isa in Isa::available() {
            let got = product(isa, shape, add);
            let alike = bits(&got) == bits(&want);
            prop_assert!(isa.has_own_bf16_sums() || alike, "{:?} {:?}", isa, shape);
        }
    }
}
