//! AVX512-BF16: AVX-512 with an instruction that multiplies pairs of bf16 and adds both to an f32.
//!
//! The rest of its kernels are those of AVX-512.

use std::arch::x86_64::*;

use super::avx512::Avx512;
pub(crate) use super::avx512::*;
use super::gemm::{Multiplier, Place};
use super::{LANES, gemm};
use crate::gemm::Product;

/// Proof that the CPU has AVX-512F and AVX512-BF16.
#[derive(Clone, Copy)]
struct Pairs(Avx512);

impl Pairs {
    /// Safe only where both are already known to be there.
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn new() -> Self {
        Self(Avx512::new())
    }
}

#[target_feature(enable = "avx512f,avx512bf16")]
pub(crate) fn gemm_bf16(product: Product<'_, u16>) {
    gemm::gemm::<_, 12, 2>(Pairs::new(), product);
}

#[target_feature(enable = "avx512f,avx512bf16")]
#[inline(never)]
fn tile_bf16<const R: usize, const P: usize, const H: usize>(
    product: &mut Product<'_, u16>,
    place: Place,
) {
    gemm::tile::<_, R, P, H>(Pairs::new(), product, place);
}

impl Multiplier for Pairs {
    type S = Avx512;
    type T = u16;
    type W = __m512bh;
    type X = __m512bh;

    #[inline(always)]
    fn simd(self) -> Avx512 {
        self.0
    }

    #[inline(always)]
    unsafe fn weights(self, packed: &[u16], at: usize) -> __m512bh {
        let (vectors, _) = packed.as_chunks::<{ 2 * LANES }>();
        // SAFETY: the caller's obligation; a vector is 64 readable bytes, and the token was made
        // where AVX-512F is.
        unsafe {
            let bits = _mm512_loadu_si512(vectors.get_unchecked(at).as_ptr().cast());
            std::mem::transmute::<__m512i, __m512bh>(bits)
        }
    }

    #[inline(always)]
    unsafe fn row(self, x: &[u16], at: usize) -> __m512bh {
        // SAFETY: the caller's obligation; the two words are read as one.
        unsafe {
            let pair = x.as_ptr().add(at).cast::<i32>().read_unaligned();
            std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(pair))
        }
    }

    #[inline(always)]
    fn multiply_add(self, x: __m512bh, w: __m512bh, sum: __m512) -> __m512 {
        // SAFETY: the token was made where AVX512-BF16 is.
        unsafe { _mm512_dpbf16_ps(sum, x, w) }
    }

    #[inline(always)]
    fn tile<const R: usize, const P: usize, const H: usize>(
        self,
        product: &mut Product<'_, u16>,
        place: Place,
    ) {
        // SAFETY: the token was made where AVX512-BF16 is.
        unsafe { tile_bf16::<R, P, H>(product, place) }
    }
}
