//! PL-BERT: an ALBERT over phoneme tokens, whose one layer is applied again and again.
//!
//! Follows `modules.py` (`CustomAlbert`) of the reference and the ALBERT of `transformers`.

use koe_kernels::gemm::{Output, Rows, gemm, pack, packed_len};
use koe_kernels::{activation, norm};

use super::context::Context;
use super::output::Finish;
use super::product::Product;
use crate::buffer::Buffer;
use crate::config::PlbertConfig;
use crate::profile::Work;
use crate::threads::{Queue, Stage};
use crate::weights::{Loader, Section};
use crate::{Config, Error};

/// ALBERT's `layer_norm_eps`.
const EPSILON: f32 = 1e-12;
/// Query rows that attend at once, so that their scores stay in a cache.
const QUERIES: usize = 48;

pub(crate) struct Albert {
    config: PlbertConfig,
    /// `[n_token][embedding]`
    words: Section,
    /// `[positions][embedding]`, the token type's row added.
    positions: Section,
    embedding_norm: LayerNorm,
    widen: Product,
    query_key_value: Product,
    /// A head's context is a tap.
    dense: Product,
    attention_norm: LayerNorm,
    up: Product,
    down: Product,
    layer_norm: LayerNorm,
}

/// Gain and bias of a layer normalisation.
pub(crate) struct LayerNorm {
    pub(crate) gain: Section,
    pub(crate) bias: Section,
}

impl LayerNorm {
    /// Both `[n]`, of the given names.
    pub(crate) fn load(
        load: &mut Loader<'_>,
        gain: &str,
        bias: &str,
        n: usize,
    ) -> Result<Self, Error> {
        let mut section = |name: &str| load.section(name, n, |source| source.f32(name, &[n]));
        Ok(Self { gain: section(gain)?, bias: section(bias)? })
    }
}

