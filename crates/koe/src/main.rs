//! The `koe` command. All of it is in the library, where tests reach it.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    koe::cli::run(std::env::args_os())
}
