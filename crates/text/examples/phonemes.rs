//! Prints what every line of standard input is read as, and its phonemes. For looking, not for use.
#![expect(clippy::print_stdout, reason = "an example prints")]

use koe_text::{Dialect, UserLexicon, normalize, phonemize};
use std::io::BufRead;

fn main() -> std::io::Result<()> {
    let dialect = match std::env::args().nth(1).as_deref() {
        Some("gb") => Dialect::British,
        _ => Dialect::American,
    };
    let lexicon = UserLexicon::default();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let spoken = phonemize(&line, dialect, &lexicon);
        println!("{line}\n  {}\n  {}", normalize(&line, dialect, &lexicon), spoken.symbols);
        for note in spoken.notes {
            println!("  {:?} {:?}", note.kind, &line[note.span]);
        }
    }
    Ok(())
}
