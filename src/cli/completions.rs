//! `ggraft completions SHELL` and `ggraft man [DIR]`: what shells and `man` are told of the command line, made from
//! the same definitions as the help.

use super::{Cli, stdout};
use crate::text::shown;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use ggraft_formats::{Error, Result};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The shell; its completions are printed
    shell: Shell,
}

#[derive(clap::Args)]
pub(super) struct ManArgs {
    /// Write a page for each verb into this directory, which is made; else the page of ggraft is printed
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ggraft", &mut script);
    stdout::print(&script)
}

pub(super) fn man(args: &ManArgs) -> Result<()> {
    let mut command = super::command().disable_help_subcommand(true);
    command.build();
    let Some(dir) = &args.dir else { return stdout::print(&page(&command)?) };
    std::fs::create_dir_all(dir).map_err(|e| Error::io(&e, dir))?;
    pages(&command, dir)
}

/// Writes the page of a command and those of its verbs; tells their names.
fn pages(command: &clap::Command, dir: &Path) -> Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let path = dir.join(format!("{name}.1"));
    std::fs::write(&path, page(command)?).map_err(|e| Error::io(&e, &path))?;
    stdout::told(&shown(&path).to_string())?;
    command.get_subcommands().try_for_each(|verb| pages(verb, dir))
}

fn page(command: &clap::Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    // A date would make the page another one each day.
    let man = Man::new(command.clone()).date("").manual("ggraft");
    man.render(&mut page).map_err(|e| Error::io(&e, Path::new("the manual page")))?;
    Ok(page)
}
