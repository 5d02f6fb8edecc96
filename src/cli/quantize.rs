//! `ggraft quantize IN.gguf [OUT.gguf] TYPE [THREADS]`: the positional habit of llama-quantize; the type may be several,
//! with commas between.

use super::beside::Beside;
use super::naming::{self, Naming};
use super::options::{self, Order, Run};
use super::sweep::Sweep;
use super::{carrying, command, elsewhere};
use crate::arch;
use crate::output::target::{Target, Type};
use crate::pipeline::{self, Plan};
use crate::recipe::{Choice, Mixture, Splitting};
use crate::report::Stage;
use crate::stages::Stages;
use ggraft_formats::{Error, Result};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(
    override_usage = "ggraft quantize [OPTIONS] IN.gguf [OUT.gguf] TYPE[,TYPE…] [THREADS]\n       ggraft quantize [OPTIONS] --target-size SIZE IN.gguf [OUT.gguf] [TYPE] [THREADS]"
)]
pub(super) struct Args {
    /// The model, then the output if it is not to be ggml-model-TYPE.gguf beside it, the type or several as Q4_K_M,Q8_0,
    /// and the threads
    // Their number is judged by `request`: clap would count anew after every option between them.
    #[arg(required = true, value_name = "ARG", value_hint = clap::ValueHint::AnyPath)]
    words: Vec<String>,
    /// Output type, instead of the one among the words; several, as Q4_K_M,Q8_0, give an output each
    #[arg(
        long = "type",
        alias = "outtype",
        value_name = "TYPE",
        value_delimiter = ',',
        hide_possible_values = true
    )]
    types: Vec<Choice<Type>>,
    /// Output, instead of the one among the words
    #[arg(short, long, value_name = "OUT", value_hint = clap::ValueHint::AnyPath)]
    output: Option<PathBuf>,
    #[command(flatten)]
    mixture: Mixture,
    #[command(flatten)]
    sweep: Sweep,
    #[command(flatten)]
    splitting: Splitting,
    /// What the model is called in its metadata
    #[arg(long, alias = "model-name", value_name = "TEXT", value_parser = naming::name)]
    name: Option<String>,
    #[command(flatten)]
    beside: Beside,
    #[command(flatten)]
    run: Run,
}

/// What the positional words mean.
struct Request {
    input: PathBuf,
    /// None if it is named by the type.
    output: Option<PathBuf>,
    /// Empty if none is among the words.
    types: Vec<Type>,
    threads: Option<usize>,
}

/// What is said beside the words.
#[derive(Clone, Copy, Default)]
struct Said {
    /// The types, so that none stands among the words.
    types: bool,
    /// The output, likewise.
    output: bool,
    /// A budget, with which the type may be left out.
    budget: bool,
}

/// The types of a word.
fn types(word: &str) -> Result<Vec<Type>> {
    word.split(',').map(Type::parse).collect()
}

/// A word that ends in `.gguf` is a file, even if it begins with a digit as a type's number does.
fn request(words: &[String], said: Said) -> Result<Request> {
    let is_file = |word: &str| word.to_ascii_lowercase().ends_with(".gguf");
    let is_number = |word: &str| word.parse::<usize>().is_ok();
    let (input, rest) = words.split_first().ok_or_else(|| Error::usage("the input is missing"))?;
    let (output, rest) = match rest.split_first() {
        Some((word, _)) if said.output && is_file(word) => return Err(two_outputs(word)),
        _ if said.output => (None, rest),
        Some((word, more)) if is_file(word) => (Some(word), more),
        // A type among the words is told below to be one too many.
        Some((word, more)) if said.types && !is_number(word) && types(word).is_err() => (Some(word), more),
        Some((word, more)) if !said.types && (said.budget || !more.is_empty()) && types(word).is_err() => {
            (Some(word), more)
        }
        _ => (None, rest),
    };
    let (types, rest) = match rest.split_first() {
        Some((word, _)) if said.types && !is_number(word) => return Err(twice(word)),
        _ if said.types => (Vec::new(), rest),
        Some((word, rest)) => (types(word).map_err(|e| in_order(words).unwrap_or(e))?, rest),
        None if said.budget => (Vec::new(), rest),
        None => return Err(Error::usage("the type is missing, such as Q4_K_M")),
    };
    let threads = match rest {
        [] => None,
        [n] => Some(
            n.parse().map_err(|_| Error::usage("the last argument must be a number of threads").found(n))?,
        ),
        _ => {
            return Err(Error::usage("there are too many arguments").expected(FORM));
        }
    };
    Ok(Request { input: PathBuf::from(input), output: output.map(PathBuf::from), types, threads })
}

