//! The two kinds of numbers that products take: f32, and bf16 with its conversions.
//!
//! A bf16 is the upper half of an f32: the same range, eight bits of precision. It is kept as its
//! bits in a `u16`. Sums are f32 in both kinds. What is f32 becomes bf16 by rounding to the
//! nearest, ties to even, and in no other way, so that the plain reference and every instruction
//! set multiply the same numbers.

/// f32, or `u16` for the bits of a bf16.
#[expect(private_bounds, reason = "only this crate knows how a kind is multiplied")]
pub trait Number: Kind {}

impl Number for f32 {}
impl Number for u16 {}

/// What the kernels must know of a kind.
pub(crate) trait Kind: Copy + Default + PartialEq + Send + Sync + 'static {
    /// How many numbers in the order of the depth lie side by side in packed weights: what the
    /// multiplying instruction takes at once.
    const GROUP: usize;

    fn of(x: f32) -> Self;

    fn gemm(isa: crate::Isa, product: crate::gemm::Product<'_, Self>);

    /// Whether taps of `depth` numbers that adjoin are better not made one: whoever multiplies wants
    /// to know them.
    fn keeps_taps(isa: crate::Isa, depth: usize) -> bool;

    /// Stores sixteen numbers, or as many as `out` is long.
    fn store<S: crate::simd::Simd>(s: S, v: S::V, out: &mut [Self]);
}

impl Kind for f32 {
    const GROUP: usize = 1;

    fn of(x: f32) -> Self {
        x
    }

    fn gemm(isa: crate::Isa, product: crate::gemm::Product<'_, Self>) {
        crate::isa::dispatch!(isa, gemm(product));
    }

    fn keeps_taps(_isa: crate::Isa, _depth: usize) -> bool {
        false
    }

    #[inline(always)]
    fn store<S: crate::simd::Simd>(s: S, v: S::V, out: &mut [Self]) {
        s.store_some(v, out);
    }
}

impl Kind for u16 {
    const GROUP: usize = 2;

    fn of(x: f32) -> Self {
        round(x)
    }

    fn gemm(isa: crate::Isa, product: crate::gemm::Product<'_, Self>) {
        crate::isa::dispatch!(isa, gemm_bf16(product));
    }

    /// Tiles are cut by how many taps there are (`simd/amx.rs`).
    fn keeps_taps(isa: crate::Isa, depth: usize) -> bool {
        isa.has_tiles() && depth.is_multiple_of(crate::split::SLICE)
    }

    #[inline(always)]
    fn store<S: crate::simd::Simd>(s: S, v: S::V, out: &mut [Self]) {
        match out.as_mut_array() {
            Some(out) => s.store_bf16(v, out),
            None => {
                let mut whole = [0; crate::simd::LANES];
                s.store_bf16(v, &mut whole);
                out.copy_from_slice(&whole[..out.len()]);
            }
        }
    }
}

/// The nearest bf16, of two equally near ones the even; every NaN becomes the same.
pub fn round(x: f32) -> u16 {
    if x.is_nan() {
        return 0x7fc0;
    }
    let bits = x.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// The number that a bf16 stands for.
pub const fn widen(bits: u16) -> f32 {
    f32::from_bits((bits as u32) << 16)
}
