//! A bidirectional LSTM over rows.
//!
//! The input's part of the gates is one product over all rows; what is left to do step by step
//! is the small product with the hidden state. The two directions run on two threads.

use koe_kernels::gemm::{Output, Rows, gemm};
use koe_kernels::lstm::cell;

use super::context::Context;
use super::output::Finish;
use super::product::Product;
use crate::Error;
use crate::buffer::Buffer;
use crate::profile::Work;
use crate::threads::Queue;
use crate::weights::{Loader, Section, Weights};

/// Both directions' weights.
pub(crate) struct BiLstm {
    name: Box<str>,
    /// `[n_in]` to the gates of both directions, `[2][4][hidden]`, PyTorch's two biases summed.
    input: Product,
    /// Hidden state to gates for each direction, packed.
    recurrent: [Section; 2],
    hidden: usize,
}

impl BiLstm {
    /// `name.weight_ih_l0` and so on, with `hidden` units a direction.
    pub(crate) fn load(
        load: &mut Loader<'_>,
        name: &str,
        n_in: usize,
        hidden: usize,
    ) -> Result<Self, Error> {
        const DIRECTIONS: [&str; 2] = ["", "_reverse"];
        let n_gates = 4 * hidden;
        let weights = load.packed(&format!("{name}.weight_ih"), n_in, 2 * n_gates, |source| {
            let forward = source.f32(&format!("{name}.weight_ih_l0"), &[n_gates, n_in])?;
            let backward = source.f32(&format!("{name}.weight_ih_l0_reverse"), &[n_gates, n_in])?;
            let parts = [forward, backward];
            Ok(move |k: usize, n: usize| parts[n / n_gates][n % n_gates * n_in + k])
        })?;
        let bias = load.section(&format!("{name}.bias"), 2 * n_gates, |source| {
            let mut bias = Vec::new();
            for direction in DIRECTIONS {
                let input = source.f32(&format!("{name}.bias_ih_l0{direction}"), &[n_gates])?;
                let hidden = source.f32(&format!("{name}.bias_hh_l0{direction}"), &[n_gates])?;
                bias.extend(input.iter().zip(&hidden).map(|(a, b)| a + b));
            }
            Ok(bias)
        })?;
        let mut recurrent = |direction: &str| {
            let section = format!("{name}.weight_hh{direction}");
            load.packed(&section, hidden, n_gates, |source| {
                let name = format!("{name}.weight_hh_l0{direction}");
                let weight = source.f32(&name, &[n_gates, hidden])?;
                Ok(move |k: usize, n: usize| weight[n * hidden + k])
            })
        };
        let recurrent = [recurrent(DIRECTIONS[0])?, recurrent(DIRECTIONS[1])?];
        let weights = Weights::F32(weights);
        let part = format!("{name}.input");
        let input = Product::from_parts(&part, weights, bias, 1, n_in, 2 * n_gates);
        Ok(Self { name: format!("{name}.steps").into(), input, recurrent, hidden })
    }

    /// Runs over `row_of_step`, which says for every step which row of `x` `[rows][n_in]` it
    /// reads, so that repeated rows are multiplied once; `out` is `[steps][2 * hidden]`. `room` is
    /// lent.
    pub(crate) fn run(
        &self,
        cx: &mut Context<'_, '_>,
        x: &[f32],
        row_of_step: &[u32],
        room: &mut Buffer,
        out: &mut [f32],
    ) -> Result<(), Error> {
        let (h, n_in, n_steps) = (self.hidden, self.input.depth, row_of_step.len());
        let n_gates = 4 * h;
        // The input's part of the gates, `[rows][2][4][hidden]`; each direction's output,
        // `[2][steps][hidden]`; and each one's gates, cell and hidden state, `[2][6][hidden]`.
        let (n_input, n_halves) = (x.len() / n_in * 2 * n_gates, 2 * n_steps * h);
        let (gates, room) =
            room.take(n_input + n_halves + 2 * (n_gates + 2 * h)).split_at_mut(n_input);
        let (halves, state) = room.split_at_mut(n_halves);
        self.input.apply(cx, Rows::plain(x, n_in), gates, Finish::Store)?;
        cx.go_on()?;
        let started = cx.clock();

        let gates = &*gates;
        let (isa, cancel) = (cx.isa, cx.cancel);
        let directions = halves.chunks_mut(n_steps * h).zip(state.chunks_mut(n_gates + 2 * h));
        let pieces = Queue::new(directions.enumerate());
        cx.threads.run(|_| {
            while let Some((direction, (half, state))) = pieces.next() {
                let (now, state) = state.split_at_mut(n_gates);
                let (memory, hidden) = state.split_at_mut(h);
                memory.fill(0.0);
                hidden.fill(0.0);
                for i in 0..n_steps {
                    // The longest text takes this loop tens of milliseconds.
                    if i % 64 == 0 && cancel.is_cancelled() {
                        break;
                    }
                    let step = if direction == 0 { i } else { n_steps - 1 - i };
                    let row = row_of_step[step] as usize;
                    now.copy_from_slice(&gates[(2 * row + direction) * n_gates..][..n_gates]);
                    let rows = Rows::plain(hidden, h);
                    let weights = &self.recurrent[direction];
                    gemm(isa, rows, 1, weights, n_gates, None, now, n_gates, Output::Add);
                    cell(isa, now, memory, hidden);
                    half[step * h..][..h].copy_from_slice(hidden);
                }
            }
        });
        cx.go_on()?;
        let (forward, backward) = halves.split_at(n_steps * h);
        for (step, out) in out.chunks_exact_mut(2 * h).enumerate() {
            out[..h].copy_from_slice(&forward[step * h..][..h]);
            out[h..].copy_from_slice(&backward[step * h..][..h]);
        }
        let n_weights = 2 * h * n_gates;
        let n_numbers = n_weights + n_steps * 2 * (n_gates + h);
        let work = Work::f32(2.0 * (n_steps * n_weights) as f64, 4.0 * n_numbers as f64);
        cx.record(started, &self.name, work);
        Ok(())
    }
}
