//! The walk over tiles, followed on a unit of plain Rust on every machine, and the CPU's own held to
//! it where there is one. `tests/it` prints which instruction sets a machine has.

use std::ops::Range;

use super::*;
use crate::gemm::{Output, Rows, pack, packed_len};
use crate::number::{round, widen};
use crate::split::{self, Terms, room_len, slice_len, terms_len};

/// Tiles in memory, and the sums that Intel's manual gives for `tdpbf16ps`.
struct Plain {
    tiles: [[[u32; LANES]; ROWS]; 8],
    heights: [usize; 8],
    /// Addresses of what may be read of both sides.
    lent: [Range<usize>; 2],
    was_high: bool,
}

/// Bytes of poison after what is lent.
const GUARD: usize = 1 << 17;

impl Plain {
    /// [`GUARD`] bytes after both slices are nobody else's.
    fn lent<X, W>(x: &[X], w: &[W]) -> Self {
        let addresses = |from: *const u8, n_bytes| from as usize..from as usize + n_bytes;
        let lent = [
            addresses(x.as_ptr().cast(), size_of_val(x)),
            addresses(w.as_ptr().cast(), size_of_val(w)),
        ];
        Self { tiles: Default::default(), heights: [0; 8], lent, was_high: false }
    }
}

impl Unit for Plain {
    fn shape(&mut self, [upper, lower]: [usize; 2]) {
        assert!(upper <= ROWS && lower <= ROWS);
        self.tiles = Default::default();
        self.heights = [upper, upper, lower, lower, upper, lower, ROWS, ROWS];
    }

    fn zero<const TILE: usize>(&mut self) {
        assert!(self.heights[TILE] > 0, "a tile without a shape");
        self.tiles[TILE] = Default::default();
    }

    unsafe fn load<const TILE: usize>(&mut self, from: *const u16, stride: usize) {
        assert!(self.heights[TILE] > 0, "a tile without a shape");
        for r in 0..self.heights[TILE] {
            let at = (from as usize).wrapping_add(r.wrapping_mul(stride));
            for lent in &self.lent {
                let is_of_it = (lent.start..lent.end + GUARD).contains(&at);
                assert!(!is_of_it || at + ROW_BYTES <= lent.end, "read after the end");
            }
            // SAFETY: the caller's obligation.
            let row = unsafe { from.byte_add(r * stride).cast::<[u32; LANES]>().read_unaligned() };
            self.tiles[TILE][r] = row;
        }
    }

    fn multiply_add<const SUMS: usize, const X: usize, const W: usize>(&mut self) {
        assert_eq!(self.heights[SUMS], self.heights[X]);
        self.was_high |= X == 6;
        let pair = |bits: u32| [widen(bits as u16), widen((bits >> 16) as u16)];
        for m in 0..self.heights[SUMS] {
            for n in 0..LANES {
                let mut sums = [0.0f32; 2];
                for k in 0..ROWS {
                    let (x, w) = (pair(self.tiles[X][m][k]), pair(self.tiles[W][k][n]));
                    sums = [x[0].mul_add(w[0], sums[0]), x[1].mul_add(w[1], sums[1])];
                }
                let sum = f32::from_bits(self.tiles[SUMS][m][n]) + (sums[0] + sums[1]);
                self.tiles[SUMS][m][n] = sum.to_bits();
            }
        }
    }

    fn store<const TILE: usize>(&mut self, to: &mut [[f32; LANES]; ROWS]) {
        for r in 0..self.heights[TILE] {
            to[r] = self.tiles[TILE][r].map(f32::from_bits);
        }
    }
}

/// A number within ±1 of `i`, without a pattern.
fn number(i: usize, seed: u32) -> f32 {
    let mixed = (i as u32 ^ seed.wrapping_mul(0x9E37_79B9)).wrapping_mul(0x85EB_CA6B);
    let mixed = (mixed ^ mixed >> 13).wrapping_mul(0xC2B2_AE35);
    (mixed >> 8) as f32 / (1 << 23) as f32 - 1.0
}

/// `n_rows` rows of `n` numbers may change, nothing between or after them.
fn assert_only_rows_changed(
    after: &[f32],
    before: &[f32],
    (n_rows, n): (usize, usize),
    stride: usize,
) {
    for (i, (after, before)) in after.iter().zip(before).enumerate() {
        let is_of_a_row = i / stride < n_rows && i % stride < n;
        assert!(is_of_a_row || after == before, "wrote elsewhere, at {i}");
    }
}

struct Case {
    n_rows: usize,
    n_taps: usize,
    depth: usize,
    n: usize,
    output: Output,
}

