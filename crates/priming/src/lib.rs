//! What keeps a speech engine ready and bounded, whatever it is and whoever asks it to speak.
//!
//! Knows nothing of text, sound, HTTP, nor of the engine's own types: it is told what to do by
//! closures and one trait ([`Warmth`]), and tells what happened by plain structs. [`machine`] is
//! what the system says of itself, [`warmup`] the only door to a warm-up, [`keep_alive`] what stays
//! awake between requests, [`memory`] and [`heap`] what gives memory back, [`tuning`] what was measured once and
//! is remembered.

pub mod heap;
pub mod keep_alive;
pub mod machine;
pub mod memory;
pub mod tuning;
pub mod warmup;

mod lock;

pub use keep_alive::{KeepAlive, Warmth};
pub use memory::MemoryGuard;
pub use warmup::Coordinator;
