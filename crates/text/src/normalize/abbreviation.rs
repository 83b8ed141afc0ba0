//! Abbreviations: which of them let a sentence go on, and what those are called that misaki does
//! not know.
//!
//! misaki knows `Mr. Mrs. Ms. Dr. etc. vs.` and spells `e.g. i.e. U.S. p.m.`; those stay.

use super::field::{Fields, Said};

/// Titles: a name follows, so a capital after the stop proves nothing.
const TITLES: &[(&str, &str)] = &[
    ("Mr", ""),
    ("Mrs", ""),
    ("Ms", ""),
    ("Mx", ""),
    ("Dr", ""),
    ("Messrs", "Messieurs"),
    ("Prof", "Professor"),
    ("Gen", "General"),
    ("Lt", "Lieutenant"),
    ("Sgt", "Sergeant"),
    ("Capt", "Captain"),
    ("Col", "Colonel"),
    ("Cmdr", "Commander"),
    ("Adm", "Admiral"),
    ("Maj", "Major"),
    ("Cpl", "Corporal"),
    ("Pvt", "Private"),
    ("Brig", "Brigadier"),
    ("Rev", "Reverend"),
    ("Hon", "Honorable"),
    ("Gov", "Governor"),
    ("Sen", "Senator"),
    ("Rep", "Representative"),
    ("Pres", "President"),
    ("Supt", "Superintendent"),
    ("Insp", "Inspector"),
    ("Det", "Detective"),
    ("Msgr", "Monsignor"),
    ("Amb", "Ambassador"),
    ("Mt", "Mount"),
    ("Ft", "Fort"),
    ("St", "Saint"),
    ("Ste", "Sainte"),
    ("Fr", "Father"),
    ("Br", "Brother"),
    ("Mme", "Madame"),
    ("Mlle", "Mademoiselle"),
    ("Atty", "Attorney"),
];

/// Said in full wherever they stand with their stop.
const ANYWHERE: &[(&str, &str)] = &[
    ("approx", "approximately"),
    ("Approx", "Approximately"),
    ("vs", "versus"),
    ("Vs", "Versus"),
    ("incl", "including"),
    ("Incl", "Including"),
    ("excl", "excluding"),
    ("dept", "department"),
    ("Dept", "Department"),
    ("govt", "government"),
    ("Govt", "Government"),
    ("Inc", "Incorporated"),
    ("Ltd", "Limited"),
    ("Corp", "Corporation"),
    ("Bros", "Brothers"),
    ("Assn", "Association"),
    ("Assoc", "Association"),
    ("Univ", "University"),
    ("Intl", "International"),
    ("Jr", "Junior"),
    ("misc", "miscellaneous"),
    ("Misc", "Miscellaneous"),
    ("avg", "average"),
    ("Avg", "Average"),
    ("cf", "compare"),
    ("Cf", "Compare"),
    ("viz", "namely"),
    ("esp", "especially"),
    ("Blvd", "Boulevard"),
    ("Hwy", "Highway"),
    ("Pkwy", "Parkway"),
    ("Esq", "Esquire"),
    ("min", "minimum"),
    ("Min", "Minimum"),
    ("max", "maximum"),
    ("Max", ""),
    ("temp", "temperature"),
    ("tel", "telephone"),
    ("Tel", "Telephone"),
    ("Thurs", "Thursday"),
    ("Tues", "Tuesday"),
    ("Wed", "Wednesday"),
    ("Fri", "Friday"),
    ("Mon", "Monday"),
    ("Sept", "September"),
    ("Aug", "August"),
    ("Feb", "February"),
    ("Oct", "October"),
    ("Nov", "November"),
    ("a.k.a", "also known as"),
    ("ca", "circa"),
    ("yrs", "years"),
    ("hrs", "hours"),
    ("mins", "minutes"),
    ("secs", "seconds"),
    ("ibid", "ibid"),
    ("Mfg", "Manufacturing"),
];

