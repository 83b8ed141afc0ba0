//! AVX-512F: a vector is one register. Twelve rows by two vectors of sums fill 24 of the 32.

use std::arch::x86_64::*;

use super::gemm::Place;
use super::{LANES, Simd, shells};
use crate::gemm::Product;

/// Proof that the CPU has AVX-512F.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// Safe only where AVX-512F is already known to be there.
    #[target_feature(enable = "avx512f")]
    pub(super) fn new() -> Self {
        Self(())
    }
}

shells! { "avx512f", Avx512::new(), rows 12, vectors 2 }

/// Methods that are one intrinsic.
macro_rules! lanewise {
    ($($name:ident($($argument:ident),*) = $intrinsic:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($argument: __m512),*) -> __m512 {
            // SAFETY: the token was made where AVX-512F is.
            unsafe { $intrinsic($($argument),*) }
        }
    )*};
}

impl Simd for Avx512 {
    type V = __m512;

    lanewise! {
        add(a, b) = _mm512_add_ps;
        sub(a, b) = _mm512_sub_ps;
        mul(a, b) = _mm512_mul_ps;
        div(a, b) = _mm512_div_ps;
        sqrt(a) = _mm512_sqrt_ps;
        mul_add(a, b, c) = _mm512_fmadd_ps;
        neg_mul_add(a, b, c) = _mm512_fnmadd_ps;
        max(a, b) = _mm512_max_ps;
        min(a, b) = _mm512_min_ps;
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: the token was made where AVX-512F is.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> __m512 {
        // SAFETY: as above; the array is sixteen readable f32, and no alignment is asked for.
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, v: __m512, out: &mut [f32; LANES]) {
        // SAFETY: as above; the array is sixteen writable f32.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn if_negative(self, test: __m512, then: __m512, otherwise: __m512) -> __m512 {
        // SAFETY: the token was made where AVX-512F is.
        unsafe {
            let negative = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(test, _mm512_setzero_ps());
            _mm512_mask_mov_ps(otherwise, negative, then)
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
        // SAFETY: the token was made where AVX-512F is.
        unsafe { tile::<R, P, H>(product, place) }
    }

    #[inline(always)]
    fn tile_bf16<const R: usize, const P: usize, const H: usize>(
        self,
        product: &mut Product<'_, u16>,
        place: Place,
    ) {
        // SAFETY: the token was made where AVX-512F is.
        unsafe { tile_bf16::<R, P, H>(product, place) }
    }

    #[inline(always)]
    fn shift_left<const N: u32>(self, v: __m512) -> __m512 {
        // SAFETY: the token was made where AVX-512F is.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<N>(_mm512_castps_si512(v))) }
    }

    #[inline(always)]
    fn shift_right<const N: u32>(self, v: __m512) -> __m512 {
        // SAFETY: the token was made where AVX-512F is.
        unsafe { _mm512_castsi512_ps(_mm512_srli_epi32::<N>(_mm512_castps_si512(v))) }
    }

    #[inline(always)]
    fn xor(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token was made where AVX-512F is. (The f32 form needs AVX-512DQ.)
        unsafe {
            let bits = _mm512_xor_si512(_mm512_castps_si512(a), _mm512_castps_si512(b));
            _mm512_castsi512_ps(bits)
        }
    }

    #[inline(always)]
    fn and(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token was made where AVX-512F is. (The f32 form needs AVX-512DQ.)
        unsafe {
            let bits = _mm512_and_si512(_mm512_castps_si512(a), _mm512_castps_si512(b));
            _mm512_castsi512_ps(bits)
        }
    }

    #[inline(always)]
    fn load_pairs(self, x: &[u16; 2 * LANES]) -> __m512 {
        // SAFETY: as above; the array is 64 readable bytes, and no alignment is asked for.
        unsafe { _mm512_loadu_ps(x.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_bf16(self, v: __m512, out: &mut [u16; LANES]) {
        // SAFETY: as above; the array is 32 writable bytes.
        unsafe {
            let bits = _mm512_castps_si512(v);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
            let rounded = _mm512_srli_epi32::<16>(_mm512_add_epi32(bits, half));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
            let rounded = _mm512_mask_mov_epi32(rounded, nan, _mm512_set1_epi32(0x7fc0));
            _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(rounded));
        }
    }

    #[inline(always)]
    fn load_part(self, x: &[f32]) -> __m512 {
        // SAFETY: as above; the masked lanes lie in `x`, and the others are not read.
        unsafe { _mm512_maskz_loadu_ps(first_lanes(x.len()), x.as_ptr()) }
    }

    #[inline(always)]
    fn store_part(self, v: __m512, out: &mut [f32]) {
        // SAFETY: as above; the masked lanes lie in `out`, and the others are not written.
        unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), first_lanes(out.len()), v) }
    }
}

/// A mask of the first `n` lanes, sixteen at most.
#[inline(always)]
fn first_lanes(n: usize) -> __mmask16 {
    assert!(n <= LANES);
    ((1u32 << n) - 1) as __mmask16
}
