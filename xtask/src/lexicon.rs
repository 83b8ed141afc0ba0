//! `cargo xtask lexicon`: compiles the data of the English front end into one file.
//!
//! Reads the packages below, unpacked, and writes `crates/text/data/english.bin`, whose layout is
//! told in `crates/text/src/english/blob.rs`. The same inputs give the same bytes. No network.
//!
//! ```text
//! pip download --no-deps misaki==0.9.4           # lexicons, Apache-2.0; unzip the wheel
//! cargo fetch                                    # in a project that depends on misaki-rs 0.8.0 (MIT)
//! npm pack cmu-pronouncing-dictionary@3.0.0      # CMUdict, BSD-2-Clause; tar xzf
//! pip install spacy==3.8.18                      # only to make tables.tsv anew:
//! python crates/text/data/tables.py MISAKI_RS > crates/text/data/tables.tsv
//! cargo xtask lexicon MISAKI/misaki/data MISAKI_RS/data CMUDICT/package
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::letters::british::ToBritish;
use crate::letters::corpus::{self, Entry, Rewriter};

/// Word to a pronunciation, or to several by use.
type Dictionary = BTreeMap<String, serde_json::Value>;

/// Opens every blob; the last digit is the version of the layout.
const MAGIC: &[u8; 12] = b"koe-english1";
/// Keys a block of a string map; a lookup walks half of it on average.
const BLOCK: usize = 16;
/// What the entries with several pronunciations may be chosen by. The order is the code in the blob.
const VARIANTS: [&str; 10] =
    ["DEFAULT", "None", "VERB", "NOUN", "ADJ", "ADV", "VBD", "VBN", "VBP", "DT"];
/// Character classes, in the order the blob holds them.
const CLASSES: [&str; 9] = [
    "alpha",
    "alpha_lower",
    "alpha_upper",
    "icons",
    "letter",
    "upper_letter",
    "lower_letter",
    "decimal",
    "digit",
];
/// The length byte that says: several pronunciations follow.
const SEVERAL: u8 = 255;
/// The length byte that says: deliberately none, spell it.
const SPELLED: u8 = 254;

/// Runs the chore with the arguments after its name.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let [misaki, tagger, cmudict] = arguments else {
        bail!("usage: cargo xtask lexicon MISAKI_DATA MISAKI_RS_DATA CMUDICT");
    };
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/text/data");
    let tables = Tables::parse(&fs::read_to_string(data.join("tables.tsv"))?)?;
    let dictionaries = dictionaries(Path::new(misaki), Path::new(cmudict))?;
    let codes = Codes::learn(dictionaries.iter().flat_map(|d| d.values()).flat_map(pronunciations));
    let lexicon = lexicon(&dictionaries, &codes)?;
    let sections = [
        codes.section(),
        string_map(&lexicon)?,
        string_map(&tables.specials)?,
        string_map(&tables.rejoins)?,
        tables.norms,
        tables.symbols,
        tables.classes,
        tagger_section(Path::new(tagger))?,
    ];
    let blob = container(&sections);
    for (name, section) in
        ["codes", "lexicon", "specials", "rejoins", "norms", "symbols", "classes", "tagger"]
            .iter()
            .zip(&sections)
    {
        eprintln!("{name:10} {:9} bytes", section.len());
    }
    eprintln!("{:10} {:9} bytes, {} words", "english.bin", blob.len(), lexicon.len());
    fs::write(data.join("english.bin"), blob)?;
    Ok(())
}

/// Magic, count, then (offset, length) of each section, each section on a 4-byte boundary.
fn container(sections: &[Vec<u8>]) -> Vec<u8> {
    let mut blob = MAGIC.to_vec();
    push_u32(&mut blob, sections.len());
    let mut offset = blob.len() + 8 * sections.len();
    for section in sections {
        push_u32(&mut blob, offset);
        push_u32(&mut blob, section.len());
        offset = (offset + section.len()).next_multiple_of(4);
    }
    for section in sections {
        blob.extend(section);
        blob.resize(blob.len().next_multiple_of(4), 0);
    }
    blob
}