/// Said in full if a number or a single letter follows.
const BEFORE_NUMBER: &[(&str, &str)] = &[
    ("No", "Number"),
    ("no", "number"),
    ("Nos", "Numbers"),
    ("nos", "numbers"),
    ("Fig", "Figure"),
    ("fig", "figure"),
    ("Figs", "Figures"),
    ("figs", "figures"),
    ("Eq", "Equation"),
    ("eq", "equation"),
    ("Ch", "Chapter"),
    ("ch", "chapter"),
    ("Chap", "Chapter"),
    ("chap", "chapter"),
    ("Sec", "Section"),
    ("sec", "section"),
    ("Vol", "Volume"),
    ("vol", "volume"),
    ("Vols", "Volumes"),
    ("p", "page"),
    ("pp", "pages"),
    ("Art", "Article"),
    ("art", "article"),
    ("ver", "version"),
    ("Ver", "Version"),
    ("ext", "extension"),
    ("Ext", "Extension"),
    ("Apt", "Apartment"),
    ("apt", "apartment"),
    ("c", "circa"),
    ("Pt", "Part"),
    ("pt", "part"),
    ("Rte", "Route"),
    ("est", "established"),
    ("Est", "Established"),
    ("para", "paragraph"),
    ("Ste", "Suite"),
    ("App", "Appendix"),
];

/// Said in full behind a name: `Main St.`, `Acme Co.`
const BEHIND_NAME: &[(&str, &str)] = &[
    ("St", "Street"),
    ("Dr", "Drive"),
    ("Ave", "Avenue"),
    ("Rd", "Road"),
    ("Ln", "Lane"),
    ("Ct", "Court"),
    ("Pl", "Place"),
    ("Sq", "Square"),
    ("Co", "Company"),
    ("Sr", "Senior"),
    ("Mtn", "Mountain"),
    ("Cir", "Circle"),
    ("Ter", "Terrace"),
    ("Bldg", "Building"),
];

fn find(table: &[(&'static str, &'static str)], word: &str) -> Option<&'static str> {
    table.iter().find(|(short, _)| *short == word).map(|&(_, full)| full)
}

/// Whether the sentence goes on after `word` and its stop, before `next`, which starts with
/// something other than a small letter. `before` is the word before.
pub(crate) fn goes_on(before: &str, word: &str, next: &str) -> bool {
    if find(TITLES, word).is_some() {
        // "on Main St. It is": a street ends a sentence where a saint cannot.
        let is_street = matches!(word, "St" | "Dr" | "Ste") && is_capitalised(before);
        return !(is_street && starts_sentence(next));
    }
    if matches!(
        word,
        "e.g"
            | "i.e"
            | "E.g"
            | "I.e"
            | "cf"
            | "Cf"
            | "vs"
            | "Vs"
            | "v"
            | "approx"
            | "Approx"
            | "ca"
            | "viz"
            | "incl"
            | "al"
    ) {
        return true;
    }
    if find(BEFORE_NUMBER, word).is_some()
        || super::date::month_name(word).is_some_and(|full| full != word)
    {
        return counts(word, first_word(next)) || next.starts_with(|c: char| c.is_ascii_digit());
    }
    let is_initial =
        word.chars().count() == 1 && word.chars().all(char::is_uppercase) && word != "I";
    if is_initial {
        let is_next_initial =
            next.starts_with(char::is_uppercase) && next.chars().nth(1) == Some('.');
        return before.is_empty()
            || is_capitalised(before)
            || before.ends_with('.')
            || is_next_initial;
    }
    let has_inner_stop = word.contains('.')
        && word.split('.').all(|part| {
            (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphabetic())
        });
    let is_company = find(ANYWHERE, word).is_some()
        || find(BEHIND_NAME, word).is_some()
        || matches!(word, "etc" | "Etc");
    if matches!(word, "a.m" | "p.m" | "A.M" | "P.M") {
        // "5 p.m. Eastern", but mostly a new sentence.
        return matches!(
            first_word(next),
            "Eastern"
                | "Pacific"
                | "Central"
                | "Mountain"
                | "EST"
                | "PST"
                | "GMT"
                | "UTC"
                | "ET"
                | "PT"
        ) || super::date::month_name(first_word(next)).is_some();
    }
    (has_inner_stop || is_company) && !starts_sentence(next)
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start_matches(|c: char| !c.is_alphanumeric());
    &text[..text.find(|c: char| !c.is_alphabetic()).unwrap_or(text.len()).min(24)]
}

