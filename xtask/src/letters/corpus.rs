//! Training words for letter-to-sound: misaki's lexicons and CMUdict, as letters and phoneme units.
//!
//! A unit is one phoneme of misaki's final alphabet with its stress mark and length mark, such as
//! `ˈæ` or `ɑː`. CMUdict speaks ARPAbet and marks neither flaps nor reduced vowels, so its words
//! are first spelled with misaki's symbols and then corrected by what the words that both
//! dictionaries have teach about each symbol between its neighbours.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// Vowels of misaki's alphabet, American and British; stress marks stand right before one.
const VOWELS: &str = "AIOQWYaiuæɑɒɔəɛɜɪʊʌᵊᵻ";

/// A word and one way to say it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// Lower-case letters a to z and apostrophes.
    pub word: String,
    /// Phoneme units in order.
    pub units: Vec<String>,
}

/// The units of a misaki pronunciation; none if a stress mark has no vowel after it.
pub(crate) fn units(phonemes: &str) -> Option<Vec<String>> {
    let mut out: Vec<String> = Vec::new();
    let mut stress = String::new();
    for symbol in phonemes.chars() {
        match symbol {
            'ˈ' | 'ˌ' => stress = symbol.to_string(),
            'ː' => out.last_mut()?.push(symbol),
            // The flap and the glottal stop are written like this for the voices of Kokoro 1.0.
            'ɾ' => out.push("T".into()),
            'ʔ' => out.push("t".into()),
            _ if VOWELS.contains(symbol) => {
                out.push(format!("{}{symbol}", std::mem::take(&mut stress)));
            }
            _ => out.push(symbol.to_string()),
        }
    }
    stress.is_empty().then_some(out)
}

/// Whether a unit is a vowel, stressed or not.
pub(crate) fn is_vowel(unit: &str) -> bool {
    unit.chars().any(|c| VOWELS.contains(c))
}

/// A unit without its stress mark.
pub(crate) fn unstressed(unit: &str) -> &str {
    unit.trim_start_matches(['ˈ', 'ˌ'])
}

/// Whether a word teaches spelling: letters only, with a vowel letter, and no initialism.
fn is_spelling(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    let capitals = key.chars().filter(char::is_ascii_uppercase).count();
    capitals <= 1
        && lower.len() >= 2
        && lower.chars().all(|c| c.is_ascii_lowercase() || c == '\'')
        && lower.chars().any(|c| "aeiouy".contains(c))
}

/// Reads one of misaki's lexicons: word to phonemes, or to phonemes by part of speech.
pub(crate) fn misaki(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let json: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&std::fs::read(path)?)?;
    let mut entries = BTreeSet::new();
    for (key, value) in &json {
        let phonemes = match value {
            serde_json::Value::Object(by_tag) => by_tag.get("DEFAULT").and_then(|v| v.as_str()),
            other => other.as_str(),
        };
        let Some(units) = phonemes.and_then(units) else { continue };
        if is_spelling(key) && !units.is_empty() {
            entries.insert(Entry { word: key.to_ascii_lowercase(), units });
        }
    }
    Ok(entries.into_iter().collect())
}

/// Every word that a lexicon lists, in lower case, whether or not it teaches spelling.
pub(crate) fn keys(path: &Path) -> anyhow::Result<BTreeSet<String>> {
    let json: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&std::fs::read(path)?)?;
    Ok(json.keys().map(|key| key.to_lowercase()).collect())
}

/// The words of a lexicon that are written with a capital and small letters, in lower case.
pub(crate) fn capitals(path: &Path) -> anyhow::Result<BTreeSet<String>> {
    let json: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&std::fs::read(path)?)?;
    let is_name = |key: &&String| key.starts_with(|c: char| c.is_ascii_uppercase());
    Ok(json.keys().filter(is_name).map(|key| key.to_lowercase()).collect())
}

/// Reads CMUdict, either as published (`word P H`) or as the JavaScript module of the package
/// `cmu-pronouncing-dictionary` (`"word": "P H",`), into plain misaki symbols.
pub(crate) fn cmudict(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
    let mut entries = Vec::new();
    for line in text.lines() {
        let line = line.replace(['"', ','], " ").replacen(": ", " ", 1);
        let line = line.split('#').next().unwrap_or_default();
        let mut fields = line.split_whitespace();
        let Some(key) = fields.next() else { continue };
        let word = key.split('(').next().unwrap_or_default().to_string();
        let phones: Option<Vec<Vec<String>>> = fields.map(from_arpabet).collect();
        let Some(phones) = phones else { continue };
        if is_spelling(&word) && !phones.is_empty() {
            entries.push(Entry { word, units: phones.concat() });
        }
    }
    anyhow::ensure!(entries.len() > 100_000, "{}: not CMUdict", path.display());
    Ok(entries)
}

