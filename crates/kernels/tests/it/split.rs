//! f32 as three bf16, and products of them.

use std::panic::catch_unwind;

use koe_kernels::Isa;
use koe_kernels::gemm::{self, Output, pack, packed_len};
use koe_kernels::number::widen;
use koe_kernels::split::{self, Rows, SLICE, Terms, room_len, slice_len, terms_len};

use crate::support::{POISON, bits, for_each_isa, noise};

const LANES: usize = SLICE / 2;

fn split_all(isa: Isa, x: &[f32], depth: usize) -> Vec<f32> {
    let n_rows = x.len() / depth;
    let mut lanes = vec![POISON; terms_len(n_rows, depth)];
    for (i, lanes) in lanes.chunks_mut(slice_len(n_rows)).enumerate() {
        split::split(isa, x, depth, i, lanes);
    }
    lanes
}

#[test]
fn a_number_is_the_sum_of_its_terms_and_each_is_the_nearest_to_what_is_left() {
    let mut x = noise(7 * 70, 1.0, 5);
    x[..6].copy_from_slice(&[0.0, -0.0, 1.0, -1.0 + f32::EPSILON / 2.0, 3.0e33, 1.2e-30]);
    // One where every rounding is as large as it can be.
    x[6] = f32::from_bits(0x3f80_7f7f);
    for depth in [1, 15, 16, 17, 31, 32, 33, 35, 70] {
        let x = &x[..x.len() / depth * depth];
        let n_rows = x.len() / depth;
        let want = split_all(Isa::SCALAR, x, depth);
        for_each_isa(|isa| {
            assert_eq!(bits(&split_all(isa, x, depth)), bits(&want), "{isa:?} {depth}");
        });
        for (i, &x) in x.iter().enumerate() {
            let (row, d) = (i / depth, i % depth);
            let mut left = x;
            for term in 0..3 {
                let at = ((d / SLICE * 3 + term) * n_rows + row) * LANES + d % LANES;
                let pair = want[at].to_bits();
                let half = if d % SLICE < LANES { pair as u16 } else { (pair >> 16) as u16 };
                let term = widen(half);
                assert!((left - term).abs() <= left.abs() / 256.0, "{x}: {term} of {left}");
                left -= term;
            }
            assert_eq!(left, 0.0, "{x}");
        }
        // Depths that end within a slice are filled up with zeros.
        let filled = (0..n_rows * depth.next_multiple_of(SLICE)).filter(|i| {
            let (row, d) = (i / depth.next_multiple_of(SLICE), i % depth.next_multiple_of(SLICE));
            let at = (d / SLICE * 3 * n_rows + row) * LANES + d % LANES;
            let pair = want[at].to_bits();
            d >= depth && (if d % SLICE < LANES { pair as u16 } else { (pair >> 16) as u16 }) != 0
        });
        assert_eq!(filled.count(), 0, "{depth}");
    }
}

/// On every instruction set the products are those of f32: without tiles by the plain reference,
/// to the bit; with tiles as `simd/amx_tests.rs` has them.
#[test]
fn products_are_those_of_f32() {
    let (n_rows, depth, n, n_taps, tap_step) = (21, 35, 50, 3, 2);
    let n_all = 1 + n_rows + (n_taps - 1) * tap_step;
    let x = noise(n_all * depth, 1.0, 1);
    let (weights, bias) = (noise(n_taps * depth * n, 1.0, 2), noise(n, 1.0, 3));
    let mut packed = vec![0.0; packed_len(n_taps * depth, n)];
    pack(n_taps * depth, n, &mut packed, |k, i| weights[k * n + i]);
    for output in [Output::Store, Output::Add] {
        let before = noise(n_rows * n, 1.0, 4);
        let mut want = before.clone();
        let rows = gemm::Rows {
            data: &x[depth..],
            row_stride: depth,
            n_taps,
            tap_stride: tap_step * depth,
            depth,
        };
        let isa = Isa::SCALAR;
        gemm::gemm(isa, rows, n_rows, &packed, n, Some(&bias), &mut want, n, output);
        for_each_isa(|isa| {
            let lanes = split_all(isa, &x, depth);
            let terms = Terms::new(&lanes, n_all, depth);
            let rows = Rows { terms, first: 1, row_step: 1, n_taps, tap_step };
            let (mut out, mut room) = (before.clone(), vec![POISON; room_len(n_taps, depth)]);
            let bias = Some(&bias[..]);
            split::gemm(isa, rows, n_rows, &packed, n, bias, &mut out, n, output, &mut room);
            for (got, want) in out.iter().zip(&want) {
                let bound = if isa.has_tiles() { 1e-5 } else { 0.0 };
                assert!((got - want).abs() <= bound, "{isa:?}: {got}, not {want}");
            }
        });
    }
}

/// A number so small that its terms are no normal ones is lost, and nothing else with it.
#[test]
fn the_smallest_numbers_leave_their_neighbours_alone() {
    for exponent in 0..60 {
        for mantissa in [0, 1, 0x5555, 0x7f_ffff, 0x12_3456] {
            let tiny = f32::from_bits(exponent << 23 | mantissa);
            for (first, second) in [(1.0, tiny), (tiny, 1.0), (-tiny, -1.0), (tiny, -tiny)] {
                let mut x = vec![0.25; SLICE];
                (x[3], x[3 + LANES]) = (first, second);
                for &isa in Isa::available() {
                    let lanes = split_all(isa, &x, SLICE);
                    let number = |d: usize| {
                        let term = |term: usize| {
                            let pair = lanes[term * LANES + d % LANES].to_bits();
                            widen(if d < LANES { pair as u16 } else { (pair >> 16) as u16 })
                        };
                        term(2) + term(1) + term(0)
                    };
                    for (d, &x) in x.iter().enumerate() {
                        let error = (number(d) - x).abs();
                        assert!(error <= f32::MIN_POSITIVE, "{isa:?}: {x} became {}", number(d));
                    }
                }
            }
        }
    }
}

/// What the walk over tiles relies on.
#[test]
fn products_that_reach_too_far_are_refused() {
    let (n_rows, depth, n, n_taps) = (5, 40, 50, 2);
    let multiply = |n_all: usize, n_lanes: usize, packed: usize, out: usize, room: usize| {
        catch_unwind(|| {
            let lanes = vec![0.0; n_lanes];
            let terms = Terms::new(&lanes, n_all, depth);
            let rows = Rows { terms, first: 1, row_step: 2, n_taps, tap_step: 3 };
            let (packed, mut out, mut room) = (vec![0.0; packed], vec![0.0; out], vec![0.0; room]);
            let isa = Isa::SCALAR;
            split::gemm(isa, rows, n_rows, &packed, n, None, &mut out, n, Output::Store, &mut room);
        })
    };
    let n_all = 1 + (n_rows - 1) * 2 + (n_taps - 1) * 3 + 1;
    let lanes = terms_len(n_all, depth);
    let packed = packed_len(n_taps * depth, n);
    let room = room_len(n_taps, depth);
    assert!(multiply(n_all, lanes, packed, n_rows * n, room).is_ok());
    assert!(multiply(n_all - 1, terms_len(n_all - 1, depth), packed, n_rows * n, room).is_err());
    assert!(multiply(n_all, lanes - 1, packed, n_rows * n, room).is_err());
    assert!(multiply(n_all, lanes, packed - 1, n_rows * n, room).is_err());
    assert!(multiply(n_all, lanes, packed, n_rows * n - 1, room).is_err());
    assert!(multiply(n_all, lanes, packed, n_rows * n, room - 1).is_err());
}