/// The error for an output among the words beside --output.
fn two_outputs(word: &str) -> Error {
    Error::usage("the output is named with --output")
        .found(format!("'{word}' as well"))
        .hint("leave out one or the other; with --output the words are IN.gguf TYPE [THREADS]")
}

/// The error for a word beside --type that is neither an output nor a number of threads.
fn twice(word: &str) -> Error {
    Error::usage("the types are given with --type")
        .found(format!("'{word}' as well"))
        .hint("leave out one or the other; with --type the words are IN.gguf [OUT.gguf] [THREADS]")
}

/// The form of the words, if one that is not where the type belongs names a type.
fn in_order(words: &[String]) -> Option<Error> {
    let is_type = |word: &&String| word.parse::<u64>().is_err() && types(word).is_ok();
    let found = words.iter().find(is_type)?;
    Some(Error::usage(format!("'{found}' is not where the type belongs")).expected(FORM))
}

const FORM: &str = "IN.gguf [OUT.gguf] TYPE [THREADS]";

/// The output that is not named: beside the input, by its type.
fn beside(input: &Path, kind: &str) -> PathBuf {
    input.parent().unwrap_or(Path::new("")).join(format!("ggml-model-{kind}.gguf"))
}

impl Args {
    /// How the work is done.
    pub fn settings(&mut self) -> &mut options::Run {
        &mut self.run
    }
}

