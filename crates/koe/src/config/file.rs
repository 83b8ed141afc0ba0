//! The configuration file: where it is, and what it says.
//!
//! TOML, with one table for each group of settings. All mistakes are found at once, each with its
//! line. Relative paths in it start at its own folder, and `~/` at the user's home, so that it
//! means the same wherever koe is started.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::layers::{Given, Origin};
use super::setting::{Kind, Setting, Value, Wrong};
use super::table::SETTINGS;
use crate::voices::{closest, shown};

/// A file of all settings, each with a comment, has 10 kB.
const MAX_BYTES: u64 = 64 << 10;
/// More complaints help nobody.
const MAX_COMPLAINTS: usize = 20;

/// Where the configuration file is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its path.
    pub path: PathBuf,
    /// Whether `KOKORO_CONFIG` named it; it must then be there.
    pub is_named: bool,
    /// Whether it was there and was read.
    pub is_found: bool,
}

/// What the file says, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) given: Vec<Given>,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Reads the file, if it is there.
pub(super) fn read(place: &mut Place, home: Option<&Path>) -> Contents {
    let mut contents = Contents::default();
    let path = place.path.display();
    match text(&place.path) {
        Ok(text) => {
            place.is_found = true;
            parse(&place.path, &text, home, &mut contents);
        }
        Err(error) if place.is_named => {
            let variable = super::FILE_VARIABLE;
            contents.problems.push(format!("cannot read {path}, which {variable} names: {error}"));
        }
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {}
            // A service that may not look into its home has no file there.
            io::ErrorKind::PermissionDenied => {
                contents.warnings.push(format!("cannot read {path}: {error}"));
            }
            _ => contents.problems.push(format!("cannot read {path}: {error}")),
        },
    }
    contents
}

fn text(path: &Path) -> io::Result<String> {
    let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    // Before it is opened, because to open a pipe is to wait for a writer.
    if !path.metadata()?.is_file() {
        return Err(wrong("it is not a regular file".into()));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong("it is larger than 64 KiB, so it is no configuration of koe".into()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = line_of(error.as_bytes(), error.utf8_error().valid_up_to());
        wrong(format!("line {line} is not UTF-8"))
    })
}

/// The line that a byte is in, counted from one.
fn line_of(text: &[u8], at: usize) -> usize {
    1 + text.iter().take(at).filter(|&&byte| byte == b'\n').count()
}

struct Reader<'a> {
    path: Arc<Path>,
    text: &'a str,
    home: Option<&'a Path>,
    /// With the line that each is about.
    problems: Vec<(usize, String)>,
    given: Vec<Given>,
}

fn parse(path: &Path, text: &str, home: Option<&Path>, contents: &mut Contents) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader =
        Reader { path: path.into(), text, home, problems: Vec::new(), given: Vec::new() };
    for error in errors {
        let at = error.span().map_or(text.len(), |span| span.start);
        let message = error.message().replace('\n', ", ");
        reader.complain(at, message);
    }
    let broken: Vec<usize> = reader.problems.iter().map(|(line, _)| *line).collect();
    reader.document(document.get_ref());
    // What is said of a line that was not even understood may be untrue.
    let n_syntax = broken.len();
    let problems = reader.problems.into_iter().enumerate();
    let told = problems.filter(|(i, (line, _))| *i < n_syntax || !broken.contains(line));
    let mut told: Vec<(usize, String)> = told.map(|(_, problem)| problem).collect();
    told.sort();
    told.dedup();
    let n_more = told.len().saturating_sub(MAX_COMPLAINTS);
    let shown = told.into_iter().take(MAX_COMPLAINTS);
    contents
        .problems
        .extend(shown.map(|(line, problem)| format!("{}:{line}: {problem}", path.display())));
    if n_more > 0 {
        contents.problems.push(format!("{}: {n_more} more mistakes", path.display()));
    }
    contents.given = reader.given;
}

