//! koe speaks English text with Kokoro-82M: the library behind the command line and the server.
//!
//! Start at [`pipeline`]: it is the one place where the text front end, the engine and the joiner
//! meet. [`feed`] hands it text, [`speaker`] is the engine as it sees it, [`stream`] runs it on a
//! thread; [`cli`] is one of its users. [`choice`] finds the model and the voices that a caller
//! means, and [`config`] alone reads the environment.
#![forbid(unsafe_code)]

pub mod bench;
pub mod choice;
pub mod cli;
pub mod config;
pub mod feed;
pub mod http;
#[cfg(unix)]
pub mod local;
pub mod machine;
pub mod models;
pub mod phonemes;
pub mod pipeline;
mod playback;
pub mod pull;
pub mod service;
pub mod speaker;
pub mod stream;
pub mod timings;
pub mod tuning;
pub mod voices;

pub use koe_audio as audio;
pub use koe_engine as engine;
pub use koe_text as text;

/// The README's example, which must compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
