//! Kinds of phonemes, and moving stress between them.
//!
//! misaki's phonemes are one `char` each; a stress mark stands before the vowel it belongs to.

/// Primary stress.
pub(super) const PRIMARY: char = 'ˈ';
/// Secondary stress.
pub(super) const SECONDARY: char = 'ˌ';

/// Whether the phoneme is a vowel; the capitals are diphthongs.
pub(super) fn is_vowel(c: char) -> bool {
    "AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻ".contains(c)
}

/// Whether the phoneme is a consonant that a word after it may be told by.
pub(super) fn is_consonant(c: char) -> bool {
    "bdfhjklmnpstvwzðŋɡɹɾʃʒʤʧθ".contains(c)
}

/// Whether a t after the sound becomes a flap before a vowel, in American.
pub(super) fn precedes_flap(c: char) -> bool {
    "AIOWYiuæɑəɛɪɹʊʌ".contains(c)
}

/// How heavy a word is: diphthongs and affricates count twice.
pub(super) fn weight(phonemes: &str) -> usize {
    phonemes.chars().map(|c| if "AIOQWYʤʧ".contains(c) { 2 } else { 1 }).sum()
}

fn is_mark(c: char) -> bool {
    c == PRIMARY || c == SECONDARY
}

/// `phonemes` with its stress raised or lowered: below -1 takes all marks away, -1 lowers primary to
/// secondary, 0 and -0.5 do so where there is a primary, 0 to 1 give an unstressed word a
/// secondary, 1 and above raise secondary to primary, above 1 give an unstressed word a primary.
pub(super) fn apply(phonemes: String, stress: Option<f32>) -> String {
    let Some(stress) = stress else { return phonemes };
    let primary = phonemes.contains(PRIMARY);
    let secondary = phonemes.contains(SECONDARY);
    let bare = !primary && !secondary;
    if stress < -1.0 {
        phonemes.replace(is_mark, "")
    } else if stress == -1.0 || ((stress == 0.0 || stress == -0.5) && primary) {
        phonemes.replace(SECONDARY, "").replace(PRIMARY, "ˌ")
    } else if (stress == 0.0 || stress == 0.5 || stress == 1.0) && bare {
        stressed(SECONDARY, phonemes)
    } else if stress >= 1.0 && !primary && secondary {
        phonemes.replace(SECONDARY, "ˈ")
    } else if stress > 1.0 && bare {
        stressed(PRIMARY, phonemes)
    } else {
        phonemes
    }
}

/// `phonemes`, which has no mark, with `mark` before its first vowel.
fn stressed(mark: char, mut phonemes: String) -> String {
    if let Some(at) = phonemes.find(is_vowel) {
        phonemes.insert(at, mark);
    }
    phonemes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stress_moves_as_misaki_moves_it() {
        for (phonemes, stress, expected) in [
            ("ɹˈɛd", None, "ɹˈɛd"),
            ("ɹˈɛd", Some(-2.0), "ɹɛd"),
            ("ˌʌndəɹstˈænd", Some(-1.0), "ʌndəɹstˌænd"),
            ("ˌʌndəɹstˈænd", Some(-0.5), "ʌndəɹstˌænd"),
            ("ðə", Some(-0.5), "ðə"),
            ("ðə", Some(0.0), "ðˌə"),
            ("ðə", Some(0.5), "ðˌə"),
            ("hˌu", Some(0.5), "hˌu"),
            ("hˌu", Some(1.0), "hˈu"),
            ("ðə", Some(1.0), "ðˌə"),
            ("ðə", Some(2.0), "ðˈə"),
            ("hmm", Some(2.0), "hmm"),
            ("ˌʌndəɹstˈænd", Some(2.0), "ˌʌndəɹstˈænd"),
        ] {
            assert_eq!(apply(phonemes.into(), stress), expected, "{phonemes} {stress:?}");
        }
    }
}
