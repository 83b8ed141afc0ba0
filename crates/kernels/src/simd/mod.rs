//! Every fast kernel, written once over sixteen lanes.
//!
//! The idea: an instruction set is a small token type that implements [`Simd`], arithmetic on
//! sixteen f32 at a time (one AVX-512 register, two of AVX2, four of NEON). `maths`,
//! `activation`, `norm`, `lstm`, `winograd`, `split` and `gemm` are generic over the token; each instruction set's
//! file implements the trait and stamps out, with [`shells!`], one `#[target_feature]` function a
//! kernel into which the generic code is inlined whole.
//!
//! Because the lanes are sixteen everywhere, multiply-add rounds once everywhere, and sums across
//! lanes are taken in one fixed order, all instruction sets but the plain reference give the same
//! bytes. (Products of bf16 are the exception where an instruction sums them its own way, and those
//! of f32 that are split into bf16 there; see `amx` and `neonbf16`.)
//!
//! Everything generic here must be `#[inline(always)]`: code that is not inlined into a shell is
//! compiled without the instructions it is for, and runs five to fifty times slower. Closures
//! cannot be marked so; none holds vector arithmetic here, nor do vectors go through
//! `array::map`.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512bf16;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neonbf16;

mod activation;
mod gemm;
mod lstm;
mod maths;
mod norm;
mod split;
mod winograd;

use crate::gemm::Product;

/// Numbers in a vector.
pub(crate) const LANES: usize = 16;

/// Arithmetic on sixteen f32. A value of an implementing type proves that the CPU has the
/// instructions it uses.
pub(crate) trait Simd: Copy {
    /// Sixteen f32.
    type V: Copy;
    /// Steps of the depth that a product of f32 takes in one turn of its loop.
    const UNROLL: usize = 1;

