//! Reads the compiled letter-to-sound model where it lies and searches it.
//!
//! The model is an n-gram over graphones, each a letter or two with the phonemes they speak
//! (Bisani & Ney 2008). `cargo xtask letters` trains and writes it; its `blob.rs` is the other
//! half of the format. Nothing is parsed or copied: every look-up reads the bytes in place, and a
//! byte that should not be there gives a poor guess, never a panic.
//!
//! Layout, little-endian, offsets from the start:
//!
//! ```text
//! 0   "koeL", u8 version, u8 order, u16 number of graphones
//! 8   u32 offset of spellings: u16[28 * 28 + 1], first graphone of each pair of letters
//! 12  u32 offset of sounds: u16[graphones + 1], where each graphone's text starts in the pool
//! 16  u32 offset of the pool: UTF-8
//! 20  per length of n-gram: u32 offsets of
//!       nodes: u16 each, graphone << 5 | code of log probability
//!       back-off: u8 each, code of log weight      (0 at the longest length)
//!       first child: u16 each, relative to         (0 at the longest length)
//!       base: u32 for every 256 nodes              (0 at the longest length)
//!       code books: f32[32] probabilities, f32[256] back-off weights
//! ```
//!
//! Nodes of one context stand together in order of graphone, and graphones are in order of their
//! letters, so the graphones that may follow for given letters are one run of nodes.

/// Bytes at the head of a model.
pub(crate) const MAGIC: [u8; 4] = *b"koeL";
/// The format that this reader knows.
pub(crate) const VERSION: u8 = 1;
/// Longest n-gram that the format may hold.
pub(crate) const MAX_ORDER: usize = 8;
/// Letters a to z are 1 to 26, the apostrophe is 27, 0 means none.
pub(crate) const N_LETTERS: usize = 28;
/// Bits of a node that hold the code of its probability.
pub(crate) const P_BITS: u32 = 5;
/// Nodes that share one base of their first children.
pub(crate) const BLOCK: usize = 256;
/// The graphone before the first of a word.
const START: u32 = 0;
/// The graphone after the last of a word.
const END: u16 = 1;
/// Where the offsets of the n-gram lengths begin, and how many there are for each length.
pub(crate) const LEVELS_AT: usize = 20;
pub(crate) const LEVEL_FIELDS: usize = 5;

/// Hypotheses kept at each letter. With 24 instead of 200, 2 % of words come out differently, as many
/// of them right, in a tenth of the time.
const BEAM: usize = 24;
/// Hypotheses this far behind the best, in natural logarithms, are dropped.
const MARGIN: f32 = 9.0;
/// No such node.
const NONE: u32 = u32::MAX;

/// A view of a compiled model.
#[derive(Clone, Copy)]
pub(crate) struct Model<'a> {
    bytes: &'a [u8],
    order: usize,
    spellings: usize,
    sounds: usize,
    pool: usize,
}

/// Offsets of the n-grams of one length.
#[derive(Clone, Copy, Default)]
struct Level {
    nodes: usize,
    back_off: usize,
    first_child: usize,
    base: usize,
    books: usize,
}

/// A way to speak the letters so far.
#[derive(Clone, Copy)]
struct Hypothesis {
    score: f32,
    /// The node of the last k graphones at index k, for every length that a context may have.
    chain: [u32; MAX_ORDER],
    /// Whether a vowel has taken the primary stress already; there is but one in a word.
    has_primary: bool,
    graphone: u16,
    /// Letter position and index of the hypothesis that this one continues.
    parent: (u16, u16),
}

impl Hypothesis {
    /// What of the past the future depends on: the longest known context, and the stress.
    fn state(&self) -> (usize, u32, bool) {
        let deepest = (1..MAX_ORDER).rev().find(|k| self.chain[*k] != NONE).unwrap_or(0);
        (deepest, self.chain[deepest], self.has_primary)
    }
}

