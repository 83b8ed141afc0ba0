//! Times of day, and the other things with a colon: ratios, scores, durations, verses.

use super::field::{Fields, Said};
use super::number::{below_hundred, digits, parse, split_number};

/// `3:30`, `15:45:10`, `3:30pm`, `3:30 p.m.`, `9:00–17:30`; else `16:9` as a ratio.
pub(crate) fn time(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    if let Some((from, to)) = core.split_once(['–', '-']) {
        let (from, to) = (Clock::parse(from)?, Clock::parse(to)?);
        let (half, last) = half_of_day(fields, idx, &to);
        let to = to.speak(half.or(to.half));
        return say_time(fields, idx, last, format!("{} to {to}", from.speak(from.half)));
    }
    if let Some(clock) = Clock::parse(core) {
        let (half, last) = half_of_day(fields, idx, &clock);
        if half.is_none()
            && clock.minute == 0
            && clock.second.is_none()
            && is_oclock(fields.next(idx))
        {
            return fields.say(idx, below_hundred(clock.hour));
        }
        return say_time(fields, idx, last, clock.speak(half.or(clock.half)));
    }
    ratio(fields, idx, core)
}

/// `5pm`, `5p.m.`: misaki reads the first but not the second.
pub(crate) fn hour(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let (number, rest) = split_number(fields.core(idx));
    let hour = parse(number, 2).filter(|hour| (1..=12).contains(hour))?;
    let half = Half::parse(rest)?;
    let text = format!("{hour} {}", half.words());
    // The stop after `p.m` is part of it.
    if rest.contains('.') { fields.say_abbreviation(idx, idx, text) } else { fields.say(idx, text) }
}

#[derive(Clone, Copy)]
enum Half {
    Morning,
    Afternoon,
}

impl Half {
    /// Without the last stop, which is no part of a core.
    fn parse(text: &str) -> Option<Half> {
        match text {
            "am" | "AM" | "a.m" | "A.M" | "Am" => Some(Half::Morning),
            "pm" | "PM" | "p.m" | "P.M" | "Pm" => Some(Half::Afternoon),
            _ => None,
        }
    }

    /// With stops: misaki then spells it whatever the tag, where `AM` may become the verb.
    fn words(self) -> &'static str {
        match self {
            Half::Morning => "a.m.",
            Half::Afternoon => "p.m.",
        }
    }
}

struct Clock {
    hour: u32,
    minute: u32,
    second: Option<u32>,
    half: Option<Half>,
}

impl Clock {
    fn parse(text: &str) -> Option<Clock> {
        let (hour, rest) = text.split_once(':')?;
        let hour = parse(hour, 2).filter(|&hour| hour <= 24)?;
        let (minute, mut rest) = two_digits(rest)?;
        let mut second = None;
        if let Some(seconds) = rest.strip_prefix(':') {
            let (value, after) = two_digits(seconds)?;
            second = Some(value);
            rest = after;
        }
        let half = Half::parse(rest);
        if !rest.is_empty() && half.is_none() || half.is_some() && !(1..=12).contains(&hour) {
            return None;
        }
        (hour < 24 || minute == 0).then_some(Clock { hour, minute, second, half })
    }

    fn speak(&self, half: Option<Half>) -> String {
        let mut words = below_hundred(self.hour);
        match (self.minute, self.second, half) {
            (0, None | Some(0), Some(_)) => {}
            (0, None, None) if (1..=12).contains(&self.hour) => words.push_str(" o'clock"),
            (0, None, None) if self.hour.is_multiple_of(24) => words = "midnight".to_owned(),
            (0, None, None) => words.push_str(" hundred"),
            (minute, _, _) => push_sixtieth(&mut words, minute),
        }
        match self.second {
            Some(second) if second > 0 || half.is_none() => push_sixtieth(&mut words, second),
            _ => {}
        }
        if let Some(half) = half {
            words.push(' ');
            words.push_str(half.words());
        }
        words
    }
}

/// ` zero zero`, ` oh five`, ` thirty`.
fn push_sixtieth(words: &mut String, value: u32) {
    words.push_str(match value {
        0 => " zero ",
        1..10 => " oh ",
        _ => " ",
    });
    words.push_str(&below_hundred(value));
}

/// The words for a time of day that stands by itself.
pub(crate) fn speak(text: &str) -> Option<String> {
    Clock::parse(text).map(|clock| clock.speak(clock.half))
}

/// Two digits below sixty and what follows them.
fn two_digits(text: &str) -> Option<(u32, &str)> {
    let value = parse(text.get(..2)?, 2).filter(|&value| value < 60)?;
    let rest = &text[2..];
    (!rest.starts_with(|c: char| c.is_ascii_digit())).then_some((value, rest))
}

/// `p.m.` as the next field, and which field then is the last.
fn half_of_day(fields: &Fields<'_>, idx: usize, clock: &Clock) -> (Option<Half>, usize) {
    match Half::parse(fields.next(idx)) {
        Some(half) if clock.half.is_none() && (1..=12).contains(&clock.hour) => {
            (Some(half), idx + 1)
        }
        _ => (None, idx),
    }
}

fn is_oclock(text: &str) -> bool {
    matches!(text, "o'clock" | "o’clock" | "O'Clock" | "O’Clock")
}

fn say_time(fields: &Fields<'_>, idx: usize, last: usize, words: String) -> Option<Said> {
    // "p.m" lost its stop to the suffix; take it back.
    if fields.core(last).ends_with(".m") || fields.core(last).ends_with(".M") {
        fields.say_abbreviation(idx, last, words)
    } else {
        fields.say_to(idx, last, words)
    }
}

/// `16:9`, `2:1`, `1:100`.
fn ratio(fields: &Fields<'_>, idx: usize, core: &str) -> Option<Said> {
    let (left, right) = core.split_once(':')?;
    if let Some(words) = race(left, right) {
        return fields.say(idx, words);
    }
    let is_side = |text: &str| super::number::is_number(text) && text.len() <= 9;
    (is_side(left) && is_side(right)).then(|| fields.say(idx, format!("{left} to {right}")))?
}

/// `1:23.45`, the time of a race.
fn race(minutes: &str, rest: &str) -> Option<String> {
    let minutes = parse(minutes, 3)?;
    let (seconds, fraction) = rest.split_once('.')?;
    let value = parse(seconds, 2).filter(|&value| value < 60 && seconds.len() == 2)?;
    let is_fraction =
        (1..=4).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit());
    let oh = if value < 10 { "oh " } else { "" };
    is_fraction.then(|| format!("{minutes} {oh}{value} point {}", digits(fraction)))
}
