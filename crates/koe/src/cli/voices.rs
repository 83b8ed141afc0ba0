//! `koe voices`: what there is to choose from, and what of it is here.

use std::path::Path;

use koe_engine::Model;
use serde::Serialize;

use super::{Failure, VoicesArgs, output};
use crate::choice::{self, HOW_TO_GET_KOKORO, Which, Wish};
use crate::config::Config;
use crate::voices::{BUILTIN, Gender, KOKORO, OPENAI, builtin_for, dialect, language};

#[derive(Serialize)]
struct Row {
    name: String,
    model: &'static str,
    language: &'static str,
    gender: Option<&'static str>,
    installed: bool,
    /// Whether koe can read text for it; phonemes it always can.
    reads_text: bool,
    /// OpenAI's names that mean it.
    openai: Vec<&'static str>,
}

pub(super) fn run(args: &VoicesArgs, config: &Config) -> Result<(), Failure> {
    let wish = args.model.clone().or_else(|| config.model.clone());
    let kokoro = choice::installed(config)?;
    let rows = match wish.as_deref() {
        None => {
            let mut rows = kokoro_rows(kokoro.as_deref())?;
            rows.extend(builtin_rows(kokoro.is_none()));
            rows
        }
        Some("builtin") => builtin_rows(true),
        Some("kokoro-82m") => kokoro_rows(kokoro.as_deref())?,
        Some(folder) => {
            let wish = Wish { model: Some(folder.to_owned()), voice: None };
            let Which::Folder(folder) = choice::choose(&wish, None)?.model else {
                return Err(Failure::usage(format!("{folder} is not a folder")));
            };
            let names = Model::voices_in(&folder).map_err(choice::Error::from)?;
            names.iter().map(|name| row(name, "folder", true, Vec::new())).collect()
        }
    };
    if args.json {
        let text = serde_json::to_string_pretty(&serde_json::json!({ "voices": rows }));
        let text = text.map_err(|error| Failure::failed(error.to_string()))?;
        return output::print(&(text + "\n"));
    }
    let mut text = String::new();
    for row in &rows {
        let mark = if row.installed { '*' } else { ' ' };
        let gender = row.gender.unwrap_or("");
        let openai = row.openai.join(", ");
        let line = format!("{mark} {:14} {:22} {gender:8} {openai}", row.name, row.language);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str("\n* is installed");
    if wish.is_none() && kokoro.is_none() {
        text.push_str(&format!("; the others come with Kokoro-82M: {HOW_TO_GET_KOKORO}"));
    }
    text.push_str(
        ". The last column has OpenAI's names for the voice.\n\
         Voices of other languages read English with --lang a. Mixes: af_bella(2)+af_sky(1)\n",
    );
    output::print(&text)
}

fn builtin_rows(has_openai: bool) -> Vec<Row> {
    let aliases = |voice: &str| {
        let meaning = OPENAI.iter().filter(|(_, kokoro)| builtin_for(kokoro) == voice);
        meaning.map(|&(alias, _)| alias).collect()
    };
    let rows = BUILTIN.iter().map(|&name| {
        row(name, "builtin", true, if has_openai { aliases(name) } else { Vec::new() })
    });
    rows.collect()
}

/// Kokoro's voices: those that are published, and others that its folder holds.
fn kokoro_rows(folder: Option<&Path>) -> Result<Vec<Row>, Failure> {
    let here = match folder {
        Some(folder) => Model::voices_in(folder).map_err(choice::Error::from)?,
        None => Vec::new(),
    };
    let aliases = |voice: &str| {
        let meaning = OPENAI.iter().filter(|(_, kokoro)| folder.is_some() && *kokoro == voice);
        meaning.map(|&(alias, _)| alias).collect()
    };
    let own = here.iter().map(|name| &**name).filter(|name| !KOKORO.contains(name));
    let rows = KOKORO
        .into_iter()
        .chain(own)
        .map(|name| row(name, "kokoro-82m", here.iter().any(|here| here == name), aliases(name)));
    Ok(rows.collect())
}

fn row(name: &str, model: &'static str, installed: bool, openai: Vec<&'static str>) -> Row {
    Row {
        name: name.to_owned(),
        model,
        language: language(name),
        gender: Gender::of(name).map(Gender::name),
        installed,
        reads_text: dialect(name).is_some(),
        openai,
    }
}