/// What `multiply` makes of the case, with everything it reads and writes at odd places and
/// poison around it.
fn run(case: &Case, multiply: impl FnOnce(Product<'_, u16>)) -> Vec<f32> {
    let &Case { n_rows, n_taps, depth, n, output } = case;
    let k = n_taps * depth;
    let mut packed = vec![0x7fc0; packed_len(k, n) + GUARD / size_of::<u16>()];
    let packed = &mut packed[..packed_len(k, n)];
    pack(k, n, packed, |k, i| number(k * n + i, 1));
    let (row_stride, tap_stride) = (depth + 3, depth + 6);
    let reach = (n_rows - 1) * row_stride + (n_taps - 1) * tap_stride + depth;
    let mut data = vec![0x7fc0; 1 + reach + GUARD / size_of::<u16>()];
    for t in 0..n_rows {
        for tap in 0..n_taps {
            for i in
                1 + t * row_stride + tap * tap_stride..1 + t * row_stride + tap * tap_stride + depth
            {
                data[i] = round(number(i, 2));
            }
        }
    }
    let rows = Rows { data: &data[1..1 + reach], row_stride, n_taps, tap_stride, depth };
    let bias: Vec<f32> = (0..n).map(|i| number(i, 3)).collect();
    let out_stride = n + 5;
    let mut out: Vec<f32> = (0..(n_rows + 2) * out_stride).map(|i| number(i, 4)).collect();
    let before = out.clone();
    let (bias, to) = ((n % 5 != 2).then_some(&bias[..]), &mut out[..]);
    multiply(Product { rows, n_rows, packed, n, bias, out: to, out_stride, output });
    assert_only_rows_changed(&out, &before, (n_rows, n), out_stride);
    out
}

fn cases() -> impl Iterator<Item = Case> {
    let heights = [1, 2, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 70, 130];
    let shapes = [(1, 2), (1, 30), (1, 32), (3, 34), (2, 64), (3, 98), (7, 34), (7, 64), (11, 32)];
    heights.into_iter().enumerate().flat_map(move |(i, n_rows)| {
        shapes.into_iter().flat_map(move |(n_taps, depth)| {
            [1, 15, 16, 17, 32, 33, 64, 75].into_iter().map(move |n| {
                let output = if (i + n) % 2 == 0 { Output::Add } else { Output::Store };
                Case { n_rows, n_taps, depth, n, output }
            })
        })
    })
}

/// What places sums and splits weights beside plain tiles. Every CPU with tiles has it, and so has
/// nearly every other one.
#[expect(clippy::print_stderr, reason = "says what was not tested")]
fn vectors() -> Option<impl Simd> {
    let is_there = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    if !is_there {
        eprintln!("the walk over tiles was NOT tested: that needs AVX2");
    }
    // SAFETY: the CPU has both.
    is_there.then(|| unsafe { crate::simd::avx2::Avx2::new() })
}

fn on_plain_tiles(s: impl Simd, case: &Case) -> Vec<f32> {
    run(case, |product| {
        let mut unit = Plain::lent(product.rows.data, product.packed);
        multiply(&mut unit, s, product);
        assert_eq!(unit.was_high, case.n_rows >= High::ROWS && case.n_taps >= MANY_TAPS);
    })
}

/// On the CPU's own tiles too, where it has them.
#[test]
fn the_walk_over_tiles_gives_the_products_of_the_plain_reference() {
    let Some(s) = vectors() else { return };
    for case in cases() {
        let want = run(&case, crate::scalar::gemm_bf16);
        let got = on_plain_tiles(s, &case);
        if is_permitted() {
            // SAFETY: permission means AMX, and there is no CPU with AMX but without AVX-512.
            let own = run(&case, |product| unsafe { gemm_bf16(product) });
            assert_eq!(own, got, "{} {}", case.n_rows, case.depth);
        }
        // Each of the sums of both may be off by half a unit of what is added up, at most this.
        let bound = (case.n_taps * case.depth + 4) as f32 * f32::EPSILON;
        let bound = bound * (case.n_taps * case.depth + 2) as f32;
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            let Case { n_rows, n_taps, depth, n, .. } = case;
            let what = (n_rows, n_taps, depth, n);
            assert!((got - want).abs() <= bound, "{what:?} at {i}: {got}, not {want}");
        }
    }
}

#[test]
fn rows_cut_elsewhere_are_the_same() {
    let Some(s) = vectors() else { return };
    // Without and with high blocks.
    for n_taps in [3, 7] {
        let case = |n_rows| Case { n_rows, n_taps, depth: 66, n: 40, output: Output::Store };
        let (all, some) = (on_plain_tiles(s, &case(135)), on_plain_tiles(s, &case(21)));
        for (all, some) in all.chunks(45).zip(some.chunks(45)).take(21) {
            assert_eq!(all[..40], some[..40]);
        }
    }
}

type MultiplySplit<'a> = &'a dyn Fn(Product<'_, f32, split::Rows<'_>>, &mut [f32]);

