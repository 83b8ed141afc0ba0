//! `cargo xtask reference`: the engine against PyTorch, stage by stage.
//!
//! Reads what `bench/reference.py` kept of the published PyTorch code (safetensors files, see there
//! for the names), speaks the same tokens with the engine, and compares each stage in the order it
//! was computed, so the first row that fails names the culprit. Writes the rows of `docs/parity.md`
//! when asked. It trusts no end-to-end waveform: that is comparable only given the source, and the
//! rest is told as a spectral distance.
//!
//! ```text
//! cargo xtask reference --model DIR --dump DIR [--python PATH | --make-venv] [--threads N]
//!     [--isa NAME] [--write]
//! ```
//!
//! `--python` makes the dump first, with an interpreter that has `bench/requirements.txt`;
//! `--make-venv` makes such an interpreter under `target/`, which downloads.

mod compare;
#[path = "../../crates/engine/tests/support/spectrum.rs"]
mod spectrum;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use compare::{Dump, max_error, polar_error, relative_error, turned_phases};
use koe_engine::trace::Drive;
use koe_engine::{Isa, Model, Precision, Request, Session};
use spectrum::log_spectral_distance;

/// Largest `‖ours − theirs‖ / ‖theirs‖` of a stage.
const RELATIVE_LIMIT: f64 = 1e-4;
/// Largest difference of one sample, of sound within ±1, when both are given the same source.
const SAMPLE_LIMIT: f64 = 1e-3;
/// Stages in the order they are computed, and whether PyTorch keeps them channels first.
const STAGES: [(&str, bool); 7] = [
    ("bert", false),
    ("prosody_text", false),
    ("duration", false),
    ("f0", false),
    ("n", false),
    ("text", true),
    ("decoder_features", true),
];
/// Between these lines of `docs/parity.md` the rows are ours to write.
const BEGIN: &str = "<!-- measured by cargo xtask reference: begin -->";
const END: &str = "<!-- measured by cargo xtask reference: end -->";

struct Options {
    model: PathBuf,
    dump: PathBuf,
    cache: PathBuf,
    python: Option<PathBuf>,
    make_venv: bool,
    threads: usize,
    isa: Isa,
    write: bool,
}

/// One case's row: a measured number per column, and what is wrong.
struct Row {
    case: String,
    tokens: usize,
    frames: usize,
    /// Of [`STAGES`].
    stages: Vec<f64>,
    /// Of the source's spectrum, as complex numbers.
    har: f64,
    /// Phases of it half a turn or more apart, of numbers that are the same but for rounding.
    turned: usize,
    /// Largest sample difference given that spectrum, and given the source.
    given_spectrum: f64,
    given_source: f64,
    /// Relative error of the source without noise.
    source: f64,
    /// dB, of the whole output without noise.
    distance: f64,
    faults: Vec<String>,
}

/// Runs the chore with the arguments after its name.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let python = if options.make_venv { Some(make_venv()?) } else { options.python.clone() };
    if let Some(python) = python {
        dump(&python, &options)?;
    }
    let mut files: Vec<PathBuf> = fs::read_dir(&options.dump)
        .with_context(|| format!("{}: make it with --python", options.dump.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "safetensors"))
        .collect();
    files.sort();
    ensure!(!files.is_empty(), "{} holds no cases", options.dump.display());

    let model = Model::open_in(Precision::F32, &options.model, &options.cache)?;
    let mut session = Session::with_isa(&model, options.threads, options.isa);
    eprintln!("instructions {}, {} threads", options.isa.name(), options.threads);
    let mut rows = Vec::new();
    for file in &files {
        let row = case(&mut session, file)?;
        eprintln!("{}", row.markdown());
        for fault in &row.faults {
            eprintln!("    {fault}");
        }
        rows.push(row);
    }
    eprintln!("\n{}", table(&rows));
    if options.write {
        write(&options, &rows)?;
    }
    let n_faults = rows.iter().filter(|row| !row.faults.is_empty()).count();
    ensure!(n_faults == 0, "{n_faults} of {} cases differ from the reference", rows.len());
    Ok(())
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let usage = "usage: cargo xtask reference --model DIR --dump DIR [--cache DIR] \
                     [--python PATH | --make-venv] [--threads N] [--isa NAME] [--write]";
        let (mut model, mut dump, mut cache, mut python) = (None, None, None, None);
        let (mut make_venv, mut write, mut threads, mut isa) = (false, false, 2, Isa::detect());
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--model" => model = Some(PathBuf::from(value()?)),
                "--dump" => dump = Some(PathBuf::from(value()?)),
                "--cache" => cache = Some(PathBuf::from(value()?)),
                "--python" => python = Some(PathBuf::from(value()?)),
                "--make-venv" => make_venv = true,
                "--threads" => threads = value()?.parse().context("--threads")?,
                "--isa" => isa = Isa::named(value()?)?,
                "--write" => write = true,
                _ => bail!("{argument}? {usage}"),
            }
        }
        let dump = dump.context(usage)?;
        Ok(Self {
            model: model.context(usage)?,
            cache: cache.unwrap_or_else(|| root().join("target/reference-cache")),
            dump,
            python,
            make_venv,
            threads,
            isa,
            write,
        })
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A Python under `target/` with what the reference needs; made once.
fn make_venv() -> Result<PathBuf> {
    let venv = root().join("target/reference-venv");
    check(Command::new(root().join("bench/venv")).arg(&venv))?;
    Ok(venv.join("bin/python"))
}

/// Has PyTorch speak the cases.
fn dump(python: &Path, options: &Options) -> Result<()> {
    let script = root().join("bench/reference.py");
    let mut command = Command::new(python);
    check(command.arg(script).arg("--model").arg(&options.model).arg("--out").arg(&options.dump))
}

