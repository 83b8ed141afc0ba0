//! Units of measurement behind a number: `5km`, `10 kg`, `25°C`, `60 km/h`, `2h30m`, `5'10"`.
//!
//! A unit is read only when it is glued to a number or cannot be anything else; `5 in a row` and
//! `I am 5 s` stay as they are.

use super::field::{Fields, Said};
use super::number::{is_number, is_one, parse, split_number, split_range};

struct Unit {
    symbol: &'static str,
    one: &'static str,
    many: &'static str,
    /// May stand apart from its number.
    alone: bool,
}

const fn alone(symbol: &'static str, one: &'static str, many: &'static str) -> Unit {
    Unit { symbol, one, many, alone: true }
}

const fn glued(symbol: &'static str, one: &'static str, many: &'static str) -> Unit {
    Unit { symbol, one, many, alone: false }
}

/// Upper and lower case differ on purpose: `MB` and `Mb`, `mW` and `MW`.
const UNITS: &[Unit] = &[
    alone("km", "kilometer", "kilometers"),
    alone("m", "meter", "meters"),
    alone("cm", "centimeter", "centimeters"),
    alone("mm", "millimeter", "millimeters"),
    alone("µm", "micrometer", "micrometers"),
    alone("nm", "nanometer", "nanometers"),
    alone("mi", "mile", "miles"),
    alone("yd", "yard", "yards"),
    alone("yds", "yard", "yards"),
    alone("ft", "foot", "feet"),
    glued("in", "inch", "inches"),
    alone("ha", "hectare", "hectares"),
    alone("sqft", "square foot", "square feet"),
    alone("kg", "kilogram", "kilograms"),
    alone("kgs", "kilogram", "kilograms"),
    alone("g", "gram", "grams"),
    alone("mg", "milligram", "milligrams"),
    alone("µg", "microgram", "micrograms"),
    alone("mcg", "microgram", "micrograms"),
    alone("lb", "pound", "pounds"),
    alone("lbs", "pound", "pounds"),
    alone("oz", "ounce", "ounces"),
    alone("L", "liter", "liters"),
    glued("l", "liter", "liters"),
    alone("mL", "milliliter", "milliliters"),
    alone("ml", "milliliter", "milliliters"),
    alone("cl", "centiliter", "centiliters"),
    alone("dL", "deciliter", "deciliters"),
    alone("dl", "deciliter", "deciliters"),
    alone("gal", "gallon", "gallons"),
    alone("tsp", "teaspoon", "teaspoons"),
    alone("tbsp", "tablespoon", "tablespoons"),
    alone("cc", "C C", "C C"),
    glued("h", "hour", "hours"),
    alone("hr", "hour", "hours"),
    alone("hrs", "hour", "hours"),
    alone("min", "minute", "minutes"),
    alone("mins", "minute", "minutes"),
    glued("s", "second", "seconds"),
    alone("sec", "second", "seconds"),
    alone("secs", "second", "seconds"),
    alone("ms", "millisecond", "milliseconds"),
    alone("µs", "microsecond", "microseconds"),
    alone("ns", "nanosecond", "nanoseconds"),
    alone("wk", "week", "weeks"),
    alone("wks", "week", "weeks"),
    alone("yr", "year", "years"),
    alone("yrs", "year", "years"),
    alone("mos", "month", "months"),
    alone("Hz", "hertz", "hertz"),
    alone("kHz", "kilohertz", "kilohertz"),
    alone("KHz", "kilohertz", "kilohertz"),
    alone("MHz", "megahertz", "megahertz"),
    alone("GHz", "gigahertz", "gigahertz"),
    alone("THz", "terahertz", "terahertz"),
    alone("kB", "kilobyte", "kilobytes"),
    alone("KB", "kilobyte", "kilobytes"),
    alone("MB", "megabyte", "megabytes"),
    alone("GB", "gigabyte", "gigabytes"),
    alone("TB", "terabyte", "terabytes"),
    alone("PB", "petabyte", "petabytes"),
    alone("KiB", "kibibyte", "kibibytes"),
    alone("MiB", "mebibyte", "mebibytes"),
    alone("GiB", "gibibyte", "gibibytes"),
    alone("TiB", "tebibyte", "tebibytes"),
    alone("Mb", "megabit", "megabits"),
    alone("Gb", "gigabit", "gigabits"),
    alone("bps", "bit per second", "bits per second"),
    alone("kbps", "kilobit per second", "kilobits per second"),
    alone("Kbps", "kilobit per second", "kilobits per second"),
    alone("Mbps", "megabit per second", "megabits per second"),
    alone("Gbps", "gigabit per second", "gigabits per second"),
    glued("W", "watt", "watts"),
    alone("mW", "milliwatt", "milliwatts"),
    alone("kW", "kilowatt", "kilowatts"),
    alone("MW", "megawatt", "megawatts"),
    alone("GW", "gigawatt", "gigawatts"),
    alone("Wh", "watt hour", "watt hours"),
    alone("kWh", "kilowatt hour", "kilowatt hours"),
    alone("MWh", "megawatt hour", "megawatt hours"),
    alone("GWh", "gigawatt hour", "gigawatt hours"),
    glued("V", "volt", "volts"),
    alone("mV", "millivolt", "millivolts"),
    alone("kV", "kilovolt", "kilovolts"),
    alone("mA", "milliamp", "milliamps"),
    alone("mAh", "milliamp hour", "milliamp hours"),
    alone("Ω", "ohm", "ohms"),
    alone("kΩ", "kiloohm", "kiloohms"),
    alone("MΩ", "megaohm", "megaohms"),
    alone("kJ", "kilojoule", "kilojoules"),
    alone("MJ", "megajoule", "megajoules"),
    alone("kN", "kilonewton", "kilonewtons"),
    alone("Nm", "newton meter", "newton meters"),
    alone("Pa", "pascal", "pascals"),
    alone("hPa", "hectopascal", "hectopascals"),
    alone("kPa", "kilopascal", "kilopascals"),
    alone("MPa", "megapascal", "megapascals"),
    alone("psi", "P S I", "P S I"),
    alone("dB", "decibel", "decibels"),
    alone("kcal", "kilocalorie", "kilocalories"),
    alone("cal", "calorie", "calories"),
    alone("mph", "mile per hour", "miles per hour"),
    alone("kph", "kilometer per hour", "kilometers per hour"),
    alone("kmh", "kilometer per hour", "kilometers per hour"),
    alone("mpg", "mile per gallon", "miles per gallon"),
    alone("rpm", "R P M", "R P M"),
    alone("bpm", "beat per minute", "beats per minute"),
    alone("fps", "frame per second", "frames per second"),
    alone("ppm", "part per million", "parts per million"),
    alone("dpi", "dot per inch", "dots per inch"),
    alone("px", "pixel", "pixels"),
    alone("hp", "horsepower", "horsepower"),
    alone("°C", "degree Celsius", "degrees Celsius"),
    alone("°F", "degree Fahrenheit", "degrees Fahrenheit"),
    alone("℃", "degree Celsius", "degrees Celsius"),
    alone("℉", "degree Fahrenheit", "degrees Fahrenheit"),
    alone("°", "degree", "degrees"),
    alone("‰", "per mille", "per mille"),
];