pub(super) fn run(mut args: Args) -> Result<()> {
    let budget = args.mixture.has_budget() || args.sweep.is_given();
    let said = Said { types: !args.types.is_empty(), output: args.output.is_some(), budget };
    let mut request = request(&args.words, said)?;
    request.output = args.output.or(request.output);
    args.sweep.alone(&args.run, request.output.as_deref())?;
    if said.budget {
        options::early(request.output.as_deref(), &args.run)?;
    }
    let stages = Stage::new(args.run.show.how());
    stages.begin("opening the model", 1);
    let access = elsewhere::plain();
    let away = args.run.away(&mut request.output, "quantize", &access)?;
    let loaded = pipeline::open_with(&request.input, &arch::Options::default(), &access)?;
    if loaded.source.is_some() {
        return Err(Error::usage("quantize takes a GGUF file")
            .file(&request.input)
            .hint("use `ggraft convert` for a checkpoint; it quantizes as well"));
    }
    args.run.threads = request.threads.or(args.run.threads);
    let measure = args.run.report.is_some();
    let name = args.name;
    let division = args.splitting.division();
    args.types.extend(request.types.into_iter().map(Choice));
    let mixtures = args.sweep.mixtures(&args.mixture, &args.types)?;
    let target = |(kind, mixture): (&Choice<Type>, &Mixture)| {
        let (name, stages) = (name.clone(), stages.clone());
        Ok(Target { division, measure, name, stages, ..mixture.target(kind.0)? })
    };
    let types = options::types(&args.types).iter();
    let all = types.flat_map(|kind| mixtures.iter().map(move |mixture| (kind, mixture)));
    let targets = all.map(target).collect::<Result<Vec<_>>>()?;
    let pool = options::thread_pool(args.run.threads)?;
    if args.sweep.is_given() {
        let plans = pool.install(|| pipeline::convert_each(loaded, &targets))?;
        stages.end();
        return args.sweep.tell(plans, &args.run, pool.current_num_threads());
    }
    let plans = pool.install(|| pipeline::convert_all(loaded, &targets))?;
    stages.end();
    let default = |plan: &Plan| beside(&request.input, &plan.encoding());
    let several = plans.len() > 1;
    let plans = Naming { typed: request.output, several, default: &default }.all(plans)?;
    let words = args.mixture.words()?;
    let order = Order {
        words: &words,
        command: &command::typed("quantize", &[]),
        formula: None,
        recipe: None,
        beside: &args.beside,
        run: &args.run,
        access: &access,
        away: away.as_ref(),
    };
    carrying::carry_out(&plans, &order, || Ok(Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<(String, String, Option<usize>)> {
        let words: Vec<String> = words.split(' ').map(String::from).collect();
        request(&words, Said::default()).map(|r| {
            let names: Vec<&str> = r.types.iter().map(Type::name).collect();
            let output = r.output.unwrap_or_else(|| beside(&r.input, names[0]));
            (output.display().to_string(), names.join(" "), r.threads)
        })
    }

    #[test]
    fn the_words_of_llama_quantize() {
        let is = |words, out: &str, name: &str, threads| {
            assert_eq!(read(words).unwrap(), (out.to_string(), name.to_string(), threads), "{words}");
        };
        is("dir/in.gguf Q8_0", "dir/ggml-model-Q8_0.gguf", "Q8_0", None);
        is("in.gguf out.gguf q4_k 3", "out.gguf", "Q4_K_M", Some(3));
        is("in.gguf Q4_0 2", "ggml-model-Q4_0.gguf", "Q4_0", Some(2));
        is("in.gguf 7b-q4.gguf Q4_0", "7b-q4.gguf", "Q4_0", None);
        is("in.gguf out Q4_0", "out", "Q4_0", None);
        is("in.gguf q4_k,Q8_0,copy 3", "ggml-model-Q4_K_M.gguf", "Q4_K_M Q8_0 COPY", Some(3));
        is("in.gguf {type}.gguf 15,7", "{type}.gguf", "Q4_K_M Q8_0", None);
    }

    #[test]
    fn with_an_option_for_the_types_none_is_among_the_words() {
        let typed = Said { types: true, ..Said::default() };
        for (words, output, threads) in [
            ("in.gguf", None, None),
            ("in.gguf 3", None, Some(3)),
            ("in.gguf out", Some("out"), None),
            ("in.gguf 7.gguf 3", Some("7.gguf"), Some(3)),
        ] {
            let words: Vec<String> = words.split(' ').map(String::from).collect();
            let read = request(&words, typed).unwrap();
            assert_eq!((read.output, read.threads), (output.map(PathBuf::from), threads), "{words:?}");
            assert!(read.types.is_empty());
        }
        for words in ["in.gguf Q4_0", "in.gguf out.gguf Q4_0 3", "in.gguf Q4_0,Q8_0 3"] {
            let words: Vec<String> = words.split(' ').map(String::from).collect();
            let said = request(&words, typed).err().unwrap().to_string();
            assert!(said.contains("the types are given with --type"), "{said}");
        }
    }

    #[test]
    fn with_an_option_for_the_output_none_is_among_the_words() {
        let read = |words: &str| {
            let words: Vec<String> = words.split(' ').map(String::from).collect();
            request(&words, Said { output: true, ..Said::default() })
        };
        for (words, threads) in [("in.gguf Q4_0", None), ("in.gguf Q4_0 3", Some(3))] {
            let read = read(words).unwrap();
            assert_eq!((read.output, read.types[0].name(), read.threads), (None, "Q4_0", threads), "{words}");
        }
        for words in ["in.gguf out.gguf Q4_0", "in.gguf out.gguf"] {
            let said = read(words).err().unwrap().to_string();
            assert!(said.contains("the output is named with --output"), "{said}");
        }
        let said = read("in.gguf out Q4_0").err().unwrap().to_string();
        assert!(said.contains("not where the type belongs"), "{said}");
    }

    #[test]
    fn with_a_budget_the_type_may_be_left_out() {
        for (words, output, kind) in [
            ("in.gguf", None, "auto"),
            ("in.gguf out.gguf", Some("out.gguf"), "auto"),
            ("in.gguf out", Some("out"), "auto"),
            ("in.gguf Q4_0", None, "Q4_0"),
            ("in.gguf out Q4_0 2", Some("out"), "Q4_0"),
        ] {
            let words: Vec<String> = words.split(' ').map(String::from).collect();
            let read = request(&words, Said { budget: true, ..Said::default() }).unwrap();
            let found = read.types.first().map_or("auto", Type::name);
            assert_eq!((read.output, found), (output.map(PathBuf::from), kind), "{words:?}");
        }
    }

    #[test]
    fn a_type_in_another_place_is_told_with_the_form() {
        let said = read("Q4_K_M in.gguf out.gguf").unwrap_err().to_string();
        assert_eq!(said, format!("'Q4_K_M' is not where the type belongs: expected {FORM}"));
        assert!(read("in.gguf out.gguf Q4").unwrap_err().to_string().contains("did you mean Q4_K_M?"));
    }

    #[test]
    fn wrong_words_are_usage_errors() {
        for words in
            ["in.gguf", "in.gguf out.gguf", "in.gguf Q4_0 many", "in.gguf out.gguf Q4_0 2 3", "in.gguf Q9"]
        {
            assert_eq!(read(words).unwrap_err().kind().exit_code(), 2, "{words}");
        }
    }
}
