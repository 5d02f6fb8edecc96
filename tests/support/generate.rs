//! Writes the test models to disk, to look at them, to feed them to other programs and to measure with:
//! `cargo run --release --example generate -- trio-1b DIR`; alone it says what else there is.

#[path = "mod.rs"]
mod support;

use std::path::Path;
use std::process::ExitCode;
use support::families;
use support::gguf::TOYS;
use support::{packed, random_tokenizers, specs};

const USAGE: &str = "\
trio-1b DIR            base/, chat/ and cp/ of TinyLlama's shape, 2.2 GB each
trio-450m DIR          the same, 450 MB each in two files
trio-eeve DIR          narrow ones with the vocabularies of SOLAR and EEVE
trio NAME DIR          small ones: eeve, solar, alike
family NAME DIR        base/, chat/ and cp/ of a tiny checkpoint of a family
checkpoint NAME DIR    a Hugging Face directory
gguf NAME FILE         a toy llama
tokenizers DIR         300 random tokenizers, each in a directory of its number
checkpoints, families, projectors, packed, native, mtp, no-mtp, drafts, dense, fused, fused-qkv, fp8-as-q8, tasks, ggufs    the names of each; of packed ones those that llama.cpp's converter reads";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => println!("{USAGE}"),
        ["checkpoints"] => specs::checkpoints().iter().for_each(|(name, _)| println!("{name}")),
        ["families"] => {
            let all =
                families::all().into_iter().chain(families::layouts::all()).chain(families::blocks::all());
            let all = all.chain(families::variants::all()).chain(families::speaking::talkers());
            all.for_each(|tiny| println!("{}", tiny.name));
        }
        ["projectors"] => families::projectors::all().iter().for_each(|tiny| println!("{}", tiny.name)),
        ["native"] => families::layouts::native().iter().for_each(|tiny| println!("{}", tiny.name)),
        ["mtp" | "no-mtp"] => {
            let all = families::predicting::all().into_iter().chain(families::blocks::all());
            all.for_each(|tiny| println!("{}", tiny.name));
        }
        ["fused-qkv"] => families::FUSED_QKV.iter().for_each(|name| println!("{name}")),
        ["fused"] => families::FUSED.iter().for_each(|name| println!("{name}")),
        ["fp8-as-q8"] => packed::EIGHTS.iter().for_each(|name| println!("{name}")),
        ["tasks"] => families::tasks::all().iter().for_each(|tiny| println!("{}", tiny.name)),
        ["dense"] => families::pooling::all().iter().for_each(|tiny| println!("{}", tiny.name)),
        ["drafts"] => families::drafting::all().iter().for_each(|tiny| println!("{}", tiny.name)),
        ["packed"] => {
            packed::names().filter(|(_, s)| s.is_converted).for_each(|(name, _)| println!("{name}"));
        }
        ["ggufs"] => TOYS.iter().for_each(|toy| println!("{}", toy.name)),
        ["trio-1b", dir] => specs::write_trio_1b(Path::new(dir)),
        ["trio-450m", dir] => specs::write_trio_450m(Path::new(dir)),
        ["trio-eeve", dir] => specs::write_trio_eeve(Path::new(dir)),
        ["trio", name, dir] if specs::TRIOS.contains(&name) => specs::write_named_trio(name, Path::new(dir)),
        ["tokenizers", dir] => {
            let sources = random_tokenizers::Sources::load();
            for i in 0..random_tokenizers::COUNT {
                let dir = Path::new(dir).join(i.to_string());
                std::fs::create_dir_all(&dir).expect("a directory");
                random_tokenizers::write(&sources, i, &dir);
            }
        }
        [kind, name, path] if write(kind, name, Path::new(path)) => {}
        _ => {
            eprintln!("unknown: {}\n{USAGE}", arguments.join(" "));
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Writes the model of that kind and name, if there is one.
fn write(kind: &str, name: &str, path: &Path) -> bool {
    let family = || families::family(name);
    let written = match kind {
        "checkpoint" => specs::checkpoint(name)
            .map(|spec| spec.write(path))
            .or_else(|| family().map(|tiny| tiny.write(path)))
            .or_else(|| packed::write(name, path).then_some(())),
        "family" => family().map(|tiny| tiny.write_trio(path)),
        "gguf" => TOYS.iter().find(|toy| toy.name == name).map(|toy| toy.write(path)),
        _ => None,
    };
    written.is_some()
}
