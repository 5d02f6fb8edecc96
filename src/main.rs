//! Parse, run, print the error, exit with its code.

use ggraft::cli::{self, Cli};
use ggraft_formats::Kind;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run(<Cli as clap::Parser>::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            match (e.kind(), cli::signals::came()) {
                (Kind::Interrupted, Some(signal)) => ExitCode::from(128 + signal),
                (kind, _) => ExitCode::from(kind.exit_code()),
            }
        }
    }
}
