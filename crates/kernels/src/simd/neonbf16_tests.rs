//! The instruction held to a model of it in plain Rust, and the walk over the tiles to a walk over
//! that model, bit by bit. Run where a CPU, or an emulated one, has the instruction; `tests/it`
//! prints which instruction sets a machine has.

use super::*;
use crate::Isa;
use crate::gemm::{pack, packed_len};
use crate::number::{round, widen};

/// What Arm's manual calls `BFAdd`: the exact sum, cut after 24 bits, the last of them set if
/// anything was cut ("rounded to odd"). Numbers below 2^-126 are zero, and there is one NaN.
fn add(a: f32, b: f32) -> f32 {
    let (a, b) = (flush(a), flush(b));
    let native = a + b;
    if native.is_nan() {
        return f32::from_bits(0x7fc0_0000);
    }
    // Sums of zeros and infinities are as ever.
    if native == 0.0 || a.is_infinite() || b.is_infinite() {
        return native;
    }
    let exponent = |x: f32| (x.to_bits() >> 23 & 0xff) as i32;
    let largest = exponent(a).max(exponent(b));
    // In units of 2^-64 of the larger's last bit. Of a number that is shifted away, a bit stays.
    let fixed = |x: f32| {
        if x == 0.0 {
            return 0;
        }
        let mantissa = i128::from(x.to_bits() & 0x7f_ffff | 0x80_0000) << 64;
        let shift = (largest - exponent(x)).min(100);
        let shifted = mantissa >> shift | i128::from(mantissa & ((1 << shift) - 1) != 0);
        if x < 0.0 { -shifted } else { shifted }
    };
    let sum = fixed(a) + fixed(b);
    let magnitude = sum.unsigned_abs();
    let top = 127 - magnitude.leading_zeros() as i32;
    let exponent = largest + top - (64 + 23);
    let mantissa = if top <= 23 {
        magnitude << (23 - top)
    } else {
        let cut = top - 23;
        magnitude >> cut | u128::from(magnitude & ((1 << cut) - 1) != 0)
    };
    let bits = match exponent {
        255.. => 0x7f80_0000,
        1.. => (exponent as u32) << 23 | mantissa as u32 & 0x7f_ffff,
        _ => 0,
    };
    f32::from_bits(bits | u32::from(sum < 0) << 31)
}

/// `BFMulH`: exact, but for what is too large or too small.
fn multiply(a: u16, b: u16) -> f32 {
    flush(flush(widen(a)) * flush(widen(b)))
}

fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0.0f32.copysign(x) } else { x }
}

/// `BFDotAdd`: a pair of the depth.
fn add_pair(sum: f32, x: [u16; 2], w: [u16; 2]) -> f32 {
    add(sum, add(multiply(x[0], w[0]), multiply(x[1], w[1])))
}

/// The instruction as the model has it.
fn model(sums: [f32; 4], x: Operand, w: Operand) -> [f32; 4] {
    std::array::from_fn(|at| {
        let (x, w) = (x[at / 2], w[at % 2]);
        let sum = add_pair(sums[at], [x[0], x[1]], [w[0], w[1]]);
        add_pair(sum, [x[2], x[3]], [w[2], w[3]])
    })
}

#[target_feature(enable = "neon,bf16")]
fn instruction(sums: [f32; 4], x: &Operand, w: &Operand) -> [f32; 4] {
    let mut out = [0.0; 4];
    // SAFETY: both arrays are four f32.
    unsafe {
        let sums = bfmmla(vld1q_f32(sums.as_ptr()), load(x), load(w));
        vst1q_f32(out.as_mut_ptr(), sums);
    }
    out
}

/// Whether the CPU has the instruction; says so where it has not.
#[expect(clippy::print_stderr, reason = "a test that is left out is told")]
fn is_there() -> bool {
    let is_there = Isa::named("neonbf16").is_ok();
    if !is_there {
        eprintln!("this CPU has no bf16: neonbf16 is NOT tested");
    }
    is_there
}

/// Bits without a pattern.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    /// Within ±2, of many magnitudes.
    fn number(&mut self) -> f32 {
        f32::from_bits((self.next() & 0x83ff_ffff) + (0x4000_0000 - (self.next() % 9 << 25)))
    }
}

#[test]
fn the_model_rounds_to_odd() {
    let ulp = f32::EPSILON;
    assert_eq!(add(1.0, 1.0), 2.0);
    assert_eq!(add(1.0, ulp / 1024.0), 1.0 + ulp);
    assert_eq!(add(1.0, 2e-38), 1.0 + ulp, "far below");
    assert_eq!(add(-1.0, -2e-38), -1.0 - ulp);
    assert_eq!(add(1.0 + ulp, 0.9 * ulp), 1.0 + ulp, "odd already");
    assert_eq!(add(1.0 + 2.0 * ulp, -ulp / 1024.0), 1.0 + ulp);
    assert_eq!(add(1.0, -2e-38), 1.0 - ulp / 2.0);
    assert_eq!(add(f32::MAX, f32::MAX), f32::INFINITY);
    assert_eq!(add(f32::MAX, 1.0), f32::MAX, "odd already");
    let small = f32::MIN_POSITIVE;
    assert_eq!(add(small, -1.5 * small).to_bits(), (-0.0f32).to_bits(), "too small");
    assert_eq!(add(small / 2.0, 1.0), 1.0, "a small number is none");
    assert_eq!(add(f32::INFINITY, f32::NEG_INFINITY).to_bits(), 0x7fc0_0000);
    assert_eq!(add(-f32::NAN, 1.0).to_bits(), 0x7fc0_0000);
}