fn push_u32(out: &mut Vec<u8>, value: usize) {
    out.extend(u32::try_from(value).expect("the blob is small").to_le_bytes());
}

/// A sorted map in blocks of [`BLOCK`] keys, front coded: count of blocks, their offsets (one
/// more than blocks), then the entries: shared prefix, length of the rest, the rest, the length of
/// the value (seven bits a byte, low first), the value.
fn string_map(map: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>> {
    let mut offsets = Vec::new();
    let mut body = Vec::new();
    let mut previous: &[u8] = &[];
    for (i, (key, value)) in map.iter().enumerate() {
        let key = key.as_bytes();
        if i % BLOCK == 0 {
            offsets.push(body.len());
            previous = &[];
        }
        let shared = key.iter().zip(previous).take_while(|(a, b)| a == b).count();
        body.push(u8::try_from(shared)?);
        body.push(u8::try_from(key.len() - shared)?);
        body.extend(&key[shared..]);
        let mut length = value.len();
        while length >= 0x80 {
            body.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        body.push(length as u8);
        body.extend(value);
        previous = key;
    }
    let mut out = Vec::new();
    push_u32(&mut out, offsets.len());
    for offset in offsets.iter().chain([&body.len()]) {
        push_u32(&mut out, *offset);
    }
    out.extend(body);
    Ok(out)
}

/// What a code byte of a pronunciation stands for: one symbol or, for as many codes as a byte has
/// left, the strings of symbols that save most. Halves the dictionaries.
struct Codes {
    strings: Vec<Vec<char>>,
    by_first: BTreeMap<char, Vec<u8>>,
}

impl Codes {
    /// Learns from all `pronunciations` by pairing: the two neighbouring codes seen most often
    /// become a new one, until a byte is full.
    fn learn<'a>(pronunciations: impl Iterator<Item = &'a str>) -> Codes {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        pronunciations.for_each(|phonemes| *counts.entry(phonemes).or_default() += 1);
        let symbols: BTreeSet<char> = counts.keys().flat_map(|phonemes| phonemes.chars()).collect();
        let mut strings: Vec<Vec<char>> = symbols.iter().map(|symbol| vec![*symbol]).collect();
        let code = |symbol: char| strings.iter().position(|s| s[..] == [symbol]).expect("counted");
        let mut words: Vec<(Vec<u16>, usize)> = counts
            .iter()
            .map(|(phonemes, n)| (phonemes.chars().map(|c| code(c) as u16).collect(), *n))
            .collect();
        while strings.len() < 256 {
            let mut pairs: BTreeMap<(u16, u16), usize> = BTreeMap::new();
            for (word, n) in &words {
                word.windows(2).for_each(|w| *pairs.entry((w[0], w[1])).or_default() += n);
            }
            let Some((pair, _)) = pairs.iter().max_by_key(|(pair, n)| (**n, **pair)) else { break };
            let (left, right) = *pair;
            let new = strings.len() as u16;
            strings.push([&strings[usize::from(left)][..], &strings[usize::from(right)]].concat());
            for (word, _) in &mut words {
                let mut i = 0;
                while i + 1 < word.len() {
                    if word[i] == left && word[i + 1] == right {
                        word[i] = new;
                        word.remove(i + 1);
                    }
                    i += 1;
                }
            }
        }
        let mut by_first: BTreeMap<char, Vec<u8>> = BTreeMap::new();
        for (code, string) in strings.iter().enumerate() {
            by_first.entry(string[0]).or_default().push(code as u8);
        }
        Codes { strings, by_first }
    }

    /// The strings, each ended by a zero.
    fn section(&self) -> Vec<u8> {
        self.strings.iter().flat_map(|s| s.iter().chain(&['\0'])).collect::<String>().into_bytes()
    }

    /// Length in codes and the fewest codes of one pronunciation.
    fn push(&self, out: &mut Vec<u8>, phonemes: &str) {
        let symbols: Vec<char> = phonemes.chars().collect();
        // For every place the fewest codes from there to the end, and the first of them.
        let mut best = vec![(0, 0_u8); symbols.len() + 1];
        for at in (0..symbols.len()).rev() {
            best[at] = self.by_first[&symbols[at]]
                .iter()
                .filter(|code| symbols[at..].starts_with(&self.strings[usize::from(**code)]))
                .map(|code| (1 + best[at + self.strings[usize::from(*code)].len()].0, *code))
                .min()
                .expect("every symbol has a code");
        }
        assert!(best[0].0 < usize::from(SPELLED), "{phonemes}");
        out.push(best[0].0 as u8);
        let mut at = 0;
        while at < symbols.len() {
            out.push(best[at].1);
            at += self.strings[usize::from(best[at].1)].len();
        }
    }

    fn push_json(&self, out: &mut Vec<u8>, value: &serde_json::Value) -> Result<()> {
        match value {
            serde_json::Value::String(phonemes) => self.push(out, phonemes),
            serde_json::Value::Object(variants) => {
                out.push(SEVERAL);
                out.push(variants.len() as u8);
                for (name, phonemes) in variants {
                    let code = VARIANTS.iter().position(|v| v == name);
                    out.push(code.with_context(|| format!("new variant {name}"))? as u8);
                    match phonemes.as_str() {
                        Some(phonemes) => self.push(out, phonemes),
                        None => out.push(SPELLED),
                    }
                }
            }
            other => bail!("not a pronunciation: {other}"),
        }
        Ok(())
    }
}

/// All pronunciations of an entry.
fn pronunciations(value: &serde_json::Value) -> Vec<&str> {
    match value {
        serde_json::Value::Object(variants) => {
            variants.values().filter_map(|phonemes| phonemes.as_str()).collect()
        }
        other => other.as_str().into_iter().collect(),
    }
}

/// American gold and silver, British gold and silver, CMUdict, CMUdict made British.
fn dictionaries(misaki: &Path, cmudict: &Path) -> Result<Vec<Dictionary>> {
    let mut dictionaries = Vec::new();
    for name in ["us_gold.json", "us_silver.json", "gb_gold.json", "gb_silver.json"] {
        dictionaries.push(serde_json::from_str(&fs::read_to_string(misaki.join(name))?)?);
    }
    let known: BTreeSet<String> =
        dictionaries.iter().flat_map(Dictionary::keys).map(|key| key.to_lowercase()).collect();
    dictionaries.extend(bronze(misaki, cmudict, &known)?);
    Ok(dictionaries)
}

/// Word to value: a byte that says which of [`dictionaries`] have it, by bit (bit 6: British gold
/// says the same as American gold, 7: likewise silver), then their pronunciations in that order.
fn lexicon(dictionaries: &[Dictionary], codes: &Codes) -> Result<BTreeMap<String, Vec<u8>>> {
    let words: BTreeSet<&String> = dictionaries.iter().flat_map(Dictionary::keys).collect();
    let mut lexicon = BTreeMap::new();
    for word in words {
        let mut flags = 0_u8;
        let mut value = vec![0];
        for (i, dictionary) in dictionaries.iter().enumerate() {
            let Some(entry) = dictionary.get(word) else { continue };
            if (2..4).contains(&i) && dictionaries[i - 2].get(word) == Some(entry) {
                flags |= 1 << (i + 4);
                continue;
            }
            flags |= 1 << i;
            codes.push_json(&mut value, entry)?;
        }
        value[0] = flags;
        lexicon.insert(word.clone(), value);
    }
    Ok(lexicon)
}

/// Whether misaki's lexicons say `word` without CMUdict's help, by itself or by its stem.
fn derivable(word: &str, known: &BTreeSet<String>) -> bool {
    let has = |stem: &str| known.contains(stem);
    has(word)
        || ["'s", "s'", "s", "es", "d", "ed", "ing", "'"]
            .iter()
            .any(|suffix| word.strip_suffix(suffix).is_some_and(has))
        || word.strip_suffix("ies").is_some_and(|stem| has(&format!("{stem}y")))
        || word.strip_suffix("ing").is_some_and(|stem| has(&format!("{stem}e")))
}

/// CMUdict's first pronunciation of every plain word that `known` does not give away, in
/// misaki's American phonemes and in British ones.
fn bronze(misaki: &Path, cmudict: &Path, known: &BTreeSet<String>) -> Result<[Dictionary; 2]> {
    let gold = |name: &str| corpus::misaki(&misaki.join(name));
    let (us, gb) = (gold("us_gold.json")?, gold("gb_gold.json")?);
    let cmu = corpus::cmudict(&cmudict.join("index.js"))?;
    let to_american = Rewriter::learn(&corpus::pairs(&cmu, &us));
    let to_british = ToBritish::learn(&us, &gb);
    let mut dictionaries = [Dictionary::new(), Dictionary::new()];
    for entry in cmu {
        let word = &entry.word;
        // A possessive follows from its owner, and comes after it in the file.
        let possessive = word.strip_suffix("'s").or(word.strip_suffix("s'"));
        if !word.starts_with(|c: char| c.is_ascii_lowercase())
            || derivable(word, known)
            || dictionaries[0].contains_key(word)
            || possessive.is_some_and(|owner| dictionaries[0].contains_key(owner))
        {
            continue;
        }
        let american = Entry { units: to_american.apply(&entry.units), word: word.clone() };
        let british = to_british.convert(&american);
        dictionaries[0].insert(word.clone(), american.units.concat().into());
        dictionaries[1].extend(british.map(|entry| (entry.word, entry.units.concat().into())));
    }
    Ok(dictionaries)
}

/// What `tables.tsv` holds, in the form of the blob.
struct Tables {
    /// Special case to its tokens: count, then each one's length, length of its norm, its norm.
    specials: BTreeMap<String, Vec<u8>>,
    /// First token of a torn special case to the cases: length, text, count of tokens, lengths.
    rejoins: BTreeMap<String, Vec<u8>>,
    /// Count, sorted hashes of words (u64), ends of the norms (u32), norms.
    norms: Vec<u8>,
    /// Count, sorted hashes of names (u64), their numbers (u32).
    symbols: Vec<u8>,
    /// For each of [`CLASSES`]: count, then first and last code point of every run (u32).
    classes: Vec<u8>,
}

impl Tables {
    fn parse(source: &str) -> Result<Tables> {
        let mut specials = BTreeMap::new();
        let mut rejoins: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut norms = BTreeMap::new();
        let mut symbols = BTreeMap::new();
        let mut classes = BTreeMap::new();
        for line in source.lines() {
            let fields: Vec<String> = line.split('\t').map(unescape).collect();
            match fields.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["special", text, ref pieces @ ..] => {
                    let mut value = vec![u8::try_from(pieces.len() / 2)?];
                    for piece in pieces.chunks(2) {
                        let norm = piece.get(1).copied().unwrap_or("");
                        value.extend([u8::try_from(piece[0].len())?, u8::try_from(norm.len())?]);
                        value.extend(norm.bytes());
                    }
                    specials.insert(text.to_owned(), value);
                }
                // One token stays one token: nothing to put together.
                ["rejoin", _, _] => {}
                ["rejoin", text, ref pieces @ ..] => {
                    let value = rejoins.entry(pieces[0].to_owned()).or_default();
                    value.push(u8::try_from(text.len())?);
                    value.extend(text.bytes());
                    value.push(u8::try_from(pieces.len())?);
                    for piece in pieces {
                        value.push(u8::try_from(piece.len())?);
                    }
                }
                ["norm", hash, norm] => {
                    norms.insert(u64::from_str_radix(hash, 16)?, norm.to_owned());
                }
                ["symbol", hash, number] => {
                    symbols.insert(u64::from_str_radix(hash, 16)?, number.parse::<u32>()?);
                }
                ["class", name, runs] => {
                    classes.insert(name.to_owned(), runs.to_owned());
                }
                _ => bail!("tables.tsv: not understood: {line}"),
            }
        }
        let mut norm_section = Vec::new();
        push_u32(&mut norm_section, norms.len());
        norms.keys().for_each(|hash| norm_section.extend(hash.to_le_bytes()));
        let mut end = 0;
        for norm in norms.values() {
            end += norm.len();
            push_u32(&mut norm_section, end);
        }
        norms.values().for_each(|norm| norm_section.extend(norm.bytes()));
        let mut symbol_section = Vec::new();
        push_u32(&mut symbol_section, symbols.len());
        symbols.keys().for_each(|hash| symbol_section.extend(hash.to_le_bytes()));
        symbols.values().for_each(|number| symbol_section.extend(number.to_le_bytes()));
        let mut class_section = Vec::new();
        for name in CLASSES {
            let runs = classes.get(name).with_context(|| format!("tables.tsv: no class {name}"))?;
            push_u32(&mut class_section, runs.split(' ').count());
            for run in runs.split(' ') {
                let (first, last) = run.split_once('-').context("tables.tsv: a run has no end")?;
                push_u32(&mut class_section, usize::from_str_radix(first, 16)?);
                push_u32(&mut class_section, usize::from_str_radix(last, 16)?);
            }
        }
        Ok(Tables {
            specials,
            rejoins,
            norms: norm_section,
            symbols: symbol_section,
            classes: class_section,
        })
    }
}

