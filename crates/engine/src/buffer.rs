//! Scratch memory that grows to what was needed and then stays.

use bytemuck::{Pod, Zeroable};

/// One cache line, so that buffers start on one.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Floats of any content; a longer request than ever before allocates, others do not.
#[derive(Default)]
pub(crate) struct Buffer(Vec<Line>);

impl Buffer {
    /// `n` numbers, whatever was in them.
    pub(crate) fn take(&mut self, n: usize) -> &mut [f32] {
        let n_lines = n.div_ceil(16);
        if self.0.len() < n_lines {
            // A fresh allocation: nothing of the old content is wanted, so nothing is copied.
            self.0 = Vec::new();
            self.0 = vec![Line::zeroed(); n_lines];
        }
        &mut bytemuck::cast_slice_mut(&mut self.0)[..n]
    }

    /// The same of another kind of numbers.
    pub(crate) fn take_of<T: Pod>(&mut self, n: usize) -> &mut [T] {
        let floats = self.take((n * size_of::<T>()).div_ceil(size_of::<f32>()));
        &mut bytemuck::cast_slice_mut(floats)[..n]
    }

    /// The first `n` numbers of an earlier `take`.
    pub(crate) fn get(&self, n: usize) -> &[f32] {
        &bytemuck::cast_slice(&self.0)[..n]
    }
}
