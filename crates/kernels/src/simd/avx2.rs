//! AVX2 with FMA: a vector is two registers of eight. Six rows by one vector of sums fill 12 of
//! the 16, so a panel of packed weights is worked through in two halves.

use std::arch::x86_64::*;

use super::gemm::Place;
use super::{LANES, Simd, shells};
use crate::gemm::Product;

/// Proof that the CPU has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// Safe only where AVX2 and FMA are already known to be there.
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn new() -> Self {
        Self(())
    }
}

shells! { "avx2,fma", Avx2::new(), rows 6, vectors 1 }

/// Methods that are one intrinsic on each half.
macro_rules! lanewise {
    ($($name:ident($($argument:ident),*) = $intrinsic:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($argument: [__m256; 2]),*) -> [__m256; 2] {
            // SAFETY: the token was made where AVX2 and FMA are.
            unsafe { [$intrinsic($($argument[0]),*), $intrinsic($($argument[1]),*)] }
        }
    )*};
}

impl Simd for Avx2 {
    type V = [__m256; 2];
    /// A turn of one step is 31 instructions for twelve multiply-adds, which is about what the CPU
    /// fetches meanwhile: whether it keeps up then depends on the address of the loop.
    const UNROLL: usize = 4;

    lanewise! {
        add(a, b) = _mm256_add_ps;
        sub(a, b) = _mm256_sub_ps;
        mul(a, b) = _mm256_mul_ps;
        div(a, b) = _mm256_div_ps;
        sqrt(a) = _mm256_sqrt_ps;
        mul_add(a, b, c) = _mm256_fmadd_ps;
        neg_mul_add(a, b, c) = _mm256_fnmadd_ps;
        max(a, b) = _mm256_max_ps;
        min(a, b) = _mm256_min_ps;
        xor(a, b) = _mm256_xor_ps;
        and(a, b) = _mm256_and_ps;
        if_negative(test, then, otherwise) = if_negative_8;
    }

    #[inline(always)]
    fn splat(self, x: f32) -> [__m256; 2] {
        // SAFETY: the token was made where AVX2 and FMA are.
        unsafe { [_mm256_set1_ps(x); 2] }
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> [__m256; 2] {
        // SAFETY: as above; the array is two times eight readable f32, and no alignment is
        // asked for.
        unsafe { [_mm256_loadu_ps(x[..8].as_ptr()), _mm256_loadu_ps(x[8..].as_ptr())] }
    }

    #[inline(always)]
    fn store(self, v: [__m256; 2], out: &mut [f32; LANES]) {
        // SAFETY: as above; the array is two times eight writable f32.
        unsafe {
            _mm256_storeu_ps(out[..8].as_mut_ptr(), v[0]);
            _mm256_storeu_ps(out[8..].as_mut_ptr(), v[1]);
        }
    }

    #[inline(always)]
    fn load_pairs(self, x: &[u16; 2 * LANES]) -> [__m256; 2] {
        // SAFETY: as above; the array is two times 32 readable bytes.
        unsafe {
            [_mm256_loadu_ps(x[..16].as_ptr().cast()), _mm256_loadu_ps(x[16..].as_ptr().cast())]
        }
    }

    #[inline(always)]
    fn store_bf16(self, v: [__m256; 2], out: &mut [u16; LANES]) {
        // SAFETY: as above; the array is 32 writable bytes. The words that are packed fit 16 bits,
        // and the permutation undoes packing by halves.
        unsafe {
            let words = _mm256_packus_epi32(round_8(v[0]), round_8(v[1]));
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            _mm256_storeu_si256(out.as_mut_ptr().cast(), words);
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, vectors: &[T], index: usize) {
        let address = vectors.as_ptr().wrapping_add(index);
        // SAFETY: every x86-64 CPU has the instruction, and it may be given any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }

    #[inline(always)]
    fn tile<const R: usize, const P: usize, const H: usize>(
        self,
        product: &mut Product<'_, f32>,
        place: Place,
    ) {
        // SAFETY: the token was made where AVX2 and FMA are.
        unsafe { tile::<R, P, H>(product, place) }
    }

    #[inline(always)]
    fn tile_bf16<const R: usize, const P: usize, const H: usize>(
        self,
        product: &mut Product<'_, u16>,
        place: Place,
    ) {
        // SAFETY: the token was made where AVX2 and FMA are.
        unsafe { tile_bf16::<R, P, H>(product, place) }
    }

    #[inline(always)]
    fn shift_left<const N: u32>(self, v: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: the token was made where AVX2 and FMA are.
        unsafe { [shift_left_8::<N>(v[0]), shift_left_8::<N>(v[1])] }
    }

    #[inline(always)]
    fn shift_right<const N: u32>(self, v: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: the token was made where AVX2 and FMA are.
        unsafe { [shift_right_8::<N>(v[0]), shift_right_8::<N>(v[1])] }
    }
}

#[target_feature(enable = "avx2")]
fn shift_left_8<const N: u32>(v: __m256) -> __m256 {
    let count = _mm_cvtsi32_si128(N as i32);
    _mm256_castsi256_ps(_mm256_sll_epi32(_mm256_castps_si256(v), count))
}

#[target_feature(enable = "avx2")]
fn shift_right_8<const N: u32>(v: __m256) -> __m256 {
    let count = _mm_cvtsi32_si128(N as i32);
    _mm256_castsi256_ps(_mm256_srl_epi32(_mm256_castps_si256(v), count))
}

/// bf16 in the lower halves of the lanes.
#[target_feature(enable = "avx2")]
fn round_8(v: __m256) -> __m256i {
    let bits = _mm256_castps_si256(v);
    let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
    let half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
    let rounded = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, half));
    let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
    _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc0), nan)
}

#[target_feature(enable = "avx2")]
fn if_negative_8(test: __m256, then: __m256, otherwise: __m256) -> __m256 {
    let negative = _mm256_cmp_ps::<_CMP_LT_OQ>(test, _mm256_setzero_ps());
    _mm256_blendv_ps(otherwise, then, negative)
}
