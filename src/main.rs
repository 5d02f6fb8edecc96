//! Parse, run, print the error, exit with its code.

use ggraft::cli;
use ggraft_formats::{Kind, Result};
use std::process::ExitCode;

/// That of musl gives every large room back to the system and takes the next one from it, page by page.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let run = || -> Result<()> { cli::parse()?.map_or(Ok(()), cli::run) };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if e.kind() == Kind::Closed => ExitCode::SUCCESS,
        Err(e) => {
            cli::complain(&e);
            match (e.kind(), cli::signals::came()) {
                (Kind::Interrupted, Some(signal)) => ExitCode::from(128 + signal),
                (kind, _) => ExitCode::from(kind.exit_code()),
            }
        }
    }
}
