//! Numbers of the metadata that are none: infinite, or not a number. Every reader takes them in, and computes nonsense.

use ggraft_formats::{Array, Error, Metadata, Value};

/// The keys whose values hold such numbers. Scores of tokens may be infinite: a token that is never to be chosen.
pub fn not_finite(metadata: &Metadata) -> Vec<Error> {
    let wild = metadata.iter().filter(|(key, value)| is_wild(key, value));
    let told = |(key, _): (&str, &Value)| {
        Error::invalid(format!("{key} is no finite number")).hint(format!(
            "write the number that the model was trained with: ggraft meta set FILE {key}=NUMBER"
        ))
    };
    wild.map(told).collect()
}

/// Whether a number of this key is infinite, or none.
pub(super) fn is_wild(key: &str, value: &Value) -> bool {
    match value {
        _ if key.starts_with("tokenizer.") => false,
        Value::F32(x) => !x.is_finite(),
        Value::F64(x) => !x.is_finite(),
        Value::Array(Array::F32(all)) => all.iter().any(|x| !x.is_finite()),
        Value::Array(Array::F64(all)) => all.iter().any(|x| !x.is_finite()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_told_by_its_key() {
        let mut metadata = Metadata::new();
        metadata.set("llama.rope.freq_base", 10000f32);
        metadata.set("tokenizer.ggml.scores", vec![f32::NEG_INFINITY]);
        assert!(not_finite(&metadata).is_empty());
        metadata.set("llama.rope.freq_base", f32::NAN);
        metadata.set("llama.swiglu_clamp_exp", vec![1.0, f32::INFINITY]);
        let told: Vec<String> = not_finite(&metadata).iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2);
        assert!(told[1].starts_with("llama.swiglu_clamp_exp is no finite number"), "{told:?}");
    }
}
