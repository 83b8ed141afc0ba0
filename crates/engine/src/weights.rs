//! The network's numbers as the kernels want them, and the one walk that makes or finds them.
//!
//! Each layer says once which packed sections it has and how they come from the checkpoint. The
//! same walk builds a pack (every section is computed and handed to the sink) and later reads it
//! back (every section is looked up by name), so the two cannot disagree.

use std::sync::Arc;

use koe_kernels::gemm;
use koe_kernels::number::Number;
use koe_kernels::winograd::Shape;

use crate::checkpoint::Checkpoint;
use crate::pack::{Pack, PackWriter, Packed};
use crate::{Error, Precision};

pub(crate) use crate::pack::Section;

/// To be raised with any change to what a section holds or where it lies; a pack of another version
/// is rebuilt.
const LAYOUT_VERSION: u32 = 3;

/// Names the layout of everything below for a network of this `config.json`, whose numbers decide
/// what the sections are.
pub(crate) fn layout(config_json: &[u8], precision: Precision) -> String {
    let (kind, config) = (precision.name(), crc32fast::hash(config_json));
    format!("{kind}-panel32-{config:08x}-{LAYOUT_VERSION}")
}

/// The walk over all layers.
pub(crate) struct Loader<'a> {
    source: Source<'a>,
    /// Of the layers that are loaded now.
    precision: Precision,
    /// Numbers in the table of styles that layers have asked for.
    n_styles: usize,
}

/// Where the walk is.
enum Source<'a> {
    /// Making a pack from the published tensors. The handles of sections are empty as yet.
    Making(&'a Checkpoint, PackWriter<'a>),
    /// Finding the sections of a pack.
    Finding(&'a Arc<Pack>),
}

/// The weights of a product, packed.
pub(crate) enum Weights {
    F32(Section<f32>),
    Bf16(Section<u16>),
}

impl<'a> Loader<'a> {
    /// Makes a pack.
    pub(crate) fn making(
        source: &'a Checkpoint,
        sink: PackWriter<'a>,
        precision: Precision,
    ) -> Self {
        Self { source: Source::Making(source, sink), precision, n_styles: 0 }
    }

    /// Finds what [`Loader::making`] made with this precision.
    pub(crate) fn finding(pack: &'a Arc<Pack>, precision: Precision) -> Self {
        Self { source: Source::Finding(pack), precision, n_styles: 0 }
    }

    /// What decides durations and melody is loaded, and computed, in f32 whatever the precision.
    pub(crate) fn in_f32<T>(&mut self, load: impl FnOnce(&mut Self) -> T) -> T {
        let precision = std::mem::replace(&mut self.precision, Precision::F32);
        let loaded = load(self);
        self.precision = precision;
        loaded
    }

    /// What `load` loads lies together in the pack, apart from the rest, for weights that all layers
    /// have some of and that are used at once.
    pub(crate) fn apart<T>(&mut self, load: impl FnOnce(&mut Self) -> T) -> T {
        let set = |source: &mut Source<'_>, is_apart| {
            if let Source::Making(_, sink) = source {
                sink.set_apart(is_apart);
            }
        };
        set(&mut self.source, true);
        let loaded = load(self);
        set(&mut self.source, false);
        loaded
    }

    /// Whether convolutions by fewer multiplications are worth it in this part of the walk.
    pub(crate) fn is_quick(&self) -> bool {
        self.precision != Precision::Bf16Tiles
    }

    /// Room for `n` numbers in the table of what layers make of the style; where it begins.
    pub(crate) fn place_in_styles(&mut self, n: usize) -> usize {
        self.n_styles += n;
        self.n_styles - n
    }

    /// Length of that table.
    pub(crate) fn n_styles(&self) -> usize {
        self.n_styles
    }

    /// A section of `len` numbers that `make` computes from the checkpoint.
    pub(crate) fn section<T: Packed>(
        &mut self,
        name: &str,
        len: usize,
        make: impl FnOnce(&Checkpoint) -> Result<Vec<T>, Error>,
    ) -> Result<Section<T>, Error> {
        match &mut self.source {
            Source::Making(source, sink) => {
                sink.numbers(name, len, || make(source))?;
                Ok(Section::default())
            }
            Source::Finding(pack) => {
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

    /// A section of weights `[k][n]` in panels of f32; `make` gives a function of `(k, n)`.
    pub(crate) fn packed<At: Fn(usize, usize) -> f32>(
        &mut self,
        name: &str,
        k: usize,
        n: usize,
        make: impl FnOnce(&Checkpoint) -> Result<At, Error>,
    ) -> Result<Section, Error> {
        self.panels(name, k, n, make)
    }

    fn panels<T: Packed + Number, At: Fn(usize, usize) -> f32>(
        &mut self,
        name: &str,
        k: usize,
        n: usize,
        make: impl FnOnce(&Checkpoint) -> Result<At, Error>,
    ) -> Result<Section<T>, Error> {
        let len = gemm::packed_len(k, n);
        self.section(name, len, |source| {
            let at = make(source)?;
            let mut packed = vec![T::default(); len];
            gemm::pack(k, n, &mut packed, at);
            Ok(packed)
        })
    }

    /// The weights `[taps * depth][n]` of a product, in the precision of this part of the walk;
    /// f32 where the depth is odd, as bf16 come in pairs.
    pub(crate) fn weights<At: Fn(usize, usize) -> f32>(
        &mut self,
        name: &str,
        (n_taps, depth): (usize, usize),
        n: usize,
        make: impl FnOnce(&Checkpoint) -> Result<At, Error>,
    ) -> Result<Weights, Error> {
        let k = n_taps * depth;
        if self.precision.is_bf16() && depth.is_multiple_of(2) {
            Ok(Weights::Bf16(self.panels(name, k, n, make)?))
        } else {
            Ok(Weights::F32(self.panels(name, k, n, make)?))
        }
    }

    /// The weights of a convolution by fewer multiplications, likewise; `make` gives a function of
    /// `(k, n)`, where `k` counts input channels within taps.
    pub(crate) fn quick_weights<At: Fn(usize, usize) -> f32>(
        &mut self,
        name: &str,
        shape: Shape,
        make: impl FnOnce(&Checkpoint) -> Result<At, Error>,
    ) -> Result<Weights, Error> {
        if self.precision.is_bf16() && shape.depth.is_multiple_of(2) {
            Ok(Weights::Bf16(self.transformed(name, shape, make)?))
        } else {
            Ok(Weights::F32(self.transformed(name, shape, make)?))
        }
    }

    fn transformed<T: Packed + Number, At: Fn(usize, usize) -> f32>(
        &mut self,
        name: &str,
        shape: Shape,
        make: impl FnOnce(&Checkpoint) -> Result<At, Error>,
    ) -> Result<Section<T>, Error> {
        let len = shape.packed_len();
        self.section(name, len, |source| {
            let at = make(source)?;
            let mut packed = vec![T::default(); len];
            shape.pack(&mut packed, |tap, d, n| at(tap * shape.depth + d, n));
            Ok(packed)
        })
    }

    /// InstanceNorm's own gain and bias, which the published weights leave out and which koe
    /// takes to be one and zero, must be so where a checkpoint has them.
    pub(crate) fn require_plain_norm(&self, name: &str, channels: usize) -> Result<(), Error> {
        let Source::Making(source, _) = &self.source else { return Ok(()) };
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
