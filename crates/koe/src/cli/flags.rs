//! The flags that set settings, made from the one table of them.
//!
//! Values are read as those of the environment and the file are; `Config::with_flags` lays them
//! over both.

use clap::builder::TypedValueParser;
use clap::{Arg, ArgAction, ArgMatches, ValueHint};

use crate::config::{Given, Kind, Origin, Preset, SETTINGS, Setting, Value};

/// What was typed.
#[derive(Debug)]
pub(super) struct Flags(pub(super) Vec<Given>);

impl clap::Args for Flags {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(SETTINGS.iter().filter_map(|setting| argument(setting)))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flagged = SETTINGS.iter().filter(|setting| setting.flag.is_some());
        let given = flagged.filter_map(|&setting| {
            let values = matches.get_many::<Value>(setting.key)?;
            let value = values.cloned().reduce(joined)?;
            Some(Given { setting, value: Some(value), origin: Origin::Flag })
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Lists that were given one by one are one list.
fn joined(all: Value, next: Value) -> Value {
    match (all, next) {
        (Value::List(mut all), Value::List(next)) => {
            all.extend(next);
            Value::List(all)
        }
        (_, last) => last,
    }
}

fn argument(setting: &'static Setting) -> Option<Arg> {
    let flag = setting.flag?;
    let preset = match setting.preset {
        Preset::Is(text) => text,
        Preset::Unset(words) => words,
    };
    let (doc, variable) = (setting.doc, setting.variable);
    let argument = Arg::new(setting.key)
        .long(flag.long)
        .value_name(flag.value_name)
        .help(format!("{doc} [default: {preset}]"))
        .long_help(format!("{doc}\n\n[env: {variable}]\n[default: {preset}]"));
    let argument = match flag.short {
        Some(short) => argument.short(short),
        None => argument,
    };
    let kind = setting.kind;
    let argument = match kind {
        // A file name need not be UTF-8.
        Kind::Path([]) => {
            argument.value_parser(clap::builder::PathBufValueParser::new().map(Value::Path))
        }
        _ => argument.value_parser(move |text: &str| setting.parse_flag(text)),
    };
    Some(match kind {
        Kind::Switch => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::Whole { .. } => argument.allow_negative_numbers(true),
        Kind::Path([]) => argument.value_hint(ValueHint::FilePath),
        Kind::Path(_) => argument.value_hint(ValueHint::DirPath),
        Kind::List(_) => argument.action(ArgAction::Append),
        Kind::Text(_) => argument,
    })
}