impl Reader<'_> {
    fn complain(&mut self, at: usize, problem: String) {
        self.problems.push((line_of(self.text.as_bytes(), at), problem));
    }

    fn document(&mut self, document: &DeTable<'_>) {
        for (name, value) in document {
            let (at, name) = (name.span().start, &**name.get_ref());
            let is_table = SETTINGS.iter().any(|setting| setting.table() == name);
            match (value.get_ref(), is_table) {
                (DeValue::Table(table), true) => self.table(name, table),
                (_, true) => self.complain(at, format!("{name} is a table: write [{name}]")),
                (DeValue::Table(_), false) => self.complain(at, unknown_table(name)),
                (_, false) => self.complain(at, unknown_key("", name)),
            }
        }
    }

    fn table(&mut self, table: &str, entries: &DeTable<'_>) {
        for (name, value) in entries {
            let (at, name) = (name.span().start, &**name.get_ref());
            let found = SETTINGS.iter().find(|it| it.table() == table && it.name() == name);
            let Some(&setting) = found else {
                self.complain(at, unknown_key(table, name));
                continue;
            };
            match self.value(setting, value.get_ref()) {
                Ok(value) => {
                    let line = line_of(self.text.as_bytes(), at);
                    let origin = Origin::File { path: self.path.clone(), line };
                    self.given.push(Given { setting, value: Some(value), origin });
                }
                Err(wrong) => self.complain(at, setting.complain(setting.key, wrong)),
            }
        }
    }

    fn value(&self, setting: &Setting, value: &DeValue<'_>) -> Result<Value, Wrong> {
        let kind = setting.kind;
        let needs_kind = |needs: String| {
            Wrong::Because(format!("this is {}, needed {needs}", article(value.type_str())))
        };
        match (kind, value) {
            (Kind::Switch, DeValue::Boolean(on)) => Ok(Value::Switch(*on)),
            (Kind::Switch, DeValue::String(_)) => {
                Err(needs_kind("true or false, without quotes".into()))
            }
            (Kind::Whole { .. }, DeValue::Integer(number)) => {
                let decimal = u64::from_str_radix(number.as_str(), number.radix());
                let text = decimal.map_or_else(|_| number.to_string(), |number| number.to_string());
                kind.parse(text.as_ref())
            }
            (Kind::Whole { .. }, DeValue::String(_)) => {
                Err(needs_kind(format!("{}, without quotes", kind.needs())))
            }
            (Kind::Text(_), DeValue::String(text)) => kind.parse(text.as_ref().as_ref()),
            (Kind::Path(words), DeValue::String(text)) => {
                let Value::Path(path) = kind.parse(text.as_ref().as_ref())? else {
                    return Err(needs_kind(kind.needs()));
                };
                let is_word = words.iter().any(|&word| path == Path::new(word));
                if is_word { Ok(Value::Path(path)) } else { self.absolute(&path).map(Value::Path) }
            }
            (Kind::Text(_) | Kind::Path(_), _) => {
                Err(needs_kind(format!("{}, in quotes", kind.needs())))
            }
            (Kind::List(form), DeValue::Array(items)) => {
                let items = items.iter().map(|item| match item.get_ref().as_str() {
                    Some(item) => {
                        let item = item.trim();
                        (form.check)(item).map_err(Wrong::Because)?;
                        Ok(item.to_owned())
                    }
                    None => Err(Wrong::Because("every item needs quotes".into())),
                });
                let items: Vec<String> = items.collect::<Result<_, Wrong>>()?;
                Ok(Value::List(items.into_iter().filter(|item| !item.is_empty()).collect()))
            }
            (Kind::List(_), _) => Err(needs_kind("a list as [\"…\", \"…\"]".into())),
            (Kind::Switch | Kind::Whole { .. }, _) => Err(needs_kind(kind.needs())),
        }
    }

    fn absolute(&self, path: &Path) -> Result<PathBuf, Wrong> {
        if let Ok(rest) = path.strip_prefix("~") {
            let home = self.home.ok_or_else(|| {
                Wrong::Because("this user has no home for ~; write the whole path".into())
            })?;
            return Ok(home.join(rest));
        }
        Ok(self.path.parent().unwrap_or(Path::new("")).join(path))
    }
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}

fn unknown_table(name: &str) -> String {
    let tables = || {
        let mut tables: Vec<&str> = SETTINGS.iter().map(|setting| setting.table()).collect();
        tables.dedup();
        tables
    };
    let found = format!("there is no table [{}]", shown(name));
    match closest(name, tables()) {
        Some(table) => format!("{found}; did you mean [{table}]?"),
        None => format!("{found}; there are {}", tables().join(", ")),
    }
}

fn unknown_key(table: &str, name: &str) -> String {
    let key = if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") };
    let found = format!("there is no setting {}", shown(&key));
    let of_table = SETTINGS.iter().filter(|setting| setting.table() == table);
    let elsewhere = SETTINGS.iter().find(|setting| setting.name() == name);
    let close = closest(name, of_table.map(|setting| setting.name()))
        .and_then(|close| {
            SETTINGS.iter().find(|setting| setting.table() == table && setting.name() == close)
        })
        .filter(|_| elsewhere.is_none())
        .or(elsewhere)
        .or_else(|| {
            let close = closest(name, SETTINGS.iter().map(|setting| setting.name()))?;
            SETTINGS.iter().find(|setting| setting.name() == close)
        });
    match close {
        Some(setting) if setting.table() == table => {
            format!("{found}; did you mean {}?", setting.name())
        }
        Some(setting) => {
            format!("{found}; did you mean {} in [{}]?", setting.name(), setting.table())
        }
        None => format!("{found}; koe config show lists all"),
    }
}
