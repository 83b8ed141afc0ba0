//! Why there is no accelerator. Each message is one line that says what to do.

use std::path::PathBuf;

use crate::Provider;

/// Why a session of ONNX Runtime could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No library was found, or the system would not load it.
    #[error(
        "ONNX Runtime is not installed ({problem}): install it and set ORT_DYLIB_PATH to its library, {}",
        path.display()
    )]
    NoLibrary {
        /// What was looked for.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },

    /// The library is no ONNX Runtime, or one that is too old.
    #[error("{}: {problem}", path.display())]
    WrongLibrary {
        /// The library.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// The library was built without the provider.
    #[error(
        "this ONNX Runtime has no {wanted}, only {has}: install the build for {wanted}, or choose another accelerator"
    )]
    NoProvider {
        /// What was wanted.
        wanted: Provider,
        /// What there is.
        has: String,
    },

    /// None of the accelerators of this platform can be used.
    #[error("no accelerator can be used: {problems}")]
    None {
        /// Why not, one after the other.
        problems: String,
        /// See [`Error::is_final`].
        is_final: bool,
    },

    /// There is no model file.
    #[error("{0}")]
    NoModel(String),

    /// The model file is not an export of Kokoro-82M that koe can use.
    #[error("{}: {problem}", path.display())]
    WrongModel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// The runtime failed: what it said.
    #[error("{provider}: {problem}")]
    Runtime {
        /// Which provider.
        provider: Provider,
        /// What it said.
        problem: String,
    },
}

impl Error {
    /// Whether trying again cannot help before the user has changed something.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Runtime { .. } => false,
            Self::None { is_final, .. } => *is_final,
            _ => true,
        }
    }
}
