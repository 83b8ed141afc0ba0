//! Where the time of one synthesis went, layer by layer, and how near that is to what the machine
//! can do.
//!
//! Off, which it is unless [`Session::profile`](crate::Session::profile) asks, it costs a test a
//! layer. [`Session::ceiling`](crate::Session::ceiling) measures the machine.

use std::hint::black_box;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytemuck::Pod;
use koe_kernels::gemm::{Output, Rows, gemm, pack, packed_len};
use koe_kernels::number::Number;
use koe_kernels::split::N_PRODUCTS;
use koe_kernels::{Isa, norm};

use crate::Precision;
use crate::threads::{Stage, Threads};

/// The layers of one synthesis in the order they first ran.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Each layer once, with all its runs.
    pub layers: Vec<Layer>,
    /// The whole synthesis, what lies between layers included.
    pub total: Duration,
}

/// One layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// As in the checkpoint, or what it does, as in `attention`.
    pub name: String,
    /// How often it ran.
    pub runs: usize,
    /// Of all runs, on the clock.
    pub time: Duration,
    /// Multiplications and additions that the layer stands for: a convolution by fewer of them
    /// counts as many as a plain one. 0 where nobody counted.
    pub flop: f64,
    /// Those that its products really take: fewer of a quick convolution, six times as many, of bf16,
    /// where f32 are multiplied as sums of bf16.
    pub multiplied: f64,
    /// Bytes of weights, input and output, each once a run: the least that memory has to move.
    pub bytes: f64,
    /// Of its products; none where it has none that were counted.
    pub precision: Option<Precision>,
}

/// What one run of a layer takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    pub(crate) flop: f64,
    pub(crate) multiplied: f64,
    pub(crate) bytes: f64,
    pub(crate) precision: Option<Precision>,
}

/// What the machine can do with as many threads as a session has: the two sides of a roofline.
#[derive(Clone, Copy, Debug)]
pub struct Ceiling {
    /// Of products of f32 whose numbers are all in the first-level cache.
    pub f32_gflop_per_s: f64,
    /// The same of bf16.
    pub bf16_gflop_per_s: f64,
    /// Of reading what is in no cache.
    pub gb_per_s: f64,
}

impl Work {
    /// Of a product in f32.
    pub(crate) fn f32(flop: f64, bytes: f64) -> Self {
        Self { flop, multiplied: flop, bytes, precision: Some(Precision::F32) }
    }

    /// The same, where it is of f32 that are multiplied as sums of bf16.
    pub(crate) fn split(self) -> Self {
        let multiplied = N_PRODUCTS as f64 * self.multiplied;
        Self { multiplied, precision: Some(Precision::Bf16), ..self }
    }

    /// Of what is no product: the bytes that it reads and writes.
    pub(crate) fn moving(bytes: f64) -> Self {
        Self { bytes, ..Self::default() }
    }
}

impl std::ops::AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.flop += other.flop;
        self.multiplied += other.multiplied;
        self.bytes += other.bytes;
        self.precision = self.precision.or(other.precision);
    }
}

impl Profile {
    pub(crate) fn add(&mut self, name: &str, since: Instant, work: Work) {
        let time = since.elapsed();
        let Work { flop, multiplied, bytes, precision } = work;
        let name = name.to_owned();
        self.merge(Layer { name, runs: 1, time, flop, multiplied, bytes, precision });
    }

    /// Adds to the layer of that name.
    fn merge(&mut self, more: Layer) {
        let Some(layer) = self.layers.iter_mut().find(|layer| layer.name == more.name) else {
            return self.layers.push(more);
        };
        layer.runs += more.runs;
        layer.time += more.time;
        layer.flop += more.flop;
        layer.multiplied += more.multiplied;
        layer.bytes += more.bytes;
        layer.precision = layer.precision.or(more.precision);
    }

    /// The same with layers of one kind together: the convolutions of one residual block of the
    /// generator, and those that differ only in a number, which becomes a `*`.
    pub fn parts(&self) -> Self {
        let mut parts = Self { layers: Vec::new(), total: self.total };
        for layer in &self.layers {
            let mut layer = layer.clone();
            let is_block = layer.name.contains("resblocks") || layer.name.contains("noise_res");
            layer.name = match layer.name.rsplit_once(".convs") {
                Some((block, _)) if is_block => block.to_owned(),
                _ => starred(&layer.name),
            };
            parts.merge(layer);
        }
        parts
    }

    /// The time between layers, which is nobody's.
    pub fn between(&self) -> Duration {
        self.total.saturating_sub(self.layers.iter().map(|layer| layer.time).sum())
    }
}

/// Numbers that stand between dots become stars.
fn starred(name: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<_> =
        name.split('.').map(|part| if is_number(part) { "*" } else { part }).collect();
    parts.join(".")
}

impl Layer {
    /// Billions of floating-point operations a second that it stands for.
    pub fn gflop_per_s(&self) -> f64 {
        self.flop / self.time.as_secs_f64() / 1e9
    }

    /// Billions of bytes a second.
    pub fn gb_per_s(&self) -> f64 {
        self.bytes / self.time.as_secs_f64() / 1e9
    }

