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
}

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
    pub fn available() -> &'static [Self] {
        &[Self::SCALAR]
    }

    /// The level of that name, if this CPU has it.
    pub fn named(name: &str) -> Result<Self, UnknownIsa> {
        let found = Self::available().iter().find(|isa| isa.name() == name);
        found.copied().ok_or_else(|| UnknownIsa { asked: name.to_owned() })
    }

    /// `scalar`, `avx2`, `avx512` or `neon`: also what `KOKORO_ISA` takes.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Scalar => "scalar",
        }
    }
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