#[test]
fn the_instruction_is_the_model() {
    if !is_there() {
        return;
    }
    let mut random = Random(7);
    // Any bits; sizes that a sum meets; those that overflow, vanish or are special.
    let special =
        [0, 0x8000, 1, 0x8001, 0x7f, 0x80, 0x8080, 0x7f7f, 0xff7f, 0x7f80, 0xff80, 0x7fc0];
    for i in 0..300_000u32 {
        let mut bf16 = || match i % 3 {
            0 => random.next() as u16,
            1 => round(random.number()),
            _ if random.next() % 8 == 0 => special[random.next() as usize % special.len()],
            _ => 0x2080 ^ random.next() as u16 & 0x9fff,
        };
        let x = [(); 2].map(|()| [(); 4].map(|()| bf16()));
        let w = [(); 2].map(|()| [(); 4].map(|()| bf16()));
        let sums = [(); 4].map(|()| match i % 3 {
            1 => random.number(),
            _ => f32::from_bits(random.next()),
        });
        // SAFETY: the instruction is there.
        let got = unsafe { instruction(sums, &x, &w) }.map(f32::to_bits);
        let want = model(sums, x, w).map(f32::to_bits);
        assert_eq!(got, want, "{sums:?} {x:x?} {w:x?}");
    }
}

struct Case {
    n_rows: usize,
    n_taps: usize,
    depth: usize,
    n: usize,
    with_bias: bool,
    output: Output,
}

impl Case {
    /// Holds the product, of operands at odd places with gaps between them, to a sum of the model's
    /// pairs in ascending order, and all else in `out` to what it was.
    fn check(&self) {
        let &Case { n_rows, n_taps, depth, n, with_bias, output } = self;
        let mut random = Random((n_rows * 1000 + n_taps * 100 + depth * 10 + n) as u64);
        let k = n_taps * depth;
        let weights: Vec<f32> = (0..k * n).map(|_| random.number()).collect();
        let mut packed = vec![0; packed_len(k, n)];
        pack(k, n, &mut packed, |k, i| weights[k * n + i]);
        let (row_stride, tap_stride, out_stride) = (depth + 3, depth + 6, n + 5);
        let reach = (n_rows - 1) * row_stride + n_taps.saturating_sub(1) * tap_stride + depth;
        let data: Vec<u16> = (0..=reach).map(|_| round(random.number())).collect();
        let rows = Rows { data: &data[1..], row_stride, n_taps, tap_stride, depth };
        let bias: Vec<f32> = (0..n).map(|_| random.number()).collect();
        let bias = with_bias.then_some(&bias[..]);
        let before: Vec<f32> = (0..n_rows * out_stride).map(|_| random.number()).collect();
        let mut got = before.clone();
        let out = &mut got[..(n_rows - 1) * out_stride + n];
        let packed = &packed[..];
        let product = Product { rows, n_rows, packed, n, bias, out, out_stride, output };
        // SAFETY: the caller saw that the instruction is there.
        unsafe { gemm_bf16(product) };
        for (at, (got, before)) in got.iter().zip(before).enumerate() {
            let (t, i) = (at / out_stride, at % out_stride);
            let mut want = before;
            if i < n {
                let mut sum = 0.0;
                for k in (0..k).step_by(2) {
                    let start = 1 + t * row_stride + k / depth * tap_stride + k % depth;
                    let w = [k, k + 1].map(|k| round(weights[k * n + i]));
                    sum = add_pair(sum, [data[start], data[start + 1]], w);
                }
                let sum = sum + bias.map_or(0.0, |bias| bias[i]);
                want = if output == Output::Add { before + sum } else { sum };
            }
            let shape = (n_rows, n_taps, depth, n);
            assert_eq!(got.to_bits(), want.to_bits(), "{shape:?} [{t}][{i}]: {got}, not {want}");
        }
    }
}

#[test]
fn products_are_the_models_pairs_in_ascending_order() {
    if !is_there() {
        return;
    }
    // Every height of tile; widths that end within a strip, at one, at a panel; depths and taps that
    // end within a step, a slice, and none.
    let shapes = [(1, 2), (0, 4), (1, 30), (3, 6), (5, 34), (2, 128), (1, 258), (3, 170), (2, 512)];
    for n_rows in (1..=26).chain([47, 48, 49, 60]) {
        for (i, (n_taps, depth)) in shapes.into_iter().enumerate() {
            for n in [[1, 36], [4, 33], [22, 64], [31, 5], [32, 70]][(n_rows + i) % 5] {
                let output = if (i + n) % 2 == 0 { Output::Add } else { Output::Store };
                let with_bias = (n_rows + n) % 3 != 0;
                Case { n_rows, n_taps, depth, n, with_bias, output }.check();
            }
        }
    }
}
