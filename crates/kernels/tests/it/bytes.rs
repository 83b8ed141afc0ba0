//! The bytes that all instruction sets but the plain reference give, as they were recorded: with
//! AVX-512, and equal under NEON. A change of a kernel's arithmetic changes one of these on purpose;
//! a change of instruction set or compiler may not.

use koe_kernels::gemm::{Output, Rows, gemm, pack, packed_len};
use koe_kernels::number::{Number, round};
use koe_kernels::winograd::Shape;
use koe_kernels::{Isa, lstm, norm};

use crate::elementwise::{DOORS, sweep};
use crate::support::{fast_isas, noise};

/// FNV-1a of the results; any NaN counts as one, because its bits differ between CPUs.
fn digest(x: &[f32]) -> u64 {
    x.iter().fold(0xCBF2_9CE4_8422_2325, |hash, x| {
        let bits = if x.is_nan() { u32::MAX } else { x.to_bits() };
        (hash ^ u64::from(bits)).wrapping_mul(0x0100_0000_01B3)
    })
}

#[test]
fn functions_of_one_number_give_the_recorded_bytes() {
    let recorded = [
        ("exp", 0xCC13_8BE8_EA23_ABAB),
        ("tanh", 0xB541_7EEE_7546_9E8B),
        ("sigmoid", 0x9929_9217_D3F9_7684),
        ("gelu", 0xB5B3_0A1C_C22B_32B8),
        ("sin_cos", 0x089D_980F_808F_FA91),
        ("polar", 0x4F3F_4FBA_E6C3_855F),
        ("leaky", 0x6955_E86C_879A_F6E6),
        ("add", 0x4E03_6416_A141_7E6C),
        ("add_scale", 0x2C4F_047A_C178_EC1E),
        ("affine_leaky", 0x3407_8DDF_5AA9_B8C7),
        ("affine_snake", 0x2242_CC30_54BE_BBCD),
    ];
    let x: Vec<f32> = sweep().into_iter().step_by(53).collect();
    let other = noise(x.len(), 2.0, 8);
    for isa in fast_isas() {
        let got = DOORS.map(|(name, door)| {
            let (mut a, mut b) = (x.clone(), x.clone());
            door(isa, [&x, &other, &other], [&mut a, &mut b]);
            a.extend(b);
            (name, digest(&a))
        });
        assert_eq!(got, recorded, "{isa:?}");
    }
}

/// Rows, taps, depth and columns that fill no vector, tile or panel.
const SHAPE: Shape = Shape { n_taps: 3, dilation: 2, depth: 38, n: 45 };
const N_ROWS: usize = 29;

fn operands<T>(number: fn(f32) -> T) -> (Vec<T>, impl Fn(usize, usize) -> f32) {
    let Shape { n_taps, dilation, depth, n } = SHAPE;
    let x = noise((N_ROWS + (n_taps - 1) * dilation) * depth, 1.0, 1);
    let weights = noise(n_taps * depth * n, 1.0, 2);
    (x.into_iter().map(number).collect(), move |k, i| weights[k * n + i])
}

fn product<T: Number>(isa: Isa, number: fn(f32) -> T) -> Vec<f32> {
    let Shape { n_taps, dilation, depth, n } = SHAPE;
    let (data, at) = operands(number);
    let mut packed = vec![T::default(); packed_len(n_taps * depth, n)];
    pack(n_taps * depth, n, &mut packed, at);
    let rows = Rows { data: &data, row_stride: depth, n_taps, tap_stride: dilation * depth, depth };
    let mut out = noise(N_ROWS * n, 1.0, 3);
    gemm(isa, rows, N_ROWS, &packed, n, Some(&noise(n, 1.0, 4)), &mut out, n, Output::Add);
    out
}

fn convolution<T: Number>(isa: Isa) -> Vec<f32> {
    let (x, at) = operands(|x| x);
    let mut packed = vec![T::default(); SHAPE.packed_len()];
    SHAPE.pack(&mut packed, |tap, d, i| at(tap * SHAPE.depth + d, i));
    let (n_inputs, n_products) = SHAPE.scratch_len(N_ROWS);
    let mut scratch = (vec![T::default(); n_inputs], vec![0.0; n_products]);
    let mut out = noise(N_ROWS * SHAPE.n, 1.0, 3);
    let (bias, scratch) = (noise(SHAPE.n, 1.0, 4), (&mut scratch.0[..], &mut scratch.1[..]));
    SHAPE.convolve(isa, &x, N_ROWS, &packed, Some(&bias), &mut out, Output::Add, scratch);
    out
}

type Sum = fn(Isa) -> Vec<f32>;

const SUMS: [(&str, Sum); 6] = [
    ("product", |isa| product(isa, |x| x)),
    ("convolution", convolution::<f32>),
    ("channel_moments", |isa| {
        let (mut mean, mut m2) = (vec![0.0; 37], vec![0.0; 37]);
        norm::channel_moments(isa, &noise(37 * 53, 3.0, 1), &mut mean, &mut m2);
        [mean, m2].concat()
    }),
    ("layer_norm", |isa| {
        let mut x = noise(37 * 5, 3.0, 1);
        norm::layer_norm(isa, &mut x, &noise(37, 1.0, 2), &noise(37, 1.0, 3), 1e-5);
        x
    }),
    ("softmax", |isa| {
        let mut x = noise(37 * 5, 30.0, 1);
        norm::softmax(isa, &mut x, 37, 0.125);
        x
    }),
    ("lstm", |isa| {
        let (mut cell, mut hidden) = (noise(37, 2.0, 1), vec![0.0; 37]);
        lstm::cell(isa, &noise(4 * 37, 6.0, 2), &mut cell, &mut hidden);
        [cell, hidden].concat()
    }),
];

/// Where an instruction set has no sums of its own.
const BF16_SUMS: [(&str, Sum); 2] =
    [("product", |isa| product(isa, round)), ("convolution", convolution::<u16>)];

#[test]
fn sums_give_the_recorded_bytes() {
    let recorded = [
        ("product", 0xD31D_B81F_10B6_42FD),
        ("convolution", 0x1C49_705F_719F_AC93),
        ("channel_moments", 0x5594_63F1_932A_A7C7),
        ("layer_norm", 0xCB71_C600_D509_44A5),
        ("softmax", 0x6DDC_3128_F281_3EFA),
        ("lstm", 0x546C_AAB7_4B2A_0D04),
    ];
    let recorded_bf16 =
        [("product", 0xFE0B_153B_4831_3A7D), ("convolution", 0xF567_D6E0_EEEE_1507)];
    for isa in fast_isas() {
        let got = SUMS.map(|(name, sum)| (name, digest(&sum(isa))));
        assert_eq!(got, recorded, "{isa:?}");
        if !isa.has_own_bf16_sums() {
            let got = BF16_SUMS.map(|(name, sum)| (name, digest(&sum(isa))));
            assert_eq!(got, recorded_bf16, "{isa:?}, bf16");
        }
    }
}
