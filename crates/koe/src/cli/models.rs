//! `koe models`: the models that are here, whole or not.

use serde::Serialize;

use super::{Failure, ModelsArgs, output};
use crate::choice::{self, HOW_TO_GET_KOKORO};
use crate::config::Config;
use crate::models::{self, KOKORO_82M};
use crate::pull;
use crate::voices::BUILTIN;

#[derive(Serialize)]
struct Row {
    name: String,
    installed: bool,
    /// Where it is; none for the one that is compiled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<String>,
    n_voices: usize,
    /// What is wrong with its files, if they were all read again.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<Vec<String>>,
}

pub(super) fn run(args: &ModelsArgs, config: &Config) -> Result<(), Failure> {
    if let Some(path) = &args.export {
        return export(path, config);
    }
    let mut rows = vec![Row {
        name: "builtin".into(),
        installed: true,
        folder: None,
        n_voices: BUILTIN.len(),
        damage: None,
    }];
    let here = models::list(&config.data);
    for model in &here {
        let damage = args.verify.then(|| {
            let damage = models::verify(model, &mut |_| {});
            damage.iter().map(ToString::to_string).collect()
        });
        rows.push(Row {
            name: model.name.clone(),
            installed: true,
            folder: Some(model.folder.display().to_string()),
            n_voices: model.voices().len(),
            damage,
        });
    }
    if !here.iter().any(|model| model.name == KOKORO_82M) {
        // It may be where another tool has put it.
        let folder = choice::installed(config)?;
        rows.push(Row {
            name: KOKORO_82M.into(),
            installed: folder.is_some(),
            n_voices: folder.as_deref().map_or(0, voice_files),
            folder: folder.map(|folder| folder.display().to_string()),
            damage: None,
        });
    }
    let damaged = rows.iter().any(|row| row.damage.as_ref().is_some_and(|all| !all.is_empty()));
    output::print(&if args.json { json(&rows)? } else { table(&rows) })?;
    match damaged {
        true => Err(Failure::failed("a model is damaged; repair it with: koe pull --verify")),
        false => Ok(()),
    }
}

fn voice_files(folder: &std::path::Path) -> usize {
    let entries = folder.join("voices").read_dir().into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|ext| ext == "pt")).count()
}

fn export(path: &std::path::Path, config: &Config) -> Result<(), Failure> {
    let model = models::installed(&config.data, KOKORO_82M).ok_or_else(|| {
        Failure::missing(format!("Kokoro-82M is not installed; {HOW_TO_GET_KOKORO}"))
    })?;
    let mut out = output::OutFile::create(path)?;
    pull::export(&model, out.writer())
        .map_err(|error| Failure::failed(super::failure::chain(&error)))?;
    out.commit()
}

fn json(rows: &[Row]) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(&serde_json::json!({ "models": rows }));
    Ok(text.map_err(|error| Failure::failed(error.to_string()))? + "\n")
}

fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let mark = if row.installed { '*' } else { ' ' };
        let place = match (&row.folder, row.installed) {
            (Some(folder), _) => format!("{} voices in {folder}", row.n_voices),
            (None, true) => format!("{} voices, compiled in", row.n_voices),
            (None, false) => format!("not installed; {HOW_TO_GET_KOKORO}"),
        };
        text.push_str(&format!("{mark} {:12} {place}\n", row.name));
        match row.damage.as_deref() {
            Some([]) => text.push_str("  every file is what was published\n"),
            Some(damage) => damage.iter().for_each(|line| text.push_str(&format!("  !! {line}\n"))),
            None => {}
        }
    }
    text
}
