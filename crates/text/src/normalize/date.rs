//! Dates: in digits (`12/25/2023`, `2024-01-15`), and the day beside a month's name.

use super::field::{Fields, Said};
use super::number::parse;
use crate::phoneme::Dialect;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A date in digits.
pub(crate) fn digits(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    if core.len() > 32 {
        return None;
    }
    if let Some((date, time)) = core.split_once('T').filter(|_| core.len() > 15) {
        let words = iso(date, fields.dialect)?;
        let (clock, zone) = match time.strip_suffix('Z') {
            Some(clock) => (clock, " U T C"),
            None => (time, ""),
        };
        let (clock, _fraction) = clock.split_once('.').unwrap_or((clock, ""));
        let clock = super::time::speak(clock)?;
        return fields.say(idx, format!("{words} at {clock}{zone}"));
    }
    let words = iso(core, fields.dialect)
        .or_else(|| slashed(core, fields.dialect))
        .or_else(|| dotted(core, fields.dialect))?;
    fields.say(idx, words)
}

/// `2024-01-15`, `2024/01/15`.
fn iso(core: &str, dialect: Dialect) -> Option<String> {
    let [year, month, day] = three(core, '-').or_else(|| three(core, '/'))?;
    if year.len() != 4 || month.len() != 2 || day.len() != 2 {
        return None;
    }
    speak(dialect, day, month, Some(year))
}

/// `12/25/2023` by the dialect's order, or the other if that alone makes sense.
fn slashed(core: &str, dialect: Dialect) -> Option<String> {
    let [first, second, year] = three(core, '/')?;
    let year = full_year(year)?;
    let american = || speak(dialect, second, first, Some(&year));
    let british = || speak(dialect, first, second, Some(&year));
    match dialect {
        Dialect::American => american().or_else(british),
        Dialect::British => british().or_else(american),
    }
}

/// `15.01.2024`: the day always comes first.
fn dotted(core: &str, dialect: Dialect) -> Option<String> {
    let [day, month, year] = three(core, '.')?;
    if year.len() != 4 {
        return None;
    }
    speak(dialect, day, month, Some(&full_year(year)?))
}

fn three(core: &str, by: char) -> Option<[&str; 3]> {
    let mut parts = core.split(by);
    let three = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(three)
}

/// Two digits mean the hundred years around 2019; Excel and POSIX draw much the same line.
fn full_year(year: &str) -> Option<String> {
    match year.len() {
        2 => parse(year, 2).map(|y| (if y < 70 { 2000 + y } else { 1900 + y }).to_string()),
        4 => parse(year, 4).filter(|y| (1000..=2999).contains(y)).map(|y| y.to_string()),
        _ => None,
    }
}

fn speak(dialect: Dialect, day: &str, month: &str, year: Option<&str>) -> Option<String> {
    let month = parse(month, 2).filter(|month| (1..=12).contains(month))?;
    let day = parse(day, 2).filter(|day| (1..=31).contains(day))?;
    let month = MONTHS[month as usize - 1];
    let mut words = match dialect {
        Dialect::American => format!("{month} {}", ordinal(day)),
        Dialect::British => format!("{} of {month}", ordinal(day)),
    };
    if let Some(year) = year {
        words.push(' ');
        words.push_str(year);
    }
    Some(words)
}

fn ordinal(day: u32) -> String {
    let end = match day {
        1 | 21 | 31 => "st",
        2 | 22 => "nd",
        3 | 23 => "rd",
        _ => "th",
    };
    format!("{day}{end}")
}

/// `Sept. 5`, `January 15`, `5 Jan 2024`, `Dec.`: the month in full, the day as an ordinal.
pub(crate) fn month(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    let has_stop = fields.suffix(idx).starts_with('.');
    let name = month_name(core)?;
    let is_short = name != core;
    let day_after = fields.next_after_stop(idx);
    if let Some(day) = parse(day_after, 2).filter(|day| (1..=31).contains(day)) {
        // `May 5, 2024`, but not `May 5.5` nor `March 5:30`, which are no days.
        return fields.say_to(idx, idx + 1, format!("{name} {}", ordinal(day)));
    }
    if !is_short {
        return None;
    }
    let year_after = parse(day_after, 4).is_some_and(|year| (1000..=2999).contains(&year));
    let is_ordinal_after = day_after.len() > 2
        && parse(&day_after[..day_after.floor_char_boundary(day_after.len() - 2)], 2).is_some();
    let previous = fields.previous(idx);
    let after_day =
        parse(previous.trim_end_matches(|c: char| c.is_ascii_alphabetic()), 2).is_some();
    // "Jan." and "Mar." may be people, "Dec" and "Sat" words: wait for company that proves them.
    let in_company = year_after || is_ordinal_after || after_day;
    let after_preposition = has_stop
        && matches!(
            previous,
            "in" | "In"
                | "of"
                | "since"
                | "Since"
                | "until"
                | "Until"
                | "by"
                | "By"
                | "from"
                | "late"
                | "early"
                | "mid"
                | "last"
                | "next"
                | "this"
                | "during"
                | "through"
                | "to"
                | "between"
        );
    if in_company || after_preposition {
        return if has_stop {
            fields.say_abbreviation(idx, idx, name)
        } else {
            fields.say(idx, name)
        };
    }
    None
}

/// The day before a month's full name: `5 January`, `the 5 May`.
pub(crate) fn day(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let day = parse(fields.core(idx), 2).filter(|day| (1..=31).contains(day))?;
    let month = fields.next(idx);
    let name = month_name(month)?;
    let after = fields.next_after_stop(idx + 1);
    let year_after = parse(after, 4).is_some_and(|year| (1000..=2999).contains(&year));
    // "5 May 2024" is a date; "route 5 March" perhaps not. Without a year only clear names count.
    if !year_after && matches!(name, "March" | "May") {
        return None;
    }
    let words = match fields.previous(idx) {
        "the" | "The" => format!("{} of {name}", ordinal(day)),
        _ if fields.dialect == Dialect::British => format!("the {} of {name}", ordinal(day)),
        _ => format!("{} of {name}", ordinal(day)),
    };
    if month != name {
        fields.say_abbreviation(idx, idx + 1, words)
    } else {
        fields.say_to(idx, idx + 1, words)
    }
}

/// The full name for a month's name or abbreviation, capitalised as they are in English.
pub(crate) fn month_name(core: &str) -> Option<&'static str> {
    if !(3..=9).contains(&core.len()) || !core.starts_with(|c: char| c.is_ascii_uppercase()) {
        return None;
    }
    if core == "Sept" {
        return Some("September");
    }
    MONTHS
        .iter()
        .copied()
        .find(|month| *month == core || core.len() == 3 && month.starts_with(core))
}

/// `Mon., Sept. 5`: a weekday in company.
pub(crate) fn weekday(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let name = match fields.core(idx) {
        "Mon" => "Monday",
        "Tue" | "Tues" => "Tuesday",
        "Wed" => "Wednesday",
        "Thu" | "Thur" | "Thurs" => "Thursday",
        "Fri" => "Friday",
        "Sat" => "Saturday",
        "Sun" => "Sunday",
        _ => return None,
    };
    let suffix = fields.suffix(idx);
    let after = fields.core(idx + 1);
    let in_company = month_name(after).is_some()
        || after.starts_with(|c: char| c.is_ascii_digit())
        || matches!(after, "at" | "morning" | "evening" | "night" | "afternoon");
    if !in_company || !matches!(suffix, "" | "." | "," | ".,") {
        return None;
    }
    fields.say_abbreviation(idx, idx, name)
}