impl<'a> Model<'a> {
    /// A model in `bytes`, if they begin like one.
    pub(crate) fn open(bytes: &'a [u8]) -> Option<Model<'a>> {
        let order = usize::from(*bytes.get(5)?);
        let known = bytes.get(..4)? == MAGIC && bytes[4] == VERSION;
        let mut model = Model { bytes, order, spellings: 0, sounds: 0, pool: 0 };
        model.spellings = model.u32(8);
        model.sounds = model.u32(12);
        model.pool = model.u32(16);
        (known && (2..=MAX_ORDER).contains(&order)).then_some(model)
    }

    /// The likeliest phonemes, with stress, of letters coded as [`N_LETTERS`] says.
    ///
    /// Time is linear in the letters: at each one a bounded number of hypotheses is extended.
    pub(crate) fn speak(&self, letters: &[u8]) -> Option<String> {
        let mut levels = [Level::default(); MAX_ORDER];
        for (n, level) in levels.iter_mut().enumerate().take(self.order) {
            *level = self.level(n);
        }
        let mut chain = [NONE; MAX_ORDER];
        chain[1] = START;
        let first = Hypothesis {
            score: 0.0,
            chain,
            has_primary: false,
            graphone: START as u16,
            parent: (0, 0),
        };
        let mut beams: Vec<Vec<Hypothesis>> = vec![Vec::new(); letters.len() + 1];
        beams[0].push(first);
        let mut row = Row::default();
        for at in 0..letters.len() {
            let mut beam = std::mem::take(&mut beams[at]);
            narrow(&mut beam);
            for (i, hypothesis) in beam.iter().enumerate() {
                let parent = (at as u16, i as u16);
                let one = self.spelled(letters[at], 0);
                self.extend(hypothesis, parent, one, &levels, &mut row, &mut beams[at + 1]);
                if let Some(second) = letters.get(at + 1) {
                    let two = self.spelled(letters[at], *second);
                    self.extend(hypothesis, parent, two, &levels, &mut row, &mut beams[at + 2]);
                }
            }
            beams[at] = beam;
        }
        let last = &mut beams[letters.len()];
        narrow(last);
        let mut finals: Vec<Hypothesis> = Vec::new();
        let end = END..END + 1;
        for (i, hypothesis) in last.iter().enumerate() {
            let parent = (letters.len() as u16, i as u16);
            self.extend(hypothesis, parent, end.clone(), &levels, &mut row, &mut finals);
        }
        // A word without primary stress is the last resort; the caller then sets one.
        let best = finals
            .iter()
            .max_by(|a, b| a.has_primary.cmp(&b.has_primary).then(a.score.total_cmp(&b.score)))?;
        let mut path = Vec::new();
        let mut here = best.parent;
        while here.0 > 0 {
            let hypothesis = beams.get(usize::from(here.0))?.get(usize::from(here.1))?;
            path.push(hypothesis.graphone);
            here = hypothesis.parent;
        }
        Some(path.iter().rev().map(|graphone| self.sound(*graphone)).collect())
    }

    /// Adds to `out` every continuation of a hypothesis by a graphone of `range`.
    fn extend(
        &self,
        from: &Hypothesis,
        parent: (u16, u16),
        range: std::ops::Range<u16>,
        levels: &[Level; MAX_ORDER],
        row: &mut Row,
        out: &mut Vec<Hypothesis>,
    ) {
        row.0.clear();
        for graphone in range.clone() {
            let mut chain = [NONE; MAX_ORDER];
            chain[1] = u32::from(graphone);
            let score = self.log_p(&levels[0], usize::from(graphone));
            row.0.push((score, chain));
        }
        // From the shortest context to the longest: back off everywhere, then let what the longer
        // context knows replace it.
        for k in 1..self.order {
            let node = from.chain[k];
            if node == NONE {
                continue;
            }
            let level = &levels[k - 1];
            let (begin, end) = (self.child(level, node), self.child(level, node + 1));
            if begin >= end {
                continue;
            }
            let back_off = self.back_off(level, node);
            for (score, _) in &mut row.0 {
                *score += back_off;
            }
            let next = &levels[k];
            for child in self.lower_bound(next, begin, end, range.start)..end {
                let graphone = self.graphone(next, child);
                let Some((score, chain)) = (graphone < range.end)
                    .then(|| row.0.get_mut(usize::from(graphone - range.start)))
                    .flatten()
                else {
                    break;
                };
                *score = self.log_p(next, child as usize);
                if k + 1 < self.order {
                    chain[k + 1] = child;
                }
            }
        }
        for (graphone, (score, chain)) in range.zip(&row.0) {
            let primary = self.sound(graphone).contains('ˈ');
            if primary && from.has_primary {
                continue;
            }
            out.push(Hypothesis {
                score: from.score + score,
                chain: *chain,
                has_primary: from.has_primary || primary,
                graphone,
                parent,
            });
        }
    }

    /// The first node of `begin..end` whose graphone is not before `graphone`.
    fn lower_bound(&self, level: &Level, mut begin: u32, mut end: u32, graphone: u16) -> u32 {
        while begin < end {
            let middle = begin + (end - begin) / 2;
            if self.graphone(level, middle) < graphone {
                begin = middle + 1;
            } else {
                end = middle;
            }
        }
        begin
    }

    fn level(&self, n: usize) -> Level {
        let field = |i: usize| self.u32(LEVELS_AT + 4 * (LEVEL_FIELDS * n + i));
        Level {
            nodes: field(0),
            back_off: field(1),
            first_child: field(2),
            base: field(3),
            books: field(4),
        }
    }

    /// The graphones that spell one or two letters.
    fn spelled(&self, first: u8, second: u8) -> std::ops::Range<u16> {
        let pair = usize::from(first) * N_LETTERS + usize::from(second);
        self.u16(self.spellings + 2 * pair)..self.u16(self.spellings + 2 * pair + 2)
    }

    fn sound(&self, graphone: u16) -> &'a str {
        let at = self.sounds + 2 * usize::from(graphone);
        let from = self.pool + usize::from(self.u16(at));
        let to = self.pool + usize::from(self.u16(at + 2));
        self.bytes.get(from..to).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or("")
    }

