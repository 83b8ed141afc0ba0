//! The part-of-speech tagger: the network of spaCy's en_core_web_sm.
//!
//! Six features of a word (norm, prefix, suffix, shape, space after, is space) each pick four rows of
//! a table by hash; the sums, side by side, go through a maxout layer to 96 numbers that depend on
//! the word alone. Four more maxout layers, each of which sees a token and its two neighbours and
//! adds to what was there, then a linear layer, give the tag.
//!
//! What departs from the plain network: (1) the numbers of a word are kept in a bounded cache, as
//! text repeats its words; (2) weights lie so that a few neighbouring outputs are summed side by
//! side, which the compiler turns into vector instructions; (3) spaCy wraps a text in four rows of
//! zeros that go through the layers too; those that no token can influence are computed once, and
//! those that influence no token never.

use super::blob::{HashMap64, Section, u32_at};
use super::characters::{Class, is_space};
use super::tag::{N_TAGS, Tag, labels_and_weights};
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Width of a token's row.
const WIDTH: usize = 96;
/// Candidates a unit takes the largest of.
const PIECES: usize = 3;
/// Rows of the embedding tables, in the order of [`Features::columns`].
const TABLE_ROWS: [usize; 6] = [5000, 1000, 2500, 2500, 50, 50];
/// Seed of each table's hash.
const SEEDS: [u32; 6] = [8, 9, 10, 11, 12, 13];
/// Inputs of the first layer.
const N_EMBEDDED: usize = WIDTH * TABLE_ROWS.len();
/// Inputs of the other layers: a token and its neighbours.
const N_WINDOW: usize = WIDTH * 3;
/// Thinc's epsilon of layer normalisation.
const EPSILON: f32 = 1e-8;
/// Candidates of a layer, those of one piece side by side.
const OUTPUTS: usize = WIDTH * PIECES;
/// Outputs summed side by side: four vector registers of the oldest x86-64.
const LANES: usize = 16;
/// Words whose rows are kept; 4 MB when full.
const CACHED_WORDS: usize = 8192;
/// Tokens taken through a layer at once, so that their candidates stay in the cache of the CPU.
const BLOCK: usize = 32;
/// Rows of zeros around a text that can influence its tags; those further out cannot.
const PAD: usize = 3;

type Row = [f32; WIDTH];

/// What the network sees of a word: spaCy's ids of its strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Features {
    /// Norm, prefix, suffix, shape, space after, is space.
    columns: [u64; 6],
}

/// Computes features: needs the tables of norms and of spaCy's numbered strings.
#[derive(Clone, Copy, Debug)]
pub(super) struct FeatureTables {
    norms: HashMap64,
    symbols: HashMap64,
}

impl FeatureTables {
    pub(super) fn new() -> FeatureTables {
        FeatureTables {
            norms: HashMap64::new(Section::Norms),
            symbols: HashMap64::new(Section::Symbols),
        }
    }

    /// The features of a token; `norm` is what its special case stands for, if it came of one.
    pub(super) fn of(&self, text: &str, norm: Option<&str>, space_after: bool) -> Features {
        let prefix = text.chars().next().map_or(0, char::len_utf8);
        let suffix = text.char_indices().rev().nth(2).map_or(0, |(at, _)| at);
        let norm_id = match norm.or_else(|| self.norms.string(hash_string(text.as_bytes()))) {
            Some(norm) => self.id(norm),
            None if text.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) => self.id(text),
            None => self.id(&text.to_lowercase()),
        };
        Features {
            columns: [
                norm_id,
                self.id(&text[..prefix]),
                self.id(&text[suffix..]),
                self.id(&shape(text)),
                u64::from(space_after),
                u64::from(!text.is_empty() && text.chars().all(is_space)),
            ],
        }
    }

    /// spaCy's id of a string: its hash, but a small number for some.
    fn id(&self, text: &str) -> u64 {
        if text.is_empty() {
            return 0;
        }
        let hash = hash_string(text.as_bytes());
        self.symbols.number(hash).map_or(hash, u64::from)
    }
}

