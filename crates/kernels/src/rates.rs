//! How fast the kernels are on one thread: `koe bench kernels`, or `cargo bench -p koe-kernels` with
//! an instruction set or part of a row's name to run only those.
//!
//! Each row is the best of many runs, because neighbours on the machine only ever slow one down;
//! for the same reason the clock is the thread's own time on the CPU where there is such a clock.
//! Products are given beside the CPU's measured multiply-add peak of that instruction set; the
//! answers of plain ones are held to the plain reference before they are timed.

use std::hint::black_box;
use std::time::Duration;

use crate::gemm::{Output, Rows, gemm, pack, packed_len};
use crate::number::Number;
use crate::split::{self, Terms};
use crate::{Isa, activation, lstm, norm, winograd};

/// Measures the kernels whose names contain `filter` with one instruction set, and gives `print` one
/// line of a table after the other, which takes some twenty seconds for all. Ends where that fails.
pub fn measure<E>(
    isa: Isa,
    filter: &str,
    print: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let mut bench = Bench { isa, filter, peak: peak(isa), print };
    let peak = bench.peak;
    (bench.print)(&format!("## {isa:?}\n\npeak of f32 multiply-add: {peak:.1} GFLOP/s\n"))?;
    (bench.print)("| kernel | time | rate | of peak |\n| --- | ---: | ---: | ---: |")?;
    bench.products::<f32>("")?;
    bench.winograd::<f32>("")?;
    bench.split()?;
    bench.products::<u16>("bf16 ")?;
    bench.winograd::<u16>("bf16 ")?;
    bench.elementwise()?;
    (bench.print)("")
}

/// A product's shape, as the network has them.
struct Shape {
    name: &'static str,
    n_rows: usize,
    depth: usize,
    n_taps: usize,
    dilation: usize,
    n: usize,
}

const SHAPES: [Shape; 18] = [
    conv("residual 128 k3", 240, 128, 3, 1, 128),
    conv("residual 128 k3 d5", 240, 128, 3, 5, 128),
    conv("residual 128 k7 d3", 240, 128, 7, 3, 128),
    conv("residual 128 k11", 240, 128, 11, 1, 128),
    conv("residual 128 k11 d5", 240, 128, 11, 5, 128),
    conv("residual 256 k3", 240, 256, 3, 1, 256),
    conv("residual 256 k7 d3", 240, 256, 7, 3, 256),
    conv("residual 256 k11 d5", 240, 256, 11, 5, 256),
    conv("post 128 k7 to 22", 240, 128, 7, 1, 22),
    conv("text 512 k5", 100, 512, 5, 1, 512),
    conv("decoder 1024 k3", 120, 1024, 3, 1, 1024),
    conv("decoder 1090 k3 to 512", 120, 1090, 3, 1, 512),
    conv("linear 768 to 2048", 102, 768, 1, 1, 2048),
    conv("linear 2048 to 768", 102, 2048, 1, 1, 768),
    conv("linear 768 to 768", 102, 768, 1, 1, 768),
    conv("lstm step, 1 row", 1, 256, 1, 1, 1024),
    conv("lstm step, 2 rows", 2, 256, 1, 1, 1024),
    conv("lstm step, 4 rows", 4, 256, 1, 1, 1024),
];

const fn conv(
    name: &'static str,
    n_rows: usize,
    depth: usize,
    n_taps: usize,
    dilation: usize,
    n: usize,
) -> Shape {
    Shape { name, n_rows, depth, n_taps, dilation, n }
}

struct Bench<'a, P> {
    isa: Isa,
    filter: &'a str,
    /// GFLOP/s of multiply-adds from registers.
    peak: f64,
    print: P,
}