    fn graphone(&self, level: &Level, node: u32) -> u16 {
        self.u16(level.nodes + 2 * node as usize) >> P_BITS
    }

    fn log_p(&self, level: &Level, node: usize) -> f32 {
        let code = self.u16(level.nodes + 2 * node) & ((1 << P_BITS) - 1);
        self.f32(level.books + 4 * usize::from(code))
    }

    fn back_off(&self, level: &Level, node: u32) -> f32 {
        let code = self.bytes.get(level.back_off + node as usize).copied().unwrap_or(0);
        self.f32(level.books + 4 * ((1 << P_BITS) + usize::from(code)))
    }

    fn child(&self, level: &Level, node: u32) -> u32 {
        let node = node as usize;
        let base = self.u32(level.base + 4 * (node / BLOCK)) as u32;
        base + u32::from(self.u16(level.first_child + 2 * node))
    }

    fn u16(&self, at: usize) -> u16 {
        self.bytes.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
    }

    fn u32(&self, at: usize) -> usize {
        let word = self.bytes.get(at..at + 4);
        word.map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)
    }

    fn f32(&self, at: usize) -> f32 {
        f32::from_bits(self.u32(at) as u32)
    }
}

/// Scratch of one extension: score and chain of every graphone in the range.
#[derive(Default)]
struct Row(Vec<(f32, [u32; MAX_ORDER])>);

/// Keeps the best hypothesis of each state, and of those the best few, best first.
fn narrow(beam: &mut Vec<Hypothesis>) {
    let best = beam.iter().fold(f32::NEG_INFINITY, |best, h| best.max(h.score));
    beam.retain(|h| h.score >= best - MARGIN);
    beam.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Hypothesis> = Vec::with_capacity(BEAM);
    for hypothesis in beam.iter() {
        if kept.len() == BEAM {
            break;
        }
        if kept.iter().all(|k| k.state() != hypothesis.state()) {
            kept.push(*hypothesis);
        }
    }
    *beam = kept;
}
