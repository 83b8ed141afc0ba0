//! Sums of money in the forms that misaki does not read: other currencies, letters for thousands
//! and millions, the sign behind the number, rates.
//!
//! misaki reads `$5.99`, `£20`, `€3.5 million`; those stay.

use super::field::{Fields, Said};
use super::number::{is_number, is_one, split_number, split_range};
use super::unit;
use crate::phoneme::Dialect;

/// Sign, one, many. The longer signs come first.
const CURRENCIES: &[(&str, &str, &str)] = &[
    ("US$", "U.S. dollar", "U.S. dollars"),
    ("AU$", "Australian dollar", "Australian dollars"),
    ("CA$", "Canadian dollar", "Canadian dollars"),
    ("NZ$", "New Zealand dollar", "New Zealand dollars"),
    ("HK$", "Hong Kong dollar", "Hong Kong dollars"),
    ("NT$", "Taiwan dollar", "Taiwan dollars"),
    ("A$", "Australian dollar", "Australian dollars"),
    ("C$", "Canadian dollar", "Canadian dollars"),
    ("S$", "Singapore dollar", "Singapore dollars"),
    ("R$", "real", "reals"),
    ("$", "dollar", "dollars"),
    ("£", "pound", "pounds"),
    ("€", "euro", "euros"),
    ("¥", "yen", "yen"),
    ("₹", "rupee", "rupees"),
    ("₩", "won", "won"),
    ("₽", "ruble", "rubles"),
    ("₿", "bitcoin", "bitcoins"),
    ("₫", "dong", "dong"),
    ("₺", "lira", "lira"),
    ("₴", "hryvnia", "hryvnia"),
    ("₪", "shekel", "shekels"),
    ("₱", "peso", "pesos"),
    ("₦", "naira", "naira"),
    ("฿", "baht", "baht"),
    ("¢", "cent", "cents"),
    ("zł", "zloty", "zloty"),
    ("kr", "krone", "kroner"),
];

/// Codes that stand behind or before the number as words of their own.
const CODES: &[(&str, &str, &str)] = &[
    ("USD", "U.S. dollar", "U.S. dollars"),
    ("EUR", "euro", "euros"),
    ("GBP", "pound", "pounds"),
    ("JPY", "yen", "yen"),
    ("INR", "rupee", "rupees"),
];

/// `US$100`, `$2.5bn`, `¥500`, `100€`, `-$5`, `$5-10`, `$20/hr`.
pub(crate) fn money(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    if core.len() > 64 {
        return None;
    }
    let (minus, rest) = match core.strip_prefix(['-', '−', '–']) {
        Some(rest) => ("minus ", rest),
        None => ("", core),
    };
    let (amount, one, many, sign) = split_currency(rest, fields)?;
    let (amount, per) = match amount.split_once('/') {
        Some((amount, per)) => (amount, Some(unit::per(per)?)),
        None => (amount, None),
    };
    let (words, is_plain) = speak(amount, sign, one, many, is_magnitude(fields.next(idx)))?;
    // misaki has this; leave the sign where it is. But misaki takes the sign for the numbers that
    // follow without a word between, too.
    let runs_on = fields.next(idx).trim_start_matches(|c: char| !c.is_alphanumeric());
    let runs_on = runs_on.starts_with(|c: char| c.is_ascii_digit());
    if is_plain
        && !runs_on
        && per.is_none()
        && minus.is_empty()
        && matches!(sign, "$" | "£" | "€")
        && rest.starts_with(sign)
    {
        return None;
    }
    if is_magnitude(fields.next(idx)) && per.is_none() {
        let magnitude = fields.next(idx);
        return fields.say_to(idx, idx + 1, format!("{minus}{amount} {magnitude} {many}"));
    }
    let per = per.map_or(String::new(), |per| format!(" per {per}"));
    fields.say(idx, format!("{minus}{words}{per}"))
}

/// The amount without its sign, the names of the currency, and the sign.
fn split_currency<'t>(
    text: &'t str,
    fields: &Fields<'_>,
) -> Option<(&'t str, &'static str, &'static str, &'static str)> {
    for &(sign, one, many) in CURRENCIES {
        if let Some(amount) = text.strip_prefix(sign)
            && !matches!(sign, "¢" | "zł" | "kr")
        {
            return Some((amount, one, many, sign));
        }
        if let Some(amount) = text.strip_suffix(sign)
            && is_number(amount)
        {
            return Some((amount, one, many, sign));
        }
    }
    let pence = text.strip_suffix('p').filter(|_| fields.dialect == Dialect::British)?;
    is_number(pence).then_some((pence, "penny", "pence", "p"))
}

/// The words, and whether it is one plain number that misaki could read with its sign.
fn speak(
    amount: &str,
    sign: &str,
    one: &str,
    many: &str,
    magnitude_follows: bool,
) -> Option<(String, bool)> {
    if let Some((from, to)) = split_range(amount) {
        let to = to.strip_prefix(sign).unwrap_or(to);
        let (to, magnitude) = split_magnitude(to)?;
        let (from, _) = split_magnitude(from)?;
        let magnitude = magnitude.map_or(String::new(), |name| format!(" {name}"));
        return Some((format!("{from} to {to}{magnitude} {many}"), false));
    }
    let (number, magnitude) = split_magnitude(amount)?;
    if let Some(magnitude) = magnitude {
        return Some((format!("{number} {magnitude} {many}"), false));
    }
    // One decimal is tenths: misaki would say "five dollars and five cents" for $5.5.
    if let Some((whole, tenths)) = number.split_once('.')
        && tenths.len() == 1
        && !magnitude_follows
        && matches!(sign, "$" | "€" | "£")
    {
        let part = if sign == "£" { "pence" } else { "cents" };
        let whole = if whole.is_empty() { "0" } else { whole };
        let name = if is_one(whole) { one } else { many };
        return Some((format!("{whole} {name} and {tenths}0 {part}"), false));
    }
    if let Some((whole, part)) = number.split_once('.')
        && part.len() == 2
        && !part.starts_with('0')
        && !magnitude_follows
        && matches!(sign, "$" | "€")
    {
        let name = if is_one(whole) { one } else { many };
        return Some((format!("{whole} {name} and {part} cents"), true));
    }
    let name = if is_one(number) { one } else { many };
    Some((format!("{number} {name}"), true))
}

/// A number and the letter for thousands or millions glued to it.
fn split_magnitude(text: &str) -> Option<(&str, Option<&'static str>)> {
    let (number, rest) = split_number(text);
    let magnitude = match rest {
        "" => None,
        "k" | "K" => Some("thousand"),
        "m" | "M" | "mn" | "MM" | "mm" => Some("million"),
        "b" | "B" | "bn" | "Bn" => Some("billion"),
        "t" | "T" | "tn" | "trn" => Some("trillion"),
        _ => return None,
    };
    (!number.is_empty()).then_some((number, magnitude))
}

fn is_magnitude(word: &str) -> bool {
    matches!(
        word,
        "hundred"
            | "thousand"
            | "million"
            | "billion"
            | "trillion"
            | "Million"
            | "Billion"
            | "Trillion"
    )
}

/// A currency's sign or code as a field of its own beside the number: `100 €`, `50 USD`.
pub(crate) fn beside(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    let previous = fields.previous(idx);
    if !(1..=3).contains(&core.len()) || !is_number(previous) && !is_magnitude(previous) {
        return None;
    }
    let (_, one, many) =
        CURRENCIES.iter().chain(CODES).find(|(sign, ..)| *sign == core && *sign != "kr")?;
    fields.say(idx, if is_one(previous) { *one } else { *many })
}