impl<E, P: FnMut(&str) -> Result<(), E>> Bench<'_, P> {
    fn wants(&self, name: &str) -> bool {
        name.contains(self.filter)
    }

    fn products<T: Number>(&mut self, kind: &str) -> Result<(), E> {
        for shape in &SHAPES {
            let name = format!("{kind}{}", shape.name);
            if self.wants(&name) {
                let seconds = self.product::<T>(shape);
                self.product_row(&name, shape, shape.n_rows, seconds)?;
            }
        }
        Ok(())
    }

    fn product_row(
        &mut self,
        name: &str,
        shape: &Shape,
        n_rows: usize,
        seconds: f64,
    ) -> Result<(), E> {
        let macs = (n_rows * shape.depth * shape.n_taps * shape.n) as f64;
        let rate = 2.0 * macs / seconds / 1e9;
        let of_peak = 100.0 * rate / self.peak;
        let time = time(seconds);
        (self.print)(&format!("| {name} | {time} | {rate:.1} GFLOP/s | {of_peak:.0} % |"))
    }

    fn product<T: Number>(&self, shape: &Shape) -> f64 {
        let &Shape { n_rows, depth, n_taps, dilation, n, .. } = shape;
        let k = n_taps * depth;
        let data = aligned((n_rows + (n_taps - 1) * dilation) * depth, |i| wave(i, 7));
        let mut numbers = aligned(data.get().len(), |_| T::default());
        activation::convert(self.isa, data.get(), numbers.get_mut());
        let mut packed = aligned(packed_len(k, n), |_| T::default());
        pack(k, n, packed.get_mut(), |k, n| wave(k * 31 + n, 5));
        let bias = vec![0.5; n];
        let mut out = aligned(n_rows * n, |_| 0.0);
        let rows = Rows {
            data: numbers.get(),
            row_stride: depth,
            n_taps,
            tap_stride: dilation * depth,
            depth,
        };
        let run = |isa, out: &mut [f32]| {
            gemm(isa, rows, n_rows, packed.get(), n, Some(&bias), out, n, Output::Store);
        };
        let mut want = vec![0.0; n_rows * n];
        run(Isa::SCALAR, &mut want);
        run(self.isa, out.get_mut());
        for (got, want) in out.get().iter().zip(&want) {
            assert!((got - want).abs() < 1e-2, "{}: {got}, not {want}", shape.name);
        }
        best(|| run(self.isa, out.get_mut()))
    }

    /// The convolutions of the residual blocks by fewer multiplications, at the rate of the
    /// multiplications they stand for.
    fn winograd<T: Number>(&mut self, kind: &str) -> Result<(), E> {
        for shape in &SHAPES {
            let name = format!("{kind}winograd {}", shape.name);
            if shape.name.starts_with("residual") && self.wants(&name) {
                let &Shape { depth, n_taps, dilation, n, .. } = shape;
                let conv = winograd::Shape { n_taps, dilation, depth, n };
                let n_rows = 30_720 / depth;
                let x = aligned((n_rows + (n_taps - 1) * dilation) * depth, |i| wave(i, 7));
                let mut packed = aligned(conv.packed_len(), |_| T::default());
                conv.pack(packed.get_mut(), |tap, d, n| wave((tap * depth + d) * 31 + n, 5));
                let (n_inputs, n_products) = conv.scratch_len(n_rows);
                let mut inputs = aligned(n_inputs, |_| T::default());
                let mut products = aligned(n_products, |_| 0.0);
                let mut out = vec![0.0; n_rows * n];
                let seconds = best(|| {
                    conv.convolve(
                        self.isa,
                        x.get(),
                        n_rows,
                        packed.get(),
                        None,
                        &mut out,
                        Output::Store,
                        (inputs.get_mut(), products.get_mut()),
                    );
                });
                self.product_row(&name, shape, n_rows, seconds)?;
            }
        }
        Ok(())
    }

    /// Products of f32 in tiles of bf16, where there are such, with what splitting takes.
    fn split(&mut self) -> Result<(), E> {
        for shape in &SHAPES {
            let name = format!("split {}", shape.name);
            let &Shape { n_rows, depth, n_taps, dilation, n, .. } = shape;
            let is_split = self.isa.has_tiles() && depth.is_multiple_of(split::SLICE) && n_rows > 4;
            if !is_split || !self.wants(&name) {
                continue;
            }
            let n_all = n_rows + (n_taps - 1) * dilation;
            let x = aligned(n_all * depth, |i| wave(i, 7));
            let k = n_taps * depth;
            let mut packed = aligned(packed_len(k, n), |_| 0.0);
            pack(k, n, packed.get_mut(), |k, n| wave(k * 31 + n, 5));
            let mut lanes = aligned(split::terms_len(n_all, depth), |_| 0.0);
            let mut room = aligned(split::room_len(n_taps, depth), |_| 0.0);
            let mut out = aligned(n_rows * n, |_| 0.0);
            let mut run = |isa, out: &mut [f32]| {
                let slices = lanes.get_mut().chunks_mut(split::slice_len(n_all));
                for (slice_idx, lanes) in slices.enumerate() {
                    split::split(isa, x.get(), depth, slice_idx, lanes);
                }
                let terms = Terms::new(lanes.get(), n_all, depth);
                let rows = split::Rows { terms, first: 0, row_step: 1, n_taps, tap_step: dilation };
                let (weights, room) = (packed.get(), room.get_mut());
                split::gemm(isa, rows, n_rows, weights, n, None, out, n, Output::Store, room);
            };
            let mut want = vec![0.0; n_rows * n];
            run(Isa::SCALAR, &mut want);
            run(self.isa, out.get_mut());
            for (got, want) in out.get().iter().zip(&want) {
                assert!((got - want).abs() < 1e-2, "{name}: {got}, not {want}");
            }
            let seconds = best(|| run(self.isa, out.get_mut()));
            self.product_row(&name, shape, n_rows, seconds)?;
        }
        Ok(())
    }

    fn row(&mut self, name: &str, n: usize, mut run: impl FnMut()) -> Result<(), E> {
        if self.wants(name) {
            let seconds = best(&mut run);
            (self.print)(&format!(
                "| {name} | {} | {:.2} G/s | |",
                time(seconds),
                n as f64 / seconds / 1e9
            ))?;
        }
        Ok(())
    }

    /// Kernels over rows `[T][C]` that fit the second-level cache, unless said otherwise.
    fn elementwise(&mut self) -> Result<(), E> {
        let isa = self.isa;
        let (t, c) = (240, 128);
        let n = t * c;
        let x = aligned(n, |i| wave(i, 7));
        let mut out = aligned(n, |_| 0.0);
        let mut other = aligned(n, |_| 0.0);
        let coefficients = [1.1, 0.1, 1.3, 1.0 / 1.3].map(|value| vec![value; c]);
        let [scale, shift, alpha, inverse_alpha] = &coefficients;
        let snake = |x: &[f32], out: &mut [f32]| {
            activation::affine_snake(isa, x, scale, shift, alpha, inverse_alpha, out);
        };
        self.row("affine_snake 240x128", n, || snake(x.get(), out.get_mut()))?;
        let long = aligned(120 * n, |i| wave(i, 7));
        let mut long_out = aligned(120 * n, |_| 0.0);
        self.row("affine_snake 28800x128 (memory)", 120 * n, || {
            snake(long.get(), long_out.get_mut());
        })?;
        self.row("affine_leaky 240x128", n, || {
            activation::affine_leaky(isa, x.get(), scale, shift, 0.2, out.get_mut());
        })?;
        let (mut mean, mut m2) = (vec![0.0; c], vec![0.0; c]);
        self.row("channel_moments 240x128", n, || {
            norm::channel_moments(isa, x.get(), &mut mean, &mut m2);
        })?;
        self.row("channel_moments 28800x128 (memory)", 120 * n, || {
            norm::channel_moments(isa, long.get(), &mut mean, &mut m2);
        })?;
        self.row("add 240x128", n, || activation::add(isa, x.get(), out.get_mut()))?;
        out.get_mut().copy_from_slice(x.get());
        self.row("add_scale 240x128", n, || {
            activation::add_scale(isa, x.get(), 0.5, out.get_mut());
        })?;
        self.row("leaky 240x128", n, || activation::leaky(isa, x.get(), 0.2, out.get_mut()))?;
        // In place, each run is fed its own result; all of these stay within sane numbers.
        let reset = |out: &mut Aligned| out.get_mut().copy_from_slice(x.get());
        reset(&mut out);
        self.row("tanh 240x128", n, || activation::tanh(isa, out.get_mut()))?;
        reset(&mut out);
        self.row("sigmoid 240x128", n, || activation::sigmoid(isa, out.get_mut()))?;
        self.row("exp 240x128 (with a copy)", n, || {
            reset(&mut out);
            activation::exp(isa, out.get_mut());
        })?;
        self.row("gelu 240x128 (with a copy)", n, || {
            reset(&mut out);
            activation::gelu(isa, out.get_mut());
        })?;
        self.row("polar 240x128 (with a copy)", n, || {
            reset(&mut out);
            activation::polar(isa, out.get_mut(), other.get_mut());
        })?;
        self.row("sin_cos 240x128", n, || {
            activation::sin_cos(isa, x.get(), out.get_mut(), other.get_mut());
        })?;
        let c = 768;
        let (gain, bias) = (vec![1.0; c], vec![0.1; c]);
        reset(&mut out);
        self.row("layer_norm 40x768", 40 * c, || {
            norm::layer_norm(isa, &mut out.get_mut()[..40 * c], &gain, &bias, 1e-5);
        })?;
        reset(&mut out);
        self.row("softmax 240x100", 240 * 100, || {
            norm::softmax(isa, &mut out.get_mut()[..24000], 100, 0.125);
        })?;
        let gates = x.get()[..1024].to_vec();
        let (mut cell, mut hidden) = (vec![0.0; 256], vec![0.0; 256]);
        self.row("lstm cell 256", 256, || lstm::cell(isa, &gates, &mut cell, &mut hidden))
    }
}

