//! The arithmetic of koe: slices in, slices out, and the one room for SIMD.
//!
//! No model names, no allocation (but in [`rates`], which measures), no threads. Activations are time-major, `[T][C]` with the
//! channel contiguous, so that a convolution is a matrix product over shifted rows. Every door
//! takes an [`Isa`] first, checks its lengths, and calls one implementation; `scalar.rs` holds
//! the plain reference for all of them.
//!
//! Products take f32 or bf16 ([`number`]) and sum in f32; all else is f32.
//!
//! Shape letters: `T` rows (time), `C` channels, `K` depth of a product (taps × input channels),
//! `N` output channels.
//!
//! ```
//! use koe_kernels::gemm::{Output, Rows, gemm, pack, packed_len};
//! use koe_kernels::{Isa, activation};
//!
//! let isa = Isa::detect();
//! // Two rows of three inputs, times weights [3][1] that are 1, 2 and 3.
//! let mut packed = vec![0.0; packed_len(3, 1)];
//! pack(3, 1, &mut packed, |k, _n| (k + 1) as f32);
//! let x = Rows::plain(&[1.0, 0.0, 0.0, 1.0, 1.0, -1.0], 3);
//! let mut y = [0.0; 2];
//! gemm(isa, x, 2, &packed, 1, Some(&[-1.0]), &mut y, 1, Output::Store);
//! assert_eq!(y, [0.0, -1.0]);
//! activation::exp(isa, &mut y);
//! assert_eq!(y[0], 1.0);
//! ```

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
pub mod number;
pub mod rates;
pub mod split;
pub mod winograd;

pub use isa::{Isa, UnknownIsa};
