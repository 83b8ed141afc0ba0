//! Whether a stretch of text is a web or mail address, which the tokenizer leaves whole.
//!
//! The rules are those of spaCy's pattern (itself from Diego Perini's); here they are a scan from
//! left to right, each character looked at a bounded number of times.

use super::characters::Class;

/// Whether all of `text`, which has no white space, is an address.
pub(super) fn matches(text: &str) -> bool {
    // Every address has a dot inside its host; most words have none.
    if !text.contains('.') {
        return false;
    }
    let without_scheme = text.split_once("://").and_then(|(scheme, rest)| {
        let valid = scheme.chars().count() >= 2
            && scheme.chars().all(|c| c.is_alphanumeric() || "_+-.".contains(c));
        valid.then_some(rest)
    });
    without_scheme.is_some_and(matches_after_scheme) || matches_after_scheme(text)
}

/// A host at the start, or after any `@` that has something before it: user and password may be
/// anything.
fn matches_after_scheme(text: &str) -> bool {
    host_and_rest(text)
        || text.char_indices().any(|(at, c)| c == '@' && at > 0 && host_and_rest(&text[at + 1..]))
}

/// A host, a port perhaps, a path perhaps, then the end.
fn host_and_rest(text: &str) -> bool {
    // An address in numbers also ends here; the rest is the same for both.
    let n_host = text.find([':', '/', '?', '#', '@']).unwrap_or(text.len());
    let (host, mut rest) = text.split_at(n_host);
    if let Some(port) = rest.strip_prefix(':') {
        let n_digits = port.bytes().take_while(u8::is_ascii_digit).count();
        if !(2..=5).contains(&n_digits) {
            return false;
        }
        rest = &port[n_digits..];
    }
    (rest.is_empty() || rest.starts_with(['/', '?', '#'])) && (is_name(host) || is_public_ip(host))
}

/// Labels joined by dots, the last of lower-case letters.
fn is_name(host: &str) -> bool {
    let Some((labels, top)) = host.rsplit_once('.') else { return false };
    (2..=63).contains(&top.chars().take(64).count())
        && top.chars().all(|c| Class::AlphaLower.has(c))
        && labels.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let is_end = |c: char| c.is_ascii_alphanumeric() || ('\u{a1}'..='\u{ffff}').contains(&c);
    (1..=64).contains(&label.chars().take(65).count())
        && label.starts_with(is_end)
        && label.ends_with(is_end)
        && label.chars().all(|c| is_end(c) || c == '-' || c == '_')
}

/// Four numbers joined by dots, not of a private network.
fn is_public_ip(host: &str) -> bool {
    let mut numbers = [0_u16; 4];
    let mut parts = host.split('.');
    for number in &mut numbers {
        let Some(part) = parts.next() else { return false };
        if part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return false;
        }
        let Ok(value) = part.parse() else { return false };
        *number = value;
    }
    let [a, b, c, d] = numbers;
    let private = matches!(a, 10 | 127)
        || (a, b) == (169, 254)
        || (a, b) == (192, 168)
        || a == 172 && (16..=31).contains(&b);
    parts.next().is_none()
        && !private
        && (1..=223).contains(&a)
        && b <= 255
        && c <= 255
        && (1..=254).contains(&d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_whole_and_other_words_are_not() {
        for text in [
            "example.com",
            "www.example.co.uk/path?q=1",
            "https://a-b.example.org:8080/x",
            "user.name+tag@mail.example.com",
            "ftp://user:pass@host.net",
            "8.8.8.8/dns",
            "naïve.café",
        ] {
            assert!(matches(text), "{text}");
        }
        for text in [
            "end.Next",
            "192.168.0.1",
            "e.g",
            "a.b",
            "3.14",
            "http://",
            "x@y",
            "-a.com",
            "a..com",
            "v1.2.x/",
        ] {
            assert!(!matches(text), "{text}");
        }
    }
}
