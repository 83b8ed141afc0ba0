//! What comes from screens: addresses, files, handles, tags, versions.
//!
//! Spoken as one would over the telephone: "john dot doe at example dot com".

use super::field::{Fields, Said};
use super::number::{digits, parse, push_word};

/// An e-mail address, URL, host, path, file name, handle or tag.
pub(crate) fn web(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    // Trailing slashes belong to a URL but a stop or quote behind it does not.
    if let Some(address) = strip_scheme(core) {
        return fields.say(idx, speak(address));
    }
    if core.starts_with("@") || core.starts_with('#') {
        return sign(fields, idx, core);
    }
    let is_web = is_email(core) || is_host(core) || is_path(core) || is_file(core);
    is_web.then(|| fields.say(idx, speak(core)))?
}

fn strip_scheme(core: &str) -> Option<&str> {
    let lower_start =
        core.get(..core.len().min(9).min(core.floor_char_boundary(9)))?.to_ascii_lowercase();
    for scheme in [
        "https://", "http://", "ftp://", "file://", "mailto:", "ssh://", "git://", "wss://",
        "ws://",
    ] {
        if lower_start.starts_with(scheme) {
            let address = core[scheme.len()..].trim_end_matches('/');
            return (!address.is_empty()).then_some(address);
        }
    }
    None
}

fn is_email(core: &str) -> bool {
    let Some((name, host)) = core.split_once('@') else { return false };
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+'));
    is_name && host.contains('.') && is_labels(host)
}

/// Dot-separated labels of letters, digits and hyphens.
fn is_labels(host: &str) -> bool {
    host.split('.').all(|label| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

/// Top-level domains that make a bare `name.tld` an address. Others occur as two sentences with the
/// space forgotten ("the end.It was").
fn is_top_level(label: &str) -> bool {
    matches!(
        label,
        "com"
            | "org"
            | "net"
            | "edu"
            | "gov"
            | "mil"
            | "int"
            | "io"
            | "dev"
            | "ai"
            | "app"
            | "co"
            | "uk"
            | "de"
            | "fr"
            | "eu"
            | "ca"
            | "au"
            | "jp"
            | "cn"
            | "ru"
            | "nl"
            | "ch"
            | "se"
            | "nz"
            | "ie"
            | "tv"
            | "info"
            | "biz"
            | "xyz"
            | "tech"
            | "blog"
            | "gg"
            | "sh"
            | "rs"
            | "me"
            | "page"
            | "cloud"
            | "site"
    )
}

/// `example.com`, `docs.rs/koe`, `localhost:8880`.
fn is_host(core: &str) -> bool {
    let host_end = core.find(['/', '?', '#', ':']).unwrap_or(core.len());
    let (host, rest) = core.split_at(host_end);
    if host == "localhost" {
        return rest.len() > 1 && rest.starts_with([':', '/']);
    }
    let Some((_, last)) = host.rsplit_once('.') else { return false };
    let is_port = rest
        .strip_prefix(':')
        .is_none_or(|port| parse(port.split('/').next().unwrap_or(""), 5).is_some());
    is_labels(host) && is_top_level(last) && is_port && !host.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        // "Node.js" style names with one capital are names of things; hosts come in lower case.
        && host.bytes().any(|b| b.is_ascii_lowercase())
        && last.bytes().all(|b| b.is_ascii_lowercase())
}

/// `/usr/local/bin`, `~/notes.txt`, `./run`, `../data`.
fn is_path(core: &str) -> bool {
    let starts = ["/", "~/", "./", "../"].iter().any(|start| core.starts_with(start));
    starts
        && core.len() > 2
        && core.bytes().all(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-' | b'~' | b'+')
        })
        && core.bytes().any(|b| b.is_ascii_alphabetic())
}

/// `main.rs`, `foo_bar.txt`, `src/lib.rs`.
fn is_file(core: &str) -> bool {
    let Some((stem, extension)) = core.rsplit_once('.') else { return false };
    let is_known = matches!(
        extension,
        "txt"
            | "md"
            | "rs"
            | "py"
            | "js"
            | "ts"
            | "json"
            | "toml"
            | "yaml"
            | "yml"
            | "xml"
            | "html"
            | "htm"
            | "css"
            | "csv"
            | "tsv"
            | "pdf"
            | "doc"
            | "docx"
            | "xls"
            | "xlsx"
            | "ppt"
            | "pptx"
            | "jpg"
            | "jpeg"
            | "png"
            | "gif"
            | "svg"
            | "webp"
            | "mp3"
            | "mp4"
            | "wav"
            | "flac"
            | "ogg"
            | "opus"
            | "m4a"
            | "m4b"
            | "avi"
            | "mkv"
            | "mov"
            | "zip"
            | "tar"
            | "gz"
            | "xz"
            | "rar"
            | "exe"
            | "dll"
            | "so"
            | "bin"
            | "iso"
            | "sh"
            | "bat"
            | "c"
            | "h"
            | "cpp"
            | "hpp"
            | "java"
            | "go"
            | "rb"
            | "php"
            | "sql"
            | "log"
            | "cfg"
            | "conf"
            | "ini"
            | "lock"
            | "env"
            | "epub"
            | "onnx"
            | "pth"
            | "safetensors"
            | "wasm"
            | "apk"
            | "deb"
    );
    is_known
        && !stem.is_empty()
        && stem.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-'))
        && stem.bytes().any(|b| b.is_ascii_alphanumeric())
}

/// `@bob`, `#hashtag`, `#5`.
fn sign(fields: &Fields<'_>, idx: usize, core: &str) -> Option<Said> {
    let (sign, name) = core.split_at(1);
    let is_name = !name.is_empty()
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
        && name.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    if !is_name {
        return None;
    }
    if sign == "#"
        && name.starts_with(|c: char| c.is_ascii_digit())
        && !name.contains(char::is_alphabetic)
    {
        return fields.say(idx, format!("number {name}"));
    }
    let word = if sign == "@" { "at" } else { "hashtag" };
    fields.say(idx, format!("{word} {}", speak(name)))
}

/// An address part by part.
fn speak(address: &str) -> String {
    let mut words = String::new();
    let labels_end = address.find(['/', '?', '#']).unwrap_or(address.len());
    let mut at = 0;
    for (next, c) in address.char_indices().chain([(address.len(), ' ')]) {
        if c.is_alphanumeric() {
            continue;
        }
        if at < next {
            let is_last_label = next >= labels_end || !address[next..labels_end].contains('.');
            push_part(&mut words, &address[at..next], is_last_label);
        }
        at = next + c.len_utf8();
        let name = match c {
            '.' => "dot",
            '/' => "slash",
            '@' => "at",
            '-' => "dash",
            '_' => "underscore",
            '+' => "plus",
            '=' => "equals",
            '&' => "and",
            '?' => "question mark",
            '#' => "hash",
            ':' => "colon",
            '%' => "percent",
            '~' => "tilde",
            '*' => "star",
            _ => "",
        };
        if !name.is_empty() {
            push_word(&mut words, name);
        }
    }
    words
}

/// A word of an address; short codes and whatever mixes letters with digits come one by one.
fn push_part(words: &mut String, part: &str, may_be_code: bool) {
    if part.bytes().all(|b| b.is_ascii_digit()) {
        if part.len() > 1 && (part.starts_with('0') || part.len() > 4) {
            push_word(words, &digits(part));
        } else {
            push_word(words, part);
        }
        return;
    }
    let is_code = matches!(
        part,
        "www"
            | "io"
            | "ai"
            | "uk"
            | "de"
            | "fr"
            | "eu"
            | "ca"
            | "au"
            | "jp"
            | "cn"
            | "ru"
            | "nl"
            | "ch"
            | "se"
            | "nz"
            | "ie"
            | "tv"
            | "gg"
            | "rs"
            | "txt"
            | "md"
            | "py"
            | "js"
            | "ts"
            | "html"
            | "htm"
            | "css"
            | "csv"
            | "tsv"
            | "pdf"
            | "xls"
            | "xlsx"
            | "docx"
            | "ppt"
            | "pptx"
            | "jpg"
            | "png"
            | "gif"
            | "svg"
            | "mp3"
            | "mp4"
            | "m4a"
            | "m4b"
            | "avi"
            | "mkv"
            | "exe"
            | "dll"
            | "sh"
            | "cpp"
            | "hpp"
            | "php"
            | "sql"
            | "cfg"
            | "xml"
            | "yml"
            | "edu"
            | "xyz"
            | "gz"
            | "xz"
            | "tmp"
            | "usr"
            | "src"
            | "etc"
    ) && (may_be_code || part == "www" || part.len() == 3);
    if is_code {
        for c in part.chars() {
            let mut utf8 = [0; 4];
            push_word(words, c.to_ascii_uppercase().encode_utf8(&mut utf8));
        }
        return;
    }
    // Letters and digits apart, so that no rule takes "mp3x" or "5km" of a name for something else.
    let mut rest = part;
    while let Some(first) = rest.chars().next() {
        let kind = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != kind).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        if kind && run.len() > 1 && (run.starts_with('0') || run.len() > 4) {
            push_word(words, &digits(run));
        } else {
            push_word(words, run);
        }
        rest = after;
    }
}