/// What the split product of the case makes on plain tiles, with everything at odd places and
/// poison around it, and what it should be: for every number the exact sum, and the sum of the
/// magnitudes that went into it.
fn split_on_plain_tiles(
    s: impl Simd,
    case: &Case,
    steps: [usize; 2],
) -> (Vec<f32>, Vec<(f64, f64)>) {
    let &Case { n_rows, n_taps, depth, n, output } = case;
    let ([row_step, tap_step], k, first) = (steps, n_taps * depth, 2);
    let n_all = first + (n_rows - 1) * row_step + (n_taps - 1) * tap_step + 1;
    let x: Vec<f32> = (0..n_all * depth).map(|i| number(i, 2)).collect();
    let weight = |k: usize, i: usize| number(k * n + i, 1);
    let mut packed = vec![0.0; packed_len(k, n)];
    pack(k, n, &mut packed, weight);
    let n_lanes = terms_len(n_all, depth);
    let mut lanes = vec![f32::NAN; n_lanes + GUARD / size_of::<f32>()];
    let lanes = &mut lanes[..n_lanes];
    for (i, lanes) in lanes.chunks_mut(slice_len(n_all)).enumerate() {
        crate::scalar::split(&x, depth, i * DEPTH, lanes);
    }
    let terms = Terms::new(lanes, n_all, depth);
    let rows = split::Rows { terms, first, row_step, n_taps, tap_step };
    let bias: Vec<f32> = (0..n).map(|i| number(i, 3)).collect();
    let out_stride = n + 5;
    let before: Vec<f32> = (0..(n_rows + 2) * out_stride).map(|i| number(i, 4)).collect();
    let run = |multiply: MultiplySplit<'_>| {
        let (mut out, n_room) = (before.clone(), room_len(n_taps, depth));
        let mut room = vec![f32::NAN; n_room + GUARD / size_of::<f32>()];
        let room = &mut room[..n_room];
        let (packed, bias, to) = (&packed, Some(&bias[..]), &mut out[..]);
        multiply(Product { rows, n_rows, packed, n, bias, out: to, out_stride, output }, room);
        assert_only_rows_changed(&out, &before, (n_rows, n), out_stride);
        out
    };
    let got = run(&|product, room| {
        super::split::multiply(&mut Plain::lent(lanes, room), s, product, room);
    });
    if is_permitted() {
        // SAFETY: permission means AMX, and there is no CPU with AMX but without AVX-512.
        let own = run(&|product, room| unsafe { gemm_split(product, room) });
        assert_eq!(own, got, "{n_rows} {n_taps} {depth} {n}");
    }
    let mut want = vec![(0.0, f64::INFINITY); got.len()];
    for t in 0..n_rows {
        for i in 0..n {
            let mut terms = vec![f64::from(bias[i])];
            if output == Output::Add {
                terms.push(f64::from(before[t * out_stride + i]));
            }
            for tap in 0..n_taps {
                let x = &x[(first + t * row_step + tap * tap_step) * depth..][..depth];
                let product =
                    |(d, &x): (usize, &f32)| f64::from(x) * f64::from(weight(tap * depth + d, i));
                terms.extend(x.iter().enumerate().map(product));
            }
            let magnitude = terms.iter().map(|x| x.abs()).sum();
            want[t * out_stride + i] = (terms.iter().sum(), magnitude);
        }
    }
    (got, want)
}

/// On the CPU's own tiles too, where it has them.
#[test]
fn split_products_are_as_exact_as_those_of_f32() {
    let Some(s) = vectors() else { return };
    let shapes = [(1, 2), (1, 31), (1, 32), (3, 33), (2, 64), (3, 100), (5, 48)];
    for (i, n_rows) in [1, 15, 16, 17, 31, 32, 33, 70].into_iter().enumerate() {
        for (n_taps, depth) in shapes {
            for n in [1, 16, 17, 32, 33, 75] {
                let output = if (i + n) % 2 == 0 { Output::Add } else { Output::Store };
                let steps = [1 + (n_rows + n) % 2, 1 + n % 3];
                let case = Case { n_rows, n_taps, depth, n, output };
                let (got, want) = split_on_plain_tiles(s, &case, steps);
                // What is left out, and half a unit for each of as many products and sums as f32
                // takes.
                let k = (n_taps * depth) as f64;
                let bound = 2f64.powi(-23) + (2.0 * k + 4.0) * 2f64.powi(-24);
                for (i, (&got, (want, magnitude))) in got.iter().zip(want).enumerate() {
                    let error = (f64::from(got) - want).abs();
                    let what = (n_rows, n_taps, depth, n);
                    assert!(error <= bound * magnitude, "{what:?} at {i}: {error}");
                }
            }
        }
    }
}

/// Bounds are wide; this is what PL-BERT's longest sums come to.
#[test]
fn long_split_sums_are_no_further_off_than_f32_by_multiply_adds() {
    let Some(s) = vectors() else { return };
    let case = Case { n_rows: 33, n_taps: 1, depth: 2048, n: 32, output: Output::Store };
    let (got, want) = split_on_plain_tiles(s, &case, [1, 1]);
    let (mut split, mut plain) = (0.0, 0.0);
    for t in 0..case.n_rows {
        for i in 0..case.n {
            let x = (0..case.depth).map(|d| number((2 + t) * case.depth + d, 2));
            let mut sum = 0.0f32;
            for (d, x) in x.enumerate() {
                sum = x.mul_add(number(d * case.n + i, 1), sum);
            }
            let at = t * (case.n + 5) + i;
            split += (f64::from(got[at]) - want[at].0).powi(2);
            plain += (f64::from(sum + number(i, 3)) - want[at].0).powi(2);
        }
    }
    assert!(split <= plain, "squares of errors: {split}, by multiply-adds {plain}");
}
