//! Matrix products against a triple loop in f64.

use koe_kernels::Isa;
use koe_kernels::gemm::{Output, PANEL, Rows, gemm, pack, packed_len};
use proptest::prelude::*;

use crate::support::{POISON, bits, fast_isas, for_each_isa, noise};

/// A product with everything it reads.
#[derive(Debug, Clone)]
struct Case {
    n_rows: usize,
    row_stride: usize,
    n_taps: usize,
    tap_stride: usize,
    depth: usize,
    n: usize,
    out_stride: usize,
    bias: bool,
    output: Output,
    /// How far input, weights and output start off alignment.
    offset: usize,
}

struct Operands {
    data: Vec<f32>,
    weights: Vec<f32>,
    packed: Vec<f32>,
    bias: Vec<f32>,
    before: Vec<f32>,
}

impl Case {
    fn k(&self) -> usize {
        self.n_taps * self.depth
    }

    fn operands(&self) -> Operands {
        let reach = match (self.n_rows, self.n_taps) {
            (0, _) | (_, 0) => 0,
            (rows, taps) => {
                (rows - 1) * self.row_stride + (taps - 1) * self.tap_stride + self.depth
            }
        };
        let weights = noise(self.k() * self.n, 1.0, 2);
        let mut packed = vec![0.0; self.offset + packed_len(self.k(), self.n)];
        pack(self.k(), self.n, &mut packed[self.offset..], |k, n| weights[k * self.n + n]);
        let mut before = vec![POISON; self.offset + self.n_rows * self.out_stride + 3];
        let values = noise(self.n_rows * self.n, 1.0, 4);
        for (t, row) in values.chunks(self.n.max(1)).enumerate() {
            before[self.offset + t * self.out_stride..][..self.n].copy_from_slice(row);
        }
        Operands {
            data: noise(self.offset + reach, 1.0, 1),
            weights,
            packed,
            bias: noise(self.n, 1.0, 3),
            before,
        }
    }

    /// Rows `from..to` of the product into `out` (the whole buffer).
    fn run(&self, isa: Isa, operands: &Operands, out: &mut [f32], from: usize, to: usize) {
        let rows = Rows {
            data: &operands.data[(self.offset + from * self.row_stride).min(operands.data.len())..],
            row_stride: self.row_stride,
            n_taps: self.n_taps,
            tap_stride: self.tap_stride,
            depth: self.depth,
        };
        let bias = self.bias.then_some(&operands.bias[..]);
        let out = &mut out[self.offset + from * self.out_stride..];
        let packed = &operands.packed[self.offset..];
        gemm(isa, rows, to - from, packed, self.n, bias, out, self.out_stride, self.output);
    }

    /// The exact product and, for every number, the sum of the magnitudes that went into it.
    fn exact(&self, operands: &Operands) -> Vec<(usize, f64, f64)> {
        let mut exact = Vec::new();
        for t in 0..self.n_rows {
            for n in 0..self.n {
                let at = self.offset + t * self.out_stride + n;
                let mut sum = if self.bias { f64::from(operands.bias[n]) } else { 0.0 };
                let mut magnitude = sum.abs();
                if self.output == Output::Add {
                    sum += f64::from(operands.before[at]);
                    magnitude += f64::from(operands.before[at]).abs();
                }
                for tap in 0..self.n_taps {
                    for d in 0..self.depth {
                        let x = operands.data
                            [self.offset + t * self.row_stride + tap * self.tap_stride + d];
                        let w = operands.weights[(tap * self.depth + d) * self.n + n];
                        sum += f64::from(x) * f64::from(w);
                        magnitude += (f64::from(x) * f64::from(w)).abs();
                    }
                }
                exact.push((at, sum, magnitude));
            }
        }
        exact
    }

    fn check(&self) {
        let operands = self.operands();
        let exact = self.exact(&operands);
        let mut first_fast: Option<(Isa, Vec<f32>)> = None;
        for &isa in Isa::available() {
            let mut out = operands.before.clone();
            self.run(isa, &operands, &mut out, 0, self.n_rows);
            // Every one of K + 2 additions and K products may be off by half a unit.
            let bound = (2 * self.k() + 4) as f64 * f64::from(f32::EPSILON) / 2.0;
            let mut untouched = out.clone();
            for &(at, want, magnitude) in &exact {
                let error = (f64::from(out[at]) - want).abs();
                assert!(error <= bound * magnitude, "{isa:?} {self:?}: {at} is off by {error}");
                untouched[at] = operands.before[at];
            }
            assert_eq!(
                bits(&untouched),
                bits(&operands.before),
                "{isa:?} {self:?} wrote elsewhere"
            );
            if isa == Isa::SCALAR {
                continue;
            }
            match &first_fast {
                None => first_fast = Some((isa, out)),
                Some((other, want)) => {
                    assert_eq!(bits(&out), bits(want), "{isa:?} and {other:?} differ: {self:?}");
                }
            }
        }
    }
}

