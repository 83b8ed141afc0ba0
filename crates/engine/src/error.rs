//! Every way in which the engine can fail, for all its files.
//!
//! Messages name the file or the tensor, what was needed and what was found, and what to do next
//! where there is something to do. Nothing here knows of status codes or prints.

use std::io;
use std::path::{Path, PathBuf};

/// Why the engine could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,

    /// The system refused to read or write a file.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb: `open`, `read`, `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A folder holds no weights, or none that can be told apart.
    #[error("{}: {problem}", folder.display())]
    NoWeights {
        /// The folder that was searched.
        folder: PathBuf,
        /// What was looked for.
        problem: String,
    },

    /// A file is not what it should be: damaged, cut short, or not made by who it says.
    #[error("{file}: {problem}")]
    Malformed {
        /// The file, or what stands for it.
        file: String,
        /// What is wrong with it.
        problem: String,
    },

    /// A file asks for more memory or work than any honest file of its kind.
    #[error("{file}: {what} is {found}, more than the limit of {limit}")]
    Limit {
        /// The file, or what stands for it.
        file: String,
        /// What there is too much of.
        what: &'static str,
        /// How much the file asks for.
        found: u64,
        /// The most that is accepted.
        limit: u64,
    },

    /// A tensor that the network needs is not in the checkpoint.
    #[error("{file} has no tensor {name}, needed with shape {needed:?}")]
    MissingTensor {
        /// The checkpoint.
        file: String,
        /// The tensor.
        name: String,
        /// The shape that was asked for.
        needed: Vec<usize>,
    },

    /// A tensor is there, with another shape than the network needs.
    #[error("{file}: tensor {name} has shape {found:?}, needed {needed:?}")]
    WrongShape {
        /// The checkpoint.
        file: String,
        /// The tensor.
        name: String,
        /// The shape that was asked for.
        needed: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },

    /// A tensor is there, of a type that cannot be weights.
    #[error("{file}: tensor {name} is of type {found}, needed float32, float16 or bfloat16")]
    WrongType {
        /// The checkpoint.
        file: String,
        /// The tensor.
        name: String,
        /// The type in the file.
        found: &'static str,
    },

    /// A tensor holds a number that is infinite, too large to compute with, or none at all.
    #[error("{file}: tensor {name} holds {value} at index {index}, the file is damaged")]
    NotFinite {
        /// The checkpoint.
        file: String,
        /// The tensor.
        name: String,
        /// Row-major index of the first such number.
        index: usize,
        /// The number.
        value: f32,
    },

    /// `config.json` is damaged or describes a network that koe cannot run.
    #[error("config.json: {0}")]
    Config(String),

    /// A checkpoint has something that koe does not compute.
    #[error("{0}")]
    Unsupported(String),

    /// A pack was made by another version of koe; delete it.
    #[error("packed section {name} has {found} numbers, needed {needed}")]
    WrongSection {
        /// The section.
        name: String,
        /// How many numbers the network wants.
        needed: usize,
        /// How many there are.
        found: usize,
    },

    /// A request that no model could speak; says what is wrong with it.
    #[error("{0}")]
    Request(String),

    /// Another runtime than the native one failed.
    #[error("{kind}: {problem}")]
    Runtime {
        /// Which kind of session; see [`Synthesizer::kind`](crate::Synthesizer::kind).
        kind: &'static str,
        /// What it said.
        problem: String,
    },

    /// The tokens of one call would last too long at this speed.
    #[error(
        "the tokens would last {frames} frames, more than the {limit} of one call: give fewer tokens at a time"
    )]
    TooLong {
        /// Frames of 25 ms that the tokens would last.
        frames: usize,
        /// The most that one call makes.
        limit: usize,
    },

    /// The model has no voice of that name.
    #[error("no voice {name:?}; the model has {}", known.join(", "))]
    UnknownVoice {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },

    /// A voice cannot be used, or voices cannot be mixed, as asked.
    #[error("{0}")]
    Voice(String),
}

impl Error {
    /// For `map_err`: an input or output failure with what was tried on which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
