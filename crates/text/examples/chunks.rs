//! Prints the pieces of standard input, one a line, with what ends each chunk. For looking, not for
//! use.
#![expect(clippy::print_stdout, reason = "an example prints")]

use koe_text::{Dialect, Limits, Options, Piece, UserLexicon, pieces};

fn main() -> std::io::Result<()> {
    let text = std::io::read_to_string(std::io::stdin())?;
    let lexicon = UserLexicon::default();
    let options =
        Options { dialect: Dialect::American, lexicon: &lexicon, limits: Limits::default() };
    for piece in pieces(&text, &options) {
        match piece {
            Piece::Speech(chunk) => {
                let (first, last) = (&chunk.spans[0], &chunk.spans[chunk.spans.len() - 1]);
                let written = text[first.start..last.end].replace('\n', " ");
                println!("{:>4} {:?}: {written}", chunk.spans.len(), chunk.end);
            }
            Piece::Pause { length, .. } => println!("     rest {length:?}"),
            Piece::Note(note) => println!("     {:?}: {:?}", note.kind, &text[note.span]),
        }
    }
    Ok(())
}