/// `v1.2.3`, `1.2.3`, `192.168.1.1`.
pub(crate) fn version(fields: &Fields<'_>, idx: usize) -> Option<Said> {
    let core = fields.core(idx);
    if core.len() > 40 {
        return None;
    }
    let (name, numbers) = match core.strip_prefix('v') {
        Some(numbers) => ("version ", numbers),
        None => ("", core),
    };
    let (numbers, tail) = match numbers.split_once(['-', '+']) {
        // A pre-release: `1.2.3-rc1`.
        Some((numbers, tail)) if tail.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.') => {
            (numbers, tail)
        }
        Some(_) => return None,
        None => (numbers, ""),
    };
    let parts: Vec<&str> = numbers.split('.').collect();
    if !parts.iter().all(|part| parse(part, 9).is_some()) {
        return None;
    }
    let is_address = parts.len() == 4
        && name.is_empty()
        && parts.iter().all(|part| parse(part, 3).is_some_and(|n| n < 256));
    if parts.len() < 3 && name.is_empty() || !is_address && !tail.is_empty() && parts.len() < 2 {
        return None;
    }
    let mut words = name.trim().to_owned();
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            push_word(&mut words, if is_address { "dot" } else { "point" });
        }
        if is_address || part.len() > 1 && part.starts_with('0') {
            push_word(&mut words, &digits(part));
        } else {
            push_word(&mut words, part);
        }
    }
    for part in tail.split('.').filter(|part| !part.is_empty()) {
        push_part(&mut words, part, true);
    }
    fields.say(idx, words)
}
