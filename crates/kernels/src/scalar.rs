//! The plain reference of every door, and the fallback where there is no SIMD.
//!
//! Written to be read. The fast kernels are held to these functions.

use crate::activation::Snake;
use crate::gemm::{Output, PANEL, Product};
use crate::number::{Kind, widen};
use crate::simd::LANES;
use crate::split::{self, TERMS, terms};
use crate::winograd::{INPUT_3, INPUT_4, OUTPUT_3, OUTPUT_4, Shape, TILE};

pub(crate) fn gemm(product: Product<'_, f32>) {
    sum_products(product, |sum, x, weight| *sum += x[0] * weight[0]);
}

/// A product of two bf16 is exact in f32, so that each addition is the one place to round.
pub(crate) fn gemm_bf16(product: Product<'_, u16>) {
    sum_products(product, |sum, x, weights| {
        *sum += widen(x[1]) * widen(weights[1]);
        *sum += widen(x[0]) * widen(weights[0]);
    });
}

fn sum_products<T: Kind>(product: Product<'_, T>, add: impl Fn(&mut f32, &[T], &[T])) {
    let Product { rows, n_rows, packed, n, bias, out, out_stride, output } = product;
    let k = rows.n_taps * rows.depth;
    for t in 0..n_rows {
        let out = &mut out[t * out_stride..][..n];
        for (panel_idx, out) in out.chunks_mut(PANEL).enumerate() {
            let panel = &packed[panel_idx * k * PANEL..][..k * PANEL];
            let mut sums = [0.0f32; PANEL];
            for tap in 0..rows.n_taps {
                let x = &rows.data[t * rows.row_stride + tap * rows.tap_stride..][..rows.depth];
                let weights = &panel[tap * rows.depth * PANEL..];
                let steps = x.chunks_exact(T::GROUP).zip(weights.chunks_exact(T::GROUP * PANEL));
                for (x, weights) in steps {
                    for (sum, weights) in sums.iter_mut().zip(weights.chunks_exact(T::GROUP)) {
                        add(sum, x, weights);
                    }
                }
            }
            for (i, out) in out.iter_mut().enumerate() {
                let sum = sums[i] + bias.map_or(0.0, |bias| bias[panel_idx * PANEL + i]);
                match output {
                    Output::Store => *out = sum,
                    Output::Add => *out += sum,
                }
            }
        }
    }
}

pub(crate) fn split(x: &[f32], depth: usize, first: usize, lanes: &mut [f32]) {
    let n_rows = x.len() / depth;
    for (row, x) in x.chunks_exact(depth).enumerate() {
        let number = |i: usize| terms(x[first..].get(i).copied().unwrap_or(0.0));
        for i in 0..LANES {
            let (low, high) = (number(i), number(i + LANES));
            for term in 0..TERMS {
                let pair = low[term].to_bits() >> 16 | high[term].to_bits() & 0xffff_0000;
                lanes[(term * n_rows + row) * LANES + i] = f32::from_bits(pair);
            }
        }
    }
}

/// The f32 product, of numbers put together again.
pub(crate) fn gemm_split(product: Product<'_, f32, split::Rows<'_>>) {
    let Product { rows, n_rows, packed, n, bias, out, out_stride, output } = product;
    let (depth, k) = (rows.depth(), rows.n_taps * rows.depth());
    for t in 0..n_rows {
        for i in 0..n {
            let mut sum = 0.0;
            for tap in 0..rows.n_taps {
                for d in 0..depth {
                    let weight = packed[(i / PANEL * k + tap * depth + d) * PANEL + i % PANEL];
                    sum += rows.number(t, tap, d) * weight;
                }
            }
            sum += bias.map_or(0.0, |bias| bias[i]);
            let out = &mut out[t * out_stride + i];
            match output {
                Output::Store => *out = sum,
                Output::Add => *out += sum,
            }
        }
    }
}

pub(crate) fn channel_moments(x: &[f32], mean: &mut [f32], m2: &mut [f32]) {
    let c = mean.len();
    let n = (x.len() / c) as f32;
    let (first, _) = x.split_at(c);
    mean.fill(0.0);
    m2.fill(0.0);
    for row in x.chunks_exact(c) {
        for i in 0..c {
            let deviation = row[i] - first[i];
            mean[i] += deviation;
            m2[i] += deviation * deviation;
        }
    }
    for i in 0..c {
        let sum = mean[i];
        m2[i] = (m2[i] - sum * sum / n).max(0.0);
        mean[i] = first[i] + sum / n;
    }
}

pub(crate) fn layer_norm(x: &mut [f32], gain: &[f32], bias: &[f32], epsilon: f32) {
    let c = gain.len();
    for row in x.chunks_exact_mut(c) {
        let mean = row.iter().sum::<f32>() / c as f32;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / c as f32;
        let inverse = 1.0 / (variance + epsilon).sqrt();
        for i in 0..c {
            row[i] = (row[i] - mean) * inverse * gain[i] + bias[i];
        }
    }
}

pub(crate) fn softmax(x: &mut [f32], c: usize, scale: f32) {
    for row in x.chunks_exact_mut(c) {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for x in row.iter_mut() {
            *x = ((*x - max) * scale).exp();
            sum += *x;
        }
        for x in row.iter_mut() {
            *x /= sum;
        }
    }
}

