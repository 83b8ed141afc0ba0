//! What the English front end promises as a whole: the reference's phonemes, and no input that
//! harms it.

use super::*;
use proptest::prelude::*;

fn say(text: &str, dialect: Dialect) -> String {
    join(&English::get(dialect).phonemize(text, &[], &UserLexicon::new()))
}

fn join(tokens: &[Token]) -> String {
    let space = |token: &Token| if token.space_after { " " } else { "" };
    tokens.iter().map(|token| token.phonemes.clone() + space(token)).collect()
}

#[track_caller]
fn check(rows: &[(&str, &str)]) {
    for (text, phonemes) in rows {
        assert_eq!(say(text, Dialect::American), *phonemes, "{text}");
    }
}

fn well_formed(text: &str, tokens: &[Token]) {
    let mut end = 0;
    for token in tokens {
        assert!(token.range.start >= end && token.range.end > token.range.start, "{token:?}");
        assert!(text.get(token.range.clone()).is_some(), "{token:?}");
        let between = &text[end..token.range.start];
        assert!(between.is_empty() || between == " ", "{between:?} was left out");
        end = token.range.end;
        let own = &text[token.range.clone()];
        if own.chars().any(|c| c.is_ascii_alphanumeric()) {
            assert!(!token.phonemes.is_empty(), "silence for {own:?}");
        }
    }
    assert!(text[end..].len() <= 1, "{:?} was left out", &text[end..]);
}

#[test]
fn published_samples_are_said_as_published() {
    check(&[
        // From misaki's own README, less its markup.
        ("is a G2P engine designed for models.", "ɪz ɐ ʤˈitəpˈi ˈɛnʤən dəzˈInd fɔɹ mˈɑdᵊlz."),
        ("an open-weight TTS model", "ɐn ˈOpᵊnwˌAt tˌitˌiˈɛs mˈɑdᵊl"),
        ("The quick brown fox.", "ðə kwˈɪk bɹˈWn fˈɑks."),
    ]);
}

#[test]
fn small_words_depend_on_what_follows() {
    check(&[
        ("the apple, the pear", "ði ˈæpᵊl, ðə pˈɛɹ"),
        ("to eat, to drink", "tʊ ˈit, tə dɹˈɪŋk"),
        ("I used to run.", "ˌI jˈust tə ɹˈʌn."),
        ("What is it used for?", "wˌʌt ɪz ɪt jˈuzd fɔɹ?"),
        ("He walked in.", "hˌi wˈɔkt ˈɪn."),
    ]);
}

#[test]
fn the_part_of_speech_chooses_among_pronunciations() {
    check(&[
        ("I record a record.", "ˌI ɹəkˈɔɹd ɐ ɹˈɛkəɹd."),
        ("They house a house.", "ðˌA hˈWz ɐ hˈWs."),
    ]);
}

#[test]
fn numbers_are_said_as_they_are_used() {
    check(&[
        ("in 1905", "ɪn nˌIntˈin ˈO fˈIv"),
        ("the 1980s", "ðə nˌIntˈin ˈATiz"),
        ("the 21st", "ðə twˈɛnti fˈɜɹst"),
        ("$4.25", "fˈɔɹ dˈɑləɹz ænd twˈɛnti fˈIv sˈɛnts"),
        ("$3.5 million", "θɹˈi pYnt fˈIv mˈɪljᵊn dˈɑləɹz"),
        ("€12.80", "twˈɛlv jˈʊɹOz ænd ˈATi sˈɛnts"),
        ("B2B", "bˈitəbˈi"),
        ("Room 101, 1.2.3", "ɹˈum wˈʌn hˈʌndɹəd wˈʌn, wˈʌn tˈu θɹˈi"),
    ]);
}

#[test]
fn what_was_written_is_said_where_misaki_drops_it() {
    check(&[
        ("2.0", "tˈu pYnt zˈɪɹO"),
        ("$1.5", "wˈʌn dˈɑləɹ ænd fˈɪfti sˈɛnts"),
        ("5'10", "fˈIvtˌɛn"),
        ("“I won’t!”", "“ˌI wˈOnt!”"),
        ("should've", "ʃˌʊdəv"),
    ]);
}

#[test]
fn the_dialects_differ() {
    assert_eq!(say("The water in the harbour.", Dialect::British), "ðə wˈɔːtə ɪn ðə hˈɑːbə.");
    assert_eq!(say("The water in the harbour.", Dialect::American), "ðə wˈɔTəɹ ɪn ðə hˈɑɹbəɹ.");
}

