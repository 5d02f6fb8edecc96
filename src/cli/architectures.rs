//! `ggraft architectures`: which classes of models are converted, and the page of each: names, axes and keys.

use super::stdout;
use crate::arch::{converter, page};
use crate::nearest::did_you_mean;
use ggraft_formats::{Error, Result};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A class, such as Qwen3ForCausalLM, or what GGUF calls it, such as qwen3; without one all classes are listed
    name: Option<String>,
    /// Print the pages of all, each with its differences from the one that it builds on
    #[arg(long, conflicts_with = "name")]
    all: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    if args.all {
        return stdout::print(page::document().as_bytes());
    }
    let Some(name) = &args.name else { return stdout::print(page::classes().as_bytes()) };
    let found = page::named(name);
    if let Some(error) = converter::without_page(name).filter(|_| found.is_empty()) {
        return Err(error);
    }
    if found.is_empty() {
        let hint = did_you_mean(name, page::names());
        return Err(Error::usage(format!("there is no architecture '{name}'{hint}"))
            .hint("ggraft architectures lists them"));
    }
    let mut pages: Vec<String> = found.into_iter().map(page::page).collect();
    // What sees or hears may have a page where the text model has none.
    pages.extend(converter::told(name).map(|told| format!("Of the text model: {told}\n")));
    stdout::print(pages.join("\n").as_bytes())
}
