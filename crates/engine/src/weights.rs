//! The network's numbers as the kernels want them, and the one walk that makes or finds them.
//!
//! Each layer says once which packed sections it has and how they come from the checkpoint. The
//! same walk builds a pack (every section is computed and handed to the sink) and later reads it
//! back (every section is looked up by name), so the two cannot disagree.

use std::sync::Arc;

use koe_kernels::gemm;

use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::pack::{Pack, PackWriter};

pub(crate) use crate::pack::Section;

/// To be raised with any change to what a section holds; a pack of another version is rebuilt.
const LAYOUT_VERSION: u32 = 1;

/// Names the layout of everything below for a network of this `config.json`, whose numbers decide
/// what the sections are.
pub(crate) fn layout(config_json: &[u8]) -> String {
    format!("f32-panel32-{:08x}-{LAYOUT_VERSION}", crc32fast::hash(config_json))
}

/// Where the walk is.
pub(crate) enum Loader<'a> {
    /// Making a pack from a checkpoint.
    Making {
        /// The published tensors.
        source: &'a Checkpoint,
        /// Where sections go; their handles are empty as yet.
        sink: &'a mut PackWriter,
    },
    /// Finding the sections of a pack.
    Finding(&'a Arc<Pack>),
}

impl Loader<'_> {
    /// A section of `len` numbers that `make` computes from the checkpoint.
    pub(crate) fn section(
        &mut self,
        name: &str,
        len: usize,
        make: impl FnOnce(&Checkpoint) -> Result<Vec<f32>, Error>,
    ) -> Result<Section, Error> {
        match self {
            Self::Making { source, sink } => {
                let numbers = make(source)?;
                assert_eq!(numbers.len(), len, "section {name}");
                sink.f32(name, &numbers)?;
                Ok(Section::default())
            }
            Self::Finding(pack) => {
                let section = pack.section(name)?;
                let (needed, found) = (len, section.len());
                if needed == found {
                    Ok(section)
                } else {
                    Err(Error::WrongSection { name: name.to_owned(), needed, found })
                }
            }
        }
    }

    /// A section of weights `[k][n]` in panels; `make` gives a function of `(k, n)`.
    pub(crate) fn packed<At: Fn(usize, usize) -> f32>(
        &mut self,
        name: &str,
        k: usize,
        n: usize,
        make: impl FnOnce(&Checkpoint) -> Result<At, Error>,
    ) -> Result<Section, Error> {
        let len = gemm::packed_len(k, n);
        self.section(name, len, |source| {
            let at = make(source)?;
            let mut packed = vec![0.0; len];
            gemm::pack(k, n, &mut packed, at);
            Ok(packed)
        })
    }

    /// InstanceNorm's own gain and bias, which the published weights leave out and which koe
    /// takes to be one and zero, must be so where a checkpoint has them.
    pub(crate) fn require_plain_norm(&self, name: &str, channels: usize) -> Result<(), Error> {
        let Self::Making { source, .. } = self else { return Ok(()) };
        for (part, plain) in [("weight", 1.0), ("bias", 0.0)] {
            let name = format!("{name}.{part}");
            if source.has(&name) && source.f32(&name, &[channels])?.iter().any(|&x| x != plain) {
                return Err(Error::Unsupported(format!(
                    "tensor {name} is not all {plain}: koe reads checkpoints whose instance norms are plain, as Kokoro's are"
                )));
            }
        }
        Ok(())
    }
}
