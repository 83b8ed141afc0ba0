//! An LSTM's gates to its state.

use super::{LANES, Simd, maths};

#[inline(always)]
pub(super) fn lstm_cell<S: Simd>(s: S, gates: &[f32], cell: &mut [f32], hidden: &mut [f32]) {
    let h = cell.len();
    let (input, rest) = gates.split_at(h);
    let (forget, rest) = rest.split_at(h);
    let (candidate, output) = rest.split_at(h);
    let gates = input.chunks(LANES).zip(forget.chunks(LANES));
    let gates = gates.zip(candidate.chunks(LANES).zip(output.chunks(LANES)));
    let state = cell.chunks_mut(LANES).zip(hidden.chunks_mut(LANES));
    for ((cell, hidden), ((input, forget), (candidate, output))) in state.zip(gates) {
        let kept = s.mul(maths::sigmoid(s, s.load_some(forget)), s.load_some(cell));
        let candidate = maths::tanh(s, s.load_some(candidate));
        let new = s.mul_add(maths::sigmoid(s, s.load_some(input)), candidate, kept);
        let shown = s.mul(maths::sigmoid(s, s.load_some(output)), maths::tanh(s, new));
        s.store_some(new, cell);
        s.store_some(shown, hidden);
    }
}
