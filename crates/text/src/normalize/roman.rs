//! Roman numerals, where what stands before them leaves no doubt.

use super::field::{Fields, Said};
use super::number::ordinal;

/// `Chapter IV` is "four", `Henry VIII` "the eighth", `Rocky III` "three".
pub(crate) fn roman(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    let (numeral, possessive) = match core.strip_suffix("'s").or_else(|| core.strip_suffix("’s"))
    {
        Some(numeral) => (numeral, "'s"),
        None => (core, ""),
    };
    let value = value(numeral)?;
    let before = before(fields, idx)?;
    let is_single = numeral.len() == 1;
    if is_ruler(before) {
        // "Elizabeth I think" and "Malcolm X" are no rulers.
        let doubtful =
            numeral == "I" && !is_ruler_i_sure(fields, idx) || before == "Malcolm" && is_single;
        return (value <= 40 && !doubtful)
            .then(|| fields.say(idx, format!("the {}{possessive}", ordinal(value))))?;
    }
    let is_small = numeral.bytes().all(|b| matches!(b, b'I' | b'V' | b'X'));
    let numbered = is_numbered(before) && (is_small || numeral.len() >= 2);
    // "Book I read": a single I needs a word that never takes an object.
    let doubtful_i = numeral == "I"
        && matches!(
            before,
            "Book" | "Volume" | "Class" | "Level" | "Type" | "Figure" | "Table" | "Title" | "Song"
        );
    if numbered && !doubtful_i {
        return fields.say(idx, format!("{value}{possessive}"));
    }
    // After any other name, two letters or more of the small ones: "Star Wars VI", "Howell III".
    let is_name = before.len() >= 3
        && before.starts_with(|c: char| c.is_uppercase())
        && before.chars().skip(1).all(char::is_lowercase);
    let sure = is_small && !is_single && !matches!(numeral, "XX" | "XXX") && value <= 39;
    (is_name && sure).then(|| fields.say(idx, format!("{value}{possessive}")))?
}

/// The word before, also if an abbreviation's stop follows it: `Vol. IV`.
fn before<'t>(fields: &Fields<'t>, idx: usize) -> Option<&'t str> {
    let before = idx.checked_sub(1)?;
    (!fields.next_after_stop(before).is_empty() && fields.prefix(idx).is_empty())
        .then(|| fields.core(before))
}

/// `Queen Elizabeth I`, or `Elizabeth I` where the clause ends or no verb of thinking can follow.
fn is_ruler_i_sure(fields: &Fields<'_>, idx: usize) -> bool {
    let title = idx.checked_sub(2).map_or("", |at| fields.core(at));
    let titled = matches!(
        title,
        "King"
            | "Queen"
            | "Pope"
            | "Emperor"
            | "Empress"
            | "Tsar"
            | "Czar"
            | "Prince"
            | "Sultan"
            | "Saint"
            | "Kaiser"
    );
    let after = fields.next(idx);
    titled
        || !fields.suffix(idx).is_empty()
        || fields.is_last(idx)
        || matches!(
            after,
            "of" | "was" | "is" | "and" | "in" | "became" | "died" | "ruled" | "reigned" | "had"
        )
}

