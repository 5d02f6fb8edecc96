//! Writes the test models to disk, to look at them, to feed them to other programs and to measure with:
//! `cargo run --release --example generate -- trio-1b DIR` or `-- checkpoint NAME DIR`; alone it lists the names.

#[path = "mod.rs"]
mod support;

use std::path::Path;
use std::process::ExitCode;
use support::specs;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => {
            println!("trio-1b DIR\n    base/, chat/, cp/: TinyLlama's shape, 2.2 GB each");
            println!("checkpoint NAME DIR\n    one of:");
            specs::checkpoints().iter().for_each(|(name, _)| println!("    {name}"));
            ExitCode::SUCCESS
        }
        ["trio-1b", dir] => {
            specs::write_trio_1b(Path::new(dir));
            ExitCode::SUCCESS
        }
        ["checkpoint", name, dir] if let Some(spec) = specs::checkpoint(name) => {
            spec.write(Path::new(dir));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("unknown arguments: {}; run it without any to see the list", arguments.join(" "));
            ExitCode::from(2)
        }
    }
}
