//! How a command fails: one line for the reader, one code for the script.

use std::error::Error as _;
use std::process::ExitCode;

use crate::{choice, pipeline};

/// The exit codes of koe; documented in its help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All was done.
    Done = 0,
    /// It could not be done.
    Failed = 1,
    /// The arguments or the environment make no sense.
    Usage = 2,
    /// It needs a model or a voice that is not on this machine.
    Missing = 3,
    /// Interrupted by the user.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub struct Failure {
    /// For scripts.
    pub exit: Exit,
    /// For people; none where silence is right.
    pub message: Option<String>,
}

impl Failure {
    /// Something went wrong.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: Some(message.into()) }
    }

    /// The caller must ask differently.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: Some(message.into()) }
    }

    /// It needs what is not installed.
    pub fn missing(message: impl Into<String>) -> Self {
        Self { exit: Exit::Missing, message: Some(message.into()) }
    }

    /// The user stopped it and knows.
    pub fn interrupted() -> Self {
        Self { exit: Exit::Interrupted, message: None }
    }

    /// The reader of our output has had enough, as `head` does: nobody needs to be told.
    pub fn reader_gone() -> Self {
        Self { exit: Exit::Done, message: None }
    }
}

/// An error with what caused it, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !message.ends_with(&cause) {
            message.push_str(": ");
            message.push_str(&cause);
        }
        source = error.source();
    }
    message
}

impl From<pipeline::Error> for Failure {
    fn from(error: pipeline::Error) -> Self {
        match error {
            pipeline::Error::Cancelled => Self::interrupted(),
            error => Self::failed(chain(&error)),
        }
    }
}

impl From<choice::Error> for Failure {
    fn from(error: choice::Error) -> Self {
        let exit = match error {
            choice::Error::Usage(_) => Exit::Usage,
            choice::Error::Missing(_) => Exit::Missing,
            choice::Error::Engine(_) => Exit::Failed,
        };
        // A transparent error's source is its inner error's source.
        let message = match error.source() {
            Some(_) => chain(&error),
            None => error.to_string(),
        };
        Self { exit, message: Some(message) }
    }
}