fn check(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

/// One file of the dump, spoken by the engine three times: given the source, given the source's
/// spectrum, and on its own without noise.
fn case(session: &mut Session, file: &Path) -> Result<Row> {
    let dump = Dump::read(file)?;
    let padded = dump.integers("tokens")?;
    let tokens: Vec<u16> = padded[1..padded.len() - 1].iter().map(|&id| id as u16).collect();
    let style = dump.floats("style")?;
    let request =
        Request { tokens: &tokens, style: &style, speed: dump.floats("speed")?[0], seed: 0 };
    let mut faults = Vec::new();

    let source = dump.floats("source")?;
    let frames = dump.integers("frames")?;
    let given_source = session.trace(&request, Drive::Source(&source))?;
    let same = given_source.frames.iter().map(|&n| n as i32).eq(frames.iter().copied());
    let mut stages = Vec::new();
    for (name, channels_first) in STAGES {
        let theirs = dump.rows(name, channels_first)?;
        let ours = &given_source.stage(name).with_context(|| format!("no stage {name}"))?.values;
        let error = relative_error(ours, &theirs);
        if exceeds(error, RELATIVE_LIMIT) {
            faults.push(format!("{name}: {}", compare::describe(ours, &theirs)));
        }
        stages.push(error);
    }
    if !same {
        faults.push("durations differ; what follows cannot be compared".to_owned());
    }
    let mut row = Row {
        case: file.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        tokens: tokens.len(),
        frames: frames.iter().map(|&n| n as usize).sum(),
        stages,
        har: f64::NAN,
        turned: 0,
        given_spectrum: f64::NAN,
        given_source: f64::NAN,
        source: f64::NAN,
        distance: f64::NAN,
        faults,
    };
    if !same {
        return Ok(row);
    }

    let waveform = dump.floats("waveform")?;
    let har = dump.rows("har", true)?;
    let bins = dump.shape("har")?[0] / 2;
    let stage = |trace: &koe_engine::trace::Trace, name: &str| -> Result<Vec<f32>> {
        Ok(trace.stage(name).with_context(|| format!("no stage {name}"))?.values.clone())
    };
    let ours = stage(&given_source, "har")?;
    row.har = polar_error(&ours, &har, bins);
    let turned = turned_phases(&ours, &har, bins);
    row.turned = turned.by_rounding;
    if turned.wrong > 0 {
        row.faults.push(format!("har: {} phases are wrong by half a turn or more", turned.wrong));
    }
    let ours = stage(&given_source, "waveform")?;
    row.given_source = max_error(&ours, &waveform);
    drop(given_source);
    let given_spectrum = session.trace(&request, Drive::Spectrum(&har))?;
    row.given_spectrum = max_error(&stage(&given_spectrum, "waveform")?, &waveform);
    drop(given_spectrum);
    let alone = session.trace(&request, Drive::ZeroNoise)?;
    row.source = relative_error(&stage(&alone, "source")?, &dump.floats("source_zero_noise")?);
    row.distance =
        log_spectral_distance(&stage(&alone, "waveform")?, &dump.floats("waveform_zero_noise")?);

    if exceeds(row.har, RELATIVE_LIMIT) {
        row.faults.push(format!("har: relative error {:.2e}", row.har));
    }
    let must =
        [("spectrum", row.given_spectrum, true), ("source", row.given_source, row.turned == 0)];
    for (name, error, counts) in must {
        if counts && exceeds(error, SAMPLE_LIMIT) {
            row.faults.push(format!("waveform given the {name}: max error {error:.2e}"));
        }
    }
    Ok(row)
}

/// Also where the error could not be told: what cannot be compared is not equal.
fn exceeds(error: f64, limit: f64) -> bool {
    error.is_nan() || error > limit
}

impl Row {
    fn markdown(&self) -> String {
        let number = |x: f64| if x.is_nan() { "n/a".to_owned() } else { format!("{x:.1e}") };
        let stages: Vec<String> = self.stages.iter().map(|&x| number(x)).collect();
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.2} |",
            self.case,
            self.tokens,
            self.frames,
            stages.join(" | "),
            number(self.har),
            number(self.given_spectrum),
            self.turned,
            number(self.given_source),
            number(self.source),
            self.distance
        )
    }
}

fn table(rows: &[Row]) -> String {
    let names = STAGES.map(|(name, _)| name).join(" | ");
    let mut text = format!(
        "| case | tokens | frames | {names} | har | waveform given spectrum \
         | turned phases | waveform given source | source, no noise | whole, no noise, dB |\n|{}\n",
        "---|".repeat(STAGES.len() + 9)
    );
    for row in rows {
        text.push_str(&row.markdown());
        text.push('\n');
    }
    text
}

/// Puts the rows into `docs/parity.md`.
fn write(options: &Options, rows: &[Row]) -> Result<()> {
    let path = root().join("docs/parity.md");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let (before, rest) = text.split_once(BEGIN).context("docs/parity.md lost its begin mark")?;
    let (_, after) = rest.split_once(END).context("docs/parity.md lost its end mark")?;
    let failed = rows.iter().filter(|row| !row.faults.is_empty()).count();
    let measured = format!(
        "{BEGIN}\n\nInstructions `{}`, {} threads; {} of {} cases within the limits.\n\n{}\n{END}",
        options.isa.name(),
        options.threads,
        rows.len() - failed,
        rows.len(),
        table(rows)
    );
    fs::write(&path, format!("{before}{measured}{after}"))?;
    Ok(())
}
