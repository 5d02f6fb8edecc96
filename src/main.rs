//! Parse, run, print the error, exit with its code.

use ggraft::cli::{self, Cli};
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run(<Cli as clap::Parser>::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(e.kind().exit_code())
        }
    }
}
