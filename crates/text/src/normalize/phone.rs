//! Telephone numbers and other runs of digits that are read one by one.

use super::field::{Fields, Said};
use super::number::{digits, parse};

/// `(555) 123-4567`, `+44 20 7946 0958`, `1-800-555-1234`, `555-1234`, and ISBN-like codes.
pub(crate) fn phone(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    if !core.starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '(') {
        return None;
    }
    emergency(fields, idx).or_else(|| spaced(fields, idx)).or_else(|| hyphened(fields, idx))
}

/// "Call 911."
fn emergency(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let is_number =
        matches!(fields.core(idx), "911" | "999" | "112" | "111" | "311" | "411" | "211" | "988");
    let is_called = matches!(
        fields.previous(idx).to_ascii_lowercase().as_str(),
        "call"
            | "calls"
            | "called"
            | "calling"
            | "dial"
            | "dials"
            | "dialed"
            | "dialled"
            | "dialing"
            | "ring"
    );
    (is_number && is_called).then(|| fields.say(idx, digits(fields.core(idx))))?
}

/// Groups in fields of their own, which a plus or brackets must announce.
fn spaced(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let field = &fields.list[idx];
    let open = fields.prefix(idx).ends_with('(');
    let core = fields.core(idx);
    let announced = open && fields.suffix(idx) == ")" && parse(core, 5).is_some()
        || core.starts_with('+') && core.len() > 1;
    if !announced {
        return None;
    }
    let mut groups: Vec<&str> = Vec::new();
    let mut last = idx;
    for (n, at) in (idx..fields.list.len().min(idx + 8)).enumerate() {
        let core = fields.core(at).trim_start_matches('+');
        let is_bracketed = fields.prefix(at) == "(" && fields.suffix(at) == ")";
        let plain = fields.prefix(at).is_empty() || is_bracketed || n == 0;
        let parts = core.split(['-', '.', '/']);
        if core.is_empty()
            || !plain
            || core.starts_with('+')
            || !parts.clone().all(|part| parse(part, 9).is_some())
        {
            break;
        }
        groups.extend(parts);
        last = at;
        if !fields.suffix(at).is_empty() && !is_bracketed {
            break;
        }
    }
    let n_digits: usize = groups.iter().map(|group| group.len()).sum();
    if !(7..=15).contains(&n_digits) || groups.len() < 2 && n_digits < 10 {
        return None;
    }
    let start = if open { field.core_start - 1 } else { field.core_start };
    let plus = if core.starts_with('+') { "plus " } else { "" };
    let end = fields.list[last].core_end;
    Some(Said::new(start..end, format!("{plus}{}", speak(&groups))))
}

/// Groups in one field, apart by hyphens or stops.
fn hyphened(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    let by = if core.contains('-') { '-' } else { '.' };
    if core.len() > 40 || !core.contains(by) {
        return None;
    }
    let groups: Vec<&str> = core.split(by).collect();
    if !groups.iter().all(|group| parse(group, 9).is_some()) {
        return None;
    }
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let is_phone = match lengths[..] {
        [3, 3, 4] | [1, 3, 3, 4] => true,
        [3, 4] => by == '-' && (core.starts_with("555") || is_after_phone_word(fields, idx)),
        // ISBN, social security and card numbers; four stops make a version or an address instead.
        [_, _, _, ..] => by == '-' && lengths.iter().sum::<usize>() >= 7,
        _ => false,
    };
    is_phone.then(|| fields.say(idx, speak(&groups)))?
}

fn is_after_phone_word(fields: &Fields<'_>, idx: usize) -> bool {
    (1..=2).filter_map(|back| idx.checked_sub(back)).any(|at| {
        matches!(
            fields.core(at).to_ascii_lowercase().as_str(),
            "call"
                | "phone"
                | "tel"
                | "telephone"
                | "fax"
                | "dial"
                | "text"
                | "number"
                | "mobile"
                | "cell"
                | "ext"
        )
    })
}

/// Digit by digit, with a rest between groups; `800` after a leading 1 is "eight hundred".
fn speak(groups: &[&str]) -> String {
    let mut words = String::new();
    for (n, group) in groups.iter().enumerate() {
        if n > 0 {
            words.push_str(", ");
        }
        if n == 1 && groups[0] == "1" && matches!(*group, "800" | "900") {
            words.push_str(if *group == "800" { "eight hundred" } else { "nine hundred" });
        } else {
            words.push_str(&digits(group));
        }
    }
    words
}
