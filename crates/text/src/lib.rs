//! English text to Kokoro phonemes: pure, total, linear in the input.
//!
//! No files, clock or network; odd input gives notes, never an error or a panic. Every phoneme
//! symbol keeps the byte span of the caller's text that it came from.
#![forbid(unsafe_code)]

pub(crate) mod letters;
pub mod phoneme;
