//! Chores of the repository, one module each: `cargo xtask CHORE`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "a command-line tool")]

fn main() -> std::process::ExitCode {
    let chore = std::env::args().nth(1).unwrap_or_default();
    eprintln!("no such chore: {chore:?}");
    std::process::ExitCode::from(2)
}
