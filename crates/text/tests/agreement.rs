//! The English front end says what misaki 0.9.4 says, row by row.
//!
//! `data/agreement/rows.tsv` holds category, text, and what the reference says in American and in
//! British; `tests/agreement.py` fills in the last two. Rows known to differ stand in
//! `data/agreement/exceptions.tsv` with the reason; one that begins to agree fails the test, so
//! that the list stays true. A word that the reference cannot say (`❓`) may be anything.

use koe_text::{Dialect, phonemize_as_misaki};
use std::collections::BTreeMap;

const ROWS: &str = include_str!("data/agreement/rows.tsv");
/// Dialect (us or gb), text, reason.
const EXCEPTIONS: &str = include_str!("data/agreement/exceptions.tsv");

/// Whether `said` is `wanted`, with anything for every `❓`, also nothing. White space is folded.
fn agrees(said: &str, wanted: &str) -> bool {
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut parts: Vec<&str> = wanted.split('❓').map(str::trim).collect();
    if parts.len() == 1 {
        return said == wanted;
    }
    let tail = parts.pop().unwrap_or_default();
    let Some(mut rest) = said.strip_prefix(parts[0]) else { return false };
    for part in &parts[1..] {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(tail)
}

fn exceptions() -> BTreeMap<(&'static str, &'static str), &'static str> {
    let lines = EXCEPTIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [dialect, text, reason] = fields[..] else { panic!("three columns: {line}") };
            assert!(!reason.is_empty(), "an exception wants a reason: {line}");
            ((dialect, text), reason)
        })
        .collect()
}

#[track_caller]
fn check(name: &'static str, dialect: Dialect, column: usize) {
    let exceptions = exceptions();
    let mut unused: Vec<&str> =
        exceptions.keys().filter(|(d, _)| *d == name).map(|(_, text)| *text).collect();
    let mut wrong = String::new();
    for row in ROWS.lines() {
        let fields: Vec<&str> = row.split('\t').collect();
        let (text, wanted) = (fields[1], fields[column]);
        let said = phonemize_as_misaki(text, dialect);
        let excepted = exceptions.contains_key(&(name, text));
        unused.retain(|t| *t != text);
        match (agrees(&said, wanted), excepted) {
            (true, true) => wrong += &format!("agrees now, no exception any more: {text}\n"),
            (false, false) => {
                wrong += &format!("{}: {text}\n  wanted {wanted}\n  said   {said}\n", fields[0]);
            }
            _ => {}
        }
    }
    for text in unused {
        wrong += &format!("an exception without a row: {text}\n");
    }
    assert!(wrong.is_empty(), "{name}:\n{wrong}");
}

#[test]
fn american_rows_agree_with_misaki() {
    check("us", Dialect::American, 2);
}

#[test]
fn british_rows_agree_with_misaki() {
    check("gb", Dialect::British, 3);
}

#[test]
fn rows_are_many_and_of_many_kinds() {
    let categories: std::collections::BTreeSet<&str> =
        ROWS.lines().filter_map(|row| row.split('\t').next()).collect();
    assert!(ROWS.lines().count() >= 360 && categories.len() >= 20);
    let excepted = exceptions().len();
    let all = 2 * ROWS.lines().count();
    assert!(excepted * 40 <= all, "{excepted} exceptions of {all} are too many");
}
