//! Kokoro-82M through ONNX Runtime, on accelerators that are found at run time.
//!
//! [`OnnxSession`] is a second kind of session beside the native one. A worker keeps one on a
//! thread of its own, where it may be slow, fail or hang. [`Router`] chooses, request by request,
//! between it and the native session, by what was measured. Without ONNX Runtime, or without a
//! model file for it, all of this is one line in the log, and the native engine speaks.

#![forbid(unsafe_code)]

mod error;
mod event;
mod kinds;
mod provider;
mod route;
mod runtime;
mod session;
mod setup;
mod worker;

pub use error::Error;
pub use event::{Event, Listener};
pub use kinds::{BUCKETS, Kind, Kinds, Length, State};
pub use provider::{Accelerator, Provider, UnknownAccelerator};
pub use route::Router;
pub use runtime::default_library;
pub use session::{OnnxSession, Source};
pub use setup::{Settings, router};
pub use worker::{Limits, Open, Sound};
