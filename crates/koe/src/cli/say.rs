//! `koe say`: resolves what was typed, then carries sound from the pipeline to where it goes.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Instant;

use koe_audio::Format;
use koe_engine::{Isa, Model};
use koe_text::{Dialect, Note, NoteKind};

use super::interrupt::Interrupt;
use super::narrator::Narrator;
use super::output::{OutFile, SoundFile, Stdout};
use super::player::Player;
use super::progress::Progress;
use super::{Failure, SayArgs, source};
use crate::choice::{self, Wish};
use crate::config::Config;
use crate::pipeline::{Event, Settings, Summary};
use crate::speaker::Voicing;
use crate::stream::Stream;
use crate::timings::{Form, Timings};
use crate::voices::{self, Mix};

/// Where the sound goes, resolved.
#[derive(Debug, PartialEq)]
enum Target {
    Play,
    Stdout(Format),
    File(PathBuf, Format),
}

pub(super) fn run(args: SayArgs, config: &Config) -> Result<(), Failure> {
    let target = target(args.output.as_deref(), args.format)?;
    let timings_form = args.timings.as_deref().map(timings_form).transpose()?;
    if args.timings.is_some() && args.timings == args.output {
        return Err(Failure::usage("the sound and its timings cannot go to the same file"));
    }
    let lexicon = source::lexicon(args.text.lexicon.as_deref())?;
    let source = source::open(&args.text)?;

    // The outputs come before the model, so that a mistake in their names costs no time.
    let interrupt = Interrupt::install()?;
    let mut sink = Sink::open(&target, config)?;
    let mut timings = match (args.timings.as_deref(), timings_form) {
        (Some(path), Some(form)) => Some(TimingsFile::create(path, form)?),
        _ => None,
    };
    let half_made: Vec<PathBuf> = sink
        .half_made()
        .into_iter()
        .chain(timings.as_ref().and_then(TimingsFile::half_made))
        .collect();
    let process = sink.process();
    interrupt.exit_on_signal(move || {
        process.kill();
        for path in &half_made {
            let _ = std::fs::remove_file(path).or_else(|_| std::fs::remove_dir_all(path));
        }
    });

    let wish = Wish {
        model: args.model.or_else(|| config.model.clone()),
        voice: match args.voice.as_deref().or(config.voice.as_deref()) {
            Some(voice) => Some(Mix::parse(voice).map_err(Failure::usage)?),
            None => None,
        },
    };
    let choice = choice::choose(&wish, choice::installed(config)?.as_deref())?;
    let threads = super::threads(args.threads, config)?;
    let isa = config.isa.unwrap_or_else(Isa::detect);
    let narrator = Narrator::find(&choice, config, threads, isa)?;
    let asked = args.text.lang.map(Dialect::from);
    let dialect = dialect(asked, args.phonemes, &narrator.voicing)?;
    if !args.quiet {
        for line in choice.notice.iter().chain(&narrator.voicing.warnings) {
            super::tell(format_args!("koe: {line}"));
        }
    }

    let settings = Settings {
        dialect,
        lexicon,
        phonemes: args.phonemes,
        speed: args.speed,
        seed: args.seed,
        // Nobody hears a file while it is written, and the same text makes the same one.
        live: args.text.lines && !matches!(target, Target::File(..)),
        ramp: narrator.ramp,
        ..Settings::default()
    };
    let begun = Instant::now();
    let mut stream = Stream::start(source.segments, settings, narrator.speaker);
    let (stopper, process) = (stream.stopper(), sink.process());
    interrupt.on_signal(move || {
        stopper.stop();
        process.kill();
    });

    let mut progress = Progress::new(source.bytes, args.quiet);
    let mut notes = Notes::default();
    let carried = carry(&mut stream, &mut sink, timings.as_mut(), &mut progress, &mut notes);
    progress.clear();
    if interrupt.happened() {
        return Err(Failure::interrupted());
    }
    carried?;
    let summary = stream.outcome()?;
    let sound = sink.finish();
    if interrupt.happened() {
        return Err(Failure::interrupted());
    }
    // Both files are complete before either appears.
    let timings = timings.map(|timings| timings.finish(&summary)).transpose()?;
    for file in sound?.into_iter().chain(timings) {
        file.commit()?;
    }
    if !args.quiet {
        notes.tell();
        if let Target::File(path, _) = &target
            && std::io::stderr().is_terminal()
        {
            tell_summary(path, &summary, begun);
        }
    }
    // The sound is there; weights that were packed for it may still be on their way to the disk.
    if let Some(Err(warning)) = narrator.model.as_ref().map(Model::kept)
        && !args.quiet
    {
        super::tell(format_args!("koe: {warning}"));
    }
    Ok(())
}

