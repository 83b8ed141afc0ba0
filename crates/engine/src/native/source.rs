//! Harmonic source: the F0 curve to a buzz where there is voice and to noise where there is none.
//!
//! Follows `istftnet.py` (`SineGen`, `SourceModuleHnNSF`) of the reference:
//!
//! ```text
//! source = tanh(bias + Σ_h w_h (voiced · 0.1 · sin(2π h φ) + level · noise_h)),  h = 1..9
//! ```
//!
//! where φ is the running sum of F0, interpolated between curve points. Departures:
//! 1. The phase is summed in f64 turns, of which whole ones are dropped; the reference's f32
//!    radians grow to 5e4 and lose three digits.
//! 2. Harmonics come from one sine and cosine by `sin((h+1)φ) = 2 cos φ sin hφ - sin((h-1)φ)`.
//! 3. `Σ w_h noise_h` of independent unit normals is one normal of deviation `√Σ w_h²`.
//! 4. The reference takes each harmonic's step modulo one turn, which for a negative F0 shifts
//!    the phase half way to the next point by half a turn: the sign changes there.

use koe_kernels::activation;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

use super::context::Context;
use crate::profile::Work;
use crate::threads::Queue;
use crate::weights::{Loader, Section};
use crate::{Error, SAMPLE_RATE_HZ};

/// The fundamental and eight overtones.
const HARMONICS: usize = 9;
const SINE_AMPLITUDE: f32 = 0.1;
/// Deviation of the noise under voiced sound.
const NOISE_DEVIATION: f32 = 0.003;
/// A lower F0 means that there is no voice.
const VOICED_ABOVE_HZ: f32 = 10.0;

pub(crate) struct Source {
    /// Nine weights and a bias.
    mix: Section,
    /// Samples a curve point.
    scale: usize,
}

/// Where the noise comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Noise {
    Seed(u64),
    /// None at all, to compare with the reference.
    Zero,
}

/// Phase at a curve point and the step towards it, in turns.
struct Point {
    f0: f32,
    phase: f64,
    /// The next point's F0 in turns a curve point, and its sign.
    next: Step,
    own: Step,
}

#[derive(Clone, Copy)]
struct Step {
    turns: f64,
    sign: f32,
}

impl Source {
    pub(crate) fn load(load: &mut Loader<'_>, scale: usize) -> Result<Self, Error> {
        let name = "decoder.generator.m_source.l_linear";
        let mix = load.section(name, HARMONICS + 1, |source| {
            let mut mix = source.f32(&format!("{name}.weight"), &[1, HARMONICS])?;
            mix.extend(source.f32(&format!("{name}.bias"), &[1])?);
            Ok(mix)
        })?;
        Ok(Self { mix, scale })
    }

    /// `f0` `[points]` in Hz to `out` `[points * scale]`.
    pub(crate) fn run(
        &self,
        cx: &mut Context<'_, '_>,
        f0: &[f32],
        noise: Noise,
        out: &mut [f32],
    ) -> Result<(), Error> {
        cx.go_on()?;
        let started = cx.clock();
        let isa = cx.isa;
        let step = |f0: f32| Step {
            turns: f64::from(f0) * self.scale as f64 / f64::from(SAMPLE_RATE_HZ),
            sign: if f0 < 0.0 { -1.0 } else { 1.0 },
        };
        let mut phase = 0.0f64;
        let still = Step { turns: 0.0, sign: 1.0 };
        let points = f0.iter().enumerate().map(|(i, &now)| {
            let own = step(now);
            phase = (phase + own.turns).rem_euclid(1.0);
            let next = f0.get(i + 1).map_or(still, |&next| step(next));
            // Before the first point the phase stands still.
            Point { f0: now, phase, next, own: if i == 0 { still } else { own } }
        });
        let pieces = Queue::new(points.zip(out.chunks_exact_mut(self.scale)).enumerate());
        cx.threads.run(|stage| {
            let scratch = stage.rows.take(4 * self.scale);
            while let Some((i, (point, out))) = pieces.next() {
                self.point(&point, scratch, out, isa);
                let level =
                    if point.f0 > VOICED_ABOVE_HZ { NOISE_DEVIATION } else { SINE_AMPLITUDE / 3.0 };
                if let Noise::Seed(seed) = noise {
                    self.add_noise(seed, i, level, out);
                }
                activation::tanh(isa, out);
            }
        });
        let bytes = size_of_val(f0) + size_of_val(out);
        cx.record(started, "source", Work::moving(bytes as f64));
        Ok(())
    }

    /// The sum of the sines at one curve point, and the bias; `scratch` is four times as long.
    fn point(&self, point: &Point, scratch: &mut [f32], out: &mut [f32], isa: koe_kernels::Isa) {
        let bias = self.mix[HARMONICS];
        out.fill(bias);
        if point.f0 <= VOICED_ABOVE_HZ {
            return;
        }
        let n = self.scale;
        let (angle, rest) = scratch.split_at_mut(n);
        let (sin, rest) = rest.split_at_mut(n);
        let (cos, before) = rest.split_at_mut(n);
        // The curve point lies in the middle of its samples.
        for (k, angle) in angle.iter_mut().enumerate() {
            let offset = (k as f64 + 0.5) / n as f64 - 0.5;
            let step = if offset < 0.0 { point.own } else { point.next };
            let turns = point.phase + offset * step.turns;
            *angle = ((turns - turns.round()) * std::f64::consts::TAU) as f32;
        }
        activation::sin_cos(isa, angle, sin, cos);
        before.fill(0.0);
        for &weight in &self.mix[..HARMONICS] {
            for k in 0..n {
                out[k] += weight * SINE_AMPLITUDE * sin[k];
                let next = 2.0 * cos[k] * sin[k] - before[k];
                before[k] = sin[k];
                sin[k] = next;
            }
        }
        let middle = n.div_ceil(2);
        for (half, sign) in [(0..middle, point.own.sign), (middle..n, point.next.sign)] {
            if sign < 0.0 {
                out[half].iter_mut().for_each(|x| *x = 2.0 * bias - *x);
            }
        }
    }

    /// Every curve point has a generator of its own, so points can be made in any order.
    fn add_noise(&self, seed: u64, point_idx: usize, level: f32, out: &mut [f32]) {
        let deviation = self.mix[..HARMONICS].iter().map(|w| w * w).sum::<f32>().sqrt() * level;
        let mut random = Xoshiro256PlusPlus::seed_from_u64(
            seed ^ (point_idx as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        );
        for x in out {
            let normal: f32 = StandardNormal.sample(&mut random);
            *x += deviation * normal;
        }
    }
}
