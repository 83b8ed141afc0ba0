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
//! 2. Rows are shared out evenly among no more tiles than it takes: a last one of one or two rows
//!    could not hide the latency of the multiply-add.
//! 3. Few rows (an LSTM's step has one) cannot hide the latency of the multiply-add with one
//!    panel; their tile spans several.
//! 4. The weights ahead are asked for early. That gains 4 to 9 % where a panel and the input
//!    together outgrow the second-level cache, and costs nothing elsewhere.
//! 5. While a panel's last rows are multiplied, whose weights have come with the first ones, the
//!    next panel is asked for, evenly over them: memory has nothing else to do then.
//!
//! Tried and left out: working through a deep panel in slices that stay in the first-level
//! cache. The panel streams from the second level fast enough, and storing and reloading the sums
//! between slices cost more than it gained.

use super::{LANES, Simd};
use crate::gemm::{Output, PANEL, Product};
use crate::number::{Kind, widen};

/// Vectors in a panel.
const VECTORS: usize = PANEL / LANES;

/// How many steps of the depth ahead weights are asked for. Measured: 16 and 48 help alike, and
/// with one row, bound by memory as it is, any distance slows.
const AHEAD: usize = 16;

/// At most so many of a panel's last rows ask for the next panel. Measured: 24 and 96 do as well.
const ASKING_ROWS: usize = 48;

/// How the numbers of one kind are multiplied.
pub(super) trait Multiplier: Copy {
    type S: Simd;
    type T: Kind;
    /// Weights of one step of the depth, as they are loaded.
    type W: Copy;
    /// Numbers of a row for one step, in every lane.
    type X: Copy;
    /// Steps of the depth in one turn of the loop.
    const UNROLL: usize = 1;

    fn simd(self) -> Self::S;
    /// The `at`-th vector of packed weights.
    ///
    /// # Safety
    /// There is one.
    unsafe fn weights(self, packed: &[Self::T], at: usize) -> Self::W;
    /// What a row has for the step that starts at `at`.
    ///
    /// # Safety
    /// The row holds the numbers of that step.
    unsafe fn row(self, x: &[Self::T], at: usize) -> Self::X;
    fn multiply_add(
        self,
        x: Self::X,
        w: Self::W,
        sum: <Self::S as Simd>::V,
    ) -> <Self::S as Simd>::V;
    /// [`tile`], as a function of its own.
    fn tile<const R: usize, const P: usize, const H: usize>(
        self,
        product: &mut Product<'_, Self::T>,
        place: Place,
    );
}

/// f32.
#[derive(Clone, Copy)]
pub(super) struct Whole<S>(pub(super) S);

impl<S: Simd> Multiplier for Whole<S> {
    type S = S;
    type T = f32;
    type W = S::V;
    type X = S::V;
    const UNROLL: usize = S::UNROLL;

    #[inline(always)]
    fn simd(self) -> S {
        self.0
    }

    #[inline(always)]
    unsafe fn weights(self, packed: &[f32], at: usize) -> S::V {
        let (vectors, _) = packed.as_chunks::<LANES>();
        // SAFETY: the caller's obligation.
        self.0.load(unsafe { vectors.get_unchecked(at) })
    }

    #[inline(always)]
    unsafe fn row(self, x: &[f32], at: usize) -> S::V {
        // SAFETY: the caller's obligation.
        self.0.splat(unsafe { *x.get_unchecked(at) })
    }

    #[inline(always)]
    fn multiply_add(self, x: S::V, w: S::V, sum: S::V) -> S::V {
        self.0.mul_add(x, w, sum)
    }

    #[inline(always)]
    fn tile<const R: usize, const P: usize, const H: usize>(
        self,
        product: &mut Product<'_, f32>,
        place: Place,
    ) {
        self.0.tile::<R, P, H>(product, place);
    }
}

/// bf16 where no instruction multiplies them: two f32 products of each pair.
#[derive(Clone, Copy)]
pub(super) struct Widened<S>(pub(super) S);

impl<S: Simd> Multiplier for Widened<S> {
    type S = S;
    type T = u16;
    type W = [S::V; 2];
    type X = [S::V; 2];

    #[inline(always)]
    fn simd(self) -> S {
        self.0
    }

