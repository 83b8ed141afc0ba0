//! What every layer needs besides its numbers: the instruction set, the threads, and whether to
//! go on.

use koe_kernels::Isa;

use crate::threads::Threads;
use crate::{Cancel, Error};

/// Sees the output of each named stage: name, values `[T][C]`, C.
pub(crate) type Probe<'a> = &'a mut dyn FnMut(&'static str, &[f32], usize);

/// One running synthesis.
pub(crate) struct Context<'a, 'p> {
    pub(crate) isa: Isa,
    pub(crate) threads: &'a mut Threads,
    pub(crate) cancel: &'a Cancel,
    /// For comparison with the reference; a normal synthesis has none.
    pub(crate) probe: Option<Probe<'p>>,
}

impl Context<'_, '_> {
    /// Called before each layer, so that a cancelled synthesis stops within one.
    pub(crate) fn go_on(&self) -> Result<(), Error> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Shows a stage to whoever watches.
    pub(crate) fn stage(&mut self, name: &'static str, values: &[f32], channels: usize) {
        if let Some(probe) = &mut self.probe {
            probe(name, values, channels);
        }
    }
}
