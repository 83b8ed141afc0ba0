//! Writes a pruned n-gram as the bytes that the text crate's `letters/model.rs` reads in place.
//!
//! Probabilities and back-off weights are coded: each length of n-gram has its own book of values,
//! chosen so that each code stands for equally many n-grams.

use super::align::Graphone;
use super::model::{BLOCK, LEVEL_FIELDS, LEVELS_AT, MAGIC, N_LETTERS, P_BITS, VERSION};
use super::ngram::{Ngram, context, last};

/// Codes of a back-off weight; code 0 says that there is none.
const N_BACK_OFF: usize = 256;

/// The bytes of a model. `graphones` are those of tokens 2.., sorted.
pub(crate) fn write(ngram: &Ngram, graphones: &[Graphone]) -> anyhow::Result<Vec<u8>> {
    let n_tokens = graphones.len() + 2;
    anyhow::ensure!(n_tokens < 1 << (16 - P_BITS), "{n_tokens} graphones do not fit a node");
    let order = ngram.levels.len();
    let mut out = Vec::new();
    out.extend(MAGIC);
    out.extend([VERSION, order as u8]);
    out.extend((n_tokens as u16).to_le_bytes());
    out.resize(LEVELS_AT + 4 * LEVEL_FIELDS * order, 0);

    set(&mut out, 8);
    for pair in 0..=N_LETTERS * N_LETTERS {
        let before =
            |g: &Graphone| usize::from(g.letters[0]) * N_LETTERS + usize::from(g.letters[1]) < pair;
        out.extend((graphones.partition_point(before) as u16 + 2).to_le_bytes());
    }
    set(&mut out, 12);
    let mut pool = String::new();
    for token in 0..=n_tokens {
        out.extend(u16::try_from(pool.len())?.to_le_bytes());
        if let Some(graphone) = token.checked_sub(2).and_then(|i| graphones.get(i)) {
            pool.push_str(&graphone.sound);
        }
    }
    set(&mut out, 16);
    out.extend(pool.as_bytes());
    out.resize(out.len().next_multiple_of(4), 0);

    for (i, level) in ngram.levels.iter().enumerate() {
        let field = LEVELS_AT + 4 * LEVEL_FIELDS * i;
        let is_last = i + 1 == order;
        let p_book = book(&level.log_p, 1 << P_BITS);
        set(&mut out, field);
        for (key, log_p) in level.keys.iter().zip(&level.log_p) {
            let node = last(*key) << P_BITS | code(&p_book, *log_p) as u16;
            out.extend(node.to_le_bytes());
        }
        let mut back_off_book = vec![0.0; N_BACK_OFF];
        if !is_last {
            let next = &ngram.levels[i + 1].keys;
            let first = |key: u128| next.partition_point(|k| context(*k) < key);
            let used: Vec<f32> = level.back_off.iter().copied().filter(|b| *b != 0.0).collect();
            let values = book(&used, N_BACK_OFF - 1);
            back_off_book[1..].copy_from_slice(&values);
            set(&mut out, field + 4);
            for back_off in &level.back_off {
                out.push(if *back_off == 0.0 { 0 } else { code(&values, *back_off) as u8 + 1 });
            }
            let mut children: Vec<usize> = level.keys.iter().map(|key| first(*key)).collect();
            children.push(next.len());
            set(&mut out, field + 8);
            for (node, child) in children.iter().enumerate() {
                out.extend(u16::try_from(child - children[node / BLOCK * BLOCK])?.to_le_bytes());
            }
            set(&mut out, field + 12);
            for block in children.iter().step_by(BLOCK) {
                out.extend((*block as u32).to_le_bytes());
            }
        }
        set(&mut out, field + 16);
        for value in p_book.iter().chain(&back_off_book) {
            out.extend(value.to_le_bytes());
        }
    }
    Ok(out)
}

/// Writes the current end as an offset at `field`, on an even byte.
fn set(out: &mut Vec<u8>, field: usize) {
    out.resize(out.len().next_multiple_of(4), 0);
    let here = (out.len() as u32).to_le_bytes();
    out[field..field + 4].copy_from_slice(&here);
}

/// `n` values, each the mean of an equal share of `all`, ascending.
fn book(all: &[f32], n: usize) -> Vec<f32> {
    let mut sorted = all.to_vec();
    sorted.sort_by(f32::total_cmp);
    (0..n)
        .map(|i| {
            let share = &sorted[sorted.len() * i / n..sorted.len() * (i + 1) / n];
            match share {
                [] => sorted.get(sorted.len() * i / n).copied().unwrap_or(0.0),
                _ => share.iter().sum::<f32>() / share.len() as f32,
            }
        })
        .collect()
}

/// The code of the value nearest to `x`.
fn code(book: &[f32], x: f32) -> usize {
    let at = book.partition_point(|v| *v < x);
    let near = |i: &usize| (book[*i] - x).abs();
    [at.saturating_sub(1), at.min(book.len() - 1)]
        .into_iter()
        .min_by(|a, b| near(a).total_cmp(&near(b)))
        .unwrap_or(0)
}