    #[inline(always)]
    unsafe fn weights(self, packed: &[u16], at: usize) -> [S::V; 2] {
        let s = self.0;
        let (vectors, _) = packed.as_chunks::<{ 2 * LANES }>();
        // SAFETY: the caller's obligation.
        let pairs = s.load_pairs(unsafe { vectors.get_unchecked(at) });
        [s.shift_left::<16>(pairs), s.and(pairs, s.splat(f32::from_bits(0xffff_0000)))]
    }

    #[inline(always)]
    unsafe fn row(self, x: &[u16], at: usize) -> [S::V; 2] {
        // SAFETY: the caller's obligation.
        let pair = unsafe { [*x.get_unchecked(at), *x.get_unchecked(at + 1)] };
        [self.0.splat(widen(pair[0])), self.0.splat(widen(pair[1]))]
    }

    #[inline(always)]
    fn multiply_add(self, x: [S::V; 2], w: [S::V; 2], sum: S::V) -> S::V {
        self.0.mul_add(x[0], w[0], self.0.mul_add(x[1], w[1], sum))
    }

    #[inline(always)]
    fn tile<const R: usize, const P: usize, const H: usize>(
        self,
        product: &mut Product<'_, u16>,
        place: Place,
    ) {
        self.0.tile_bf16::<R, P, H>(product, place);
    }
}

/// Where a tile starts.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    t: usize,
    panel: usize,
    /// Of the panel.
    vector: usize,
    /// So many of the last rows ask for the next panel.
    n_asking: usize,
}

/// The whole product in tiles of at most `ROWS` rows by `H` vectors.
#[inline(always)]
pub(super) fn gemm<M: Multiplier, const ROWS: usize, const H: usize>(
    m: M,
    mut product: Product<'_, M::T>,
) {
    let n_panels = product.n.div_ceil(PANEL);
    let n_rows = product.n_rows;
    let n_tiles = n_rows.div_ceil(ROWS);
    let start = |tile| n_rows * tile / n_tiles;
    // Whole tiles, and not the first one, for which the panel's own weights still come.
    let first_asking = (n_rows.saturating_sub(ASKING_ROWS) * n_tiles).div_ceil(n_rows).max(1);
    let n_asking = n_rows - start(first_asking);
    let mut panel = match n_rows {
        1 => few_rows::<M, 1, 4, H>(m, &mut product),
        2 => few_rows::<M, 2, 2, H>(m, &mut product),
        _ => 0,
    };
    while panel < n_panels {
        for vector in (0..VECTORS).step_by(H) {
            if panel * PANEL + vector * LANES >= product.n {
                continue;
            }
            for tile in 0..n_tiles {
                let (t, height) = (start(tile), start(tile + 1) - start(tile));
                let place = Place { t, panel, vector, n_asking };
                // The guards are constant: no tile higher than `ROWS` is ever compiled.
                match height {
                    1 => m.tile::<1, 1, H>(&mut product, place),
                    2 => m.tile::<2, 1, H>(&mut product, place),
                    3 => m.tile::<3, 1, H>(&mut product, place),
                    4 => m.tile::<4, 1, H>(&mut product, place),
                    5 => m.tile::<5, 1, H>(&mut product, place),
                    6 => m.tile::<6, 1, H>(&mut product, place),
                    7 if ROWS > 6 => m.tile::<7, 1, H>(&mut product, place),
                    8 if ROWS > 6 => m.tile::<8, 1, H>(&mut product, place),
                    9 if ROWS > 6 => m.tile::<9, 1, H>(&mut product, place),
                    10 if ROWS > 6 => m.tile::<10, 1, H>(&mut product, place),
                    11 if ROWS > 6 => m.tile::<11, 1, H>(&mut product, place),
                    12 if ROWS > 6 => m.tile::<12, 1, H>(&mut product, place),
                    _ => unreachable!("no tile is higher than twelve rows"),
                }
            }
        }
        panel += 1;
    }
}

/// All `R` rows for as many groups of `P` whole panels as there are; the first panel not done.
#[inline(always)]
fn few_rows<M: Multiplier, const R: usize, const P: usize, const H: usize>(
    m: M,
    product: &mut Product<'_, M::T>,
) -> usize {
    let mut panel = 0;
    while (panel + P) * PANEL <= product.n {
        for vector in (0..VECTORS).step_by(H) {
            m.tile::<R, P, H>(product, Place { t: 0, panel, vector, n_asking: 0 });
        }
        panel += P;
    }
    panel
}

