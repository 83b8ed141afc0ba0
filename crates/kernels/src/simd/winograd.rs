//! The two transforms about the products of `crate::winograd`.

use super::{LANES, Simd};
use crate::gemm::Output;
use crate::number::Kind;
use crate::winograd::{INPUT_3, INPUT_4, OUTPUT_3, OUTPUT_4, Shape, TILE};

/// `Bᵀ x` of every tile: `inputs` `[point][tile][depth]` from rows `x` `[T][depth]`, with zeros
/// after the last.
#[inline(always)]
pub(super) fn winograd_input<S: Simd, T: Kind>(s: S, shape: Shape, x: &[f32], inputs: &mut [T]) {
    match shape.n_points() {
        6 => input::<S, T, 6>(s, &INPUT_3, shape, x, inputs),
        _ => input::<S, T, 7>(s, &INPUT_4, shape, x, inputs),
    }
}

#[inline(always)]
fn input<S: Simd, T: Kind, const N: usize>(
    s: S,
    matrix: &[[f32; N]; N],
    shape: Shape,
    x: &[f32],
    inputs: &mut [T],
) {
    let c = shape.depth;
    let plane = inputs.len() / N;
    for tile in 0..plane / c {
        for first in (0..c).step_by(LANES) {
            let end = c.min(first + LANES);
            let mut rows = [s.splat(0.0); N];
            for i in 0..N {
                let at = shape.row(tile, i) * c;
                if at < x.len() {
                    rows[i] = s.load_some(&x[at + first..at + end]);
                }
            }
            for j in 0..N {
                let sum = combine(s, &matrix[j], &rows);
                T::store(s, sum, &mut inputs[j * plane + tile * c..][first..end]);
            }
        }
    }
}

/// `Aᵀ` of the products `[point][tile][n]`, plus `bias`, to rows `out` `[T][n]`.
#[inline(always)]
pub(super) fn winograd_output<S: Simd>(
    s: S,
    shape: Shape,
    products: &[f32],
    bias: Option<&[f32]>,
    out: &mut [f32],
    output: Output,
) {
    match shape.n_points() {
        6 => finish::<S, 6>(s, &OUTPUT_3, shape, products, bias, out, output),
        _ => finish::<S, 7>(s, &OUTPUT_4, shape, products, bias, out, output),
    }
}

#[inline(always)]
fn finish<S: Simd, const N: usize>(
    s: S,
    matrix: &[[f32; N]; TILE],
    shape: Shape,
    products: &[f32],
    bias: Option<&[f32]>,
    out: &mut [f32],
    output: Output,
) {
    let n = shape.n;
    let plane = products.len() / N;
    for tile in 0..plane / n {
        for first in (0..n).step_by(LANES) {
            let end = n.min(first + LANES);
            let mut points = [s.splat(0.0); N];
            for j in 0..N {
                points[j] = s.load_some(&products[j * plane + tile * n..][first..end]);
            }
            let bias = match bias {
                Some(bias) => s.load_some(&bias[first..end]),
                None => s.splat(0.0),
            };
            for i in 0..TILE {
                let at = shape.row(tile, i) * n;
                if at < out.len() {
                    let out = &mut out[at + first..at + end];
                    let sum = s.add(combine(s, &matrix[i], &points), bias);
                    let sum = match output {
                        Output::Store => sum,
                        Output::Add => s.add(s.load_some(out), sum),
                    };
                    s.store_some(sum, out);
                }
            }
        }
    }
}

/// `Σ coefficient * vector`, leaving out zeros; the coefficients are known when compiled.
#[inline(always)]
fn combine<S: Simd, const N: usize>(s: S, coefficients: &[f32; N], vectors: &[S::V; N]) -> S::V {
    let mut sum = s.splat(0.0);
    for i in 0..N {
        if coefficients[i] != 0.0 {
            sum = s.mul_add(vectors[i], s.splat(coefficients[i]), sum);
        }
    }
    sum
}
