//! Installed models: where they are, and what proves that they are whole.
//!
//! A model is installed when its folder has a manifest. The manifest is written last, after every
//! file that it names has its final name and is on the disk, so that a process that dies at any
//! moment leaves either no manifest or a true one. [`pull`](crate::pull) writes it; everybody else
//! asks [`installed`]. Looking at the lengths of files is cheap and done every time; reading all
//! bytes again is [`verify`], for `koe models --verify` and the doctor.
//!
//! ```text
//! <data>/models/kokoro-82m/manifest.json
//!                          config.json, kokoro-v1_0.pth, voices/*.pt
//!                          .partial/     downloads on their way
//! <data>/models/kokoro-82m.lock          held while something is pulled
//! ```

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The published model.
pub const KOKORO_82M: &str = "kokoro-82m";

const MANIFEST: &str = "manifest.json";
const MANIFEST_FORMAT: u32 = 1;
/// The manifest of all voices has 9 kB.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// A model that is there and was whole when it was installed.
#[derive(Clone, Debug, PartialEq)]
pub struct Installed {
    /// Its name, such as [`KOKORO_82M`].
    pub name: String,
    /// The folder to open.
    pub folder: PathBuf,
    /// Where its files were published.
    pub repository: String,
    /// The revision that they are of.
    pub revision: String,
    /// All of its files.
    pub files: Vec<InstalledFile>,
}

/// One file of an installed model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledFile {
    /// Relative to the model's folder, with `/` between folders.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}

impl Installed {
    /// The names of the voices, in alphabetical order.
    pub fn voices(&self) -> Vec<&str> {
        let names = self.files.iter().filter_map(|file| voice_name(&file.path));
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        names
    }

    /// What it takes on the disk.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// The voice that a file of a model holds, if it holds one.
pub(crate) fn voice_name(path: &str) -> Option<&str> {
    path.strip_prefix("voices/")?.strip_suffix(".pt")
}

/// Where koe keeps models, told by the variables that `get` returns: `KOKORO_DATA_DIR`, or `koe` in
/// the user's folder for data (`XDG_DATA_HOME` or `~/.local/share`; on macOS
/// `~/Library/Application Support`; on Windows `%LOCALAPPDATA%`).
pub fn data_dir(get: &dyn Fn(&str) -> Option<OsString>) -> PathBuf {
    let path = |name: &str| get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(own) = path("KOKORO_DATA_DIR") {
        return own;
    }
    let home = || path("HOME").or_else(|| path("USERPROFILE"));
    let user = if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Application Support"))
    } else if cfg!(windows) {
        path("LOCALAPPDATA").or_else(home)
    } else {
        // A relative XDG path is to be ignored, says its specification.
        let xdg = path("XDG_DATA_HOME").filter(|data| data.is_absolute());
        xdg.or_else(|| home().map(|home| home.join(".local/share")))
    };
    user.unwrap_or_else(std::env::temp_dir).join("koe")
}

/// The folder of a model, whether it is there or not.
pub fn folder(data: &Path, name: &str) -> PathBuf {
    data.join("models").join(name)
}

/// The model of this name, if it is installed: its manifest is sound and each file that it names is
/// there with its length.
pub fn installed(data: &Path, name: &str) -> Option<Installed> {
    let model = read_manifest(data, name)?;
    let whole = model.files.iter().all(|file| {
        let found = model.folder.join(&file.path).metadata();
        found.is_ok_and(|found| found.is_file() && found.len() == file.bytes)
    });
    whole.then_some(model)
}

/// All models installed in `data`, by name.
pub fn list(data: &Path) -> Vec<Installed> {
    let entries = data.join("models").read_dir().into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut models: Vec<Installed> = names.filter_map(|name| installed(data, &name)).collect();
    models.sort_by(|a, b| a.name.cmp(&b.name));
    models
}

/// A file of an installed model that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct Damage {
    /// The file, relative to the model's folder.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Reads every byte of the model again; the files that are damaged. `progress` is told how many
