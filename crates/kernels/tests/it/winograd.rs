//! Convolutions by fewer multiplications, against a sum of products in f64.

use koe_kernels::Isa;
use koe_kernels::gemm::Output;
use koe_kernels::number::Number;
use koe_kernels::winograd::Shape;
use proptest::prelude::*;

use crate::support::{POISON, bits, fast_isas, for_each_isa, noise, note};

/// What is multiplied.
trait Tested: Number {
    /// Largest error relative to the root of the sum of squares of the products that a result sums:
    /// what a signal of random numbers measures by. 1e-5 is -100 dB.
    const ERROR: f64;
    const POISON: Self;
    fn is_alike(isa: Isa) -> bool;
}

impl Tested for f32 {
    const ERROR: f64 = 1e-5;
    const POISON: Self = POISON;
    fn is_alike(_isa: Isa) -> bool {
        true
    }
}

/// bf16, with eight bits for twenty-four.
impl Tested for u16 {
    const ERROR: f64 = 0.1;
    const POISON: Self = 0x7fc0;
    fn is_alike(isa: Isa) -> bool {
        !isa.has_own_bf16_sums()
    }
}

/// How much larger the root of the mean square error may be than that of the plain sum of
/// products in f32, which it is a stand-in for.
const TIMES_PLAIN: f64 = 3.0;

/// Runs a convolution of `T` on every instruction set; the root mean square error of the best one
/// and of the plain sum of products in f32.
fn check<T: Tested>(shape: Shape, n_rows: usize, with_bias: bool, output: Output) -> [f64; 2] {
    let Shape { n_taps, dilation, depth, n } = shape;
    let weights = noise(n_taps * depth * n, 1.0, 1);
    let at = |tap: usize, d: usize, i: usize| weights[(tap * depth + d) * n + i];
    let mut packed = vec![T::default(); shape.packed_len()];
    shape.pack(&mut packed, at);
    let x = noise((n_rows + (n_taps - 1) * dilation) * depth, 1.0, 2);
    let (n_inputs, n_products) = shape.scratch_len(n_rows);
    let bias = noise(n, 1.0, 3);
    let before = noise(n_rows * n, 1.0, 4);
    let run = |isa: Isa| {
        let mut out = before.clone();
        let mut scratch = (vec![T::POISON; n_inputs], vec![POISON; n_products]);
        let scratch = (&mut scratch.0[..], &mut scratch.1[..]);
        let bias = with_bias.then_some(&bias[..]);
        shape.convolve(isa, &x, n_rows, &packed, bias, &mut out, output, scratch);
        out
    };
    let mut rms = [0.0; 2];
    for &isa in Isa::available().iter().rev() {
        let out = run(isa);
        let mut sums_of_squares = [0.0; 2];
        for t in 0..n_rows {
            for i in 0..n {
                let mut sum = if with_bias { f64::from(bias[i]) } else { 0.0 };
                if output == Output::Add {
                    sum += f64::from(before[t * n + i]);
                }
                let mut squares = 1.0f64;
                let mut plain = sum as f32;
                for tap in 0..n_taps {
                    for d in 0..depth {
                        let x = f64::from(x[(t + tap * dilation) * depth + d]);
                        let product = x * f64::from(at(tap, d, i));
                        sum += product;
                        plain += product as f32;
                        squares += product * product;
                    }
                }
                let error = (f64::from(out[t * n + i]) - sum).abs() / squares.sqrt();
                assert!(error <= T::ERROR, "{isa:?} {shape:?} {n_rows}: [{t}][{i}] off by {error}");
                let plain_error = (f64::from(plain) - sum).abs() / squares.sqrt();
                sums_of_squares[0] += error * error;
                sums_of_squares[1] += plain_error * plain_error;
            }
        }
        rms = sums_of_squares.map(|sum| (sum / (n_rows * n) as f64).sqrt());
    }
    let sets: Vec<_> = fast_isas().filter(|&isa| T::is_alike(isa)).collect();
    for pair in sets.windows(2) {
        assert_eq!(bits(&run(pair[0])), bits(&run(pair[1])), "{pair:?} {shape:?} differ");
    }
    rms
}

#[test]
fn the_networks_convolutions_are_right() {
    for_each_isa(|_| {});
    for n_taps in [3, 7, 11] {
        for dilation in [1, 3, 5] {
            let shape = Shape { n_taps, dilation, depth: 128, n: 32 };
            let [rms, plain] = check::<f32>(shape, 48, true, Output::Store);
            note(&format!("{n_taps} taps, dilation {dilation}: {rms:.2e}, plainly {plain:.2e}"));
            assert!(rms <= TIMES_PLAIN * plain, "{shape:?}: {rms}, {plain}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_convolution_is_right(
        n_taps in 1usize..14,
        dilation in 1usize..6,
        depth in 1usize..40,
        n in 1usize..70,
        n_rows in 0usize..50,
        with_bias: bool,
        add: bool,
    ) {
        let output = if add { Output::Add } else { Output::Store };
        check::<f32>(Shape { n_taps, dilation, depth, n }, n_rows, with_bias, output);
        check::<u16>(Shape { n_taps, dilation, depth: 2 * depth, n }, n_rows, with_bias, output);
    }
}