/// The value of a numeral in its one proper form, up to 3999.
fn value(numeral: &str) -> Option<u32> {
    if !(1..=15).contains(&numeral.len()) {
        return None;
    }
    const STEPS: [(u32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut rest = numeral;
    let mut value = 0;
    for (step, letters) in STEPS {
        let most = if letters.len() == 1 && !matches!(letters, "D" | "L" | "V") { 3 } else { 1 };
        for _ in 0..most {
            match rest.strip_prefix(letters) {
                Some(after) => {
                    rest = after;
                    value += step;
                }
                None => break,
            }
        }
    }
    rest.is_empty().then_some(value)
}

fn is_numbered(word: &str) -> bool {
    matches!(
        word,
        "CHAPTER"
            | "PART"
            | "BOOK"
            | "ACT"
            | "SCENE"
            | "VOLUME"
            | "SECTION"
            | "ARTICLE"
            | "LETTER"
            | "Chapter"
            | "chapter"
            | "Ch"
            | "Chap"
            | "Part"
            | "part"
            | "Pt"
            | "Act"
            | "act"
            | "Scene"
            | "scene"
            | "Book"
            | "book"
            | "Vol"
            | "vol"
            | "Volume"
            | "volume"
            | "Section"
            | "section"
            | "Sec"
            | "Article"
            | "article"
            | "Art"
            | "Title"
            | "Appendix"
            | "Annex"
            | "Phase"
            | "phase"
            | "Stage"
            | "stage"
            | "Type"
            | "type"
            | "Class"
            | "class"
            | "Level"
            | "level"
            | "Figure"
            | "figure"
            | "Fig"
            | "Table"
            | "table"
            | "Lesson"
            | "Unit"
            | "Episode"
            | "Season"
            | "Round"
            | "Game"
            | "Mark"
            | "Mk"
            | "War"
            | "Bowl"
            | "Fantasy"
            | "Division"
            | "Tier"
            | "Canto"
            | "Psalm"
            | "Song"
            | "No"
            | "Verse"
            | "Corps"
            | "Group"
            | "Grade"
            | "Amendment"
            | "Apollo"
            | "Saturn"
            | "Schedule"
            | "Vatican"
    )
}

fn is_ruler(word: &str) -> bool {
    matches!(
        word,
        "Henry"
            | "Louis"
            | "George"
            | "Edward"
            | "Elizabeth"
            | "Charles"
            | "William"
            | "James"
            | "Richard"
            | "John"
            | "Paul"
            | "Pius"
            | "Benedict"
            | "Leo"
            | "Gregory"
            | "Clement"
            | "Innocent"
            | "Urban"
            | "Alexander"
            | "Nicholas"
            | "Peter"
            | "Catherine"
            | "Philip"
            | "Ferdinand"
            | "Frederick"
            | "Friedrich"
            | "Wilhelm"
            | "Otto"
            | "Ivan"
            | "Ramses"
            | "Ramesses"
            | "Ptolemy"
            | "Napoleon"
            | "Francis"
            | "Henri"
            | "Felipe"
            | "Alfonso"
            | "Gustav"
            | "Christian"
            | "Haakon"
            | "Harald"
            | "Malcolm"
            | "Robert"
            | "David"
            | "Victor"
            | "Emmanuel"
            | "Umberto"
            | "Pedro"
            | "Mehmed"
            | "Murad"
            | "Selim"
            | "Suleiman"
            | "Thutmose"
            | "Amenhotep"
            | "Darius"
            | "Xerxes"
            | "Cleopatra"
            | "Boniface"
            | "Julius"
            | "Sixtus"
            | "Stephen"
            | "Baldwin"
            | "Leopold"
            | "Margrethe"
            | "Carl"
            | "Rudolf"
            | "Sigismund"
            | "Constantine"
            | "Theodosius"
            | "Justinian"
            | "Mary"
            | "Alphonse"
            | "Maximilian"
            | "Joseph"
            | "Philippe"
            | "Eugene"
            | "Callixtus"
            | "Celestine"
            | "Wenceslaus"
    )
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn only_proper_numerals_count() {
        for (numeral, expected) in [
            ("I", Some(1)),
            ("IV", Some(4)),
            ("VIII", Some(8)),
            ("XIV", Some(14)),
            ("XLII", Some(42)),
            ("MCMXCIX", Some(1999)),
            ("IIII", None),
            ("VV", None),
            ("IC", None),
            ("IIX", None),
            ("MIX", Some(1009)),
            ("", None),
            ("iv", None),
            ("CIVIL", None),
        ] {
            assert_eq!(value(numeral), expected, "{numeral}");
        }
    }
}
