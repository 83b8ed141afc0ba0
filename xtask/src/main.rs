//! Chores of the repository, one module each: `cargo xtask CHORE`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "a command-line tool")]

mod agreement;
mod letters;
mod lexicon;
mod reference;
mod tidy;

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (chore, rest) = args.split_first().map_or(("", &[][..]), |(c, r)| (c.as_str(), r));
    let done: Result<(), Box<dyn std::error::Error>> = match chore {
        "agreement" => agreement::run(rest).map_err(Into::into),
        "letters" => letters::run(rest).map_err(Into::into),
        "lexicon" => lexicon::run(rest).map_err(Into::into),
        "reference" => reference::run(rest).map_err(Into::into),
        "tidy" => tidy::run().map_err(Into::into),
        _ => {
            eprintln!("no such chore: {chore:?}");
            return std::process::ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{chore}: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
