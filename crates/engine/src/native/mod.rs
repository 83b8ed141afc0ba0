//! The network in Rust, file by file as the reference has it in Python.
//!
//! Read `network.rs` first. Dimension letters: T tokens, F frames, N samples, C channels. All
//! activations are time-major, `[T][C]`, where the reference has `[C, T]`.

mod albert;
mod columns;
mod context;
mod decoder;
mod generator;
mod input;
mod lstm;
mod network;
mod norm;
mod operands;
mod output;
mod product;
mod prosody;
mod residual;
mod source;
mod stft;
mod text_encoder;

pub(crate) use context::{Context, Probe};
pub(crate) use generator::Excitation;
pub(crate) use network::{Input, Network, Scratch};
pub(crate) use source::Noise;