/// Seconds of one run: the best of at least ten within a quarter of a second or so.
fn best(mut run: impl FnMut()) -> f64 {
    run();
    let mut best = f64::INFINITY;
    let mut n_inner = 1;
    let (started, mut n_runs) = (now(), 0);
    while n_runs < 10 || now() - started < Duration::from_millis(250) {
        let before = now();
        for _ in 0..n_inner {
            run();
        }
        let spent = now() - before;
        if spent < Duration::from_micros(50) {
            // Too short for the clock: take more at once.
            n_inner *= 2;
            continue;
        }
        best = best.min(spent.as_secs_f64() / f64::from(n_inner));
        n_runs += 1;
    }
    best
}

/// The time this thread has spent on a CPU.
#[cfg(unix)]
fn now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a `timespec` that may be written.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The time since the first call.
#[cfg(not(unix))]
fn now() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

fn time(seconds: f64) -> String {
    if seconds < 1e-3 {
        format!("{:.2} µs", seconds * 1e6)
    } else {
        format!("{:.2} ms", seconds * 1e3)
    }
}

/// A number in ±1, another for every index.
fn wave(i: usize, step: usize) -> f32 {
    ((i * step * 7919) % 2001) as f32 / 1000.0 - 1.0
}

/// Numbers that start on a cache line, as the engine's do.
struct Aligned<T = f32> {
    buffer: Vec<T>,
    start: usize,
}

