//! House rules that a machine can hold: which room may use which, where unsafe code may be, that
//! every file says what it is for, and that links in the documents lead somewhere.
//!
//! Runs as `cargo xtask tidy` and as a test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which rooms a room may use.
const ARROWS: [(&str, &[&str]); 8] = [
    ("crates/text", &[]),
    ("crates/kernels", &[]),
    ("crates/engine", &["koe-kernels"]),
    ("crates/audio", &[]),
    ("crates/onnx", &["koe-engine"]),
    ("crates/priming", &[]),
    ("crates/koe", &["koe-audio", "koe-engine", "koe-onnx", "koe-priming", "koe-text"]),
    ("xtask", &["koe-engine", "koe-text"]),
];

/// Where unsafe code may be, as ARCHITECTURE.md says.
const UNSAFE_HOMES: [&str; 5] = [
    "crates/kernels/",
    "crates/engine/src/mapping.rs",
    "crates/engine/src/threads.rs",
    "crates/priming/src/heap.rs",
    // An allocator that counts.
    "crates/engine/tests/allocation.rs",
];

/// All complaints, one a line.
pub(crate) fn run() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no root")?;
    let files = tracked(root)?;
    let mut complaints = Vec::new();
    arrows(root, &mut complaints);
    for file in &files {
        let Ok(text) = std::fs::read_to_string(root.join(file)) else { continue };
        let name = file.to_string_lossy();
        if name.ends_with(".rs") {
            header(&name, &text, &mut complaints);
            unsafe_home(&name, &text, &mut complaints);
        }
        if name.ends_with(".md") {
            links(root, file, &text, &mut complaints);
        }
    }
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
}

/// The files that git has, or every file where there is no git.
fn tracked(root: &Path) -> Result<Vec<PathBuf>, String> {
    let listing = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output();
    if let Ok(listing) = listing
        && listing.status.success()
    {
        let names = String::from_utf8(listing.stdout).map_err(|error| error.to_string())?;
        return Ok(names.split_terminator('\0').map(PathBuf::from).collect());
    }
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| error.to_string())? {
            let path = entry.map_err(|error| error.to_string())?.path();
            let name = path.file_name().unwrap_or_default();
            if path.is_dir() {
                if name != "target" && name != ".git" {
                    folders.push(path);
                }
            } else if let Ok(path) = path.strip_prefix(root) {
                files.push(path.to_owned());
            }
        }
    }
    Ok(files)
}

fn arrows(root: &Path, complaints: &mut Vec<String>) {
    let allowed: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let mut rooms = vec!["xtask".to_owned()];
    if let Ok(entries) = std::fs::read_dir(root.join("crates")) {
        let names = entries.flatten().map(|entry| entry.file_name());
        rooms.extend(names.map(|name| format!("crates/{}", name.to_string_lossy())));
    }
    for room in rooms {
        let Ok(manifest) = std::fs::read_to_string(root.join(&room).join("Cargo.toml")) else {
            continue;
        };
        let Some(allowed) = allowed.get(room.as_str()) else {
            complaints
                .push(format!("{room}: a new room; say in xtask/src/tidy.rs what it may use"));
            continue;
        };
        for line in manifest.lines() {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if name.starts_with("koe-") && !allowed.contains(&name) {
                complaints.push(format!("{room}: must not use {name}"));
            }
        }
    }
}

fn header(name: &str, text: &str, complaints: &mut Vec<String>) {
    if !text.starts_with("//!") {
        complaints.push(format!("{name}: opens with no word (//!) on what it is for"));
    }
}

fn unsafe_home(name: &str, text: &str, complaints: &mut Vec<String>) {
    if UNSAFE_HOMES.iter().any(|home| name.starts_with(home)) {
        return;
    }
    for (i, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let opens = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe trait", "unsafe extern"];
        // In quotes it is a word, such as in this very list.
        if opens.iter().any(|open| code.contains(open)) && !code.contains('"') {
            complaints.push(format!("{name}:{}: unsafe code outside of its homes", i + 1));
        }
    }
}

/// Links to files of the repository; others are not followed.
fn links(root: &Path, file: &Path, text: &str, complaints: &mut Vec<String>) {
    let mut in_code = false;
    for (i, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let (link, after) = after.split_once(')').unwrap_or((after, ""));
            rest = after;
            let path = link.split('#').next().unwrap_or_default();
            // `[word](/phonemes/)` is koe's own markup.
            let foreign = path.contains(':') || path.starts_with(['/', '+', '-']);
            if path.is_empty() || foreign || line.matches('`').count() > 1 {
                continue;
            }
            let folder = root.join(file.parent().unwrap_or(Path::new("")));
            if !folder.join(path).exists() {
                complaints.push(format!("{}:{}: link to nowhere: {link}", file.display(), i + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        if let Err(complaints) = run() {
            panic!("\n{complaints}");
        }
    }

    #[test]
    fn unsafe_code_outside_of_its_homes_is_found() {
        let mut complaints = Vec::new();
        unsafe_home("crates/text/src/lib.rs", "fn f() {\n    unsafe { g() }\n}\n", &mut complaints);
        unsafe_home("crates/kernels/src/x.rs", "unsafe { g() }", &mut complaints);
        unsafe_home("crates/text/src/lib.rs", "// unsafe { g() }", &mut complaints);
        assert_eq!(complaints, ["crates/text/src/lib.rs:2: unsafe code outside of its homes"]);
    }

    #[test]
    fn a_missing_header_and_a_broken_link_are_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut complaints = Vec::new();
        header("a.rs", "fn f() {}", &mut complaints);
        links(root, Path::new("x.md"), "see [a](Cargo.toml) and [b](nowhere.md)", &mut complaints);
        assert_eq!(complaints.len(), 2, "{complaints:?}");
    }
}
