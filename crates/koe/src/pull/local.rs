//! Takes a model from this machine: from a folder, or from a bundle, for machines without a network.
//!
//! A bundle is a plain tar archive of the model's folder; [`export`] writes one. Names in it only
//! choose among the published files, and are never used as paths, so no archive can write
//! anywhere else. Content is proven by the same checksums as a download's.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use super::disk::Folder;
use super::{Error, Event, Item};
use crate::models::{Installed, InstalledFile};

/// Kokoro's bundle has 57 entries.
const MAX_ENTRIES: usize = 4096;

/// Copies those of the items that the folder has; their paths and lengths.
pub(super) fn copy_folder(
    from: &Path,
    items: &[&Item],
    folder: &Folder,
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<Vec<(String, u64)>, Error> {
    let mut copied = Vec::new();
    for item in items {
        let path = from.join(&item.path);
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            file => file.map_err(Error::disk(&path))?,
        };
        let meta = file.metadata().map_err(Error::disk(&path))?;
        if !meta.is_file() {
            continue;
        }
        let bytes = copy(file, item, folder, Some(meta.len()), &path, progress)?;
        copied.push((item.path.clone(), bytes));
    }
    Ok(copied)
}

/// Unpacks those of the items that the bundle has; their paths and lengths.
pub(super) fn unpack(
    bundle: &Path,
    items: &[&Item],
    folder: &Folder,
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<Vec<(String, u64)>, Error> {
    let file = File::open(bundle).map_err(Error::disk(bundle))?;
    let bad = |why: String| Error::Bundle { bundle: bundle.to_owned(), why };
    let mut archive = tar::Archive::new(file);
    let entries = archive.entries().map_err(|error| bad(error.to_string()))?;
    let mut copied: Vec<(String, u64)> = Vec::new();
    let mut seen = HashSet::new();
    for (at, entry) in entries.enumerate() {
        let entry = entry.map_err(|error| bad(error.to_string()))?;
        if at >= MAX_ENTRIES {
            return Err(bad(format!("it has more than {MAX_ENTRIES} entries")));
        }
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !kind.is_file() {
            return Err(bad(format!("{name:?} is a link or a device")));
        }
        let Some(item) = find(items, &name) else {
            if name.starts_with('/') || name.split(['/', '\\']).any(|part| part == "..") {
                return Err(bad(format!("{name:?} would leave the folder")));
            }
            continue;
        };
        if !seen.insert(&item.path) {
            return Err(bad(format!("{} is there twice", item.path)));
        }
        let size = entry.size();
        let bytes = copy(entry, item, folder, Some(size), bundle, progress)?;
        copied.push((item.path.clone(), bytes));
    }
    Ok(copied)
}

/// The item that a name in a bundle means: its path, or its path in one folder of any name.
fn find<'a>(items: &[&'a Item], name: &str) -> Option<&'a Item> {
    let name = name.strip_prefix("./").unwrap_or(name);
    let inner = name.split_once('/').map(|(_, inner)| inner);
    let is_it = |item: &&&Item| item.path == name || inner == Some(&item.path);
    items.iter().find(is_it).copied()
}

fn copy(
    mut from: impl Read,
    item: &Item,
    folder: &Folder,
    total: Option<u64>,
    origin: &Path,
    progress: &mut dyn FnMut(Event<'_>),
) -> Result<u64, Error> {
    let wrong_length = |found| Error::WrongLength {
        path: item.path.clone(),
        host: origin.display().to_string(),
        found,
        needed: item.size.most(),
    };
    if let Some(total) = total.filter(|&total| !item.size.allows(total)) {
        return Err(wrong_length(total));
    }
    let mut partial = folder.partial(item)?;
    partial.restart()?;
    let mut piece = vec![0; 256 << 10];
    loop {
        let n = from.read(&mut piece).map_err(Error::disk(origin))?;
        if n == 0 {
            break;
        }
        match partial.write(&piece[..n]) {
            Err(Error::TooLong { limit }) => return Err(wrong_length(limit + 1)),
            wrote => wrote?,
        }
        progress(Event::Received { path: &item.path, done: partial.n_bytes(), total });
    }
    let settled = partial.settle(item);
    if settled.is_err() {
        partial.discard();
    }
    settled
}

/// Writes an installed model as a bundle that [`Source::Bundle`](super::Source) takes.
pub fn export(model: &Installed, to: impl Write) -> Result<(), Error> {
    let mut builder = tar::Builder::new(to);
    for InstalledFile { path, bytes, .. } in &model.files {
        let from = model.folder.join(path);
        let file = File::open(&from).map_err(Error::disk(&from))?;
        let mut header = tar::Header::new_gnu();
        header.set_size(*bytes);
        header.set_mode(0o644);
        let name = format!("{}/{path}", model.name);
        // No more than the header says, or the archive would be garbage.
        let written = builder.append_data(&mut header, name, file.take(*bytes));
        written.map_err(Error::disk(&from))?;
    }
    let done = builder.into_inner().and_then(|mut to| to.flush());
    done.map_err(Error::disk(Path::new("the bundle")))
}
