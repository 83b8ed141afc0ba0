//! An LSTM's gates to its state.

use super::{LANES, Simd, maths};

#[inline(always)]
pub(super) fn lstm_cell<S: Simd>(s: S, gates: &[f32], cell: &mut [f32], hidden: &mut [f32]) {
    let h = cell.len();
    let (input, rest) = gates.split_at(h);
    let (forget, rest) = rest.split_at(h);
    let (candidate, output) = rest.split_at(h);
    for i in (0..h).step_by(LANES) {
        let end = h.min(i + LANES);
        let load = |x: &[f32]| s.load_some(&x[i..end]);
        let kept = s.mul(maths::sigmoid(s, load(forget)), load(cell));
        let new = s.mul_add(maths::sigmoid(s, load(input)), maths::tanh(s, load(candidate)), kept);
        let shown = s.mul(maths::sigmoid(s, load(output)), maths::tanh(s, new));
        s.store_some(new, &mut cell[i..end]);
        s.store_some(shown, &mut hidden[i..end]);
    }
}
