//! `cargo xtask agreement FILE [DIFFERENCES]`: how far the English front end agrees with misaki.
//!
//! In: rows of category, text, and what the reference says in American and in British, made by
//! `crates/text/tests/agreement.py`. Out: shares of equal rows, of equal phonemes, and the speed;
//! and the rows that differ, if a file for them is named.

use anyhow::{Context, Result};
use koe_text::{Dialect, UserLexicon, phonemize, phonemize_as_misaki};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// A word that the reference has no phonemes for.
const UNKNOWN: char = '❓';

#[derive(Default)]
struct Tally {
    rows: usize,
    equal: usize,
    /// Rows without a word unknown to the reference.
    known: usize,
    known_equal: usize,
    /// Edits and symbols over the known rows.
    edits: usize,
    symbols: usize,
    /// Known rows equal through the whole front end, normaliser included.
    whole_equal: usize,
    bytes: usize,
    time: Duration,
    whole_time: Duration,
}

/// Runs the chore with the arguments after its name.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let path = args.first().context("name a file of rows; see crates/text/tests/agreement.py")?;
    let rows = std::fs::read_to_string(path).with_context(|| path.clone())?;
    let mut differences = String::new();
    for (name, dialect, column) in [("us", Dialect::American, 2), ("gb", Dialect::British, 3)] {
        // The first call builds the tables.
        let _ = phonemize_as_misaki("Ready.", dialect);
        let tally = compare(&rows, dialect, column, name, &mut differences)?;
        report(name, &tally);
    }
    if let Some(out) = args.get(1) {
        std::fs::write(out, differences).with_context(|| out.clone())?;
    }
    Ok(())
}

fn compare(
    rows: &str,
    dialect: Dialect,
    column: usize,
    name: &str,
    differences: &mut String,
) -> Result<Tally> {
    let mut tally = Tally::default();
    let lexicon = UserLexicon::default();
    let mut pairs: BTreeMap<(String, String), usize> = BTreeMap::new();
    for row in rows.lines() {
        let fields: Vec<&str> = row.split('\t').collect();
        let text = fields.get(1).context("a row wants four columns")?;
        let wanted = fields.get(column).context("a row wants four columns")?;
        let started = Instant::now();
        let said = phonemize_as_misaki(text, dialect);
        tally.time += started.elapsed();
        let started = Instant::now();
        let whole = phonemize(text, dialect, &lexicon).symbols;
        tally.whole_time += started.elapsed();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        tally.rows += 1;
        tally.bytes += text.len();
        if wanted.contains(UNKNOWN) {
            tally.equal += usize::from(fits(&said, wanted));
            if !fits(&said, wanted) {
                writeln!(differences, "{name}?\t{text}\t{wanted}\t{said}")?;
            }
            continue;
        }
        tally.known += 1;
        let is_equal = said == *wanted;
        tally.equal += usize::from(is_equal);
        tally.known_equal += usize::from(is_equal);
        tally.whole_equal += usize::from(whole == *wanted);
        if whole != *wanted && is_equal {
            writeln!(differences, "{name} whole\t{text}\t{wanted}\t{whole}")?;
        }
        let letters = |s: &str| s.chars().collect::<Vec<char>>();
        tally.edits += crate::letters::distance(&letters(&said), &letters(wanted));
        tally.symbols += wanted.chars().count();
        if !is_equal {
            writeln!(differences, "{name}\t{text}\t{wanted}\t{said}")?;
            let (mut a, mut b) = (wanted.split(' '), said.split(' '));
            while let (Some(x), Some(y)) = (a.next(), b.next()) {
                if x != y {
                    *pairs.entry((x.to_string(), y.to_string())).or_default() += 1;
                    break;
                }
            }
        }
    }
    let mut common: Vec<_> = pairs.into_iter().collect();
    common.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    for ((wanted, said), n) in common {
        writeln!(differences, "{name} first difference, {n} times: {wanted} -> {said}")?;
    }
    Ok(tally)
}

/// Whether `said` is `wanted` with anything in place of every unknown word, also nothing.
fn fits(said: &str, wanted: &str) -> bool {
    let mut parts: Vec<&str> = wanted.split(UNKNOWN).map(str::trim).collect();
    let tail = parts.pop().unwrap_or_default();
    let Some((head, middle)) = parts.split_first() else { return said == wanted };
    let Some(mut rest) = said.strip_prefix(head) else { return false };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(tail)
}

fn report(name: &str, tally: &Tally) {
    let share = |n: usize, of: usize| 100.0 * n as f64 / of.max(1) as f64;
    let speed = |time: Duration| tally.bytes as f64 / time.as_secs_f64() / 1e3;
    eprintln!(
        "{name}: {} of {} rows equal ({:.2} %); of {} without unknown words {} ({:.2} %), phonemes \
         {:.3} %; whole front end {} ({:.2} %); {:.0} kB/s, whole {:.0} kB/s",
        tally.equal,
        tally.rows,
        share(tally.equal, tally.rows),
        tally.known,
        tally.known_equal,
        share(tally.known_equal, tally.known),
        100.0 - share(tally.edits, tally.symbols),
        tally.whole_equal,
        share(tally.whole_equal, tally.known),
        speed(tally.time),
        speed(tally.whole_time),
    );
}
