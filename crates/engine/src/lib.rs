//! Kokoro-82M inference: tokens and a style in, sound and the duration of every token out.
//!
//! [`Model`] is the read-only weights, shared by all; [`Session`] is the scratch of one running
//! synthesis. [`Synthesizer`] is what a session of any runtime can do.

mod buffer;
mod cancel;
mod checkpoint;
mod config;
mod error;
mod mapping;
mod model;
mod native;
mod pack;
mod precision;
pub mod profile;
mod session;
mod synthesizer;
mod threads;
pub mod trace;
mod voice;
mod weights;

pub use cancel::{Cancel, Watch};
pub use config::{Config, HALF_STYLE, IstftnetConfig, KoeConfig, PlbertConfig, tokens};
pub use error::Error;
pub use koe_kernels::{Isa, UnknownIsa, rates};
pub use model::Model;
pub use precision::{Precision, UnknownPrecision};
pub use session::{MAX_THREADS, Request, Session, Speech};
pub use synthesizer::{NATIVE, Synthesizer};
pub use voice::{STYLE_DIM, Voice};

/// Samples a second of everything the engine makes; mono.
pub const SAMPLE_RATE_HZ: u32 = 24_000;
/// Samples in one frame, the unit of token durations (25 ms).
pub const FRAME_SAMPLES: usize = 600;
/// The most tokens that one call takes, the two padding tokens not counted.
pub const MAX_TOKENS: usize = 510;
/// The most frames that one call makes: two minutes, four times what 510 tokens usually last. It
/// bounds the memory of a session.
pub const MAX_FRAMES: usize = 4_800;