/// The loop that the user waits for.
fn carry(
    stream: &mut Stream,
    sink: &mut Sink,
    mut timings: Option<&mut TimingsFile>,
    progress: &mut Progress,
    notes: &mut Notes,
) -> Result<(), Failure> {
    for event in stream {
        match event {
            Event::Note(note) => notes.push(note),
            Event::Sound(block) => {
                progress.show(&block);
                sink.write(&block.samples)?;
                if let (Some(timings), Some(spoken)) = (&mut timings, &block.spoken) {
                    timings.text.clear();
                    timings.timings.push(spoken, &mut timings.text);
                    timings.file.write(timings.text.as_bytes())?;
                }
            }
        }
    }
    Ok(())
}

fn target(output: Option<&Path>, format: Option<Format>) -> Result<Target, Failure> {
    let Some(path) = output else {
        return match format {
            None => Ok(Target::Play),
            Some(_) => Err(Failure::usage("--format needs -o FILE or -o -")),
        };
    };
    if path == Path::new("-") {
        if std::io::stdout().is_terminal() {
            return Err(Failure::usage(
                "sound does not belong on a terminal; pipe it on, or name a file with -o",
            ));
        }
        return Ok(Target::Stdout(format.unwrap_or(Format::Pcm)));
    }
    let extension = path.extension().map(|extension| extension.to_string_lossy());
    let format = match (format, &extension) {
        (Some(format), _) => format,
        (None, None) => Format::Wav,
        (None, Some(extension)) => Format::of_extension(extension).ok_or_else(|| {
            Failure::usage(format!(
                "cannot write .{extension} files; use .wav, .mp3, .opus, .aac, .flac or .pcm, or say \
                 --format wav"
            ))
        })?,
    };
    Ok(Target::File(path.to_owned(), format))
}

fn timings_form(path: &Path) -> Result<Form, Failure> {
    let extension = path.extension().map(|extension| extension.to_string_lossy());
    extension.as_deref().and_then(Form::of_extension).ok_or_else(|| {
        Failure::usage(format!("timings go to a .json, .srt or .vtt file, not {}", path.display()))
    })
}

/// The English to read the text as: as asked, else the voice's own.
fn dialect(asked: Option<Dialect>, phonemes: bool, voicing: &Voicing) -> Result<Dialect, Failure> {
    if let Some(dialect) = asked.or(voicing.dialect) {
        return Ok(dialect);
    }
    let name = voicing.names.first().map_or("", |name| &**name);
    match voices::language(name) {
        // A voice of the caller's own, or phonemes, which are of no language.
        "unknown" => Ok(Dialect::American),
        _ if phonemes => Ok(Dialect::American),
        language => Err(Failure::usage(format!(
            "{name} speaks {language}, which koe cannot read yet; give --lang a to have it read \
             English, or --phonemes"
        ))),
    }
}

fn tell_summary(path: &Path, summary: &Summary, begun: Instant) {
    let sound = koe_audio::seconds(summary.samples);
    let took = begun.elapsed().as_secs_f64();
    let times = sound / took;
    super::tell(format_args!(
        "{}: {sound:.1} s of sound in {took:.1} s ({times:.1} times real time)",
        path.display()
    ));
}

enum Sink {
    Player(Player),
    Stdout(Stdout),
    File(SoundFile),
}

impl Sink {
    fn open(target: &Target, config: &Config) -> Result<Self, Failure> {
        Ok(match target {
            Target::Play => Self::Player(Player::start(&config.path)?),
            Target::Stdout(format) => Self::Stdout(Stdout::new(*format)?),
            Target::File(path, format) => Self::File(SoundFile::create(path, *format)?),
        })
    }

