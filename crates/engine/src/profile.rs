//! Where the time of one synthesis went, layer by layer.
//!
//! Off, which it is unless [`Session::profile`](crate::Session::profile) asks, it costs a test a
//! layer.

use std::time::{Duration, Instant};

/// The layers of one synthesis in the order they first ran.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Each layer once, with all its runs.
    pub layers: Vec<Layer>,
    /// The whole synthesis, what lies between layers included.
    pub total: Duration,
}

/// One layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// As in the checkpoint, or what it does, as in `attention`.
    pub name: String,
    /// How often it ran.
    pub runs: usize,
    /// Of all runs, on the clock.
    pub time: Duration,
    /// Multiplications and additions that the layer stands for: a convolution by fewer of them
    /// counts as many as a plain one. None where nobody counted.
    pub flop: f64,
    /// Bytes of weights, input and output, each once: the least that memory has to move.
    pub bytes: f64,
}

/// What one run of a layer takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    pub(crate) flop: f64,
    pub(crate) bytes: f64,
}

impl std::ops::AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.flop += other.flop;
        self.bytes += other.bytes;
    }
}

impl Profile {
    pub(crate) fn add(&mut self, name: &str, since: Instant, work: Work) {
        let time = since.elapsed();
        let found = self.layers.iter_mut().find(|layer| layer.name == name);
        let layer = match found {
            Some(layer) => layer,
            None => {
                let layer = Layer {
                    name: name.to_owned(),
                    runs: 0,
                    time: Duration::ZERO,
                    flop: 0.0,
                    bytes: 0.0,
                };
                self.layers.push(layer);
                self.layers.last_mut().expect("it was just pushed")
            }
        };
        layer.runs += 1;
        layer.time += time;
        layer.flop += work.flop;
        layer.bytes += work.bytes;
    }
}

impl Layer {
    /// Billions of floating-point operations a second.
    pub fn gflop_per_s(&self) -> f64 {
        self.flop / self.time.as_secs_f64() / 1e9
    }

    /// Billions of bytes a second.
    pub fn gb_per_s(&self) -> f64 {
        self.bytes / self.time.as_secs_f64() / 1e9
    }
}
