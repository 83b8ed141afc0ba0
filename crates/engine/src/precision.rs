//! [`Precision`]: which numbers the decoder and the generator multiply.
//!
//! Belongs to a model, because its packed weights are of that kind. What decides durations and
//! melody is f32 always.

use koe_kernels::Isa;

/// The kind of numbers in the products that make sound of features, nine tenths of all multiplications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// What the reference computes with.
    F32,
    /// Half the memory for those weights and up to twice the speed where the CPU has an instruction for it
    /// ([`Isa::has_fast_bf16`]); the same numbers, slower than f32, where it has none. Sums are
    /// f32. `docs/parity.md` says how far the sound moves.
    Bf16,
    /// The same where a unit multiplies them in tiles ([`Isa::has_tiles`]): convolutions are laid
    /// out for plain products, as fewer multiplications would save nothing there.
    Bf16Tiles,
}

/// A name that is none of `auto`, `f32` and `bf16`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no precision {0:?}; there are auto, f32 and bf16")]
pub struct UnknownPrecision(String);

impl Precision {
    /// The fastest with these instructions.
    pub fn best(isa: Isa) -> Self {
        if isa.has_fast_bf16() { Self::bf16(isa) } else { Self::F32 }
    }

    /// `f32`, `bf16`, or `auto` for the best with these instructions: what `KOKORO_PRECISION`
    /// takes.
    pub fn named(name: &str, isa: Isa) -> Result<Self, UnknownPrecision> {
        match name {
            "auto" => Ok(Self::best(isa)),
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::bf16(isa)),
            _ => Err(UnknownPrecision(name.to_owned())),
        }
    }

    fn bf16(isa: Isa) -> Self {
        if isa.has_tiles() { Self::Bf16Tiles } else { Self::Bf16 }
    }

    /// `f32`, `bf16` or `bf16-tiles`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Bf16Tiles => "bf16-tiles",
        }
    }

    /// Whether it is bf16, however laid out.
    pub(crate) fn is_bf16(self) -> bool {
        self != Self::F32
    }
}