fn case() -> Case {
    Case {
        n_rows: 1,
        row_stride: 5,
        n_taps: 1,
        tap_stride: 0,
        depth: 5,
        n: 7,
        out_stride: 7,
        bias: true,
        output: Output::Store,
        offset: 1,
    }
}

#[test]
fn every_height_of_tile_and_width_of_panel_is_right() {
    for_each_isa(|_| {});
    for n_rows in 0..=26 {
        for n in [1, 15, 16, 17, 31, 32, 33, 48, 64, 65, 130, 161] {
            Case { n_rows, n, out_stride: n + n_rows % 3, ..case() }.check();
        }
    }
}

#[test]
fn taps_dilations_and_strides_are_right() {
    for n_taps in [1, 2, 3, 7, 11] {
        for dilation in [1, 3, 5] {
            for stride in [1, 2] {
                let depth = 9;
                let output = if dilation == 3 { Output::Add } else { Output::Store };
                let shape = Case {
                    n_rows: 14,
                    row_stride: stride * depth,
                    n_taps,
                    tap_stride: dilation * depth,
                    depth,
                    n: 35,
                    out_stride: 40,
                    output,
                    ..case()
                };
                shape.check();
            }
        }
    }
}

#[test]
fn a_product_of_no_depth_is_the_bias() {
    for (n_taps, depth) in [(0, 5), (3, 0), (0, 0)] {
        for output in [Output::Store, Output::Add] {
            Case {
                n_rows: 13,
                row_stride: 2,
                n_taps,
                depth,
                n: 33,
                out_stride: 33,
                output,
                ..case()
            }
            .check();
        }
    }
}

#[test]
fn nan_and_infinity_reach_their_own_row_alone() {
    for_each_isa(|isa| {
        let (k, n, n_rows) = (6, 33, 14);
        let mut packed = vec![0.0; packed_len(k, n)];
        pack(k, n, &mut packed, |_, _| 1.0);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for bad_row in 0..n_rows {
                let mut data = vec![1.0; n_rows * k];
                data[bad_row * k + 3] = bad;
                let mut out = vec![POISON; n_rows * n];
                let rows = Rows::plain(&data, k);
                gemm(isa, rows, n_rows, &packed, n, None, &mut out, n, Output::Store);
                for (t, row) in out.chunks(n).enumerate() {
                    let want = if t == bad_row { bad } else { 6.0 };
                    assert!(row.iter().all(|x| x == &want || (x.is_nan() && want.is_nan())));
                }
            }
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_product_is_right_and_any_cut_of_its_rows_gives_the_same_bytes(
        n_rows in 1usize..40,
        n_taps in 0usize..5,
        depth in 0usize..40,
        (row_gap, tap_gap, out_gap) in (0usize..5, 0usize..50, 0usize..5),
        n in 1usize..200,
        bias: bool,
        add: bool,
        offset in 0usize..3,
        cuts in prop::collection::vec(0usize..40, 0..4),
    ) {
        let case = Case {
            n_rows,
            row_stride: depth + row_gap,
            n_taps,
            tap_stride: tap_gap,
            depth,
            n,
            out_stride: n + out_gap,
            bias,
            output: if add { Output::Add } else { Output::Store },
            offset,
        };
        case.check();
        let operands = case.operands();
        for isa in fast_isas() {
            let mut whole = operands.before.clone();
            case.run(isa, &operands, &mut whole, 0, n_rows);
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % n_rows).collect();
            cuts.extend([0, n_rows]);
            cuts.sort_unstable();
            let mut parts = operands.before.clone();
            for pair in cuts.windows(2) {
                case.run(isa, &operands, &mut parts, pair[0], pair[1]);
            }
            prop_assert_eq!(bits(&whole), bits(&parts), "{:?} {:?} {:?}", isa, case, cuts);
        }
    }
}

#[test]
fn packing_fills_the_last_panel_with_zeros() {
    let mut packed = vec![POISON; packed_len(2, PANEL + 1)];
    let weights: Vec<f32> = (0..2 * (PANEL + 1)).map(|x| x as f32).collect();
    pack(2, PANEL + 1, &mut packed, |k, n| weights[k * (PANEL + 1) + n]);
    assert_eq!(packed[..PANEL], weights[..PANEL]);
    assert_eq!(packed[PANEL..2 * PANEL], weights[PANEL + 1..2 * PANEL + 1]);
    let last = &packed[2 * PANEL..];
    assert_eq!((last[0], last[PANEL]), (weights[PANEL], weights[2 * PANEL + 1]));
    assert!((1..PANEL).all(|i| last[i] == 0.0 && last[PANEL + i] == 0.0));
}
