//! `ggraft advise MODEL`: on which devices a model runs as it is, how much memory it takes there at a context, and the
//! command that makes the file for one.

use super::elsewhere::Elsewhere;
use super::stdout;
use crate::arch;
use crate::device::{self, Advice, PROFILES, Profile};
use crate::pipeline;
use crate::recipe::Choice;
use crate::report::{self, Show, Stage, size};
use crate::text::{shell_path, shown};
use ggraft_formats::Result;
use std::fmt::Write;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The model; without one the devices are listed
    #[arg(value_name = "MODEL")]
    model: Option<PathBuf>,
    /// One device
    #[arg(long = "for", value_name = "DEVICE", hide_possible_values = true)]
    device: Option<Choice<&'static Profile>>,
    /// The tokens that the model is to read at once; by default 8192, or as many as it was trained for if those are
    /// fewer
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=device::MOST))]
    context: Option<u64>,
    #[command(flatten)]
    elsewhere: Elsewhere,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let profiles: Vec<&'static Profile> = match args.device {
        Some(Choice(profile)) => vec![profile],
        None => PROFILES.iter().collect(),
    };
    let Some(path) = &args.model else { return stdout::print(devices(&profiles).as_bytes()) };
    let stages = Stage::new(Show::Auto);
    let access = args.elsewhere.access(&stages);
    let model = pipeline::open_with(path, &arch::Options::default(), &access)?.model;
    let context = device::context(&model.metadata, args.context);
    report::print_notes(Vec::from_iter(device::overlong(&model.metadata, context)).as_slice(), false);
    let all = profiles.iter().map(|profile| Advice::of(&model, profile, context));
    let all: Vec<Advice> = all.collect::<Result<_>>()?;
    stdout::print(advice(path, &all, context, args.context).as_bytes())
}

/// The devices, a line each.
fn devices(profiles: &[&Profile]) -> String {
    let mut out = String::new();
    for p in profiles {
        let types: Vec<String> = p.types.iter().map(ToString::to_string).collect();
        line(&mut out, format_args!("{:<12} {:<58} {:>9} for a model", p.name, p.what, size(p.memory)));
        line(
            &mut out,
            format_args!("{:<12} {}: {}", "", if p.strict { "runs" } else { "fast" }, types.join(" ")),
        );
    }
    out
}

/// How the model does on each device, at a context that was asked for or not.
fn advice(path: &Path, all: &[Advice], context: u64, asked: Option<u64>) -> String {
    let mut out = String::new();
    if let Some(first) = all.first() {
        let need = first.need;
        line(
            &mut out,
            format_args!(
                "{}: weights {}, and at a context of {} cache {}, state {}, buffers {}: {} in all",
                shown(path),
                size(need.weights),
                context,
                size(need.cache),
                size(need.state),
                size(need.buffers),
                size(need.total())
            ),
        );
    }
    for a in all {
        let room = match a.bits {
            None => String::from("no room"),
            Some(bits) if bits >= 32.0 => String::from("room for any type"),
            Some(bits) => format!("room for {bits:.2} bits a weight"),
        };
        let fits = if a.fits() { "fits" } else { "too large" };
        line(
            &mut out,
            format_args!(
                "{:<12} {:<10} {:>9} for a model, {room}{}",
                a.profile.name,
                fits,
                size(a.profile.memory),
                slow(a)
            ),
        );
    }
    if let Some(a) = all.iter().find(|a| a.bits.is_some() && !a.is_quantized) {
        let (name, model) = (a.profile.name, shell_path(path));
        let context = asked.map(|context| format!(" --context {context}")).unwrap_or_default();
        line(
            &mut out,
            format_args!("make the file for a device: ggraft convert {model} --for {name}{context}"),
        );
    }
    out
}

/// What of the dtypes is not made for the device.
fn slow(a: &Advice) -> String {
    let mut said = String::new();
    let word = if a.profile.strict { "does not run" } else { "slow there" };
    for (dtype, share) in &a.slow {
        _ = write!(said, "; {dtype} ({:.0} % of the weights) {word}", share * 100.0);
    }
    if a.odd_rows > 0.01 {
        _ = write!(
            said,
            "; {:.0} % of the weights in rows that are no multiple of {}",
            a.odd_rows * 100.0,
            a.profile.rows
        );
    }
    said
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    _ = writeln!(out, "{text}");
}