impl Albert {
    pub(crate) fn load(load: &mut Loader<'_>, config: &Config) -> Result<Self, Error> {
        let c = config.plbert.clone();
        let (e, h) = (c.embedding_size, c.hidden_size);
        let norm = |load: &mut Loader<'_>, name: &str, n| {
            LayerNorm::load(load, &format!("{name}.weight"), &format!("{name}.bias"), n)
        };
        let embeddings = "bert.embeddings";
        let layer = "bert.encoder.albert_layer_groups.0.albert_layers.0";
        let attention = format!("{layer}.attention");
        let qkv = ["query", "key", "value"].map(|part| format!("{attention}.{part}"));
        Ok(Self {
            words: load.section(
                &format!("{embeddings}.word_embeddings.weight"),
                config.n_token * e,
                |source| {
                    let name = format!("{embeddings}.word_embeddings.weight");
                    source.f32(&name, &[config.n_token, e])
                },
            )?,
            positions: load.section(
                &format!("{embeddings}.position_embeddings.weight"),
                c.max_position_embeddings * e,
                |source| {
                    let positions = format!("{embeddings}.position_embeddings.weight");
                    let types = format!("{embeddings}.token_type_embeddings.weight");
                    let mut rows = source.f32(&positions, &[c.max_position_embeddings, e])?;
                    let types = source.f32(&types, &[2, e])?;
                    for row in rows.chunks_exact_mut(e) {
                        row.iter_mut().zip(&types).for_each(|(x, y)| *x += y);
                    }
                    Ok(rows)
                },
            )?,
            embedding_norm: norm(load, &format!("{embeddings}.LayerNorm"), e)?,
            widen: Product::linear(load, "bert.encoder.embedding_hidden_mapping_in", e, h)?,
            query_key_value: Product::stacked(
                load,
                &format!("{attention}.qkv"),
                &[&qkv[0], &qkv[1], &qkv[2]],
                h,
                h,
            )?,
            dense: Product::linear(load, &format!("{attention}.dense"), h, h)?,
            attention_norm: norm(load, &format!("{attention}.LayerNorm"), h)?,
            up: Product::linear(load, &format!("{layer}.ffn"), h, c.intermediate_size)?,
            down: Product::linear(load, &format!("{layer}.ffn_output"), c.intermediate_size, h)?,
            layer_norm: norm(load, &format!("{layer}.full_layer_layer_norm"), h)?,
            config: c,
        })
    }

    /// `tokens` `[T]`, padding included, to `out` `[T][hidden]`. `room` is lent.
    pub(crate) fn run(
        &self,
        cx: &mut Context<'_, '_>,
        tokens: &[u16],
        room: &mut Buffer,
        out: &mut [f32],
    ) -> Result<(), Error> {
        let (e, h, n) = (self.config.embedding_size, self.config.hidden_size, tokens.len());
        let isa = cx.isa;
        // Embeddings `[T][embedding]`; queries, keys and values `[T][3][heads][depth]`; each head's
        // answer `[heads][T][depth]`; and `[T][intermediate]`.
        let n_inner = n * self.config.intermediate_size;
        let (x, room) = room.take(n * (e + 4 * h) + n_inner).split_at_mut(n * e);
        let (qkv, room) = room.split_at_mut(n * 3 * h);
        let (context, inner) = room.split_at_mut(n * h);
        for (i, (row, &token)) in x.chunks_exact_mut(e).zip(tokens).enumerate() {
            row.copy_from_slice(&self.words[usize::from(token) * e..][..e]);
            activation::add(isa, &self.positions[i * e..][..e], row);
        }
        norm::layer_norm(isa, x, &self.embedding_norm.gain, &self.embedding_norm.bias, EPSILON);
        self.widen.apply(cx, Rows::plain(x, e), out, Finish::Store)?;

        for _ in 0..self.config.num_hidden_layers {
            self.query_key_value.apply(cx, Rows::plain(out, h), qkv, Finish::Store)?;
            self.attend(cx, qkv, context)?;
            let depth = h / self.config.num_attention_heads;
            let heads = Rows {
                data: context,
                row_stride: depth,
                n_taps: self.config.num_attention_heads,
                tap_stride: n * depth,
                depth,
            };
            self.dense.apply(cx, heads, out, Finish::Add)?;
            normalise(cx, out, &self.attention_norm);

            self.up.apply(cx, Rows::plain(out, h), inner, Finish::Store)?;
            each_row_block(cx, inner, self.config.intermediate_size, |isa, x| {
                activation::gelu(isa, x);
            });
            let inner = Rows::plain(inner, self.config.intermediate_size);
            self.down.apply(cx, inner, out, Finish::Add)?;
            normalise(cx, out, &self.layer_norm);
        }
        Ok(())
    }

    /// `softmax(Q Kᵀ / √depth) V` for every head: `qkv` `[T][3][heads][depth]` to `context`
    /// `[heads][T][depth]`.
    fn attend(
        &self,
        cx: &mut Context<'_, '_>,
        qkv: &[f32],
        context: &mut [f32],
    ) -> Result<(), Error> {
        cx.go_on()?;
        let started = cx.clock();
        let h = self.config.hidden_size;
        let depth = h / self.config.num_attention_heads;
        let n = qkv.len() / (3 * h);
        let scale = 1.0 / (depth as f32).sqrt();
        let isa = cx.isa;
        let heads = Queue::new(context.chunks_mut(n * depth).enumerate());
        let (n_keys, n_values) = (packed_len(depth, n), packed_len(n, depth));
        cx.threads.run(|Stage { rows: scores, packed, .. }| {
            let (keys, values) = packed.take(n_keys + n_values).split_at_mut(n_keys);
            let scores = scores.take(QUERIES.min(n) * n);
            while let Some((head, context)) = heads.next() {
                let part = |row: usize, part: usize| (row * 3 + part) * h + head * depth;
                pack(depth, n, keys, |k, row| qkv[part(row, 1) + k]);
                pack(n, depth, values, |row, i| qkv[part(row, 2) + i]);
                for (i, context) in context.chunks_mut(QUERIES * depth).enumerate() {
                    let n_rows = context.len() / depth;
                    let queries = Rows {
                        data: &qkv[part(i * QUERIES, 0)..],
                        row_stride: 3 * h,
                        n_taps: 1,
                        tap_stride: 0,
                        depth,
                    };
                    let scores = &mut scores[..n_rows * n];
                    gemm(isa, queries, n_rows, keys, n, None, scores, n, Output::Store);
                    norm::softmax(isa, scores, n, scale);
                    let scores = Rows::plain(scores, n);
                    gemm(isa, scores, n_rows, values, depth, None, context, depth, Output::Store);
                }
            }
        });
        let work = Work::f32(4.0 * (n * n * h) as f64, (16 * n * h) as f64);
        cx.record(started, "attention", work);
        Ok(())
    }
}

fn normalise(cx: &mut Context<'_, '_>, x: &mut [f32], to: &LayerNorm) {
    each_row_block(cx, x, to.gain.len(), |isa, x| {
        norm::layer_norm(isa, x, &to.gain, &to.bias, EPSILON);
    });
}

/// Calls `f` with blocks of whole rows of `x` `[T][c]` on all threads.
pub(crate) fn each_row_block(
    cx: &mut Context<'_, '_>,
    x: &mut [f32],
    c: usize,
    f: impl Fn(koe_kernels::Isa, &mut [f32]) + Sync,
) {
    let isa = cx.isa;
    let block = (x.len() / c).div_ceil(2 * cx.threads.count()).max(1) * c;
    let blocks = Queue::new(x.chunks_mut(block));
    cx.threads.run(|_| {
        while let Some(block) = blocks.next() {
            f(isa, block);
        }
    });
}
