//! The compiled data of English, `data/english.bin`, as sections of plain bytes.
//!
//! Written by `cargo xtask lexicon` (`xtask/src/lexicon.rs` says what each section holds), part of
//! the binary, read in place: opening it costs nothing but a look at the header. The file is
//! ours and trusted; a wrong layout is a bug and panics at the first use, which every test sees.

/// The whole file: magic, count of sections, offset and length of each, the sections.
static BLOB: &[u8] = include_bytes!("../../data/english.bin");
/// The last digit is the version of the layout.
const MAGIC: &[u8] = b"koe-english1";

/// The sections, in the order of the file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Section {
    /// Strings of phonemes, each ended by a zero; a string's index is its code.
    Codes,
    /// Word to pronunciations, a [`StringMap`].
    Lexicon,
    /// Tokenizer special case to its tokens, a [`StringMap`].
    Specials,
    /// First token of a torn special case to the cases it may begin, a [`StringMap`].
    Rejoins,
    /// Hash of a word to its norm, a [`HashMap64`] of strings.
    Norms,
    /// Hash of a name to the number that spaCy gives it.
    Symbols,
    /// Runs of code points.
    Classes,
    /// The weights of the tagger.
    Tagger,
}

/// The bytes of one section.
pub(super) fn section(section: Section) -> &'static [u8] {
    assert_eq!(&BLOB[..MAGIC.len()], MAGIC, "english.bin is of another version");
    let entry = MAGIC.len() + 4 + 8 * section as usize;
    let offset = u32_at(BLOB, entry) as usize;
    &BLOB[offset..][..u32_at(BLOB, entry + 4) as usize]
}

/// The little-endian number at byte `at`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// A sorted map from string to bytes, front coded in blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct StringMap {
    n_blocks: usize,
    /// Where each block begins in `entries`, u32, and where the last ends.
    offsets: &'static [u8],
    entries: &'static [u8],
}

impl StringMap {
    pub(super) fn new(which: Section) -> StringMap {
        let bytes = section(which);
        let n_blocks = u32_at(bytes, 0) as usize;
        let (offsets, entries) = bytes[4..].split_at(4 * (n_blocks + 1));
        StringMap { n_blocks, offsets, entries }
    }

    /// The value of `key`.
    pub(super) fn get(&self, key: &str) -> Option<&'static [u8]> {
        let key = key.as_bytes();
        // The last block whose first key is not above `key`; the first key is whole.
        let (mut low, mut high) = (0, self.n_blocks);
        while low < high {
            let middle = low.midpoint(high);
            let block = self.block(middle);
            if &block[2..2 + usize::from(block[1])] <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let mut rest = self.block(low.checked_sub(1)?);
        // How much of `key` the entry before shares with it: an entry that shares more with its
        // neighbour than that is still below `key`, one that shares less is already above.
        let mut matched = 0;
        while let [shared, n_suffix, tail @ ..] = rest {
            let (shared, (suffix, tail)) =
                (usize::from(*shared), tail.split_at(usize::from(*n_suffix)));
            let (n_value, tail) = varint(tail);
            let (value, tail) = tail.split_at(n_value);
            rest = tail;
            if shared > matched {
                continue;
            }
            if shared < matched {
                return None;
            }
            let wanted = &key[matched..];
            let common = suffix.iter().zip(wanted).take_while(|(a, b)| a == b).count();
            matched += common;
            match (common == suffix.len(), common == wanted.len()) {
                (true, true) => return Some(value),
                (false, true) => return None,
                (false, false) if suffix[common] > wanted[common] => return None,
                _ => {}
            }
        }
        None
    }

    fn block(&self, i: usize) -> &'static [u8] {
        let range = u32_at(self.offsets, 4 * i) as usize..u32_at(self.offsets, 4 * i + 4) as usize;
        &self.entries[range]
    }
}

/// A number in seven bits a byte, low first, and what follows it.
fn varint(bytes: &[u8]) -> (usize, &[u8]) {
    match bytes {
        [low, rest @ ..] if *low < 0x80 => (usize::from(*low), rest),
        [low, rest @ ..] => {
            let (high, rest) = varint(rest);
            (usize::from(*low & 0x7f) | high << 7, rest)
        }
        [] => (0, bytes),
    }
}

/// A map from 64-bit hashes, sorted, to an index.
#[derive(Clone, Copy, Debug)]
pub(super) struct HashMap64 {
    n: usize,
    /// The hashes, u64.
    keys: &'static [u8],
    /// What follows the keys in the section.
    values: &'static [u8],
}

impl HashMap64 {
    pub(super) fn new(which: Section) -> HashMap64 {
        let bytes = section(which);
        let n = u32_at(bytes, 0) as usize;
        let (keys, values) = bytes[4..].split_at(8 * n);
        HashMap64 { n, keys, values }
    }

    fn position(&self, key: u64) -> Option<usize> {
        let (mut low, mut high) = (0, self.n);
        while low < high {
            let middle = low.midpoint(high);
            match u64_at(self.keys, 8 * middle).cmp(&key) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The value of `key`, in a section whose values are numbers.
    pub(super) fn number(&self, key: u64) -> Option<u32> {
        self.position(key).map(|i| u32_at(self.values, 4 * i))
    }

    /// The value of `key`, in a section whose values are the ends of strings, then the strings.
    pub(super) fn string(&self, key: u64) -> Option<&'static str> {
        let i = self.position(key)?;
        let (ends, strings) = self.values.split_at(4 * self.n);
        let start = if i == 0 { 0 } else { u32_at(ends, 4 * (i - 1)) as usize };
        std::str::from_utf8(&strings[start..u32_at(ends, 4 * i) as usize]).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key of a map, by walking its entries as they were written.
    fn keys(map: StringMap) -> Vec<String> {
        let mut keys = Vec::new();
        for i in 0..map.n_blocks {
            let mut rest = map.block(i);
            let mut key: Vec<u8> = Vec::new();
            while let [shared, n_suffix, tail @ ..] = rest {
                let (suffix, tail) = tail.split_at(usize::from(*n_suffix));
                key.truncate(usize::from(*shared));
                key.extend(suffix);
                let (n_value, tail) = varint(tail);
                rest = &tail[n_value..];
                keys.push(String::from_utf8(key.clone()).expect("keys are text"));
            }
        }
        keys
    }

    #[test]
    fn every_word_of_the_lexicon_is_found_and_its_neighbours_are_not() {
        for section in [Section::Lexicon, Section::Specials, Section::Rejoins] {
            let map = StringMap::new(section);
            let keys = keys(map);
            assert!(keys.len() > 100 && keys.is_sorted());
            for key in &keys {
                assert!(map.get(key).is_some(), "{key}");
            }
            for key in keys.iter().step_by(7) {
                for absent in [format!("{key}\u{1}"), key.replace('e', "e\u{1}")] {
                    let listed = keys.binary_search(&absent).is_ok();
                    assert_eq!(map.get(&absent).is_some(), listed, "{absent}");
                }
            }
            assert!(map.get("").is_none());
            assert!(map.get("\u{10ffff}").is_none());
        }
    }
}
