//! What every layer needs besides its numbers: the instruction set, the threads, and whether to
//! go on.

use std::time::Instant;

use koe_kernels::Isa;

use crate::pack::Pack;
use crate::profile::{Profile, Work};
use crate::threads::Threads;
use crate::{Cancel, Error};

/// Sees the output of each named stage: name, values `[T][C]`, C.
pub(crate) type Probe<'a> = &'a mut dyn FnMut(&'static str, &[f32], usize);

/// One running synthesis.
pub(crate) struct Context<'a, 'p> {
    pub(crate) isa: Isa,
    /// Whether products of f32 are split where that is worth it.
    pub(crate) splits: bool,
    pub(crate) threads: &'a mut Threads,
    pub(crate) cancel: &'a Cancel,
    pub(crate) weights: &'a Pack,
    /// Whether the text is so long that buffers need more memory than weights.
    pub(crate) long: bool,
    /// For comparison with the reference; a normal synthesis has none.
    pub(crate) probe: Option<Probe<'p>>,
    /// Where the time of layers is kept, if anybody asked.
    pub(crate) profile: Option<&'a mut Profile>,
}

impl Context<'_, '_> {
    /// Called before each layer, so that a cancelled synthesis stops within one.
    pub(crate) fn go_on(&self) -> Result<(), Error> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// The time, if anybody asked: for [`Context::record`].
    pub(crate) fn clock(&self) -> Option<Instant> {
        self.profile.as_ref().map(|_| Instant::now())
    }

    /// Notes that a layer ran from `started` until now.
    pub(crate) fn record(&mut self, started: Option<Instant>, name: &str, work: Work) {
        if let (Some(profile), Some(started)) = (&mut self.profile, started) {
            profile.add(name, started, work);
        }
    }

    /// Called after each part of the network: in a long synthesis its weights leave memory until
    /// the next needs them, so that buffers and weights are not there both.
    pub(crate) fn let_go(&self) {
        if self.long {
            self.weights.let_go();
        }
    }

    /// Shows a stage to whoever watches.
    pub(crate) fn stage(&mut self, name: &'static str, values: &[f32], channels: usize) {
        if let Some(probe) = &mut self.probe {
            probe(name, values, channels);
        }
    }
}
