//! Measures the front end on the text file named as the argument: characters a second on one core,
//! and how long the first piece takes.
#![expect(clippy::print_stdout, reason = "an example prints")]

use koe_text::{Dialect, Limits, Options, Piece, UserLexicon, normalize, pieces};
use std::time::Instant;

fn main() -> std::io::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "README.md".to_owned());
    let text = std::fs::read_to_string(path)?;
    let lexicon = UserLexicon::default();
    let options =
        Options { dialect: Dialect::American, lexicon: &lexicon, limits: Limits::default() };
    // The dictionaries are opened by the first use; that is measured by itself.
    let start = Instant::now();
    let _ = pieces("Hello.", &options).next();
    println!("opening: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    let _ = pieces(&text, &options).next();
    println!("first piece: {:.2} ms", start.elapsed().as_secs_f64() * 1e3);
    let n_chars = text.chars().count();
    for round in 1..=3 {
        let start = Instant::now();
        let (mut n_chunks, mut n_symbols, mut n_notes) = (0, 0, 0);
        for piece in pieces(&text, &options) {
            match piece {
                Piece::Speech(chunk) => {
                    n_chunks += 1;
                    n_symbols += chunk.spans.len();
                }
                Piece::Note(_) => n_notes += 1,
                Piece::Pause { .. } => {}
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "round {round}: {n_chars} characters, {n_chunks} chunks, {n_symbols} symbols, {n_notes} notes in {seconds:.3} s: {:.0} characters a second",
            n_chars as f64 / seconds
        );
    }
    let start = Instant::now();
    let n_normal = normalize(&text, Dialect::American, &lexicon).len();
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "without pronouncing: {:.0} characters a second, {n_normal} bytes",
        n_chars as f64 / seconds
    );
    Ok(())
}