    /// The time that the ceiling leaves it, of the time that it took: 1 is all that the machine
    /// can do. More than 1 is a layer whose numbers were in a cache.
    pub fn of_ceiling(&self, ceiling: &Ceiling) -> f64 {
        let rate = match self.precision {
            Some(precision) if precision.is_bf16() => ceiling.bf16_gflop_per_s,
            _ => ceiling.f32_gflop_per_s,
        };
        let seconds = (self.multiplied / rate).max(self.bytes / ceiling.gb_per_s) / 1e9;
        seconds / self.time.as_secs_f64()
    }
}

/// How long each rate is measured for.
const MEASURED_FOR: Duration = Duration::from_millis(60);
/// More than the caches of a core hold.
const MEMORY_BYTES: usize = 64 << 20;

impl Ceiling {
    pub(crate) fn measure(isa: Isa, threads: &mut Threads) -> Self {
        let ceiling = Self {
            f32_gflop_per_s: rate(threads, |stage| product::<f32>(isa, stage)),
            bf16_gflop_per_s: rate(threads, |stage| product::<u16>(isa, stage)),
            gb_per_s: rate(threads, |stage| reading(isa, stage)),
        };
        threads.release();
        ceiling
    }
}

/// The sum over threads that all work at once of the best rate of each, in billions a second.
fn rate(threads: &mut Threads, once: impl Fn(&mut Stage) -> f64 + Sync) -> f64 {
    let sum = Mutex::new(0.0);
    threads.run(|stage| {
        once(stage);
        let (started, mut best) = (Instant::now(), 0.0f64);
        while started.elapsed() < MEASURED_FOR {
            let since = Instant::now();
            let amount = once(stage);
            best = best.max(amount / since.elapsed().as_secs_f64() / 1e9);
        }
        *sum.lock().unwrap_or_else(PoisonError::into_inner) += best;
    });
    sum.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Products of numbers in the first-level cache; how many operations.
fn product<T: Number + Pod>(isa: Isa, stage: &mut Stage) -> f64 {
    const N: usize = 32;
    const TIMES: usize = 400;
    // Whole tiles of every instruction set. Where tiles are multiplied at once, as many taps as keep
    // the placing of their sums small, and few enough for the cache.
    let is_in_tiles = isa.has_tiles() && size_of::<T>() == size_of::<u16>();
    let (n_rows, n_taps, depth) = if is_in_tiles { (64, 16, 32) } else { (24, 1, 128) };
    let weights = stage.packed.take_of::<T>(packed_len(n_taps * depth, N));
    pack(n_taps * depth, N, weights, |k, n| (k + n) as f32 * 1e-3);
    let x = stage.rows.take_of::<T>((n_rows + n_taps - 1) * depth);
    x.fill(T::default());
    let out = stage.out.take(n_rows * N);
    for _ in 0..TIMES {
        let data = black_box(&*x);
        let rows = Rows { data, row_stride: depth, n_taps, tap_stride: depth, depth };
        gemm(isa, rows, n_rows, weights, N, None, out, N, Output::Store);
    }
    black_box(out);
    (2 * TIMES * n_rows * n_taps * depth * N) as f64
}

/// Reads memory; how many bytes.
fn reading(isa: Isa, stage: &mut Stage) -> f64 {
    const CHANNELS: usize = 128;
    let x = stage.rows.take(MEMORY_BYTES / size_of::<f32>());
    let (mut mean, mut m2) = ([0.0; CHANNELS], [0.0; CHANNELS]);
    // Block by block, as the engine does.
    for block in x.chunks(240 * CHANNELS) {
        norm::channel_moments(isa, block, &mut mean, &mut m2);
    }
    black_box((mean, m2));
    MEMORY_BYTES as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &str, ms: u64) -> Layer {
        let time = Duration::from_millis(ms);
        Layer {
            name: name.to_owned(),
            runs: 1,
            time,
            flop: 2e9,
            multiplied: 1e9,
            bytes: 1e6,
            precision: Some(Precision::F32),
        }
    }

    #[test]
    fn parts_gather_layers_of_one_kind() {
        let names = [
            "decoder.generator.resblocks.3.convs1.0",
            "decoder.generator.resblocks.3.convs2.2",
            "decoder.generator.resblocks.4.convs1.0",
            "decoder.decode.0.conv1",
            "decoder.decode.3.conv1",
            "adain",
        ];
        let layers = names.map(|name| layer(name, 10)).to_vec();
        let profile = Profile { layers, total: Duration::from_millis(65) };
        let parts = profile.parts();
        let names: Vec<_> =
            parts.layers.iter().map(|layer| (&layer.name[..], layer.runs)).collect();
        assert_eq!(
            names,
            [
                ("decoder.generator.resblocks.3", 2),
                ("decoder.generator.resblocks.4", 1),
                ("decoder.decode.*.conv1", 2),
                ("adain", 1)
            ]
        );
        assert_eq!(parts.between(), Duration::from_millis(5));
    }

    #[test]
    fn a_ceiling_is_of_the_slower_side() {
        let ceiling = Ceiling { f32_gflop_per_s: 200.0, bf16_gflop_per_s: 400.0, gb_per_s: 20.0 };
        // A billion multiplied at 200 GFLOP/s is 5 ms of 10.
        assert!((layer("a", 10).of_ceiling(&ceiling) - 0.5).abs() < 1e-9);
        let moving = Layer { bytes: 1.8e8, ..layer("b", 10) };
        assert!((moving.of_ceiling(&ceiling) - 0.9).abs() < 1e-9);
    }
}