fn find(symbol: &str) -> Option<&'static Unit> {
    if symbol.len() > 5 {
        return None;
    }
    UNITS.iter().find(|unit| unit.symbol == symbol)
}

/// A unit, its powers and quotients: `m²`, `km/h`, `g/cm³`. One, many, and whether it may stand
/// alone.
fn compound(symbol: &str) -> Option<(String, String, bool)> {
    if symbol.len() > 16 {
        return None;
    }
    if let Some((above, below)) = symbol.split_once('/') {
        let (one, many, _) = compound(above)?;
        let below = per(below)?;
        return Some((format!("{one} per {below}"), format!("{many} per {below}"), true));
    }
    for (sign, power) in [("²", "square"), ("³", "cubic"), ("^2", "square"), ("^3", "cubic")] {
        if let Some(base) = symbol.strip_suffix(sign) {
            let unit = find(base).filter(|_| base != "°")?;
            return Some((format!("{power} {}", unit.one), format!("{power} {}", unit.many), true));
        }
    }
    find(symbol).map(|unit| (unit.one.to_owned(), unit.many.to_owned(), unit.alone))
}

/// What stands below the line of a rate: a unit in the singular, or a word.
pub(crate) fn per(symbol: &str) -> Option<String> {
    let is_word =
        (3..=12).contains(&symbol.len()) && symbol.bytes().all(|b| b.is_ascii_lowercase());
    match symbol {
        "l" | "s" | "h" => find(symbol).map(|unit| unit.one.to_owned()),
        "s²" => Some("second squared".to_owned()),
        "d" => Some("day".to_owned()),
        "mo" => Some("month".to_owned()),
        _ if symbol.contains('/') => None,
        _ => compound(symbol).map(|(one, ..)| one).or_else(|| is_word.then(|| symbol.to_owned())),
    }
}