/// bytes were read so far.
pub fn verify(model: &Installed, progress: &mut dyn FnMut(u64)) -> Vec<Damage> {
    let mut n_bytes = 0;
    let check = |file: &InstalledFile| {
        let problem = match hash_file(&model.folder.join(&file.path), &mut |n| {
            n_bytes += n;
            progress(n_bytes);
        }) {
            Ok((_, found)) if found == file.sha256 => return None,
            Ok((found, _)) if found != file.bytes => {
                format!("it has {found} bytes, needed {}", file.bytes)
            }
            Ok(_) => "its checksum does not fit, get it again with: koe pull".to_owned(),
            Err(error) => error.to_string(),
        };
        Some(Damage { path: file.path.clone(), problem })
    };
    model.files.iter().filter_map(check).collect()
}

/// Length and hexadecimal SHA-256 of a file; `read` is told of every piece.
pub(crate) fn hash_file(path: &Path, read: &mut dyn FnMut(u64)) -> io::Result<(u64, String)> {
    let mut hasher = Sha256::new();
    let n_bytes = hash_into(path, &mut hasher, read)?;
    Ok((n_bytes, hex(&hasher.finalize())))
}

/// Adds a file to a hash; `read` is told of every piece, the length comes back.
pub(crate) fn hash_into(
    path: &Path,
    hasher: &mut Sha256,
    read: &mut dyn FnMut(u64),
) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; 1 << 18];
    let mut n_bytes = 0;
    loop {
        let n = file.read(&mut piece)?;
        if n == 0 {
            return Ok(n_bytes);
        }
        hasher.update(&piece[..n]);
        n_bytes += n as u64;
        read(n as u64);
    }
}

/// Hexadecimal digits, in lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The file that proves an installation.
#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    name: String,
    repository: String,
    revision: String,
    files: Vec<InstalledFile>,
}

/// The model that the manifest tells of, whatever has become of its files.
pub(crate) fn read_manifest(data: &Path, name: &str) -> Option<Installed> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']) {
        return None;
    }
    let folder = folder(data, name);
    let mut text = String::new();
    let file = File::open(manifest_path(&folder)).ok()?;
    file.take(MAX_MANIFEST_BYTES).read_to_string(&mut text).ok()?;
    let manifest: Manifest = serde_json::from_str(&text).ok()?;
    let sound = manifest.format == MANIFEST_FORMAT
        && manifest.name == name
        && manifest.files.iter().all(|file| is_plain_path(&file.path));
    let Manifest { name, repository, revision, files, .. } = manifest;
    sound.then_some(Installed { name, folder, repository, revision, files })
}

/// The files that the manifest in a model's folder names, of whatever revision.
pub(crate) fn vouched_for(folder: &Path) -> Vec<InstalledFile> {
    let name = folder.file_name().and_then(|name| name.to_str());
    let data = folder.parent().and_then(Path::parent);
    let model = data.zip(name).and_then(|(data, name)| read_manifest(data, name));
    model.map_or_else(Vec::new, |model| model.files)
}

/// The manifest of a model, whether it is there or not.
pub(crate) fn manifest_path(folder: &Path) -> PathBuf {
    folder.join(MANIFEST)
}

/// The text of the manifest.
pub(crate) fn manifest(model: &Installed) -> String {
    let Installed { name, folder: _, repository, revision, files } = model.clone();
    let manifest = Manifest { format: MANIFEST_FORMAT, name, repository, revision, files };
    serde_json::to_string_pretty(&manifest).expect("text and numbers only") + "\n"
}