fn aligned<T: Number>(n: usize, value: impl Fn(usize) -> T) -> Aligned<T> {
    let mut buffer = vec![T::default(); n + 32];
    let start = buffer.as_ptr().align_offset(64);
    for i in 0..n {
        buffer[start + i] = value(i);
    }
    buffer.truncate(start + n);
    Aligned { buffer, start }
}

impl<T> Aligned<T> {
    fn get(&self) -> &[T] {
        &self.buffer[self.start..]
    }

    fn get_mut(&mut self) -> &mut [T] {
        &mut self.buffer[self.start..]
    }
}

/// GFLOP/s of multiply-adds that depend on nothing but themselves, as many chains at once as there are registers for.
fn peak(isa: Isa) -> f64 {
    const STEPS: usize = 100_000;
    let lanes = match isa.name() {
        "avx512" | "avx512bf16" | "amx" => 16,
        "avx2" => 8,
        "neon" | "neonbf16" => 4,
        _ => 1,
    };
    let chains = if isa.name() == "avx2" { 12 } else { 16 };
    let seconds = best(|| match isa.name() {
        // SAFETY: the names stand for these instructions, and the CPU has what `Isa` offers.
        #[cfg(target_arch = "x86_64")]
        "avx512" | "avx512bf16" | "amx" => unsafe { chains_avx512(STEPS) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        "avx2" => unsafe { chains_avx2(STEPS) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        "neon" | "neonbf16" => unsafe { chains_neon(STEPS) },
        _ => {
            let mut sums = black_box([1.0f32; 16]);
            for _ in 0..STEPS {
                sums.iter_mut().for_each(|x| *x = *x * 0.5 + 0.5);
                sums = black_box(sums);
            }
        }
    });
    2.0 * (STEPS * chains * lanes) as f64 / seconds / 1e9
}

macro_rules! chains {
    ($name:ident, $feature:literal, $n:literal, $splat:path, $mul_add:path) => {
        #[target_feature(enable = $feature)]
        fn $name(steps: usize) {
            let x = $splat(black_box(0.5));
            let mut sums = [x; $n];
            for _ in 0..steps {
                for sum in &mut sums {
                    *sum = $mul_add(*sum, x, x);
                }
            }
            black_box(sums);
        }
    };
}
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps, _mm512_fmadd_ps, _mm512_set1_ps};
#[cfg(target_arch = "x86_64")]
chains!(chains_avx512, "avx512f", 16, _mm512_set1_ps, _mm512_fmadd_ps);
#[cfg(target_arch = "x86_64")]
chains!(chains_avx2, "avx2,fma", 12, _mm256_set1_ps, _mm256_fmadd_ps);
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::{vdupq_n_f32, vfmaq_f32};
#[cfg(target_arch = "aarch64")]
chains!(chains_neon, "neon", 16, vdupq_n_f32, vfmaq_f32);
