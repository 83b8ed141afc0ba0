//! What one setting is, and how its value is read from text, whoever wrote it.
//!
//! Knows neither the environment nor the file nor any particular setting: `table.rs` lists those,
//! `layers.rs` and `file.rs` hand in what was written.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use crate::voices::shown;

/// One thing that can be set, under one name in each place.
#[derive(Debug)]
pub struct Setting {
    /// Its key in the file: table and name, as `server.port`.
    pub key: &'static str,
    /// Its environment variable.
    pub variable: &'static str,
    /// Its flag of `koe serve` and `koe config`, if it has one.
    pub flag: Option<Flag>,
    /// What it takes.
    pub kind: Kind,
    /// What it is when nobody says.
    pub preset: Preset,
    /// What it is for, in one sentence without a full stop.
    pub doc: &'static str,
    /// Whether its value is shown to nobody.
    pub secret: bool,
}

/// A flag on the command line.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Without its dashes.
    pub long: &'static str,
    /// One letter.
    pub short: Option<char>,
    /// What stands for the value in help texts.
    pub value_name: &'static str,
}

/// What a setting takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Yes or no.
    Switch,
    /// A whole number in a range, both ends included.
    Whole {
        /// The least.
        from: u64,
        /// The most.
        to: u64,
        /// `seconds`, `MB`, or nothing.
        unit: &'static str,
    },
    /// A file or folder, or one of these words.
    Path(&'static [&'static str]),
    /// A text that the check has nothing against.
    Text(Form),
    /// Texts that the check has nothing against, with commas between.
    List(Form),
}

/// What a text must be like.
#[derive(Clone, Copy)]
pub struct Form {
    /// In words, after "needs".
    pub needs: &'static str,
    /// Says what is wrong.
    pub check: fn(&str) -> Result<(), String>,
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.needs)
    }
}

/// What a setting is when nobody says.
#[derive(Clone, Copy, Debug)]
pub enum Preset {
    /// This, as it would be written.
    Is(&'static str),
    /// Nothing, which means what these words say; for folders, where the system keeps such things.
    Unset(&'static str),
}

/// What was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Yes or no.
    Switch(bool),
    /// A whole number, in the unit of its kind.
    Whole(u64),
    /// A file, a folder, or a word that stands for one.
    Path(PathBuf),
    /// A text.
    Text(String),
    /// Texts.
    List(Vec<String>),
}

/// A value that no message shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a value cannot be used, to stand after the name of the place where it was set.
pub(crate) type Complaint = String;

impl Setting {
    /// The table of the file that it is in.
    pub fn table(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(table, _)| table)
    }

    /// Its name in that table.
    pub fn name(&self) -> &'static str {
        self.key.split_once('.').map_or(self.key, |(_, name)| name)
    }

    /// Reads a value from text. `subject` is where it comes from, in the words of a complaint.
    pub fn parse(&self, subject: &str, text: &OsStr) -> Result<Value, Complaint> {
        self.kind.parse(text).map_err(|wrong| self.complain(subject, wrong))
    }

    /// Reads a flag's value; the complaint stands after the flag and the value.
    pub(crate) fn parse_flag(&self, text: &str) -> Result<Value, Complaint> {
        self.kind.parse(text.as_ref()).map_err(|wrong| match wrong {
            Wrong::Is { needs, .. } => format!("needed {needs}"),
            Wrong::Because(why) => why,
        })
    }

    pub(super) fn complain(&self, subject: &str, wrong: Wrong) -> Complaint {
        match wrong {
            Wrong::Is { text, needs } if !self.secret => {
                format!("{subject} is {:?}, needed {needs}", shown(&text))
            }
            Wrong::Is { needs, .. } => format!("{subject} needs {needs}"),
            Wrong::Because(why) => format!("{subject}: {why}"),
        }
    }
}

/// How a value is wrong.
#[derive(Debug)]
pub(super) enum Wrong {
    /// It is this and should be that.
    Is { text: String, needs: String },
    /// For this reason.
    Because(String),
}

impl Kind {
    /// What is accepted, in words.
    pub fn needs(&self) -> String {
        match *self {
            Self::Switch => "true or false".into(),
            Self::Whole { from, to, unit: "" } => format!("a whole number from {from} to {to}"),
            Self::Whole { from, to, unit } => {
                format!("a whole number of {unit} from {from} to {to}")
            }
            Self::Path([]) => "a path".into(),
            Self::Path(words) => format!("{} or a path", words.join(", ")),
            Self::Text(form) => form.needs.into(),
            Self::List(form) => format!("{}, with commas between", form.needs),
        }
    }