fn unescape(field: &str) -> String {
    let mut out = String::new();
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        out.push(match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                other => other.unwrap_or('\\'),
            },
            (c, false) => c,
        });
    }
    out
}

/// Width of the tagger's rows.
const WIDTH: usize = 96;
/// Outputs of a maxout layer: three candidates for each of [`WIDTH`] units.
const OUTPUTS: usize = 3 * WIDTH;
/// Rows of the six embedding tables: norm, prefix, suffix, shape, space after, is space.
const TABLE_ROWS: [usize; 6] = [5000, 1000, 2500, 2500, 50, 50];
/// The largest absolute value; not zero, to divide by.
fn largest(row: &[f32]) -> f32 {
    row.iter().fold(f32::MIN_POSITIVE, |max, v| max.max(v.abs()))
}

/// Part-of-speech tags.
const TAGS: usize = 50;
/// The tagger: the names of the tags; per embedding table the scale of every row, then the rows in
/// 8 bits; per layer the scales, biases, weights in 16 bits, gain and shift of its normalisation;
/// then the weights and biases of the output in f32. The input is f32 throughout, in the same order.
fn tagger_section(dir: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(dir.join("tagger.bin"))?;
    let mut floats =
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes")));
    let mut take = |n: usize| -> Vec<f32> { floats.by_ref().take(n).collect() };
    let mut out = Vec::new();
    let labels = fs::read_to_string(dir.join("tagger_labels.txt"))?.trim_end().to_owned();
    push_u32(&mut out, labels.len());
    out.extend(labels.bytes());
    out.resize(out.len().next_multiple_of(4), 0);
    for rows in TABLE_ROWS {
        let table = take(rows * WIDTH);
        let scales: Vec<f32> =
            table.chunks(WIDTH).map(|row| largest(row) / f32::from(i8::MAX)).collect();
        scales.iter().for_each(|scale| out.extend(scale.to_le_bytes()));
        for (row, scale) in table.chunks(WIDTH).zip(&scales) {
            out.extend(row.iter().map(|v| (v / scale).round() as i8 as u8));
        }
    }
    for layer in 0..5 {
        let inputs = WIDTH * if layer == 0 { TABLE_ROWS.len() } else { 3 };
        let weights = take(OUTPUTS * inputs);
        let biases = take(OUTPUTS);
        let scales: Vec<f32> =
            weights.chunks(inputs).map(|row| largest(row) / f32::from(i16::MAX)).collect();
        scales.iter().chain(&biases).for_each(|v| out.extend(v.to_le_bytes()));
        for (row, scale) in weights.chunks(inputs).zip(&scales) {
            row.iter().for_each(|v| out.extend(((v / scale).round() as i16).to_le_bytes()));
        }
        take(2 * WIDTH).iter().for_each(|v| out.extend(v.to_le_bytes()));
    }
    take(TAGS * WIDTH + TAGS).iter().for_each(|v| out.extend(v.to_le_bytes()));
    if floats.next().is_some() || labels.lines().count() != TAGS {
        bail!("tagger.bin or tagger_labels.txt is not of the expected size");
    }
    Ok(out)
}
