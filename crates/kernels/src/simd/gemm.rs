//! The matrix product: tiles of sums that stay in registers over the whole depth.
//!
//! The idea: a tile is `R` rows by `H` vectors of columns in each of `P` panels, summed in
//! registers. For every step of the depth it loads its `P H` vectors of packed weights once and
//! multiplies them by one number of each row. A panel is finished for all rows before the next,
//! so its weights come from memory once and from the second-level cache after that.
//!
//! 1. Every sum starts at zero and takes its products in ascending order of depth by a
//!    multiply-add, in every shape of tile. So neither the rows a caller hands over at once nor
//!    the instruction set changes a bit of the result.
//! 2. The rows left over by whole tiles get a tile of exactly their height.
//! 3. Few rows (an LSTM's step has one) cannot hide the latency of the multiply-add with one
//!    panel; their tile spans several.
//! 4. The weights ahead are asked for early. That gains 4 to 9 % where a panel and the input
//!    together outgrow the second-level cache, and costs nothing elsewhere.
//!
//! Tried and left out: working through a deep panel in slices that stay in the first-level
//! cache. The panel streams from the second level fast enough, and storing and reloading the sums
//! between slices cost more than it gained.

use super::{LANES, Simd};
use crate::gemm::{Output, PANEL, Product};

/// Vectors in a panel.
const VECTORS: usize = PANEL / LANES;

/// How many steps of the depth ahead weights are asked for. Measured: 16 and 48 help alike, and
/// with one row, bound by memory as it is, any distance slows.
const AHEAD: usize = 16;

/// Where a tile starts.
#[derive(Clone, Copy)]
pub(super) struct Place {
    t: usize,
    panel: usize,
    /// Of the panel.
    vector: usize,
}

/// The whole product in tiles of at most `ROWS` rows by `H` vectors.
#[inline(always)]
pub(super) fn gemm<S: Simd, const ROWS: usize, const H: usize>(s: S, mut product: Product<'_>) {
    let n_panels = product.n.div_ceil(PANEL);
    let mut panel = match product.n_rows {
        1 => few_rows::<S, 1, 4, H>(s, &mut product),
        2 => few_rows::<S, 2, 2, H>(s, &mut product),
        _ => 0,
    };
    while panel < n_panels {
        for vector in (0..VECTORS).step_by(H) {
            if panel * PANEL + vector * LANES >= product.n {
                continue;
            }
            let mut t = 0;
            while t < product.n_rows {
                let height = ROWS.min(product.n_rows - t);
                // The guards are constant: no tile higher than `ROWS` is ever compiled.
                match height {
                    1 => s.tile::<1, 1, H>(&mut product, Place { t, panel, vector }),
                    2 => s.tile::<2, 1, H>(&mut product, Place { t, panel, vector }),
                    3 => s.tile::<3, 1, H>(&mut product, Place { t, panel, vector }),
                    4 => s.tile::<4, 1, H>(&mut product, Place { t, panel, vector }),
                    5 => s.tile::<5, 1, H>(&mut product, Place { t, panel, vector }),
                    6 => s.tile::<6, 1, H>(&mut product, Place { t, panel, vector }),
                    7 if ROWS > 6 => s.tile::<7, 1, H>(&mut product, Place { t, panel, vector }),
                    8 if ROWS > 6 => s.tile::<8, 1, H>(&mut product, Place { t, panel, vector }),
                    9 if ROWS > 6 => s.tile::<9, 1, H>(&mut product, Place { t, panel, vector }),
                    10 if ROWS > 6 => s.tile::<10, 1, H>(&mut product, Place { t, panel, vector }),
                    11 if ROWS > 6 => s.tile::<11, 1, H>(&mut product, Place { t, panel, vector }),
                    12 if ROWS > 6 => s.tile::<12, 1, H>(&mut product, Place { t, panel, vector }),
                    _ => unreachable!("no tile is higher than twelve rows"),
                }
                t += height;
            }
        }
        panel += 1;
    }
}

/// All `R` rows for as many groups of `P` whole panels as there are; the first panel not done.
#[inline(always)]
fn few_rows<S: Simd, const R: usize, const P: usize, const H: usize>(
    s: S,
    product: &mut Product<'_>,
) -> usize {
    let mut panel = 0;
    while (panel + P) * PANEL <= product.n {
        for vector in (0..VECTORS).step_by(H) {
            s.tile::<R, P, H>(product, Place { t: 0, panel, vector });
        }
        panel += P;
    }
    panel
}

/// Rows `t..t + R` by the vectors `vector..vector + H` of the panels `panel..panel + P`.
#[inline(always)]
pub(super) fn tile<S: Simd, const R: usize, const P: usize, const H: usize>(
    s: S,
    product: &mut Product<'_>,
    Place { t, panel, vector }: Place,
) {
    let rows = product.rows;
    let k = rows.n_taps * rows.depth;
    let (weights, _) = product.packed.as_chunks::<LANES>();
    let mut sums = [[[s.splat(0.0); H]; P]; R];
    let mut step = panel * k * VECTORS + vector;
    for tap in 0..rows.n_taps {
        let x = &rows.data[t * rows.row_stride + tap * rows.tap_stride..];
        for d in 0..rows.depth {
            let mut w = [[s.splat(0.0); H]; P];
            for p in 0..P {
                for h in 0..H {
                    let at = step + p * k * VECTORS + h;
                    // SAFETY: the door checked that `packed` holds `k` steps of `VECTORS`
                    // vectors for every panel that has a column of `n`.
                    w[p][h] = s.load(unsafe { weights.get_unchecked(at) });
                    if R > 1 {
                        s.prefetch(weights, at + AHEAD * VECTORS);
                    }
                }
            }
            for r in 0..R {
                // SAFETY: the door checked that `data` reaches over `depth` numbers of the last
                // tap of row `n_rows - 1`; `t + r` is no greater.
                let x = s.splat(unsafe { *x.get_unchecked(r * rows.row_stride + d) });
                for p in 0..P {
                    for h in 0..H {
                        sums[r][p][h] = s.mul_add(x, w[p][h], sums[r][p][h]);
                    }
                }
            }
            step += VECTORS;
        }
    }
    for r in 0..R {
        let row = &mut product.out[(t + r) * product.out_stride..][..product.n];
        for p in 0..P {
            for h in 0..H {
                let first = (panel + p) * PANEL + (vector + h) * LANES;
                if first < row.len() {
                    let end = row.len().min(first + LANES);
                    let bias = product.bias.map(|bias| &bias[first..end]);
                    finish(s, sums[r][p][h], bias, &mut row[first..end], product.output);
                }
            }
        }
    }
}

/// `sum + bias`, stored or added to `out`: sixteen columns, or fewer at the end of a row.
#[inline(always)]
fn finish<S: Simd>(s: S, sum: S::V, bias: Option<&[f32]>, out: &mut [f32], output: Output) {
    let sum = match bias {
        Some(bias) => s.add(sum, s.load_some(bias)),
        None => sum,
    };
    let sum = match output {
        Output::Store => sum,
        Output::Add => s.add(s.load_some(out), sum),
    };
    s.store_some(sum, out);
}