/// Whether a path stays in the folder that it is joined to, on every system.
pub(crate) fn is_plain_path(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(['\\', ':', '\0'])
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model of two files, written as a pull would.
    fn model(data: &Path) -> Installed {
        let folder = folder(data, "tiny");
        std::fs::create_dir_all(folder.join("voices")).unwrap();
        let mut files = Vec::new();
        for (path, content) in [("weights.pth", "weights"), ("voices/af_x.pt", "voice")] {
            std::fs::write(folder.join(path), content).unwrap();
            let (bytes, sha256) = hash_file(&folder.join(path), &mut |_| {}).unwrap();
            files.push(InstalledFile { path: path.to_owned(), bytes, sha256 });
        }
        let (repository, revision) = ("o/r".to_owned(), "main".to_owned());
        let model = Installed { name: "tiny".to_owned(), folder, repository, revision, files };
        std::fs::write(manifest_path(&model.folder), manifest(&model)).unwrap();
        model
    }

    #[test]
    fn a_manifest_whose_files_are_there_is_an_installation() {
        let data = tempfile::tempdir().unwrap();
        assert!(installed(data.path(), "tiny").is_none());
        let model = model(data.path());
        assert_eq!(installed(data.path(), "tiny").as_ref(), Some(&model));
        assert_eq!(list(data.path()), std::slice::from_ref(&model));
        assert_eq!((model.voices(), model.bytes()), (vec!["af_x"], 12));
        assert!(verify(&model, &mut |_| {}).is_empty());
    }

    #[test]
    fn a_file_that_is_gone_or_cut_is_no_installation() {
        let data = tempfile::tempdir().unwrap();
        let model = model(data.path());
        let voice = model.folder.join("voices/af_x.pt");
        std::fs::write(&voice, "voic").unwrap();
        assert!(installed(data.path(), "tiny").is_none());
        std::fs::remove_file(&voice).unwrap();
        assert!(installed(data.path(), "tiny").is_none());
        let damage = verify(&model, &mut |_| {});
        assert_eq!(damage.len(), 1);
        assert_eq!(damage[0].path, "voices/af_x.pt");
    }

    #[test]
    fn verifying_finds_what_lengths_do_not_tell() {
        let data = tempfile::tempdir().unwrap();
        let model = model(data.path());
        std::fs::write(model.folder.join("weights.pth"), "weighty").unwrap();
        assert!(installed(data.path(), "tiny").is_some());
        let mut n_read = 0;
        let damage = verify(&model, &mut |n| n_read = n);
        assert!(damage[0].to_string().starts_with("weights.pth: its checksum"), "{damage:?}");
        assert_eq!(n_read, 12);
    }

    #[test]
    fn a_manifest_that_lies_is_none() {
        let data = tempfile::tempdir().unwrap();
        let model = model(data.path());
        let (path, text) = (manifest_path(&model.folder), manifest(&model));
        for (from, to) in [
            ("\"tiny\"", "\"other\""),
            ("voices/af_x.pt", "../../etc/passwd"),
            ("voices/af_x.pt", "/etc/passwd"),
            ("\"format\": 1", "\"format\": 2"),
            ("}", ""),
        ] {
            std::fs::write(&path, text.replace(from, to)).unwrap();
            assert!(installed(data.path(), "tiny").is_none(), "{to}");
        }
        std::fs::write(&path, text).unwrap();
        for name in ["", ".", "..", "../models/tiny", "tiny/", "a\\b"] {
            assert!(installed(data.path(), name).is_none(), "{name:?}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_data_folder_follows_the_conventions() {
        let dir = |variables: &[(&str, &str)]| {
            data_dir(&|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.into())
            })
        };
        assert_eq!(dir(&[("HOME", "/h")]), Path::new("/h/.local/share/koe"));
        assert_eq!(dir(&[("HOME", "/h"), ("XDG_DATA_HOME", "/x")]), Path::new("/x/koe"));
        assert_eq!(
            dir(&[("HOME", "/h"), ("XDG_DATA_HOME", "x")]),
            Path::new("/h/.local/share/koe")
        );
        assert_eq!(dir(&[("HOME", "/h"), ("KOKORO_DATA_DIR", "/d")]), Path::new("/d"));
    }
}
