//! Which instructions this CPU has: found once, proved by the value.

use std::fmt;

/// Proof that the CPU has the instructions of a level. Made by detection alone, so a door that
/// is handed one may call the code compiled for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(pub(crate) Level);

/// The implementations there are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Level {
    Scalar,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512F.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX-512F with products of bf16 (AVX512-BF16).
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    /// The same, with products of bf16 by tiles (AMX-BF16).
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// AArch64's Advanced SIMD.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// The same, with products of bf16 (FEAT_BF16).
    #[cfg(target_arch = "aarch64")]
    NeonBf16,
}

/// Calls one function in the implementation that an [`Isa`] stands for.
macro_rules! dispatch {
    ($isa:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match $isa.0 {
            $crate::isa::Level::Scalar => $crate::scalar::$function($($argument),*),
            #[cfg(target_arch = "x86_64")]
            $crate::isa::Level::Avx2 => {
                // SAFETY: the level exists only where `Isa::available` saw AVX2 and FMA.
                unsafe { $crate::simd::avx2::$function($($argument),*) }
            }
            #[cfg(target_arch = "x86_64")]
            $crate::isa::Level::Avx512 => {
                // SAFETY: the level exists only where `Isa::available` saw AVX-512F.
                unsafe { $crate::simd::avx512::$function($($argument),*) }
            }
            #[cfg(target_arch = "x86_64")]
            $crate::isa::Level::Avx512Bf16 => {
                // SAFETY: the level exists only where `Isa::available` saw AVX-512F and
                // AVX512-BF16.
                unsafe { $crate::simd::avx512bf16::$function($($argument),*) }
            }
            #[cfg(target_arch = "x86_64")]
            $crate::isa::Level::Amx => {
                // SAFETY: the level exists only where `Isa::available` saw what `Avx512Bf16` needs,
                // and AMX that this process may use.
                unsafe { $crate::simd::amx::$function($($argument),*) }
            }
            #[cfg(target_arch = "aarch64")]
            $crate::isa::Level::Neon => {
                // SAFETY: the level exists only where `Isa::available` saw NEON.
                unsafe { $crate::simd::neon::$function($($argument),*) }
            }
            #[cfg(target_arch = "aarch64")]
            $crate::isa::Level::NeonBf16 => {
                // SAFETY: the level exists only where `Isa::available` saw NEON and FEAT_BF16.
                unsafe { $crate::simd::neonbf16::$function($($argument),*) }
            }
        }
    };
}
pub(crate) use dispatch;

/// A name in `KOKORO_ISA` that is no level, or one that this CPU lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownIsa {
    asked: String,
}

impl Isa {
    /// The plain reference, available everywhere.
    pub const SCALAR: Self = Self(Level::Scalar);

    /// The best level of this CPU.
    pub fn detect() -> Self {
        Self::available()[0]
    }

    /// Every level of this CPU, best first; the last is always the scalar reference.
    #[cfg(target_arch = "x86_64")]
    pub fn available() -> &'static [Self] {
        const ALL: [Isa; 5] = [
            Isa(Level::Amx),
            Isa(Level::Avx512Bf16),
            Isa(Level::Avx512),
            Isa(Level::Avx2),
            Isa::SCALAR,
        ];
        // A CPU with AVX-512 has AVX2 and FMA too; one that hides them gets the plain reference.
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = avx2 && is_x86_feature_detected!("avx512f");
        // The compiler takes byte and word instructions for granted beside those of bf16.
        let bf16 = is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512bw");
        match (avx2, avx512, avx512 && bf16) {
            (_, _, true) if crate::simd::amx::is_permitted() => &ALL,
            (_, _, true) => &ALL[1..],
            (_, true, _) => &ALL[2..],
            (true, ..) => &ALL[3..],
            _ => &ALL[4..],
        }
    }

    /// Every level of this CPU, best first; the last is always the scalar reference.
    #[cfg(target_arch = "aarch64")]
    pub fn available() -> &'static [Self] {
        use std::arch::is_aarch64_feature_detected;
        const ALL: [Isa; 3] = [Isa(Level::NeonBf16), Isa(Level::Neon), Isa::SCALAR];
        let neon = is_aarch64_feature_detected!("neon");
        match (neon, neon && is_aarch64_feature_detected!("bf16")) {
            (_, true) => &ALL,
            (true, _) => &ALL[1..],
            _ => &ALL[2..],
        }
    }

    /// Every level of this CPU, best first; the last is always the scalar reference.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub fn available() -> &'static [Self] {
        &[Self::SCALAR]
    }

    /// The level of that name, if this CPU has it.
    pub fn named(name: &str) -> Result<Self, UnknownIsa> {
        let found = Self::available().iter().find(|isa| isa.name() == name);
        found.copied().ok_or_else(|| UnknownIsa { asked: name.to_owned() })
    }

    /// Whether products of bf16 are faster than those of f32. That a CPU has an instruction for them
    /// does not say so: Intel's `vdpbf16ps` takes four times as long as a multiply-add, AMD's as long
    /// as one.
    pub fn has_fast_bf16(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Amx => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 => !is_intel(),
            #[cfg(target_arch = "aarch64")]
            Level::NeonBf16 => true,
            _ => false,
        }
    }

    /// Whether a unit multiplies bf16 in tiles, which is so fast that a convolution by fewer
    /// multiplications is slower: its additions take longer than what they save. And six products of
    /// bf16 take less time there than one of f32 ([`crate::split`]), by the ceilings of both.
    pub fn has_tiles(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Amx => true,
            _ => false,
        }
    }

    /// Whether products of bf16 are summed in an order, or with a rounding, of this level's own, so
    /// that their bytes are not those of the other levels. Each says which in its file in `simd`.
    pub fn has_own_bf16_sums(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Amx => true,
            #[cfg(target_arch = "aarch64")]
            Level::NeonBf16 => true,
            _ => false,
        }
    }

    /// `scalar`, `avx2`, `avx512`, `avx512bf16`, `amx`, `neon` or `neonbf16`: also what `KOKORO_ISA`
    /// takes.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 => "avx512bf16",
            #[cfg(target_arch = "x86_64")]
            Level::Amx => "amx",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon",
            #[cfg(target_arch = "aarch64")]
            Level::NeonBf16 => "neonbf16",
        }
    }
}

/// `GenuineIntel`, in the registers' order.
#[cfg(target_arch = "x86_64")]
fn is_intel() -> bool {
    let id = std::arch::x86_64::__cpuid(0);
    [id.ebx, id.edx, id.ecx].map(u32::to_le_bytes).as_flattened() == b"GenuineIntel"
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for UnknownIsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Isa::available().iter().map(|isa| isa.name()).collect();
        write!(f, "no instruction set {:?} on this CPU; it has {}", self.asked, names.join(", "))
    }
}

impl std::error::Error for UnknownIsa {}
