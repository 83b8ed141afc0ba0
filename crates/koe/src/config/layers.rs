//! Values and where they come from: flags before the environment, the environment before the file,
//! the file before what koe does by itself.
//!
//! The environment's part is read here, the file's in `file.rs`, the flags' in `cli/flags.rs`.

use std::ffi::OsString;
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::setting::{Preset, Setting, Value};
use super::table::SETTINGS;
use crate::voices;

/// Who said what a setting is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// The configuration file.
    File {
        /// The file.
        path: Arc<Path>,
        /// Counted from one.
        line: usize,
    },
    /// The setting's variable.
    Environment,
    /// The setting's flag.
    Flag,
}

/// A setting and what it is.
#[derive(Clone)]
pub struct Given {
    /// Which one.
    pub setting: &'static Setting,
    /// What it is; none where nobody says and nothing stands for it.
    pub value: Option<Value>,
    /// Who says so.
    pub origin: Origin,
}

impl Given {
    /// Who says so, in words: `--port`, `KOKORO_PORT`, `/etc/koe.toml:3` or `default`.
    pub fn told_by(&self) -> String {
        match &self.origin {
            Origin::Default => "default".into(),
            Origin::File { path, line } => format!("{}:{line}", path.display()),
            Origin::Environment => self.setting.variable.into(),
            Origin::Flag => {
                format!("--{}", self.setting.flag.map_or(self.setting.name(), |flag| flag.long))
            }
        }
    }
}

/// Without the value of a secret.
impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): ", self.setting.key, self.told_by())?;
        match &self.value {
            Some(_) if self.setting.secret => f.write_str("(secret)"),
            value => value.fmt(f),
        }
    }
}

/// Reads the settings' variables; an empty one counts as absent.
pub(super) fn environment(
    get: &dyn Fn(&str) -> Option<OsString>,
    problems: &mut Vec<String>,
) -> Vec<Given> {
    let mut given = Vec::new();
    for &setting in SETTINGS {
        let is_blank = |text: &OsString| text.to_str().is_some_and(|text| text.trim().is_empty());
        let Some(text) = get(setting.variable).filter(|text| !is_blank(text)) else { continue };
        match setting.parse(setting.variable, &text) {
            Ok(value) => {
                given.push(Given { setting, value: Some(value), origin: Origin::Environment });
            }
            Err(problem) => problems.push(problem),
        }
    }
    given
}

/// Variables that look like koe's and are not: a warning each, for they may be another program's.
pub(super) fn unknown_variables(names: &[OsString]) -> Vec<String> {
    const PREFIX: &str = "KOKORO_";
    let known: Vec<&str> = SETTINGS.iter().map(|setting| setting.variable).collect();
    let own = known.iter().copied().filter_map(|name| name.strip_prefix(PREFIX));
    let own: Vec<String> = own.chain(["CONFIG"]).map(str::to_ascii_lowercase).collect();
    let mut unknown: Vec<&str> = names.iter().filter_map(|name| name.to_str()).collect();
    unknown.sort_unstable();
    let warnings = unknown.into_iter().filter_map(|name| {
        let rest = name.strip_prefix(PREFIX)?.to_ascii_lowercase();
        if known.contains(&name) || name == super::FILE_VARIABLE {
            return None;
        }
        let name = voices::shown(name);
        Some(match voices::closest(&rest, own.iter().map(String::as_str)) {
            Some(close) => {
                let close = close.to_ascii_uppercase();
                format!("koe knows no variable {name}; did you mean {PREFIX}{close}?")
            }
            None => format!("koe knows no variable {name}; koe --help lists those it knows"),
        })
    });
    warnings.collect()
}

/// Every setting, resolved.
pub(super) struct Values(pub(super) Vec<Given>);

impl Values {
    /// `layers` go from the strongest to the weakest.
    pub(super) fn resolve(layers: &[&[Given]]) -> Self {
        let values = SETTINGS.iter().map(|&setting| {
            let of_layer =
                |layer: &&[Given]| layer.iter().find(|it| it.setting.key == setting.key).cloned();
            layers.iter().find_map(of_layer).unwrap_or_else(|| {
                let value = match setting.preset {
                    // A test holds that all of them can be read.
                    Preset::Is(text) => setting.kind.parse(text.as_ref()).ok(),
                    Preset::Unset(_) => None,
                };
                Given { setting, value, origin: Origin::Default }
            })
        });
        Self(values.collect())
    }

    pub(super) fn get(&self, setting: &Setting) -> Option<&Value> {
        self.0.iter().find(|it| it.setting.key == setting.key)?.value.as_ref()
    }

    pub(super) fn told_by(&self, setting: &Setting) -> String {
        let given = self.0.iter().find(|it| it.setting.key == setting.key);
        given.map_or_else(String::new, Given::told_by)
    }

    pub(super) fn switch(&self, setting: &Setting) -> bool {
        self.get(setting) == Some(&Value::Switch(true))
    }

    pub(super) fn number(&self, setting: &Setting) -> Option<u64> {
        match self.get(setting) {
            Some(&Value::Whole(number)) => Some(number),
            _ => None,
        }
    }

    /// Of a setting that is at least one, or has no value.
    pub(super) fn count(&self, setting: &Setting) -> Option<NonZeroUsize> {
        NonZeroUsize::new(usize::try_from(self.number(setting)?).ok()?)
    }

    /// Likewise.
    pub(super) fn count_u32(&self, setting: &Setting) -> Option<NonZeroU32> {
        NonZeroU32::new(u32::try_from(self.number(setting)?).ok()?)
    }

    pub(super) fn text(&self, setting: &Setting) -> Option<String> {
        match self.get(setting) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    pub(super) fn list(&self, setting: &Setting) -> Vec<String> {
        match self.get(setting) {
            Some(Value::List(items)) => items.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn path(&self, setting: &Setting) -> Option<PathBuf> {
        match self.get(setting) {
            Some(Value::Path(path)) => Some(path.clone()),
            _ => None,
        }
    }

    /// The path, or this one, which then is the setting's value.
    pub(super) fn path_or(
        &mut self,
        setting: &Setting,
        usual: impl FnOnce() -> PathBuf,
    ) -> PathBuf {
        let given = self.0.iter_mut().find(|it| it.setting.key == setting.key);
        match given.map(|given| &mut given.value) {
            Some(Some(Value::Path(path))) => path.clone(),
            Some(value) => {
                let path = usual();
                *value = Some(Value::Path(path.clone()));
                path
            }
            None => usual(),
        }
    }
}