fn leaky_one(x: f32, slope: f32) -> f32 {
    if x < 0.0 { x * slope } else { x }
}

pub(crate) fn affine_leaky<T: Kind>(
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    slope: f32,
    out: &mut [T],
) {
    let c = scale.len();
    for (row, out) in x.chunks_exact(c).zip(out.chunks_exact_mut(c)) {
        for i in 0..c {
            out[i] = T::of(leaky_one(row[i] * scale[i] + shift[i], slope));
        }
    }
}

pub(crate) fn affine_snake<T: Kind>(x: &[f32], snake: Snake<'_>, out: &mut [T]) {
    let Snake { scale, shift, alpha, inverse_alpha } = snake;
    let c = scale.len();
    for (row, out) in x.chunks_exact(c).zip(out.chunks_exact_mut(c)) {
        for i in 0..c {
            let y = row[i] * scale[i] + shift[i];
            let sin = (alpha[i] * y).sin();
            out[i] = T::of(y + inverse_alpha[i] * sin * sin);
        }
    }
}

pub(crate) fn leaky<T: Kind>(x: &[f32], slope: f32, out: &mut [T]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = T::of(leaky_one(x, slope));
    }
}

pub(crate) fn convert<T: Kind>(x: &[f32], out: &mut [T]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = T::of(x);
    }
}

pub(crate) fn gelu(x: &mut [f32]) {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    for x in x {
        let inner = SQRT_2_OVER_PI * (*x + 0.044_715 * *x * *x * *x);
        *x = 0.5 * *x * (1.0 + inner.tanh());
    }
}

pub(crate) fn exp(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = x.exp());
}

pub(crate) fn tanh(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = x.tanh());
}

fn sigmoid_one(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

pub(crate) fn sigmoid(x: &mut [f32]) {
    x.iter_mut().for_each(|x| *x = sigmoid_one(*x));
}

pub(crate) fn sin_cos(x: &[f32], sin: &mut [f32], cos: &mut [f32]) {
    for (i, x) in x.iter().enumerate() {
        (sin[i], cos[i]) = x.sin_cos();
    }
}

pub(crate) fn polar(real: &mut [f32], imaginary: &mut [f32]) {
    for (re, im) in real.iter_mut().zip(imaginary) {
        (*re, *im) = ((*re * *re + *im * *im).sqrt(), im.atan2(*re));
    }
}

pub(crate) fn add(x: &[f32], out: &mut [f32]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out += x;
    }
}

pub(crate) fn add_scale(x: &[f32], factor: f32, out: &mut [f32]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = (*out + x) * factor;
    }
}

pub(crate) fn lstm_cell(gates: &[f32], cell: &mut [f32], hidden: &mut [f32]) {
    let h = cell.len();
    for i in 0..h {
        let input = sigmoid_one(gates[i]);
        let forget = sigmoid_one(gates[h + i]);
        let candidate = gates[2 * h + i].tanh();
        let output = sigmoid_one(gates[3 * h + i]);
        cell[i] = forget * cell[i] + input * candidate;
        hidden[i] = output * cell[i].tanh();
    }
}

pub(crate) fn winograd_input<T: Kind>(shape: Shape, x: &[f32], inputs: &mut [T]) {
    match shape.n_points() {
        6 => input_tiles(&INPUT_3, shape, x, inputs),
        _ => input_tiles(&INPUT_4, shape, x, inputs),
    }
}

fn input_tiles<T: Kind, const N: usize>(
    matrix: &[[f32; N]; N],
    shape: Shape,
    x: &[f32],
    inputs: &mut [T],
) {
    let c = shape.depth;
    let plane = inputs.len() / N;
    for (inputs, coefficients) in inputs.chunks_exact_mut(plane).zip(matrix) {
        for (tile, inputs) in inputs.chunks_exact_mut(c).enumerate() {
            for (channel, input) in inputs.iter_mut().enumerate() {
                let mut sum = 0.0;
                for (i, coefficient) in coefficients.iter().enumerate() {
                    if let Some(x) = x.get(shape.row(tile, i) * c + channel) {
                        sum += coefficient * x;
                    }
                }
                *input = T::of(sum);
            }
        }
    }
}

pub(crate) fn winograd_output(
    shape: Shape,
    products: &[f32],
    bias: Option<&[f32]>,
    out: &mut [f32],
    output: Output,
) {
    match shape.n_points() {
        6 => output_tiles(&OUTPUT_3, shape, products, bias, out, output),
        _ => output_tiles(&OUTPUT_4, shape, products, bias, out, output),
    }
}

fn output_tiles<const N: usize>(
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
        for (i, coefficients) in matrix.iter().enumerate() {
            let Some(out) = out.chunks_exact_mut(n).nth(shape.row(tile, i)) else { continue };
            for (column, out) in out.iter_mut().enumerate() {
                let mut sum = bias.map_or(0.0, |bias| bias[column]);
                for (point, coefficient) in coefficients.iter().enumerate() {
                    sum += coefficient * products[point * plane + tile * n + column];
                }
                match output {
                    Output::Store => *out = sum,
                    Output::Add => *out += sum,
                }
            }
        }
    }
}
