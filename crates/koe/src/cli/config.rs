//! `koe config`: what every setting is and who says so, where the file is, and the document.

use std::fmt::Write;

use clap::{Args, Subcommand};
use serde_json::json;

use super::flags::Flags;
use super::{Failure, output};
use crate::config::{self, Config, FILE_VARIABLE, Given, Origin, Preset, TABLES, Value};

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every setting, as a configuration file
    Show(ShowArgs),
    /// Print where the configuration file is looked for
    Path,
    /// Print docs/configuration.md
    #[command(hide = true)]
    Docs,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// With where each value comes from: a flag, a variable, a line of the file, or the default
    #[arg(long)]
    origin: bool,
    /// As JSON, always with where it comes from
    #[arg(long)]
    json: bool,
    #[command(flatten, next_help_heading = "As koe serve takes them")]
    flags: Flags,
}

pub(super) fn run(args: &ConfigArgs, config: &Config) -> Result<(), Failure> {
    match &args.command {
        ConfigCommand::Show(args) => show(args, &config.with_flags(&args.flags.0)),
        ConfigCommand::Path => path(config),
        ConfigCommand::Docs => output::print(&config::document()),
    }
}

/// What is wrong is told too, after what is understood.
fn show(args: &ShowArgs, config: &Config) -> Result<(), Failure> {
    output::print(&if args.json { as_json(config)? } else { as_toml(config, args.origin) })?;
    super::checked(config).map(drop)
}

fn path(config: &Config) -> Result<(), Failure> {
    if config.file.path.as_os_str().is_empty() {
        return Err(Failure::failed(format!(
            "this user has no home to look for a configuration file in; set {FILE_VARIABLE}"
        )));
    }
    output::print(&format!("{}\n", config.file.path.display()))
}

fn as_toml(config: &Config, with_origin: bool) -> String {
    let mut text = String::new();
    for (table, _) in TABLES {
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{gap}[{table}]");
        for given in config.settings.iter().filter(|given| given.setting.table() == *table) {
            let name = given.setting.name();
            let line = match &given.value {
                Some(_) if given.setting.secret => format!("# {name}: set, but secret"),
                Some(value) => format!("{name} = {}", toml_value(value)),
                None => format!("# {name}: {}", absent(given)),
            };
            let origin =
                if with_origin { format!("  # {}", given.told_by()) } else { String::new() };
            let _ = writeln!(text, "{line}{origin}");
        }
    }
    text
}

/// What it means that nothing is set.
fn absent(given: &Given) -> &'static str {
    match given.setting.preset {
        Preset::Is(words) | Preset::Unset(words) => words,
    }
}

fn toml_value(value: &Value) -> String {
    let quoted = |text: &str| {
        let mut quoted = String::from("\"");
        for char in text.chars() {
            match char {
                '"' | '\\' => quoted.extend(['\\', char]),
                char if char.is_control() => {
                    let _ = write!(quoted, "\\u{:04X}", u32::from(char));
                }
                char => quoted.push(char),
            }
        }
        quoted + "\""
    };
    match value {
        Value::Switch(on) => on.to_string(),
        Value::Whole(number) => number.to_string(),
        Value::Path(path) => quoted(&path.to_string_lossy()),
        Value::Text(text) => quoted(text),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

fn as_json(config: &Config) -> Result<String, Failure> {
    let settings: Vec<_> = config.settings.iter().map(setting_json).collect();
    let body = json!({
        "file": { "path": config.file.path.to_string_lossy(), "found": config.file.is_found },
        "settings": settings,
        "problems": config.problems,
        "warnings": config.warnings,
    });
    let text = serde_json::to_string_pretty(&body);
    text.map(|text| text + "\n").map_err(|error| Failure::failed(error.to_string()))
}

fn setting_json(given: &Given) -> serde_json::Value {
    let setting = given.setting;
    let value = match &given.value {
        None => serde_json::Value::Null,
        Some(_) if setting.secret => json!("(secret)"),
        Some(Value::Switch(on)) => json!(on),
        Some(Value::Whole(number)) => json!(number),
        Some(Value::Path(path)) => json!(path.to_string_lossy()),
        Some(Value::Text(text)) => json!(text),
        Some(Value::List(items)) => json!(items),
    };
    let origin = match &given.origin {
        Origin::Default => json!({ "from": "default" }),
        Origin::File { path, line } => {
            json!({ "from": "file", "path": path.to_string_lossy(), "line": line })
        }
        Origin::Environment => json!({ "from": "environment", "variable": setting.variable }),
        Origin::Flag => json!({ "from": "flag", "flag": given.told_by() }),
    };
    json!({
        "key": setting.key,
        "variable": setting.variable,
        "flag": setting.flag.map(|flag| format!("--{}", flag.long)),
        "value": value,
        "origin": origin,
        "doc": setting.doc,
    })
}