/// A unit in its field: glued to its number, or alone behind it.
pub(crate) fn unit(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    if core.len() > 48 {
        return None;
    }
    glued_unit(fields, idx, core)
        .or_else(|| lone_unit(fields, idx, core))
        .or_else(|| height(fields, idx, core))
        .or_else(|| duration(fields, idx, core))
}

fn glued_unit(fields: &Fields<'_>, idx: usize, core: &str) -> Option<Said> {
    let (sign, unsigned) = split_sign(core);
    // The unit begins behind the last digit.
    let digits_end = unsigned.rfind(|c: char| c.is_ascii_digit())? + 1;
    let (amount, symbol) = split_power(unsigned, digits_end)?;
    let is_adjective = symbol.starts_with('-');
    let symbol = symbol.strip_prefix('-').unwrap_or(symbol);
    let (from, to) = match split_range(amount) {
        Some((from, to)) if is_number(from) => (Some(from), to),
        Some(_) => return None,
        None => (None, amount),
    };
    if !is_number(to) {
        return None;
    }
    let (one, many) = match (symbol, from) {
        ("%", Some(_)) => ("percent".to_owned(), "percent".to_owned()),
        // Plain percentages are misaki's, 30s is a decade, 5M an amount rather than a meter.
        ("%", None) if sign.is_empty() => return None,
        ("%", None) => ("percent".to_owned(), "percent".to_owned()),
        ("s", _) if !to.contains('.') && to.ends_with('0') => return None,
        // The second half of "1h 30m".
        ("m", None) if is_hours(fields.previous(idx)) => {
            ("minute".to_owned(), "minutes".to_owned())
        }
        ("M" | "mn", _) => ("million".to_owned(), "million".to_owned()),
        ("B", _) if !to.contains('.') => return None,
        ("B" | "bn", _) => ("billion".to_owned(), "billion".to_owned()),
        ("x" | "×", _) => ("times".to_owned(), "times".to_owned()),
        _ => compound(symbol).map(|(one, many, _)| (one, many))?,
    };
    let name = if is_one(to) && from.is_none() || is_adjective { one } else { many };
    let from = from.map_or(String::new(), |from| format!("{from} to "));
    let words = format!("{sign}{from}{to} {name}");
    // "10ft." in the middle of a sentence is an abbreviation.
    if is_adjective || symbol.contains('/') {
        fields.say(idx, words)
    } else {
        say_stopped(fields, idx, symbol, words)
    }
}

fn is_hours(core: &str) -> bool {
    core.strip_suffix('h').is_some_and(is_number)
}

/// `10^6` and `m2` end in digits but their number does not; only real powers of units count.
fn split_power(text: &str, digits_end: usize) -> Option<(&str, &str)> {
    if digits_end < text.len() {
        return Some(text.split_at(digits_end));
    }
    let base = text.strip_suffix("^2").or_else(|| text.strip_suffix("^3"))?;
    let at = base.rfind(|c: char| c.is_ascii_digit())? + 1;
    (at < base.len()).then(|| text.split_at(at))
}

fn split_sign(core: &str) -> (&'static str, &str) {
    match core.chars().next() {
        Some('-' | '−') => ("minus ", &core[core.chars().next().map_or(0, char::len_utf8)..]),
        Some('+') => ("plus ", &core[1..]),
        Some('~' | '≈') => ("about ", &core[core.chars().next().map_or(0, char::len_utf8)..]),
        _ => ("", core),
    }
}