/// spaCy's shape: letters to x or X, digits to d, runs of the same cut after four.
fn shape(text: &str) -> String {
    if text.len() >= 100 && text.chars().nth(99).is_some() {
        return "LONG".to_owned();
    }
    let mut shape = String::with_capacity(text.len());
    let (mut last, mut n_same) = ('\0', 0);
    for c in text.chars() {
        let kind = match c {
            'a'..='z' => 'x',
            'A'..='Z' => 'X',
            '0'..='9' => 'd',
            _ if c.is_ascii() => c,
            _ if Class::Letter.has(c) => {
                if c.is_uppercase() {
                    'X'
                } else {
                    'x'
                }
            }
            _ if Class::Digit.has(c) => 'd',
            _ => c,
        };
        n_same = if kind == last { n_same + 1 } else { 0 };
        last = kind;
        if n_same < 4 {
            shape.push(kind);
        }
    }
    shape
}

/// spaCy's hash of a string: MurmurHash64A with seed 1, the tail of up to seven bytes zero padded.
fn hash_string(bytes: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let (words, tail) = bytes.as_chunks::<8>();
    let mut hash = 1 ^ (bytes.len() as u64).wrapping_mul(M);
    for word in words {
        let mut k = u64::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 47;
        hash = (hash ^ k.wrapping_mul(M)).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let mut word = [0; 8];
        word[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(M);
    }
    hash = (hash ^ hash >> 47).wrapping_mul(M);
    hash ^ hash >> 47
}

/// Thinc's hash of an id to the four rows of a table: MurmurHash3 x86-128 on one 64-bit word.
fn hash_id(id: u64, seed: u32) -> [u32; 4] {
    fn mix(mut h: u64) -> u64 {
        h = (h ^ h >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        h = (h ^ h >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        h ^ h >> 33
    }
    let seed = u64::from(seed);
    let k =
        id.wrapping_mul(0x87c3_7b91_1142_53d5).rotate_left(31).wrapping_mul(0x4cf5_ad43_2745_937f);
    let h1 = (k ^ seed ^ 8).wrapping_add(seed ^ 8);
    let h2 = h1.wrapping_add(seed ^ 8);
    let (h1, h2) = (mix(h1), mix(h2));
    let h1 = h1.wrapping_add(h2);
    let h2 = h2.wrapping_add(h1);
    [h1 as u32, (h1 >> 32) as u32, h2 as u32, (h2 >> 32) as u32]
}

/// A maxout layer of `N` inputs with the normalisation after it.
struct Layer<const N: usize> {
    /// `[OUTPUTS / LANES][N][LANES]`
    weights: Vec<[[f32; LANES]; N]>,
    biases: [f32; OUTPUTS],
    gain: Row,
    shift: Row,
}

impl<const N: usize> Layer<N> {
    /// `outputs[i]` becomes the layer's value at `inputs[i]`; at most [`BLOCK`] of them.
    fn run(&self, inputs: &[&[f32; N]], outputs: &mut [Row], candidates: &mut [[f32; OUTPUTS]]) {
        // One tile of the weights at a time stays close to the CPU while the tokens pass by.
        for (tile, weights) in self.weights.iter().enumerate() {
            let biases = &self.biases[tile * LANES..][..LANES];
            let mut store = |token: usize, sums: &[f32; LANES]| {
                let candidates = &mut candidates[token][tile * LANES..][..LANES];
                for ((candidate, sum), bias) in candidates.iter_mut().zip(sums).zip(biases) {
                    *candidate = sum + bias;
                }
            };
            let (pairs, single) = inputs.as_chunks::<2>();
            for (i, pair) in pairs.iter().enumerate() {
                let sums = products(weights, *pair);
                store(2 * i, &sums[0]);
                store(2 * i + 1, &sums[1]);
            }
            if let [last] = single {
                store(inputs.len() - 1, &products(weights, [*last])[0]);
            }
        }
        for (output, candidates) in outputs.iter_mut().zip(candidates) {
            for (unit, value) in output.iter_mut().enumerate() {
                let piece = |piece: usize| candidates[piece * WIDTH + unit];
                *value = piece(0).max(piece(1)).max(piece(2));
            }
            self.normalize(output);
        }
    }

    fn normalize(&self, row: &mut Row) {
        let mean = sum(row) / WIDTH as f32;
        row.iter_mut().for_each(|value| *value -= mean);
        let variance = sum(&row.map(|value| value * value)) / WIDTH as f32;
        let inverse = 1.0 / (variance + EPSILON).sqrt();
        for ((value, gain), shift) in row.iter_mut().zip(&self.gain).zip(&self.shift) {
            *value = *value * inverse * gain + shift;
        }
    }
}

/// [`LANES`] outputs for each of `T` tokens. Where the time goes.
fn products<const N: usize, const T: usize>(
    weights: &[[f32; LANES]; N],
    inputs: [&[f32; N]; T],
) -> [[f32; LANES]; T] {
    let mut sums = [[0.0; LANES]; T];
    for (i, weights) in weights.iter().enumerate() {
        for token in 0..T {
            let value = inputs[token][i];
            for lane in 0..LANES {
                sums[token][lane] += weights[lane] * value;
            }
        }
    }
    sums
}

/// The sum of a row, in eight strands that add up side by side.
fn sum(row: &Row) -> f32 {
    let mut strands = [0.0; 8];
    for values in row.as_chunks::<8>().0 {
        strands.iter_mut().zip(values).for_each(|(strand, value)| *strand += value);
    }
    strands.iter().sum()
}

/// The network.
pub(super) struct Tagger {
    /// Of each table the scales of its rows, f32 little endian, and the rows, [`WIDTH`] of i8.
    tables: [(&'static [u8], &'static [u8]); 6],
    first: Layer<N_EMBEDDED>,
    layers: [Layer<N_WINDOW>; 4],
    /// [WIDTH][N_TAGS]
    output: Vec<[f32; N_TAGS]>,
    output_biases: [f32; N_TAGS],
    /// What the first of `layers` makes of zeros: the rows around the text.
    padding: Row,
    words: Mutex<HashMap<Features, Box<Row>>>,
}

/// The one tagger of the process.
pub(super) static TAGGER: LazyLock<Tagger> = LazyLock::new(Tagger::load);

impl Tagger {
    fn load() -> Tagger {
        let mut bytes = Bytes { rest: labels_and_weights().1 };
        let tables = TABLE_ROWS.map(|rows| (bytes.take(rows * 4), bytes.take(rows * WIDTH)));
        let first = bytes.layer();
        let layers = std::array::from_fn(|_| bytes.layer());
        let mut output = vec![[0.0; N_TAGS]; WIDTH];
        for tag in 0..N_TAGS {
            let weights: Row = bytes.f32s();
            output.iter_mut().zip(weights).for_each(|(output, weight)| output[tag] = weight);
        }
        let output_biases = bytes.f32s();
        let mut tagger = Tagger {
            tables,
            first,
            layers,
            output,
            output_biases,
            padding: [0.0; WIDTH],
            words: Mutex::default(),
        };
        let mut padding = [[0.0; WIDTH]];
        tagger.layers[0].run(&[&[0.0; N_WINDOW]], &mut padding, &mut [[0.0; OUTPUTS]]);
        tagger.padding = padding[0];
        tagger
    }

    /// The tags of the tokens of one text.
    pub(super) fn tag(&self, tokens: &[Features]) -> Vec<Tag> {
        let n = tokens.len();
        if n == 0 {
            return Vec::new();
        }
        let mut candidates = vec![[0.0; OUTPUTS]; BLOCK.min(n + 2 * PAD)];
        let mut rows = vec![[0.0; WIDTH]; n + 2 * PAD];
        self.word_rows(tokens, &mut rows[PAD..PAD + n], &mut candidates);
        // How many rows of padding on each side a layer has to compute: the first sees tokens
        // from one row off, the second from two, and after that only what later layers need.
        let mut outputs = vec![[0.0; WIDTH]; n + 2 * PAD];
        for (i, (layer, extra)) in self.layers.iter().zip([1, 2, 1, 0]).enumerate() {
            let range = PAD - extra..PAD + n + extra;
            for start in range.clone().step_by(BLOCK) {
                let end = (start + BLOCK).min(range.end);
                // A row and its neighbours lie side by side already.
                let flat = rows[start - 1..=end].as_flattened();
                let windows: Vec<&[f32; N_WINDOW]> =
                    (0..end - start).filter_map(|t| flat[t * WIDTH..].first_chunk()).collect();
                layer.run(&windows, &mut outputs[start..end], &mut candidates);
            }
            for (row, output) in rows[range.clone()].iter_mut().zip(&outputs[range]) {
                row.iter_mut().zip(output).for_each(|(row, output)| *row += output);
            }
            if i == 0 {
                for row in [0, 1, PAD + n + 1, PAD + n + 2] {
                    rows[row] = self.padding;
                }
            }
        }
        rows[PAD..PAD + n].iter().map(|row| self.best(row)).collect()
    }

    /// The rows of words by themselves, from the cache or computed.
    fn word_rows(&self, tokens: &[Features], rows: &mut [Row], candidates: &mut [[f32; OUTPUTS]]) {
        let mut missing = Vec::new();
        {
            let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
            for (i, (features, row)) in tokens.iter().zip(rows.iter_mut()).enumerate() {
                match words.get(features) {
                    Some(known) => *row = **known,
                    None => missing.push(i),
                }
            }
        }
        for block in missing.chunks(BLOCK) {
            let inputs: Vec<_> = block.iter().map(|i| self.embed(&tokens[*i])).collect();
            let inputs: Vec<_> = inputs.iter().collect();
            let mut outputs = vec![[0.0; WIDTH]; block.len()];
            self.first.run(&inputs, &mut outputs, candidates);
            let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
            for (i, output) in block.iter().zip(&outputs) {
                rows[*i] = *output;
                if words.len() >= CACHED_WORDS {
                    words.clear();
                }
                words.insert(tokens[*i], Box::new(*output));
            }
        }
    }

    /// The sums of the table rows of a word, side by side.
    fn embed(&self, features: &Features) -> [f32; N_EMBEDDED] {
        let mut out = [0.0; N_EMBEDDED];
        for (column, out) in out.chunks_exact_mut(WIDTH).enumerate() {
            let (scales, table) = self.tables[column];
            for key in hash_id(features.columns[column], SEEDS[column]) {
                let row = key as usize % TABLE_ROWS[column];
                let scale = f32_at(scales, 4 * row);
                for (sum, value) in out.iter_mut().zip(&table[row * WIDTH..][..WIDTH]) {
                    *sum += f32::from(value.cast_signed()) * scale;
                }
            }
        }
        out
    }

    fn best(&self, row: &Row) -> Tag {
        let mut scores = self.output_biases;
        for (weights, value) in self.output.iter().zip(row) {
            scores.iter_mut().zip(weights).for_each(|(score, weight)| *score += weight * value);
        }
        // The first of equals, as in the reference.
        let mut best = 0;
        for (i, score) in scores.iter().enumerate() {
            if *score > scores[best] {
                best = i;
            }
        }
        Tag(best as u8)
    }
}

fn f32_at(bytes: &[u8], at: usize) -> f32 {
    f32::from_bits(u32_at(bytes, at))
}

/// Reads the section front to back.
struct Bytes {
    rest: &'static [u8],
}

impl Bytes {
    fn take(&mut self, n: usize) -> &'static [u8] {
        let (taken, rest) = self.rest.split_at(n);
        self.rest = rest;
        taken
    }

    fn f32(&mut self) -> f32 {
        f32_at(self.take(4), 0)
    }

    fn f32s<const N: usize>(&mut self) -> [f32; N] {
        std::array::from_fn(|_| self.f32())
    }

    fn layer<const N: usize>(&mut self) -> Layer<N> {
        // The file has the outputs unit by unit: output = unit * PIECES + piece.
        let scales: [f32; OUTPUTS] = self.f32s();
        let biases: [f32; OUTPUTS] = self.f32s();
        let mut weights = vec![[[0.0; LANES]; N]; OUTPUTS / LANES];
        let lane = |output: usize| (output % PIECES) * WIDTH + output / PIECES;
        for output in 0..OUTPUTS {
            let (values, _) = self.take(2 * N).as_chunks::<2>();
            for (i, value) in values.iter().enumerate() {
                weights[lane(output) / LANES][i][lane(output) % LANES] =
                    f32::from(i16::from_le_bytes(*value)) * scales[output];
            }
        }
        let mut ordered = [0.0; OUTPUTS];
        biases.iter().enumerate().for_each(|(output, bias)| ordered[lane(output)] = *bias);
        Layer { weights, biases: ordered, gain: self.f32s(), shift: self.f32s() }
    }
}
