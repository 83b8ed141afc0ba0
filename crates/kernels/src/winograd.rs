//! Convolutions over time with about half the multiplications (Toom and Cook; Winograd 1980).
//!
//! The idea: four outputs of a filter of `r` taps are read off a product of two polynomials, and
//! such a product needs only as many multiplications as it has coefficients, `4 + r - 1`, if both
//! are first evaluated at that many points:
//!
//! ```text
//! y = Aᵀ [(G w) ⊙ (Bᵀ x)]     x: 4 + r - 1 inputs, w: r taps, y: 4 outputs
//! ```
//!
//! Summed over channels, each point becomes a matrix product of its own, of a quarter of the rows.
//! Three taps are one piece of `r = 3`; more are cut into pieces of `r = 4` whose inputs lie one
//! tile further each, so that they share `Bᵀ x` and are summed within the matrix product. 3, 7 and
//! 11 taps take 6, 14 and 21 multiplications instead of 12, 28 and 44.
//!
//! `G w` is computed once, when the weights are packed. The points are those that let the least
//! rounding error through among fractions that make `A` and `B` exact. What they let through is
//! 3 to 4 times the error of each sum, but the sums are a third to half as long: measured, the
//! result is 1.3 to 1.7 times as far from the exact one as a plain sum of products is.
//!
//! A row's result depends on its place in its tile, so a caller that wants the same bytes must
//! cut its rows the same way. A NaN or an infinity spoils its whole tile.

use crate::Isa;
use crate::gemm::{self, Output, Rows};
use crate::isa::dispatch;
use crate::number::Number;

/// Outputs of a tile.
pub(crate) const TILE: usize = 4;

/// The shape of a convolution: output row `t` takes input rows `t + tap * dilation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How many taps, three at least.
    pub n_taps: usize,
    /// Rows from one tap to the next.
    pub dilation: usize,
    /// Input channels.
    pub depth: usize,
    /// Output channels.
    pub n: usize,
}

/// Where polynomials are evaluated, for pieces of three taps; infinity is the leading
/// coefficient.
const POINTS_3: [f64; 6] = [0.0, 0.75, -0.75, 1.5, -1.5, f64::INFINITY];
/// The same for pieces of four taps.
const POINTS_4: [f64; 7] = [1.0, 2.0, -0.75, -1.5, 0.25, -0.25, f64::INFINITY];

/// `Bᵀ`, of inputs.
pub(crate) const INPUT_3: [[f32; 6]; 6] = input_matrix(POINTS_3);
pub(crate) const INPUT_4: [[f32; 7]; 7] = input_matrix(POINTS_4);
/// `Aᵀ`, of products.
pub(crate) const OUTPUT_3: [[f32; 6]; TILE] = output_matrix(POINTS_3);
pub(crate) const OUTPUT_4: [[f32; 7]; TILE] = output_matrix(POINTS_4);

/// Row `j` holds the coefficients of `Π (x - a)` over all finite points `a` but the `j`-th.
const fn input_matrix<const N: usize>(points: [f64; N]) -> [[f32; N]; N] {
    let mut matrix = [[0.0; N]; N];
    let mut j = 0;
    while j < N {
        let mut polynomial = [0.0f64; N];
        polynomial[0] = 1.0;
        let mut i = 0;
        while i < N - 1 {
            if i != j {
                let mut power = N - 1;
                while power > 0 {
                    polynomial[power] = polynomial[power - 1] - points[i] * polynomial[power];
                    power -= 1;
                }
                polynomial[0] *= -points[i];
            }
            i += 1;
        }
        let mut power = 0;
        while power < N {
            matrix[j][power] = polynomial[power] as f32;
            power += 1;
        }
        j += 1;
    }
    matrix
}

/// Row `i` holds the `i`-th powers of the points.
const fn output_matrix<const N: usize>(points: [f64; N]) -> [[f32; N]; TILE] {
    let mut matrix = [[0.0; N]; TILE];
    let mut j = 0;
    while j < N - 1 {
        let mut power = 1.0;
        let mut i = 0;
        while i < TILE {
            matrix[i][j] = power as f32;
            power *= points[j];
            i += 1;
        }
        j += 1;
    }
    matrix[TILE - 1][N - 1] = 1.0;
    matrix
}

/// `G w` of one piece at point `j`: the piece as a polynomial at that point, over the product of
/// the distances to the other finite points.
fn evaluate(points: &[f64], j: usize, taps: impl DoubleEndedIterator<Item = f64>) -> f64 {
    let a = points[j];
    if a.is_infinite() {
        return taps.last().unwrap_or(0.0);
    }
    let others = points.iter().enumerate().filter(|&(i, b)| i != j && b.is_finite());
    let distances: f64 = others.map(|(_, b)| a - b).product();
    taps.rev().fold(0.0, |sum, tap| sum * a + tap) / distances
}