    pub(super) fn parse(&self, text: &OsStr) -> Result<Value, Wrong> {
        if let Self::Path(words) = self {
            if text.is_empty() {
                return Err(Wrong::Is { text: String::new(), needs: self.needs() });
            }
            // A word may be written in any case, as those of other settings.
            let lower = text.to_str().map(str::to_ascii_lowercase);
            let word = words.iter().find(|&&word| lower.as_deref() == Some(word));
            return Ok(Value::Path(word.map_or_else(|| PathBuf::from(text), PathBuf::from)));
        }
        let Some(text) = text.to_str().map(str::trim) else {
            return Err(Wrong::Because("this is not UTF-8".into()));
        };
        let wrong = || Wrong::Is { text: text.to_owned(), needs: self.needs() };
        match *self {
            Self::Switch => match &*text.to_ascii_lowercase() {
                "true" | "1" | "yes" | "on" => Ok(Value::Switch(true)),
                "false" | "0" | "no" | "off" => Ok(Value::Switch(false)),
                _ => Err(wrong()),
            },
            Self::Whole { from, to, .. } => match text.parse() {
                Ok(number) if (from..=to).contains(&number) => Ok(Value::Whole(number)),
                _ => Err(wrong()),
            },
            Self::Text(_) if text.is_empty() => Err(wrong()),
            Self::Text(form) => {
                (form.check)(text).map_err(Wrong::Because)?;
                Ok(Value::Text(text.to_owned()))
            }
            Self::List(form) => {
                let items = text.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty());
                let items: Vec<String> = items.map(str::to_owned).collect();
                items.iter().try_for_each(|item| (form.check)(item)).map_err(Wrong::Because)?;
                Ok(Value::List(items))
            }
            Self::Path(_) => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, text: &str) -> Option<Value> {
        kind.parse(OsStr::new(text)).ok()
    }

    #[test]
    fn switches_take_the_words_that_people_write() {
        for text in ["true", "1", "yes", "on", "TRUE", "Yes", " on "] {
            assert_eq!(read(Kind::Switch, text), Some(Value::Switch(true)), "{text}");
        }
        for text in ["false", "0", "no", "off", "FALSE", "Off"] {
            assert_eq!(read(Kind::Switch, text), Some(Value::Switch(false)), "{text}");
        }
        for text in ["", "2", "y", "enabled", "truefalse"] {
            assert_eq!(read(Kind::Switch, text), None, "{text}");
        }
    }

    #[test]
    fn whole_numbers_stay_in_their_range() {
        let kind = Kind::Whole { from: 1, to: 60, unit: "seconds" };
        assert_eq!(read(kind, "1"), Some(Value::Whole(1)));
        assert_eq!(read(kind, "60"), Some(Value::Whole(60)));
        for text in ["0", "61", "-1", "1.5", "5s", "", "99999999999999999999"] {
            assert_eq!(read(kind, text), None, "{text}");
        }
        assert_eq!(kind.needs(), "a whole number of seconds from 1 to 60");
    }

    #[test]
    fn a_path_may_be_one_of_some_words() {
        let kind = Kind::Path(&["auto", "off"]);
        assert_eq!(read(kind, "OFF"), Some(Value::Path("off".into())));
        assert_eq!(read(kind, "/run/Off"), Some(Value::Path("/run/Off".into())));
        assert_eq!(read(kind, ""), None);
        assert_eq!(kind.needs(), "auto, off or a path");
    }

    #[test]
    fn lists_have_commas_and_every_item_is_checked() {
        let check = |item: &str| match item {
            "bad" => Err("bad is not good".into()),
            _ => Ok(()),
        };
        let kind = Kind::List(Form { needs: "words", check });
        let list = |items: &[&str]| Value::List(items.iter().map(|&item| item.into()).collect());
        assert_eq!(read(kind, " a, b,,c "), Some(list(&["a", "b", "c"])));
        assert_eq!(read(kind, ","), Some(list(&[])));
        assert_eq!(read(kind, "a,bad"), None);
    }
}