/// One ARPAbet phone as misaki units, context aside.
fn from_arpabet(phone: &str) -> Option<Vec<String>> {
    let stress = match phone.as_bytes().last()? {
        b'1' => "ˈ",
        b'2' => "ˌ",
        _ => "",
    };
    let symbol = match phone.trim_end_matches(['0', '1', '2']) {
        "AA" => "ɑ",
        "AE" => "æ",
        "AO" => "ɔ",
        "AW" => "W",
        "AY" => "I",
        "B" => "b",
        "CH" => "ʧ",
        "D" => "d",
        "DH" => "ð",
        "EH" => "ɛ",
        "EY" => "A",
        "F" => "f",
        "G" => "ɡ",
        "HH" => "h",
        "IH" => "ɪ",
        "IY" => "i",
        "JH" => "ʤ",
        "K" => "k",
        "L" => "l",
        "M" => "m",
        "N" => "n",
        "NG" => "ŋ",
        "OW" => "O",
        "OY" => "Y",
        "P" => "p",
        "R" => "ɹ",
        "S" => "s",
        "SH" => "ʃ",
        "T" => "t",
        "TH" => "θ",
        "UH" => "ʊ",
        "UW" => "u",
        "V" => "v",
        "W" => "w",
        "Y" => "j",
        "Z" => "z",
        "ZH" => "ʒ",
        "AH" if stress.is_empty() => "ə",
        "AH" => "ʌ",
        "ER" => {
            let vowel = if stress.is_empty() { "ə" } else { "ɜ" };
            return Some(vec![format!("{stress}{vowel}"), "ɹ".into()]);
        }
        _ => return None,
    };
    Some(vec![format!("{stress}{symbol}")])
}

/// What one unit becomes between its neighbours, learnt from words written both ways.
pub(crate) struct Rewriter {
    /// Context, longest first by level, to the replacement and how often the context was seen.
    rules: Vec<HashMap<Vec<String>, (String, usize)>>,
}

/// Neighbours left and right of a unit that each level looks at, widest first.
const CONTEXTS: [(usize, usize); 6] = [(3, 3), (2, 2), (1, 2), (1, 1), (0, 1), (0, 0)];
/// A context must have been seen this often before its lesson counts.
const SEEN_AT_LEAST: usize = 4;

impl Rewriter {
    /// Learns from aligned pairs: `from[i]` became `to[i]`. Empty strings are allowed in `to`.
    pub(crate) fn learn(pairs: &[(Vec<String>, Vec<String>)]) -> Rewriter {
        let mut rules = Vec::new();
        for (left, right) in CONTEXTS {
            let mut seen: HashMap<Vec<String>, BTreeMap<&str, usize>> = HashMap::new();
            for (from, to) in pairs {
                for (i, after) in to.iter().enumerate() {
                    let counts = seen.entry(context(from, i, left, right)).or_default();
                    *counts.entry(after).or_default() += 1;
                }
            }
            rules.push(
                seen.into_iter()
                    .map(|(key, counts)| {
                        let total = counts.values().sum();
                        // The first in order among equals, so that runs repeat.
                        let best = counts.iter().rev().max_by_key(|(_, n)| **n);
                        (key, (best.map_or_else(String::new, |(s, _)| (*s).to_string()), total))
                    })
                    .collect(),
            );
        }
        Rewriter { rules }
    }

    /// Rewrites a word; units that were never seen stay.
    pub(crate) fn apply(&self, from: &[String]) -> Vec<String> {
        (0..from.len())
            .map(|i| {
                for (rules, (left, right)) in self.rules.iter().zip(CONTEXTS) {
                    match rules.get(&context(from, i, left, right)) {
                        Some((to, seen)) if *seen >= SEEN_AT_LEAST => return to.clone(),
                        _ => {}
                    }
                }
                from[i].clone()
            })
            .collect()
    }
}

fn context(units: &[String], at: usize, left: usize, right: usize) -> Vec<String> {
    (at as isize - left as isize..=(at + right) as isize)
        .map(|i| usize::try_from(i).ok().and_then(|i| units.get(i)).cloned().unwrap_or_default())
        .collect()
}

/// Pairs of CMUdict and misaki pronunciations of one word with equally many units, most of them
/// equal: what [`Rewriter::learn`] learns the American conversion from.
pub(crate) fn pairs(cmu: &[Entry], misaki: &[Entry]) -> Vec<(Vec<String>, Vec<String>)> {
    let by_word: BTreeMap<&str, &Entry> = misaki.iter().map(|e| (e.word.as_str(), e)).collect();
    let mut best: BTreeMap<&str, (usize, &Entry, &Entry)> = BTreeMap::new();
    for entry in cmu {
        let Some(other) = by_word.get(entry.word.as_str()) else { continue };
        if other.units.len() != entry.units.len() {
            continue;
        }
        let apart = entry.units.iter().zip(&other.units).filter(|(a, b)| a != b).count();
        let known = best.entry(&entry.word).or_insert((apart, entry, other));
        if apart < known.0 {
            *known = (apart, entry, other);
        }
    }
    best.into_values()
        .filter(|(apart, ..)| *apart <= 3)
        .map(|(_, from, to)| (from.units.clone(), to.units.clone()))
        .collect()
}