/// Rows `t..t + R` by the vectors `vector..vector + H` of the panels `panel..panel + P`.
#[inline(always)]
pub(super) fn tile<M: Multiplier, const R: usize, const P: usize, const H: usize>(
    m: M,
    product: &mut Product<'_, M::T>,
    Place { t, panel, vector, n_asking }: Place,
) {
    let s = m.simd();
    let rows = product.rows;
    let group = M::T::GROUP;
    let k = rows.n_taps * rows.depth / group;
    let mut sums = [[[s.splat(0.0); H]; P]; R];
    let mut step = panel * k * VECTORS + vector;
    // What is asked for first, and how much further at each step, in groups of numbers: of this
    // panel the step `AHEAD`, or a share of the next panel.
    let n_left = product.n_rows - t;
    let (mut ask, pace) = if n_left > n_asking {
        (step * LANES + AHEAD * PANEL, PANEL)
    } else {
        let share = k * H * LANES;
        let first = (panel + 1) * k * PANEL + k * LANES * vector;
        (first + share * (n_asking - n_left) / n_asking, (R * H * LANES).div_ceil(n_asking))
    };
    let steps = Steps { m, packed: product.packed, k, row_stride: rows.row_stride };
    for tap in 0..rows.n_taps {
        let x = &rows.data[t * rows.row_stride + tap * rows.tap_stride..];
        let mut d = 0;
        while M::UNROLL > 1 && d + M::UNROLL * group <= rows.depth {
            for u in 0..M::UNROLL {
                steps.ask_for::<R, P, H>(ask + u * pace);
            }
            for u in 0..M::UNROLL {
                // SAFETY: these are steps of the depth.
                unsafe { steps.add(x, d + u * group, step + u * VECTORS, &mut sums) };
            }
            (d, step) = (d + M::UNROLL * group, step + M::UNROLL * VECTORS);
            ask += M::UNROLL * pace;
        }
        while d < rows.depth {
            steps.ask_for::<R, P, H>(ask);
            // SAFETY: as above.
            unsafe { steps.add(x, d, step, &mut sums) };
            (d, step) = (d + group, step + VECTORS);
            ask += pace;
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

/// The steps of the depth of one tile: what is the same in all of them.
struct Steps<'a, M: Multiplier> {
    m: M,
    packed: &'a [M::T],
    k: usize,
    row_stride: usize,
}

impl<M: Multiplier> Steps<'_, M> {
    /// Asks for the weights at `place`, in groups of numbers, and for those as far into the other
    /// panels.
    #[inline(always)]
    fn ask_for<const R: usize, const P: usize, const H: usize>(&self, place: usize) {
        if R == 1 {
            return;
        }
        for p in 0..P {
            for h in 0..H {
                let at = place + (p * self.k * VECTORS + h) * LANES;
                self.m.simd().prefetch(self.packed, at * M::T::GROUP);
            }
        }
    }

    /// Adds the products of one step of the depth, `d` numbers into each row's `x` and `at`
    /// vectors into the weights.
    ///
    /// # Safety
    /// The step is one of the product whose lengths the door checked.
    #[inline(always)]
    unsafe fn add<const R: usize, const P: usize, const H: usize>(
        &self,
        x: &[M::T],
        d: usize,
        at: usize,
        sums: &mut [[[<M::S as Simd>::V; H]; P]; R],
    ) {
        let Self { m, packed, k, row_stride } = *self;
        // SAFETY: `packed` holds `k` steps of `VECTORS` vectors for every panel that has a column
        // of `n`; this is the first of them.
        let mut w = [[unsafe { m.weights(packed, at) }; H]; P];
        for p in 0..P {
            for h in 0..H {
                // SAFETY: as above.
                w[p][h] = unsafe { m.weights(packed, at + p * k * VECTORS + h) };
            }
        }
        for r in 0..R {
            // SAFETY: `x` reaches over `depth` numbers of the tile's last row; the depth is a
            // multiple of the group.
            let x = unsafe { m.row(x, r * row_stride + d) };
            for p in 0..P {
                for h in 0..H {
                    sums[r][p][h] = m.multiply_add(x, w[p][h], sums[r][p][h]);
                }
            }
        }
    }
}

/// `sum + bias`, stored or added to `out`: sixteen columns, or fewer at the end of a row.
#[inline(always)]
pub(super) fn finish<S: Simd>(
    s: S,
    sum: S::V,
    bias: Option<&[f32]>,
    out: &mut [f32],
    output: Output,
) {
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