#[test]
fn words_in_no_dictionary_are_said_all_the_same() {
    for text in ["Zxqwy", "café", "Fnord's", "Ωμέγα", "Москва", "x", "4²", "hors d'oeuvres", "٣"]
    {
        let tokens = English::get(Dialect::American).phonemize(text, &[], &UserLexicon::new());
        well_formed(text, &tokens);
        assert!(!join(&tokens).trim().is_empty(), "{text}");
    }
}

#[test]
fn the_user_lexicon_goes_before_all_else_and_is_inflected() {
    let user = UserLexicon::parse("kokoro\tkˈOkəɹO\nthe\tðˈʌ\n").expect("it is well formed");
    let tokens = English::get(Dialect::American).phonemize("The Kokoro's kokoros", &[], &user);
    assert_eq!(join(&tokens), "ðˈʌ kˈOkəɹOz kˈOkəɹOz");
    assert!(tokens.iter().all(|token| token.source == Source::User), "{tokens:?}");
}

#[test]
fn overrides_speak_for_the_words_they_cover() {
    let text = "I like Kokoro's voice.";
    let phonemes = |range: Range<usize>, phonemes: &str| Override {
        range,
        kind: OverrideKind::Phonemes(phonemes.into()),
    };
    let english = English::get(Dialect::American);
    let user = UserLexicon::new();
    let tokens = english.phonemize(text, &[phonemes(7..13, "kˈOkəɹO")], &user);
    assert_eq!(join(&tokens), "ˌI lˈIk kˈOkəɹOz vˈYs.");
    assert_eq!(tokens[2].source, Source::Override);
    // Within a word, over several, and beyond the end.
    let tokens = english.phonemize(text, &[phonemes(0..6, "a b"), phonemes(16..18, "v")], &user);
    assert_eq!(&text[tokens[0].range.clone()], "I like");
    assert_eq!(tokens[0].phonemes, "a b");
    assert!(tokens.iter().any(|token| token.phonemes == "v"));
    let wild = [phonemes(21..99, "x"), phonemes(5..5, "y")];
    well_formed(text, &english.phonemize(text, &wild, &user));
}

#[test]
fn stress_is_raised_and_lowered() {
    let text = "the house";
    let english = English::get(Dialect::American);
    for (range, stress, expected) in [
        (0..3, 2.0, "ðˈə hˈWs"),
        (4..9, -1.0, "ðə hˌWs"),
        (4..9, -2.0, "ðə hWs"),
        (0..9, 0.0, "ðˌə hˌWs"),
    ] {
        let wish = Override { range, kind: OverrideKind::Stress(stress) };
        assert_eq!(join(&english.phonemize(text, &[wish], &UserLexicon::new())), expected);
    }
}

/// What has no end to its words must not be lost, nor take the time of its length cubed.
#[test]
fn long_and_odd_text_is_said_whole() {
    for text in [
        "a".repeat(100_000),
        "a-".repeat(3_000),
        "'".repeat(3_000),
        "a'".repeat(3_000),
        ".,".repeat(3_000),
        "-1".repeat(3_000),
        "aB".repeat(3_000),
        "1,".repeat(3_000),
        "9".repeat(3_000),
        "@a.".repeat(3_000),
        "(".repeat(3_000),
        "a.b.".repeat(3_000),
        "é".repeat(3_000),
        "\u{301}".repeat(3_000),
    ] {
        let tokens = English::get(Dialect::American).phonemize(&text, &[], &UserLexicon::new());
        well_formed(&text, &tokens);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_text_is_said_and_covered(text in "\\PC{0,60}", british: bool) {
        let dialect = if british { Dialect::British } else { Dialect::American };
        // Runs of spaces are tokens of their own; the check allows single ones between.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        well_formed(&text, &English::get(dialect).phonemize(&text, &[], &UserLexicon::new()));
    }

    #[test]
    fn any_mix_of_words_marks_and_figures_is_said_and_covered(
        text in "([a-zA-Z]{1,8}|[0-9]{1,4}|[$€.,'’\"“”!?:;/()@#%&+*_—–-]| ){0,20}",
        (start, length) in (0..40_usize, 0..10_usize),
    ) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let wish = Override {
            range: start..start + length,
            kind: OverrideKind::Phonemes("ˈA".into()),
        };
        let tokens = English::get(Dialect::American).phonemize(&text, &[wish], &UserLexicon::new());
        well_formed(&text, &tokens);
    }
}