fn lone_unit(fields: &Fields<'_>, idx: usize, core: &str) -> Option<Said> {
    if core.is_empty() || core.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let previous = fields.previous(idx);
    let last = previous.rsplit(['-', '–']).next().unwrap_or("");
    let is_amount = is_number(last)
        || last.ends_with(['½', '¼', '¾'])
        || last.contains('/') && last.bytes().all(|b| b.is_ascii_digit() || b == b'/');
    if !is_amount || last.starts_with('.') && last.len() == 1 {
        return None;
    }
    let (one, many, alone) = match core {
        "bn" => ("billion".to_owned(), "billion".to_owned(), true),
        "in" => {
            let (one, many, _) = compound(core)?;
            // "5 in." is five inches, if the sentence goes on in lower case.
            (one, many, fields.suffix(idx) == "." && !fields.is_last(idx))
        }
        _ => compound(core)?,
    };
    if !alone {
        return None;
    }
    let words = if is_one(previous) { one } else { many };
    say_stopped(fields, idx, core, words)
}

/// Units of more than one letter are often written with a stop.
fn say_stopped(fields: &Fields<'_>, idx: usize, symbol: &str, words: String) -> Option<Said> {
    let is_abbreviation = matches!(
        symbol,
        "ft" | "in"
            | "lb"
            | "lbs"
            | "oz"
            | "yd"
            | "yds"
            | "mi"
            | "hr"
            | "hrs"
            | "min"
            | "mins"
            | "sec"
            | "secs"
            | "yr"
            | "yrs"
            | "wk"
            | "wks"
            | "mos"
            | "gal"
            | "tsp"
            | "tbsp"
    );
    if is_abbreviation { fields.say_abbreviation(idx, idx, words) } else { fields.say(idx, words) }
}

/// `5'10"`, `5′ 10″` in one field: feet and inches.
fn height(fields: &Fields<'_>, idx: usize, core: &str) -> Option<Said> {
    if let Some(inches) = core.strip_suffix('″').filter(|inches| is_number(inches)) {
        return fields.say(idx, format!("{inches} inches"));
    }
    if let Some(feet) = core.strip_suffix('′').filter(|feet| is_number(feet)) {
        return fields.say(idx, format!("{feet} feet"));
    }
    let (feet, inches) = core.split_once(['\'', '’', '′'])?;
    let feet = parse(feet, 2)?;
    let inches = parse(inches.trim_end_matches('″'), 2).filter(|&inches| inches < 12)?;
    let mut said = fields.say(idx, format!("{feet} foot {inches}"))?;
    if fields.suffix(idx).starts_with('"') {
        said.range.end += 1;
    }
    Some(said)
}

/// `2h30m`, `1h30`, `5m30s`.
fn duration(fields: &Fields<'_>, idx: usize, core: &str) -> Option<Said> {
    let mut rest = core;
    let mut words = String::new();
    let mut n_parts = 0;
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let n_letters = after.bytes().take_while(u8::is_ascii_lowercase).count();
        let (letters, after) = after.split_at(n_letters);
        let (one, many) = match letters {
            "d" => ("day", "days"),
            "h" | "hr" | "hrs" => ("hour", "hours"),
            "m" | "min" | "mins" => ("minute", "minutes"),
            "s" | "sec" | "secs" => ("second", "seconds"),
            "" if n_parts > 0 && after.is_empty() => ("", ""),
            _ => return None,
        };
        if number.is_empty() || number.len() > 4 {
            return None;
        }
        super::number::push_word(&mut words, number);
        let name = if is_one(number) { one } else { many };
        if !name.is_empty() {
            super::number::push_word(&mut words, name);
        }
        n_parts += 1;
        rest = after;
    }
    (n_parts >= 2).then(|| fields.say(idx, words))?
}

/// `sq. ft.`, `cu m`: the power before its unit.
pub(crate) fn power(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let power = match fields.core(idx) {
        "sq" => "square",
        "cu" => "cubic",
        _ => return None,
    };
    let unit = find(fields.next_after_stop(idx))?;
    let is_counted = idx > 0 && fields.core(idx - 1).ends_with(|c: char| c.is_ascii_digit());
    let name = if is_counted { unit.many } else { unit.one };
    is_counted.then(|| fields.say_abbreviation(idx, idx + 1, format!("{power} {name}")))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symbol_is_there_once() {
        let mut symbols: Vec<&str> = UNITS.iter().map(|unit| unit.symbol).collect();
        symbols.sort_unstable();
        symbols.dedup();
        assert_eq!(symbols.len(), UNITS.len());
    }
}