    /// What would be left if the process ended now.
    fn half_made(&self) -> Option<PathBuf> {
        match self {
            Self::Player(player) => player.half_made().map(Path::to_owned),
            Self::Stdout(_) => None,
            Self::File(file) => file.half_made().map(Path::to_owned),
        }
    }

    fn process(&self) -> super::player::Process {
        match self {
            Self::Player(player) => player.process(),
            _ => super::player::Process::default(),
        }
    }

    fn write(&mut self, samples: &[f32]) -> Result<(), Failure> {
        match self {
            Self::Player(player) => player.write(samples),
            Self::Stdout(stdout) => stdout.write(samples),
            Self::File(file) => file.write(samples),
        }
    }

    /// The end of the sound, and the file that is to be put in its place, if it is one.
    fn finish(self) -> Result<Option<OutFile>, Failure> {
        match self {
            Self::Player(player) => player.finish().map(|()| None),
            Self::Stdout(mut stdout) => stdout.finish().map(|()| None),
            Self::File(file) => file.finish().map(Some),
        }
    }
}

struct TimingsFile {
    file: OutFile,
    timings: Timings,
    text: String,
}

impl TimingsFile {
    fn create(path: &Path, form: Form) -> Result<Self, Failure> {
        let (mut timings, mut text) = (Timings::new(form), String::new());
        let mut file = OutFile::create(path)?;
        timings.start(&mut text);
        file.write(text.as_bytes())?;
        Ok(Self { file, timings, text })
    }

    fn half_made(&self) -> Option<PathBuf> {
        self.file.temporary().map(Path::to_owned)
    }

    fn finish(mut self, summary: &Summary) -> Result<OutFile, Failure> {
        self.text.clear();
        self.timings.finish(summary.samples, &mut self.text);
        self.file.write(self.text.as_bytes())?;
        Ok(self.file)
    }
}

/// What was left out or not understood, told once at the end. Guesses and spellings are everyday;
/// `koe phonemize --json` shows them.
#[derive(Default)]
struct Notes {
    left_out: usize,
    malformed: usize,
    pauses_cut: usize,
    first: Option<usize>,
}

impl Notes {
    fn push(&mut self, note: Note) {
        match note.kind {
            NoteKind::Unspeakable | NoteKind::UnknownPhoneme => self.left_out += 1,
            NoteKind::MalformedMarkup => self.malformed += 1,
            NoteKind::PauseCut => self.pauses_cut += 1,
            _ => return,
        }
        self.first.get_or_insert(note.span.start);
    }

    fn tell(&self) {
        let Some(first) = self.first else { return };
        let pause_cut = format!("with a pause cut to {} s", koe_text::MAX_PAUSE.as_secs());
        let counted = [
            (self.left_out, "left out"),
            (self.malformed, "with markup not understood"),
            (self.pauses_cut, &*pause_cut),
        ];
        let counted = counted.iter().filter(|(n, _)| *n > 0);
        let counted: Vec<_> = counted.map(|(n, what)| format!("{n} {what}")).collect();
        super::tell(format_args!(
            "koe: parts of the text: {}, the first at byte {first}; see koe phonemize --json",
            counted.join(", ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_name_tells_the_format() {
        let file = |name: &str, format| target(Some(Path::new(name)), format);
        let wav = |name: &str| Target::File(name.into(), Format::Wav);
        assert_eq!(file("a.wav", None).unwrap(), wav("a.wav"));
        assert_eq!(file("a.RAW", None).unwrap(), Target::File("a.RAW".into(), Format::Pcm));
        assert_eq!(file("a", None).unwrap(), wav("a"));
        assert_eq!(file("a.ogg", None).unwrap(), Target::File("a.ogg".into(), Format::Opus));
        assert_eq!(file("a.mp3", Some(Format::Wav)).unwrap(), wav("a.mp3"));
        assert!(file("a.xyz", None).is_err());
        assert_eq!(target(None, None).unwrap(), Target::Play);
        assert!(target(None, Some(Format::Wav)).is_err());
    }
}
