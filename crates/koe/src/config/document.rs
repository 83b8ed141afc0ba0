//! `docs/configuration.md`, made from the table of settings; `koe config docs` prints it, and a
//! test holds the file to it.

use std::fmt::Write;

use super::setting::{Kind, Preset, Setting};
use super::table::{SETTINGS, TABLES};

const OPENING: &str = "\
# Configuration

<!-- Made by `cargo run -p koe -- config docs > docs/configuration.md`; change crates/koe/src/config/table.rs instead. -->

Every setting can come from four places; the first that says something wins:

1. a flag, as `koe serve --port 9000`,
2. an environment variable, as `KOKORO_PORT=9000`,
3. the configuration file,
4. what koe does by itself.

`koe config show --origin` prints every setting, what it is and where it comes from; `--json` is for programs.
Flags of `koe serve` can be added to see what they would change.
What it prints is a configuration file.

## The file

`koe config path` says where it is looked for: what `KOKORO_CONFIG` names, else `koe/config.toml` in `$XDG_CONFIG_HOME` or `~/.config` (macOS: `~/Library/Application Support`, Windows: `%APPDATA%`).
There need be none, but one that `KOKORO_CONFIG` names must be there.
It is [TOML](https://toml.io):

```toml
";

/// Read by a test as any other file.
pub(super) const EXAMPLE: &str = "\
[model]
voice = \"af_bella(2)+af_sky(1)\"

[server]
host = \"0.0.0.0\"
port = 8880
api_key_file = \"keys.txt\"        # beside this file
cors_origins = [\"https://example.org\"]

[keep_alive]
interval_seconds = 60
";

const RULES: &str = "\
```

Relative paths in it start at its own folder, and `~/` at your home.

## Rules

- A mistake anywhere stops a command before it does anything, with exit code 2, whether it needs that setting or not; `doctor`, `config show` and `completions` go on, and `phonemize` has no settings. All mistakes are told at once, those of the file with their line.
- A key that koe does not know is a mistake. A variable that begins with `KOKORO_` and is not known is only a warning, because it may be another program's.
- An empty variable counts as absent.
- Switches take `true` or `false`; variables also `1`, `yes`, `on`, `0`, `no`, `off`, in any case. A flag alone means `true`; `--allow-anonymous=false` is possible.
- Lists are arrays in the file and have commas in variables; a flag is given again.
- Secrets are never printed. Keep them in a file that only the server may read, rather than in the environment.
- `RUST_LOG` chooses how much `koe serve` logs, and a player's own variables how it plays; they are no settings of koe.
";

/// The whole document.
pub fn document() -> String {
    let mut text = format!("{OPENING}{EXAMPLE}{RULES}");
    for (table, about) in TABLES {
        let _ = write!(text, "\n## `[{table}]`\n\n{about}.\n\n");
        text.push_str("| key | variable and flag | takes | default | |\n");
        text.push_str("| --- | --- | --- | --- | --- |\n");
        for setting in SETTINGS.iter().filter(|setting| setting.table() == *table) {
            row(setting, &mut text);
        }
    }
    text
}

fn row(setting: &Setting, text: &mut String) {
    let flag = match setting.flag {
        Some(flag) => format!(", `--{}`", flag.long),
        None => String::new(),
    };
    let preset = match (setting.preset, setting.kind) {
        (Preset::Is(preset), _) => format!("`{preset}`"),
        (Preset::Unset(words), _) => words.to_owned(),
    };
    let takes = match setting.kind {
        Kind::Whole { from, to, unit: "" } => format!("{from} to {to}"),
        Kind::Whole { from, to, unit } => format!("{from} to {to} {unit}"),
        kind => kind.needs(),
    };
    let secret = if setting.secret { "; secret" } else { "" };
    let (name, variable, doc) = (setting.name(), setting.variable, setting.doc);
    let _ =
        writeln!(text, "| `{name}` | `{variable}`{flag} | {takes}{secret} | {preset} | {doc} |");
}
