//! What is published, down to the bit: the files of a model at one revision, with their checksums.
//!
//! The table of Kokoro-82M is compiled in. Because content is pinned, it does not matter which
//! mirror, proxy or USB stick a file comes from.

use crate::models::{KOKORO_82M, is_plain_path, voice_name};

/// Path and SHA-256 of every file.
const KOKORO_FILES: &str = include_str!("kokoro-82m.tsv");
const KOKORO_WEIGHTS: &str = "kokoro-v1_0.pth";
const KOKORO_WEIGHTS_BYTES: u64 = 327_212_226;
/// The voices have some 523,400 bytes, the configuration 2,351.
const SMALL_FILE_BYTES: u64 = 1 << 20;

/// A model as it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// What koe calls it.
    pub name: String,
    /// Owner and name at the hub.
    pub repository: String,
    /// The commit, so that what is published later changes nothing here.
    pub revision: String,
    /// All its files.
    pub items: Vec<Item>,
}

/// One published file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Within the repository, and within the model's folder.
    pub path: String,
    /// SHA-256 of its content, in lower case hexadecimal.
    pub sha256: String,
    /// What is known of its length.
    pub size: Size,
}

/// What is known of a file's length before it is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// So many bytes.
    Exactly(u64),
    /// No more than this.
    AtMost(u64),
}

impl Size {
    /// Whether a file may have this length.
    pub fn allows(self, bytes: u64) -> bool {
        match self {
            Self::Exactly(size) => bytes == size,
            Self::AtMost(size) => bytes <= size,
        }
    }

    /// The most that a file may have.
    pub fn most(self) -> u64 {
        match self {
            Self::Exactly(size) | Self::AtMost(size) => size,
        }
    }
}

impl Release {
    /// Kokoro-82M v1.0: the configuration, the weights and 54 voices.
    pub fn kokoro_82m() -> Self {
        let lines = KOKORO_FILES.lines().filter(|line| !line.starts_with('#'));
        let items = lines.filter_map(|line| line.split_once('\t')).map(|(path, sha256)| Item {
            path: path.to_owned(),
            sha256: sha256.to_owned(),
            size: match path {
                KOKORO_WEIGHTS => Size::Exactly(KOKORO_WEIGHTS_BYTES),
                _ => Size::AtMost(SMALL_FILE_BYTES),
            },
        });
        Self {
            name: KOKORO_82M.to_owned(),
            repository: "hexgrad/Kokoro-82M".to_owned(),
            revision: "f3ff3571791e39611d31c381e3a41a3af07b4987".to_owned(),
            items: items.collect(),
        }
    }

    /// The names of its voices.
    pub fn voices(&self) -> impl Iterator<Item = &str> {
        self.items.iter().filter_map(|item| voice_name(&item.path))
    }

    /// Whether all paths stay in the folder and all checksums are such.
    pub(super) fn is_sound(&self) -> bool {
        let is_sha256 = |text: &str| {
            text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        is_plain_path(&self.name)
            && !self.name.contains('/')
            && self.items.iter().all(|item| is_plain_path(&item.path) && is_sha256(&item.sha256))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiled_in_table_is_whole() {
        let release = Release::kokoro_82m();
        assert!(release.is_sound());
        assert_eq!(release.items.len(), 56);
        assert_eq!(release.voices().count(), 54);
        assert!(release.voices().all(|voice| crate::voices::KOKORO.contains(&voice)));
        let mut digests: Vec<&str> = release.items.iter().map(|item| &*item.sha256).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), 56);
    }
}
