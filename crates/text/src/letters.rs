//! Letter to sound: a guess at the pronunciation of a word that no dictionary has.
//!
//! Asked by the English front end after every lexicon has failed. Here words become plain letters
//! and guesses become well-formed pronunciations; the search itself is `letters/model.rs`, its data
//! `data/letters.bin`, which `cargo xtask letters train` makes from misaki's lexicons and CMUdict.

mod model;

use crate::phoneme::Dialect;
use model::Model;
use unicode_normalization::UnicodeNormalization;

/// Both models: u32 length of the American one, the American one, the British one.
static MODELS: &[u8] = include_bytes!("../data/letters.bin");

/// Longer words are guessed in pieces of this many letters, so that memory stays small.
const PIECE: usize = 48;

/// The likely pronunciation of `word`, with one primary stress, in misaki's alphabet as Kokoro v1.0
/// takes it (`T` for the flap).
///
/// Takes letters of any case, with or without accents, and apostrophes. None for anything else,
/// and for what can only be spelled: single letters, and words without a vowel letter.
pub(crate) fn guess(word: &str, dialect: Dialect) -> Option<String> {
    let letters = plain(word)?;
    let stem = letters.strip_suffix("'s").or_else(|| letters.strip_suffix("s'"));
    if let Some(stem) = stem.filter(|stem| !stem.contains('\'')) {
        let mut guess = speak(stem, dialect)?;
        guess.push_str(possessive(&guess, dialect));
        return Some(guess);
    }
    speak(&letters, dialect)
}

/// Guesses a word of plain letters.
fn speak(letters: &str, dialect: Dialect) -> Option<String> {
    let has_vowel = letters.contains(['a', 'e', 'i', 'o', 'u', 'y']);
    if letters.len() < 2 || !has_vowel {
        return None;
    }
    let model = model(dialect)?;
    let codes: Vec<u8> = letters
        .bytes()
        .map(|letter| if letter == b'\'' { 27 } else { letter - b'a' + 1 })
        .collect();
    let sound: Option<String> = codes.chunks(PIECE).map(|piece| model.speak(piece)).collect();
    one_primary_stress(&sound?)
}

fn model(dialect: Dialect) -> Option<Model<'static>> {
    let (length, models) = MODELS.split_first_chunk::<4>()?;
    let (american, british) = models.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Model::open(match dialect {
        Dialect::American => american,
        Dialect::British => british,
    })
}

/// `word` in small letters a to z and apostrophes; none if something else is in it.
fn plain(word: &str) -> Option<String> {
    let mut letters = String::with_capacity(word.len());
    for c in word.nfd().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '\'' => letters.push(c),
            '’' | '‘' => letters.push('\''),
            // An accent that came apart from its letter.
            '\u{300}'..='\u{36f}' => {}
            'ß' => letters.push_str("ss"),
            'æ' => letters.push_str("ae"),
            'œ' => letters.push_str("oe"),
            'ø' => letters.push('o'),
            'ł' => letters.push('l'),
            'đ' => letters.push('d'),
            'ð' | 'þ' => letters.push_str("th"),
            'ı' => letters.push('i'),
            _ => return None,
        }
    }
    Some(letters.trim_matches('\'').to_owned())
}

/// The sound of 's after `stem`, as misaki has it.
fn possessive(stem: &str, dialect: Dialect) -> &'static str {
    match stem.chars().next_back() {
        Some('p' | 't' | 'k' | 'f' | 'θ') => "s",
        Some('s' | 'z' | 'ʃ' | 'ʒ' | 'ʧ' | 'ʤ') => match dialect {
            Dialect::American => "ᵻz",
            Dialect::British => "ɪz",
        },
        _ => "z",
    }
}

/// `sound` with exactly one primary stress: the first of several, or one on the first secondary
/// stress, or on the first vowel. None if there is no vowel to bear it.
fn one_primary_stress(sound: &str) -> Option<String> {
    const VOWELS: &str = "AIOQWYaiuæɑɒɔəɛɜɪʊʌᵊᵻ";
    let bearer = [sound.find('ˈ'), sound.find('ˌ'), sound.find(|c| VOWELS.contains(c))]
        .into_iter()
        .flatten()
        .next()?;
    let mut stressed = String::with_capacity(sound.len() + 2);
    for (at, c) in sound.char_indices() {
        if at == bearer {
            stressed.push('ˈ');
            if VOWELS.contains(c) {
                stressed.push(c);
            }
        } else {
            stressed.push(if c == 'ˈ' { 'ˌ' } else { c });
        }
    }
    Some(stressed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, american: &str, british: &str) {
        assert_eq!(guess(word, Dialect::American).as_deref(), Some(american), "{word}, American");
        assert_eq!(guess(word, Dialect::British).as_deref(), Some(british), "{word}, British");
    }

    #[test]
    fn guesses_regular_spellings() {
        check("blockchain", "blˈɑkʧˌAn", "blˈɒkʧAn");
    }

    #[test]
    fn case_accents_and_apostrophes_do_not_matter() {
        for (one, other) in
            [("Zürbel", "zurbel"), ("KRAVITON", "kraviton"), ("L’Ombrel", "l'ombrel")]
        {
            for dialect in [Dialect::American, Dialect::British] {
                assert_eq!(guess(one, dialect), guess(other, dialect), "{one}");
                assert!(guess(one, dialect).is_some(), "{one}");
            }
        }
    }

    #[test]
    fn possessives_follow_the_sound_of_the_stem() {
        let american = |word| guess(word, Dialect::American).unwrap_or_default();
        assert_eq!(american("Kraviton's"), american("Kraviton") + "z");
        assert_eq!(american("Dravick's"), american("Dravick") + "s");
        assert_eq!(american("Mobrish's"), american("Mobrish") + "ᵻz");
    }

    #[test]
    fn what_can_only_be_spelled_is_none() {
        for word in ["", "x", "xkcd", "'", "h2o", "日本", "a-b", "\u{301}"] {
            assert_eq!(guess(word, Dialect::American), None, "{word:?}");
        }
    }

    #[test]
    fn every_guess_has_one_primary_stress_and_only_known_symbols() {
        // Every pair of letters, doubled up to look like a word.
        for first in b'a'..=b'z' {
            for second in b'a'..=b'z' {
                let word: String =
                    [first, b'o', second, second, b'a', first].map(char::from).iter().collect();
                for dialect in [Dialect::American, Dialect::British] {
                    let sound = guess(&word, dialect).unwrap_or_default();
                    assert_eq!(sound.matches('ˈ').count(), 1, "{word}: {sound}");
                    assert!(sound.chars().all(crate::phoneme::is_symbol), "{word}: {sound}");
                }
            }
        }
    }

    #[test]
    fn long_words_are_guessed_in_pieces() {
        let word = "kravitonobel".repeat(400);
        let sound = guess(&word, Dialect::American).unwrap_or_default();
        assert_eq!(sound.matches('ˈ').count(), 1);
        assert!(sound.chars().count() > word.len() / 2);
    }

    #[test]
    fn a_damaged_model_neither_panics_nor_opens_unasked() {
        assert!(Model::open(&[]).is_none());
        assert!(Model::open(b"something else entirely").is_none());
        let whole = MODELS.get(4..).unwrap_or_default();
        for length in [20, 64, 300, 5000, 40_000] {
            if let Some(model) = Model::open(&whole[..length]) {
                let _ = model.speak(&[3, 1, 20, 15]);
            }
        }
    }
}
