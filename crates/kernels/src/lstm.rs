//! One step of an LSTM after its products: gates to state.

use crate::Isa;
use crate::isa::dispatch;

/// `gates` `[4][H]` in PyTorch's order (input, forget, cell, output), before their
/// non-linearities; updates the cell `[H]` and writes the hidden state `[H]`.
pub fn cell(isa: Isa, gates: &[f32], cell: &mut [f32], hidden: &mut [f32]) {
    let h = cell.len();
    assert!(hidden.len() == h && gates.len() == 4 * h);
    dispatch!(isa, lstm_cell(gates, cell, hidden));
}