/// Whether `after` is the number that `short`, of [`BEFORE_NUMBER`], announces. "No. I think" and
/// "p. X" announce none.
fn counts(short: &str, after: &str) -> bool {
    let is_roman = !after.is_empty() && after.bytes().all(|b| matches!(b, b'I' | b'V' | b'X'));
    let takes_letter =
        matches!(short, "Vol" | "Ch" | "Chap" | "Fig" | "Sec" | "Art" | "Pt" | "App" | "Eq");
    after.starts_with(|c: char| c.is_ascii_digit() || c == '#')
        || is_roman && (takes_letter || after.len() > 1)
}

fn is_capitalised(word: &str) -> bool {
    word.starts_with(char::is_uppercase) && word.len() > 1
}

/// Words that seldom follow an abbreviation but often begin a sentence.
fn starts_sentence(next: &str) -> bool {
    matches!(
        first_word(next),
        "The"
            | "A"
            | "An"
            | "He"
            | "She"
            | "It"
            | "We"
            | "They"
            | "You"
            | "I"
            | "This"
            | "That"
            | "These"
            | "Those"
            | "There"
            | "But"
            | "And"
            | "So"
            | "Then"
            | "In"
            | "On"
            | "At"
            | "His"
            | "Her"
            | "My"
            | "Our"
            | "Their"
            | "Its"
            | "If"
            | "When"
            | "While"
            | "After"
            | "Before"
            | "However"
            | "What"
            | "Who"
            | "Why"
            | "How"
            | "Where"
            | "No"
            | "Yes"
            | "Not"
            | "For"
            | "As"
            | "With"
            | "From"
            | "To"
            | "By"
            | "Now"
            | "One"
            | "Some"
            | "Many"
            | "Most"
            | "Or"
            | "Once"
            | "Both"
            | "Here"
    )
}

/// The full form of an abbreviation that misaki does not know.
pub(crate) fn abbreviation(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    if !(1..=6).contains(&core.len()) {
        return None;
    }
    let stopped = fields.suffix(idx).starts_with('.');
    let after = fields.next_after_stop(idx);
    let previous = fields.previous(idx);
    if core == "v" && stopped && is_capitalised(previous) && is_capitalised(after) {
        return fields.say_abbreviation(idx, idx, "versus");
    }
    let name_follows = after.starts_with(char::is_uppercase);
    if let Some(full) = find(BEHIND_NAME, core)
        && stopped
        && is_capitalised(previous)
        && !(name_follows && matches!(core, "St" | "Dr"))
    {
        return fields.say_abbreviation(idx, idx, full);
    }
    if let Some(full) = find(BEFORE_NUMBER, core)
        && counts(core, after)
        && (stopped || matches!(core, "pp" | "Vol" | "Fig"))
        && !(core == "est" && after.len() != 4)
    {
        return fields.say_abbreviation(idx, idx, full);
    }
    if let Some(full) = find(TITLES, core)
        && !full.is_empty()
        && name_follows
        && (stopped || matches!(core, "Lt" | "Sgt" | "Capt" | "Prof" | "Cpl" | "Cmdr" | "Gen" | "St"))
        // "10 Ft. Lauderdale" does not occur; "10 ft." does and is small.
        && !previous.ends_with(|c: char| c.is_ascii_digit())
    {
        return fields.say_abbreviation(idx, idx, full);
    }
    let full = find(ANYWHERE, core).filter(|full| !full.is_empty())?;
    let needs_no_stop = matches!(
        core,
        "approx"
            | "Approx"
            | "vs"
            | "Ltd"
            | "Corp"
            | "Blvd"
            | "Hwy"
            | "Pkwy"
            | "Jr"
            | "Bros"
            | "govt"
            | "dept"
            | "Dept"
            | "Govt"
            | "Intl"
            | "a.k.a"
    );
    // "Oct." and "Mon." alone at the end of a sentence may be anything.
    let is_calendar = super::date::month_name(core).is_some()
        || matches!(core, "Mon" | "Wed" | "Fri" | "Tues" | "Thurs");
    let is_bare_end = fields.is_last(idx) && fields.suffix(idx) == ".";
    let is_word_too = matches!(
        core,
        "min" | "max" | "temp" | "Min" | "ca" | "esp" | "misc" | "Fri" | "Wed" | "Mon" | "Nov"
    );
    if (stopped || needs_no_stop) && !(is_bare_end && (is_calendar || is_word_too)) {
        return fields.say_abbreviation(idx, idx, full);
    }
    None
}
