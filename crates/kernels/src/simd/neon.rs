//! NEON, AArch64's Advanced SIMD: a vector is four registers of four. Six rows by one vector of
//! sums fill 24 of the 32, so a panel of packed weights is worked through in two halves.

use std::arch::aarch64::*;

use super::gemm::Place;
use super::{LANES, Simd, shells};
use crate::gemm::Product;

/// Proof that the CPU has NEON.
#[derive(Clone, Copy)]
pub(super) struct Neon(());

impl Neon {
    /// Safe only where NEON is already known to be there.
    #[target_feature(enable = "neon")]
    fn new() -> Self {
        Self(())
    }
}

shells! { "neon", Neon::new(), rows 6, vectors 1 }

/// Methods that are one intrinsic on each quarter.
macro_rules! lanewise {
    ($($name:ident($($argument:ident),*) = $intrinsic:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($argument: [float32x4_t; 4]),*) -> [float32x4_t; 4] {
            // SAFETY: the token was made where NEON is.
            unsafe {
                [
                    $intrinsic($($argument[0]),*),
                    $intrinsic($($argument[1]),*),
                    $intrinsic($($argument[2]),*),
                    $intrinsic($($argument[3]),*),
                ]
            }
        }
    )*};
}

impl Simd for Neon {
    type V = [float32x4_t; 4];

    lanewise! {
        add(a, b) = vaddq_f32;
        sub(a, b) = vsubq_f32;
        mul(a, b) = vmulq_f32;
        div(a, b) = vdivq_f32;
        sqrt(a) = vsqrtq_f32;
        mul_add(a, b, c) = mul_add_4;
        neg_mul_add(a, b, c) = neg_mul_add_4;
        max(a, b) = vmaxq_f32;
        min(a, b) = vminq_f32;
        xor(a, b) = xor_4;
        and(a, b) = and_4;
        if_negative(test, then, otherwise) = if_negative_4;
    }

    #[inline(always)]
    fn splat(self, x: f32) -> [float32x4_t; 4] {
        // SAFETY: the token was made where NEON is.
        unsafe { [vdupq_n_f32(x); 4] }
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> [float32x4_t; 4] {
        // SAFETY: as above; the array is four times four readable f32.
        unsafe {
            [
                vld1q_f32(x[..4].as_ptr()),
                vld1q_f32(x[4..].as_ptr()),
                vld1q_f32(x[8..].as_ptr()),
                vld1q_f32(x[12..].as_ptr()),
            ]
        }
    }

    #[inline(always)]
    fn store(self, v: [float32x4_t; 4], out: &mut [f32; LANES]) {
        // SAFETY: as above; the array is four times four writable f32.
        unsafe {
            vst1q_f32(out[..4].as_mut_ptr(), v[0]);
            vst1q_f32(out[4..].as_mut_ptr(), v[1]);
            vst1q_f32(out[8..].as_mut_ptr(), v[2]);
            vst1q_f32(out[12..].as_mut_ptr(), v[3]);
        }
    }

    #[inline(always)]
    fn load_pairs(self, x: &[u16; 2 * LANES]) -> [float32x4_t; 4] {
        // SAFETY: as above; the array is four times eight readable words.
        unsafe {
            [
                vreinterpretq_f32_u16(vld1q_u16(x[..8].as_ptr())),
                vreinterpretq_f32_u16(vld1q_u16(x[8..].as_ptr())),
                vreinterpretq_f32_u16(vld1q_u16(x[16..].as_ptr())),
                vreinterpretq_f32_u16(vld1q_u16(x[24..].as_ptr())),
            ]
        }
    }

    #[inline(always)]
    fn store_bf16(self, v: [float32x4_t; 4], out: &mut [u16; LANES]) {
        // SAFETY: as above; the array is four times four writable words.
        unsafe {
            vst1_u16(out[..4].as_mut_ptr(), round_4(v[0]));
            vst1_u16(out[4..].as_mut_ptr(), round_4(v[1]));
            vst1_u16(out[8..].as_mut_ptr(), round_4(v[2]));
            vst1_u16(out[12..].as_mut_ptr(), round_4(v[3]));
        }
    }

    #[inline(always)]
    fn tile<const R: usize, const P: usize, const H: usize>(
        self,
        product: &mut Product<'_, f32>,
        place: Place,
    ) {
        // SAFETY: the token was made where NEON is.
        unsafe { tile::<R, P, H>(product, place) }
    }

    #[inline(always)]
    fn tile_bf16<const R: usize, const P: usize, const H: usize>(
        self,
        product: &mut Product<'_, u16>,
        place: Place,
    ) {
        // SAFETY: the token was made where NEON is.
        unsafe { tile_bf16::<R, P, H>(product, place) }
    }

    #[inline(always)]
    fn shift_left<const N: u32>(self, v: [float32x4_t; 4]) -> [float32x4_t; 4] {
        // SAFETY: the token was made where NEON is.
        unsafe {
            [
                shift_left_4::<N>(v[0]),
                shift_left_4::<N>(v[1]),
                shift_left_4::<N>(v[2]),
                shift_left_4::<N>(v[3]),
            ]
        }
    }

    #[inline(always)]
    fn shift_right<const N: u32>(self, v: [float32x4_t; 4]) -> [float32x4_t; 4] {
        // SAFETY: the token was made where NEON is.
        unsafe {
            [
                shift_right_4::<N>(v[0]),
                shift_right_4::<N>(v[1]),
                shift_right_4::<N>(v[2]),
                shift_right_4::<N>(v[3]),
            ]
        }
    }
}

#[target_feature(enable = "neon")]
fn shift_left_4<const N: u32>(v: float32x4_t) -> float32x4_t {
    vreinterpretq_f32_u32(vshlq_u32(vreinterpretq_u32_f32(v), vdupq_n_s32(N as i32)))
}

#[target_feature(enable = "neon")]
fn shift_right_4<const N: u32>(v: float32x4_t) -> float32x4_t {
    vreinterpretq_f32_u32(vshlq_u32(vreinterpretq_u32_f32(v), vdupq_n_s32(-(N as i32))))
}

#[target_feature(enable = "neon")]
fn mul_add_4(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
    vfmaq_f32(c, a, b)
}

#[target_feature(enable = "neon")]
fn neg_mul_add_4(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
    vfmsq_f32(c, a, b)
}

#[target_feature(enable = "neon")]
fn xor_4(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)))
}

#[target_feature(enable = "neon")]
fn and_4(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)))
}

/// The nearest bf16.
#[target_feature(enable = "neon")]
fn round_4(v: float32x4_t) -> uint16x4_t {
    let bits = vreinterpretq_u32_f32(v);
    let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
    let half = vaddq_u32(odd, vdupq_n_u32(0x7fff));
    let number = vceqq_f32(v, v);
    let rounded = vbslq_u32(number, vaddq_u32(bits, half), vdupq_n_u32(0x7fc0_0000));
    vshrn_n_u32::<16>(rounded)
}

#[target_feature(enable = "neon")]
fn if_negative_4(test: float32x4_t, then: float32x4_t, otherwise: float32x4_t) -> float32x4_t {
    vbslq_f32(vcltzq_f32(test), then, otherwise)
}
