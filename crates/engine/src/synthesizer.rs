//! [`Synthesizer`]: what every kind of session can do, the native one and those of other runtimes.
//!
//! Whoever chooses between kinds sees only this. The native session is in `session.rs`; sessions of
//! ONNX Runtime are in a crate of their own.

use crate::{Cancel, Error, Request, Session, Speech};

/// The name of the native kind.
pub const NATIVE: &str = "native";

/// Speaks tokens, one request at a time.
pub trait Synthesizer: Send {
    /// A short name for logs and counters, such as [`NATIVE`] or `cuda`; the same for all sessions
    /// of one kind.
    fn kind(&self) -> &'static str;

    /// Speaks: samples at [`SAMPLE_RATE_HZ`](crate::SAMPLE_RATE_HZ), and the frames of every token
    /// with its padding, which add up to the samples. Ends soon after `cancel` is set.
    fn synthesize(&mut self, request: &Request<'_>, cancel: &Cancel) -> Result<Speech<'_>, Error>;

    /// Gives back the memory that past syntheses took, as far as the runtime can.
    fn release_memory(&mut self);
}

impl Synthesizer for Session {
    fn kind(&self) -> &'static str {
        NATIVE
    }

    fn synthesize(&mut self, request: &Request<'_>, cancel: &Cancel) -> Result<Speech<'_>, Error> {
        Session::synthesize(self, request, cancel)
    }

    fn release_memory(&mut self) {
        Session::release_memory(self);
    }
}
