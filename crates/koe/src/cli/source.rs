//! Finds the text that the caller means: in the arguments, in a file, or on standard input.

use std::fs::File;
use std::io::{self, IsTerminal, Read as _};
use std::path::Path;
use std::sync::Arc;

use koe_text::{EntryError, UserLexicon};

use super::{Failure, TextArgs};
use crate::feed::{self, Cut, Segment};

/// The longest lexicon; the largest dictionaries of English have a tenth of it.
const MAX_LEXICON_BYTES: u64 = 64 << 20;

/// Text to be read, and how long it is if that is known.
pub(super) struct Source {
    pub(super) segments: Box<dyn Iterator<Item = Result<Segment, feed::Error>> + Send>,
    pub(super) bytes: Option<u64>,
}

/// Opens the text.
pub(super) fn open(args: &TextArgs) -> Result<Source, Failure> {
    let cut = if args.lines { Cut::Lines } else { Cut::Paragraphs };
    let is_dash = |text: &[String]| matches!(text, [dash] if dash == "-");
    match &args.file {
        Some(path) if path != Path::new("-") => file(path, cut),
        None if !args.text.is_empty() && !is_dash(&args.text) => {
            let text = args.text.join(" ");
            let bytes = Some(text.len() as u64);
            Ok(match cut {
                Cut::Paragraphs => Source { segments: Box::new(feed::from_text(text)), bytes },
                Cut::Lines => {
                    let input = io::Cursor::new(text);
                    Source { segments: Box::new(feed::from_reader("text", input, cut)), bytes }
                }
            })
        }
        asked => {
            let stdin = io::stdin();
            if stdin.is_terminal() && asked.is_none() && args.text.is_empty() {
                return Err(Failure::usage(
                    "no text: give it as an argument, with -f FILE, or through a pipe",
                ));
            }
            let reader = feed::from_reader("standard input", stdin, cut);
            Ok(Source { segments: Box::new(reader), bytes: None })
        }
    }
}

fn file(path: &Path, cut: Cut) -> Result<Source, Failure> {
    let name = path.display().to_string();
    let cannot = |error: io::Error| Failure::failed(format!("cannot read {name}: {error}"));
    let file = File::open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if metadata.is_dir() {
        return Err(Failure::failed(format!("cannot read {name}: it is a folder")));
    }
    let bytes = metadata.is_file().then_some(metadata.len());
    Ok(Source { segments: Box::new(feed::from_reader(name, file, cut)), bytes })
}

/// Reads the caller's own pronunciations; none without a file.
pub(super) fn lexicon(path: Option<&Path>) -> Result<Arc<UserLexicon>, Failure> {
    let Some(path) = path else { return Ok(Arc::default()) };
    let name = path.display();
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_LEXICON_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| Failure::failed(format!("cannot read {name}: {error}")))?;
    if text.len() as u64 > MAX_LEXICON_BYTES {
        let limit = MAX_LEXICON_BYTES >> 20;
        return Err(Failure::failed(format!("{name} is larger than {limit} MiB")));
    }
    let lexicon = UserLexicon::parse(&text).map_err(|error| {
        let hint = match error.problem {
            EntryError::UnknownPhoneme(_) => "; see them all with: koe phonemize --alphabet",
            _ => "",
        };
        Failure::failed(format!("{name}, {error}{hint}"))
    })?;
    Ok(Arc::new(lexicon))
}
