//! The arithmetic of koe: slices in, slices out, and the one room for SIMD.
//!
//! No model names, no allocation, no threads. Activations are time-major, `[T][C]` with the
//! channel contiguous, so that a convolution is a matrix product over shifted rows. Every door
//! takes an [`Isa`] first, checks its lengths, and calls one implementation; `scalar.rs` holds
//! the plain reference for all of them.
//!
//! Shape letters: `T` rows (time), `C` channels, `K` depth of a product (taps × input channels),
//! `N` output channels.

#![expect(unsafe_code, reason = "instructions chosen at run time, and loads that need no bounds")]

mod isa;
mod scalar;
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    expect(dead_code, reason = "no instruction set of this target is written yet")
)]
mod simd;

pub mod activation;
pub mod gemm;
pub mod lstm;
pub mod norm;
pub mod winograd;

pub use isa::{Isa, UnknownIsa};
