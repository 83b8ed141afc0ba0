//! Means, variances and what is built on them, against f64.

use koe_kernels::norm::{channel_moments, combine_moments, layer_norm, softmax};

use crate::support::{POISON, bits, fast_isas, for_each_isa, noise};

/// Row counts and widths: none of them, one and more vectors and groups of vectors.
const ROWS: [usize; 5] = [1, 2, 3, 17, 100];
const WIDTHS: [usize; 12] = [1, 2, 15, 16, 17, 31, 32, 33, 64, 65, 128, 150];

#[test]
fn channel_moments_are_right_about_a_large_mean() {
    for_each_isa(|isa| {
        for t in ROWS {
            for c in WIDTHS {
                let mut x = noise(t * c + 1, 1.0, 1);
                x.iter_mut().for_each(|x| *x += 1000.0);
                let x = &x[1..];
                let (mut mean, mut m2) = (vec![POISON; c + 2], vec![POISON; c + 2]);
                channel_moments(isa, x, &mut mean[1..=c], &mut m2[1..=c]);
                for at in [0, c + 1] {
                    assert_eq!((mean[at], m2[at]), (POISON, POISON), "{isa:?} {t} {c}");
                }
                for i in 0..c {
                    let column = || x.iter().skip(i).step_by(c).map(|&x| f64::from(x));
                    let exact_mean = column().sum::<f64>() / t as f64;
                    let exact_m2: f64 = column().map(|x| (x - exact_mean).powi(2)).sum();
                    let (mean, m2) = (f64::from(mean[i + 1]), f64::from(m2[i + 1]));
                    assert!((mean - exact_mean).abs() < 1e-4, "{isa:?} {t} {c}: {mean}");
                    let close = (m2 - exact_m2).abs() < 1e-5 * t as f64;
                    assert!(close && m2 >= 0.0, "{isa:?} {t} {c}: {m2}, not {exact_m2}");
                }
            }
        }
    });
}

#[test]
fn moments_of_blocks_join_to_those_of_the_whole() {
    for_each_isa(|isa| {
        let c = 13;
        let x: Vec<f32> = noise(40 * c, 1.0, 1).iter().map(|x| x + 3.0).collect();
        let blocks: Vec<_> = [&x[..7 * c], &x[7 * c..8 * c], &x[8 * c..]]
            .into_iter()
            .map(|block| {
                let (mut mean, mut m2) = (vec![0.0; c], vec![0.0; c]);
                channel_moments(isa, block, &mut mean, &mut m2);
                (block.len() / c, mean, m2)
            })
            .collect();
        let (mut mean, mut variance) = (vec![0.0; c], vec![0.0; c]);
        let parts = blocks.iter().map(|(n, mean, m2)| (*n, &mean[..], &m2[..]));
        combine_moments(parts, &mut mean, &mut variance);
        for i in 0..c {
            let column = || x.iter().skip(i).step_by(c).map(|&x| f64::from(x));
            let exact = column().sum::<f64>() / 40.0;
            let exact_variance = column().map(|x| (x - exact).powi(2)).sum::<f64>() / 40.0;
            assert!((f64::from(mean[i]) - exact).abs() < 1e-6);
            assert!((f64::from(variance[i]) - exact_variance).abs() < 1e-6);
        }
    });
}

#[test]
fn layer_norm_is_right_at_every_width() {
    for_each_isa(|isa| {
        for t in [1, 3] {
            for c in WIDTHS {
                let x: Vec<f32> = noise(t * c + 1, 2.0, 1).iter().map(|x| x + 5.0).collect();
                let (gain, bias) = (noise(c, 1.0, 2), noise(c, 1.0, 3));
                let mut y = x.clone();
                y.push(POISON);
                layer_norm(isa, &mut y[1..=t * c], &gain, &bias, 1e-5);
                assert_eq!((y[0], y[t * c + 1]), (x[0], POISON));
                for (x, y) in x[1..].chunks(c).zip(y[1..].chunks(c)) {
                    let x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
                    let mean = x.iter().sum::<f64>() / c as f64;
                    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / c as f64;
                    let deviation = (variance + f64::from(1e-5f32)).sqrt();
                    for i in 0..c {
                        let (gain, bias) = (f64::from(gain[i]), f64::from(bias[i]));
                        let want = (x[i] - mean) / deviation * gain + bias;
                        // The mean of numbers near 5 is good to 1e-6; one over the deviation
                        // enlarges that where the row is short.
                        let bound = 1e-6 + 4e-6 / deviation;
                        let error = (f64::from(y[i]) - want).abs();
                        assert!(error <= bound, "{isa:?} {t} {c}: {} not {want}", y[i]);
                    }
                }
            }
        }
    });
}

#[test]
fn softmax_is_right_at_every_width_and_sums_to_one() {
    for_each_isa(|isa| {
        for t in [1, 3] {
            for c in WIDTHS {
                let x = noise(t * c + 1, 90.0, 1);
                let mut y = x.clone();
                y.push(POISON);
                softmax(isa, &mut y[1..=t * c], c, 0.5);
                assert_eq!((y[0], y[t * c + 1]), (x[0], POISON));
                for (x, y) in x[1..].chunks(c).zip(y[1..].chunks(c)) {
                    let x: Vec<f64> = x.iter().map(|&x| f64::from(x) * 0.5).collect();
                    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
                    for i in 0..c {
                        let want = (x[i] - max).exp() / sum;
                        let error = (f64::from(y[i]) - want).abs();
                        // The exponent is rounded before it is raised: 90 ulps of it at most.
                        assert!(error <= 2e-5 * want + 1e-38, "{isa:?} {c}: {} {want}", y[i]);
                    }
                    let total: f64 = y.iter().map(|&y| f64::from(y)).sum();
                    assert!((total - 1.0).abs() < 1e-6, "{isa:?} {c}: {total}");
                }
            }
        }
    });
}

#[test]
fn a_row_with_nan_is_nan_and_no_other() {
    for_each_isa(|isa| {
        for c in [3, 16, 37] {
            let mut x = noise(3 * c, 1.0, 1);
            x[c + 1] = f32::NAN;
            let mut y = x.clone();
            softmax(isa, &mut y, c, 1.0);
            assert_eq!(y.iter().map(|x| usize::from(x.is_nan())).sum::<usize>(), c, "{isa:?}");
            assert!(y[c..2 * c].iter().all(|x| x.is_nan()));
            let mut y = x.clone();
            layer_norm(isa, &mut y, &vec![1.0; c], &vec![0.0; c], 1e-5);
            assert_eq!(y.iter().map(|x| usize::from(x.is_nan())).sum::<usize>(), c, "{isa:?}");
            assert!(y[c..2 * c].iter().all(|x| x.is_nan()));
        }
    });
}

#[test]
fn fast_instruction_sets_give_the_same_bytes() {
    let sets: Vec<_> = fast_isas().collect();
    for c in WIDTHS {
        let x = noise(19 * c, 4.0, 1);
        let (gain, bias) = (noise(c, 1.0, 2), noise(c, 1.0, 3));
        let run = |isa| {
            let (mut mean, mut m2) = (vec![0.0; c], vec![0.0; c]);
            channel_moments(isa, &x, &mut mean, &mut m2);
            let (mut normed, mut soft) = (x.clone(), x.clone());
            layer_norm(isa, &mut normed, &gain, &bias, 1e-5);
            softmax(isa, &mut soft, c, 0.3);
            bits(&[mean, m2, normed, soft].concat())
        };
        for pair in sets.windows(2) {
            assert!(run(pair[0]) == run(pair[1]), "{pair:?} differ at {c} channels");
        }
    }
}