impl Shape {
    /// Taps of a piece.
    fn piece(&self) -> usize {
        if self.n_taps <= 3 { 3 } else { 4 }
    }

    fn n_pieces(&self) -> usize {
        self.n_taps.div_ceil(self.piece())
    }

    /// Products of a tile for each piece.
    pub(crate) fn n_points(&self) -> usize {
        TILE + self.piece() - 1
    }

    /// Tiles that cover `n_rows` rows of output: a tile is every `dilation`-th row.
    pub(crate) fn n_tiles(&self, n_rows: usize) -> usize {
        n_rows.div_ceil(TILE * self.dilation) * self.dilation
    }

    /// Row `i` of a tile: tiles lie side by side, `dilation` of them to a stretch of rows.
    pub(crate) fn row(&self, tile: usize, i: usize) -> usize {
        (tile / self.dilation * TILE + i) * self.dilation + tile % self.dilation
    }

    /// Tiles of input that those of output take.
    fn n_input_tiles(&self, n_rows: usize) -> usize {
        self.n_tiles(n_rows) + (self.n_pieces() - 1) * self.dilation
    }

    /// Length of the packed weights.
    pub fn packed_len(&self) -> usize {
        self.n_points() * gemm::packed_len(self.n_pieces() * self.depth, self.n)
    }

    /// Packs the weights: `at(tap, d, n)` gives each.
    pub fn pack<T: Number>(&self, packed: &mut [T], at: impl Fn(usize, usize, usize) -> f32) {
        assert_eq!(packed.len(), self.packed_len());
        let k = self.n_pieces() * self.depth;
        let points: &[f64] = if self.piece() == 3 { &POINTS_3 } else { &POINTS_4 };
        let plane = packed.len() / points.len();
        if plane == 0 {
            return;
        }
        for (point, packed) in packed.chunks_exact_mut(plane).enumerate() {
            gemm::pack(k, self.n, packed, |k, n| {
                let (piece, d) = (k / self.depth, k % self.depth);
                let taps = (0..self.piece()).map(|i| {
                    let tap = piece * self.piece() + i;
                    if tap < self.n_taps { f64::from(at(tap, d, n)) } else { 0.0 }
                });
                evaluate(points, point, taps) as f32
            });
        }
    }

    /// Multiplications that `n_rows` rows take, those of the transforms not counted.
    pub fn n_multiplications(&self, n_rows: usize) -> usize {
        self.n_points() * self.n_tiles(n_rows) * self.n_pieces() * self.depth * self.n
    }

    /// Lengths of the two pieces of scratch that `n_rows` rows take: transformed input, of the
    /// kind of the weights, and products.
    pub fn scratch_len(&self, n_rows: usize) -> (usize, usize) {
        let input = self.n_input_tiles(n_rows) * self.depth;
        (self.n_points() * input, self.n_points() * self.n_tiles(n_rows) * self.n)
    }

    /// `n_rows` rows of the convolution of `x` `[n_rows + (n_taps - 1) * dilation][depth]`, plus
    /// `bias` `[n]`, into `out` `[n_rows][n]`.
    #[expect(clippy::too_many_arguments, reason = "a product has this many parts")]
    pub fn convolve<T: Number>(
        &self,
        isa: Isa,
        x: &[f32],
        n_rows: usize,
        packed: &[T],
        bias: Option<&[f32]>,
        out: &mut [f32],
        output: Output,
        (inputs, products): (&mut [T], &mut [f32]),
    ) {
        let Self { n_taps, dilation, depth, n } = *self;
        assert!(n_taps > 0 && dilation > 0 && depth > 0 && n > 0);
        assert_eq!(x.len(), (n_rows + (n_taps - 1) * dilation) * depth);
        assert_eq!(packed.len(), self.packed_len());
        assert!(bias.is_none_or(|bias| bias.len() == n));
        assert_eq!(out.len(), n_rows * n);
        if n_rows == 0 {
            return;
        }
        let (n_tiles, n_input_tiles) = (self.n_tiles(n_rows), self.n_input_tiles(n_rows));
        let (n_inputs, n_products) = self.scratch_len(n_rows);
        let (inputs, products) = (&mut inputs[..n_inputs], &mut products[..n_products]);
        dispatch!(isa, winograd_input(*self, x, inputs));
        for point in 0..self.n_points() {
            let rows = Rows {
                data: &inputs[point * n_input_tiles * depth..][..n_input_tiles * depth],
                row_stride: depth,
                n_taps: self.n_pieces(),
                tap_stride: dilation * depth,
                depth,
            };
            let plane = packed.len() / self.n_points();
            let packed = &packed[point * plane..][..plane];
            let products = &mut products[point * n_tiles * n..][..n_tiles * n];
            gemm::gemm(isa, rows, n_tiles, packed, n, None, products, n, Output::Store);
        }
        dispatch!(isa, winograd_output(*self, products, bias, out, output));
    }
}