    fn splat(self, x: f32) -> Self::V;
    fn load(self, x: &[f32; LANES]) -> Self::V;
    fn store(self, v: Self::V, out: &mut [f32; LANES]);

    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    fn sqrt(self, v: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c - a * b`, rounded once.
    fn neg_mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger; a NaN in `b` comes out, one in `a` may not.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller; a NaN in `b` comes out, one in `a` may not.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// Where `test < 0`, `then`; elsewhere `otherwise`.
    fn if_negative(self, test: Self::V, then: Self::V, otherwise: Self::V) -> Self::V;

    /// The bits shifted left, zeros coming in.
    fn shift_left<const N: u32>(self, v: Self::V) -> Self::V;
    /// The bits shifted right, zeros coming in.
    fn shift_right<const N: u32>(self, v: Self::V) -> Self::V;
    /// Exclusive or of the bits.
    fn xor(self, a: Self::V, b: Self::V) -> Self::V;
    /// And of the bits.
    fn and(self, a: Self::V, b: Self::V) -> Self::V;
    /// Sixteen pairs of bf16 as they are, a pair to a lane, the first of it in the lower half.
    fn load_pairs(self, x: &[u16; 2 * LANES]) -> Self::V;
    /// The nearest bf16, as [`crate::number::round`] has them.
    fn store_bf16(self, v: Self::V, out: &mut [u16; LANES]);

    /// [`gemm::tile`] as a function of its own. Were all tiles inlined into one function, the
    /// compiler would lose count of the registers and keep sums in memory.
    fn tile<const R: usize, const P: usize, const H: usize>(
        self,
        product: &mut Product<'_, f32>,
        place: gemm::Place,
    );

    /// The same of bf16.
    fn tile_bf16<const R: usize, const P: usize, const H: usize>(
        self,
        product: &mut Product<'_, u16>,
        place: gemm::Place,
    );

    /// Asks for a vector that will be loaded soon; the index may lie past the end.
    #[inline(always)]
    fn prefetch<T>(self, _vectors: &[T], _index: usize) {}

    /// The first `x.len()` lanes from `x` (fewer than sixteen), zeros in the others.
    #[inline(always)]
    fn load_part(self, x: &[f32]) -> Self::V {
        let mut whole = [0.0; LANES];
        whole[..x.len()].copy_from_slice(x);
        self.load(&whole)
    }

    /// The first `out.len()` lanes (fewer than sixteen).
    #[inline(always)]
    fn store_part(self, v: Self::V, out: &mut [f32]) {
        let whole = self.to_array(v);
        out.copy_from_slice(&whole[..out.len()]);
    }

    /// Sixteen numbers, or fewer and zeros.
    #[inline(always)]
    fn load_some(self, x: &[f32]) -> Self::V {
        match x.as_array() {
            Some(x) => self.load(x),
            None => self.load_part(x),
        }
    }

    /// As many lanes as `out` is long, up to sixteen.
    #[inline(always)]
    fn store_some(self, v: Self::V, out: &mut [f32]) {
        match out.as_mut_array() {
            Some(out) => self.store(v, out),
            None => self.store_part(v, out),
        }
    }

    #[inline(always)]
    fn to_array(self, v: Self::V) -> [f32; LANES] {
        let mut array = [0.0; LANES];
        self.store(v, &mut array);
        array
    }
}

/// Stamps out one function a kernel, compiled with `$feature`, around the generic code. `$isa`
/// is the token; the numbers are the shape of the matrix product's tile.
macro_rules! shells {
    (
        $feature:literal, $isa:expr, rows $rows:literal, vectors $vectors:literal;
        $(fn $module:ident::$name:ident $([$kind:ident])? ($($argument:ident: $type:ty),* $(,)?);)*
    ) => {
        #[target_feature(enable = $feature)]
        pub(crate) fn gemm(product: crate::gemm::Product<'_, f32>) {
            crate::simd::gemm::gemm::<_, $rows, $vectors>(crate::simd::gemm::Whole($isa), product);
        }

        #[target_feature(enable = $feature)]
        pub(crate) fn gemm_bf16(product: crate::gemm::Product<'_, u16>) {
            crate::simd::gemm::gemm::<_, $rows, $vectors>(crate::simd::gemm::Widened($isa), product);
        }

        #[target_feature(enable = $feature)]
        #[inline(never)]
        fn tile<const R: usize, const P: usize, const H: usize>(
            product: &mut crate::gemm::Product<'_, f32>,
            place: crate::simd::gemm::Place,
        ) {
            crate::simd::gemm::tile::<_, R, P, H>(crate::simd::gemm::Whole($isa), product, place);
        }

        #[target_feature(enable = $feature)]
        #[inline(never)]
        fn tile_bf16<const R: usize, const P: usize, const H: usize>(
            product: &mut crate::gemm::Product<'_, u16>,
            place: crate::simd::gemm::Place,
        ) {
            crate::simd::gemm::tile::<_, R, P, H>(crate::simd::gemm::Widened($isa), product, place);
        }

        $(
            #[target_feature(enable = $feature)]
            pub(crate) fn $name $(<$kind: crate::number::Kind>)? ($($argument: $type),*) {
                crate::simd::$module::$name($isa, $($argument),*);
            }
        )*
    };
    ($feature:literal, $isa:expr, rows $rows:literal, vectors $vectors:literal) => {
        crate::simd::shells! {
            $feature, $isa, rows $rows, vectors $vectors;
            fn activation::affine_leaky[T](
                x: &[f32], scale: &[f32], shift: &[f32], slope: f32, out: &mut [T],
            );
            fn activation::affine_snake[T](
                x: &[f32], snake: crate::activation::Snake<'_>, out: &mut [T],
            );
            fn activation::leaky[T](x: &[f32], slope: f32, out: &mut [T]);
            fn activation::convert[T](x: &[f32], out: &mut [T]);
            fn activation::gelu(x: &mut [f32]);
            fn activation::exp(x: &mut [f32]);
            fn activation::tanh(x: &mut [f32]);
            fn activation::sigmoid(x: &mut [f32]);
            fn activation::sin_cos(x: &[f32], sin: &mut [f32], cos: &mut [f32]);
            fn activation::polar(real: &mut [f32], imaginary: &mut [f32]);
            fn activation::add(x: &[f32], out: &mut [f32]);
            fn activation::add_scale(x: &[f32], factor: f32, out: &mut [f32]);
            fn norm::channel_moments(x: &[f32], mean: &mut [f32], m2: &mut [f32]);
            fn norm::layer_norm(x: &mut [f32], gain: &[f32], bias: &[f32], epsilon: f32);
            fn norm::softmax(x: &mut [f32], c: usize, scale: f32);
            fn split::split(x: &[f32], depth: usize, first: usize, lanes: &mut [f32]);
            fn winograd::winograd_input[T](
                shape: crate::winograd::Shape, x: &[f32], inputs: &mut [T],
            );
            fn winograd::winograd_output(
                shape: crate::winograd::Shape, products: &[f32], bias: Option<&[f32]>,
                out: &mut [f32], output: crate::gemm::Output,
            );
            fn lstm::lstm_cell(gates: &[f32], cell: &mut [f32], hidden: &mut [f32]);
        }
    };
}
#[allow(unused_imports, reason = "targets with neither x86-64 nor AArch64 have no shells")]
use shells;
