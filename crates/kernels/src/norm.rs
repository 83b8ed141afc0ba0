//! Means, variances and the normalisations built on them.

use crate::Isa;
use crate::isa::dispatch;

/// Mean and sum of squared deviations of every channel over the rows of `x` `[T][C]`.
///
/// Meant for one block of rows at a time; blocks are joined by [`combine_moments`]. Both are
/// computed about the block's first row, so that a large mean costs no precision.
pub fn channel_moments(isa: Isa, x: &[f32], mean: &mut [f32], m2: &mut [f32]) {
    let c = mean.len();
    assert_eq!(m2.len(), c);
    assert!(c > 0 && x.len().is_multiple_of(c) && !x.is_empty());
    dispatch!(isa, channel_moments(x, mean, m2));
}

/// Joins the moments of blocks to those of the whole (Chan, Golub and LeVeque 1979), in f64 and
/// in block order: `blocks` gives each block's row count, means and squared deviations. Writes
/// mean and variance (biased, as InstanceNorm uses).
pub fn combine_moments<'a>(
    blocks: impl Iterator<Item = (usize, &'a [f32], &'a [f32])> + Clone,
    mean: &mut [f32],
    variance: &mut [f32],
) {
    /// Channels whose sums stay in registers.
    const GROUP: usize = 8;
    assert_eq!(mean.len(), variance.len());
    for (group, (mean, variance)) in
        mean.chunks_mut(GROUP).zip(variance.chunks_mut(GROUP)).enumerate()
    {
        let channels = group * GROUP..group * GROUP + mean.len();
        let (mut n, mut mu, mut m2) = (0.0f64, [0.0f64; GROUP], [0.0f64; GROUP]);
        for (n_block, mean_block, m2_block) in blocks.clone() {
            let n_block = n_block as f64;
            let share = n_block / (n + n_block);
            let block = mean_block[channels.clone()].iter().zip(&m2_block[channels.clone()]);
            for ((mu, m2), (&mean_block, &m2_block)) in mu.iter_mut().zip(&mut m2).zip(block) {
                let delta = f64::from(mean_block) - *mu;
                *m2 += f64::from(m2_block) + delta * delta * n * share;
                *mu += delta * share;
            }
            n += n_block;
        }
        for ((mean, variance), (mu, m2)) in mean.iter_mut().zip(variance).zip(mu.iter().zip(&m2)) {
            *mean = *mu as f32;
            *variance = (m2 / n) as f32;
        }
    }
}

/// Normalises every row of `x` `[T][C]` in place to mean 0 and variance 1, then
/// `x * gain + bias`.
pub fn layer_norm(isa: Isa, x: &mut [f32], gain: &[f32], bias: &[f32], epsilon: f32) {
    let c = gain.len();
    assert_eq!(bias.len(), c);
    assert!(c > 0 && x.len().is_multiple_of(c));
    dispatch!(isa, layer_norm(x, gain, bias, epsilon));
}

/// Makes every row of `x` `[T][C]` positive with sum 1: `exp(scale * x)`, normalised; `scale` is
/// positive.
pub fn softmax(isa: Isa, x: &mut [f32], c: usize, scale: f32) {
    assert!(c > 0 && x.len().is_multiple_of(c) && scale > 0.0);
    dispatch!(isa, softmax(x, c, scale));
}
