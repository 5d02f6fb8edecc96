//! Files that tell of a window that no layer has: the runtime stops at them instead of attending to everything. Called once,
//! when an output is planned.
//! Specification: `create_memory` and the `load_arch_hparams` of llama.cpp v0.5.0.

use ggraft_formats::{Array, Metadata, Value};

/// What the graph of an architecture makes of a window.
enum Window {
    /// Of none where the file tells none, or zero.
    Told,
    /// It has one in any case; what slides differs in more than what it sees.
    Always,
    /// It has one in any case; what slides differs in nothing but what it sees.
    Alone,
}
use Window::{Alone, Always, Told};

/// The architectures whose layers attend within a window as the file says, and whether the first of a period slides where it
/// tells no layers.
const WINDOWED: &[(&str, Window, bool)] = &[
    ("afmoe", Told, true),
    ("cohere2", Always, true),
    ("cohere2moe", Always, false),
    ("exaone-moe", Always, true),
    ("gemma2", Alone, true),
    ("gemma3", Told, true),
    ("gemma3n", Always, true),
    ("gemma4", Always, true),
    ("gpt-oss", Alone, true),
    ("granite_swa", Alone, true),
    ("laguna", Told, false),
    ("maple", Always, true),
    ("mellum", Told, true),
    ("mimo2", Always, true),
    ("muse-glimmer", Always, true),
    ("olmo2", Told, true),
    ("plamo3", Told, true),
    ("smallthinker", Told, false),
    ("spark2_5", Always, true),
    ("step35", Always, true),
];

/// What to say of a GGUF of this metadata, if the runtime stops at it.
pub fn told(metadata: &Metadata) -> Option<String> {
    let arch = metadata.str("general.architecture")?;
    let (_, graph, first_slides) = WINDOWED.iter().find(|(name, ..)| *name == arch)?;
    let [window, pattern] =
        ["sliding_window", "sliding_window_pattern"].map(|k| format!("{arch}.attention.{k}"));
    let size = metadata.u64(&window).unwrap_or(0);
    let layers = metadata.u64(&format!("{arch}.block_count")).unwrap_or(0);
    let slides = match metadata.get(&pattern) {
        Some(Value::Array(Array::Bool(all))) => all.contains(&true),
        Some(Value::Array(all)) => (0..all.len()).any(|i| all.u64(i) != Some(0)),
        told => match (told.and_then(Value::as_u64), first_slides) {
            (Some(0), _) => true,
            (Some(1), _) => false,
            (_, true) => true,
            (_, false) => layers > 1,
        },
    };
    if slides || matches!(graph, Told) && size == 0 {
        return None;
    }
    let helps = match graph {
        Told => format!("without a window it runs: give --override-kv {window}=u32:0"),
        Alone if metadata.get(&format!("{arch}.rope.freq_base_swa")).is_none() => format!(
            "it runs if one layer has a window as long as the context: give --override-kv {window}=u32:CONTEXT --override-kv \
             {pattern}=[bool]:true,false,… with a value for each of the {layers} layers"
        ),
        Alone | Always => {
            String::from("no key helps, for a layer that slides is another in this architecture")
        }
    };
    Some(format!(
        "warning: {window} is {size}, but no layer attends within a window ({pattern}): llama.cpp v0.5.0 aborts when it runs \
         the file (GGML_ASSERT(hparams.is_swa_any())); {helps}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arch: &str, window: u32, pattern: Value, more: &[(&str, u32)]) -> Option<String> {
        let mut metadata = Metadata::new();
        metadata.set("general.architecture", arch);
        metadata.set(&format!("{arch}.block_count"), 2u32);
        metadata.set(&format!("{arch}.attention.sliding_window"), window);
        metadata.set(&format!("{arch}.attention.sliding_window_pattern"), pattern);
        more.iter().for_each(|(key, n)| metadata.set(&format!("{arch}.{key}"), *n));
        told(&metadata)
    }

    fn list(all: &[bool]) -> Value {
        Value::Array(Array::Bool(all.to_vec()))
    }

    #[test]
    fn a_window_that_no_layer_has_is_told_with_what_helps() {
        let said = of("mellum", 1024, list(&[false, false]), &[]).unwrap();
        assert!(said.contains("mellum.attention.sliding_window is 1024"), "{said}");
        assert!(said.contains("--override-kv mellum.attention.sliding_window=u32:0"), "{said}");
        assert!(of("gpt-oss", 128, list(&[false; 2]), &[]).unwrap().contains("=[bool]:true,false"));
        assert!(of("gemma4", 512, list(&[false; 2]), &[]).unwrap().contains("no key helps"));
        assert!(
            of("gemma2", 512, 1u32.into(), &[("rope.freq_base_swa", 1)]).unwrap().contains("no key helps")
        );
    }

    #[test]
    fn what_runs_says_nothing() {
        assert!(of("mellum", 0, list(&[false; 2]), &[]).is_none());
        assert!(of("mellum", 1024, list(&[false, true]), &[]).is_none());
        assert!(of("llama", 1024, list(&[false; 2]), &[]).is_none());
        assert!(of("gemma2", 4096, 2u32.into(), &[]).is_none());
        assert!(of("smallthinker", 4096, 4u32.into(), &[]).is_none());
    }
}
