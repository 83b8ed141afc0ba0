//! The walk over tiles, followed on a unit of plain Rust on every machine, and the CPU's own held to
//! it where there is one. `tests/it` prints which instruction sets a machine has.

use super::*;
use crate::gemm::{Output, Rows, pack, packed_len};
use crate::number::{round, widen};

/// Tiles in memory, and the sums that Intel's manual gives for `tdpbf16ps`.
#[derive(Default)]
struct Plain {
    tiles: [[[u32; LANES]; ROWS]; 8],
    heights: [usize; 8],
}

impl Unit for Plain {
    fn shape(&mut self, [upper, lower]: [usize; 2]) {
        assert!(upper <= ROWS && lower <= ROWS);
        *self = Self::default();
        self.heights = [upper, upper, lower, lower, upper, lower, ROWS, ROWS];
    }

    fn zero<const TILE: usize>(&mut self) {
        assert!(self.heights[TILE] > 0, "a tile without a shape");
        self.tiles[TILE] = Default::default();
    }

    unsafe fn load<const TILE: usize>(&mut self, from: *const u16, stride: usize) {
        assert!(self.heights[TILE] > 0, "a tile without a shape");
        for r in 0..self.heights[TILE] {
            // SAFETY: the caller's obligation.
            let row = unsafe { from.byte_add(r * stride).cast::<[u32; LANES]>().read_unaligned() };
            self.tiles[TILE][r] = row;
        }
    }

    fn multiply_add<const SUMS: usize, const X: usize, const W: usize>(&mut self) {
        assert_eq!(self.heights[SUMS], self.heights[X]);
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
    let mut packed = vec![0; packed_len(k, n)];
    pack(k, n, &mut packed, |k, i| number(k * n + i, 1));
    let (row_stride, tap_stride) = (depth + 3, depth + 6);
    let reach = (n_rows - 1) * row_stride + (n_taps - 1) * tap_stride + depth;
    let data: Vec<u16> = (0..=reach).map(|i| round(number(i, 2))).collect();
    let rows = Rows { data: &data[1..], row_stride, n_taps, tap_stride, depth };
    let bias: Vec<f32> = (0..n).map(|i| number(i, 3)).collect();
    let out_stride = n + 5;
    let mut out: Vec<f32> = (0..n_rows * out_stride).map(|i| number(i, 4)).collect();
    let before = out.clone();
    let (packed, bias, end) = (&packed, Some(&bias[..]), (n_rows - 1) * out_stride + n);
    let to = &mut out[..end];
    multiply(Product { rows, n_rows, packed, n, bias, out: to, out_stride, output });
    for (i, (after, before)) in out.iter().zip(&before).enumerate() {
        assert!(i % out_stride < n || after == before, "wrote between rows, at {i}");
    }
    out
}

fn cases() -> impl Iterator<Item = Case> {
    let heights = [1, 2, 15, 16, 17, 31, 32, 33, 47, 64, 70];
    let shapes = [(1, 2), (1, 30), (1, 32), (3, 34), (2, 64), (3, 98), (11, 32)];
    heights.into_iter().enumerate().flat_map(move |(i, n_rows)| {
        shapes.into_iter().flat_map(move |(n_taps, depth)| {
            [1, 15, 16, 17, 32, 33, 64, 75].into_iter().map(move |n| {
                let output = if (i + n) % 2 == 0 { Output::Add } else { Output::Store };
                Case { n_rows, n_taps, depth, n, output }
            })
        })
    })
}

fn on_plain_tiles(case: &Case) -> Vec<f32> {
    run(case, |product| multiply(&mut Plain::default(), product))
}

/// On the CPU's own tiles too, where it has them.
#[test]
fn the_walk_over_tiles_gives_the_products_of_the_plain_reference() {
    for case in cases() {
        let want = run(&case, crate::scalar::gemm_bf16);
        let got = on_plain_tiles(&case);
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
    let case = |n_rows| Case { n_rows, n_taps: 3, depth: 34, n: 40, output: Output::Store };
    let (all, some) = (on_plain_tiles(&case(70)), on_plain_tiles(&case(21)));
    for (all, some) in all.chunks(45).zip(some.chunks(45)) {
        assert_eq!(all[..40], some[..40]);
    }
}
