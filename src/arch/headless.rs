//! Files without a head of architectures whose runtime asks for one, instead of taking the table of embeddings: it does not load
//! them. Called once, when an output is planned.
//! Specification: the `load_arch_tensors` of llama.cpp v0.5.0.

use ggraft_formats::{Model, Tensor};

const HEADED: &[&str] = &[
    "apertus",
    "arwkv7",
    "baichuan",
    "bailingmoe",
    "bailingmoe2",
    "codeshell",
    "dbrx",
    "dots1",
    "exaone-moe",
    "glm5-next",
    "gpt-oss",
    "gptneox",
    "hy_v4",
    "internlm2",
    "jais",
    "kimi-linear",
    "llada-moe",
    "maple",
    "mellum",
    "mimo2",
    "minimax-m2",
    "minimax-m3",
    "muse-glimmer",
    "nemotron",
    "olmo2",
    "olmoe",
    "orion",
    "phi2",
    "phimoe",
    "plamo",
    "plm",
    "qwen",
    "qwen2moe",
    "rwkv6",
    "rwkv6qwen2",
    "rwkv7",
    "stablelm",
    "talkie",
    "xverse",
];

/// What to say of `model`, if the runtime does not load it for its lack of a head.
pub fn told(model: &Model) -> Option<String> {
    told_of(model.architecture()?, &model.tensors)
}

fn told_of(arch: &str, tensors: &[Tensor]) -> Option<String> {
    let has = |name: &str| tensors.iter().any(|tensor| tensor.name == name);
    (HEADED.contains(&arch) && has("token_embd.weight") && !has("output.weight")).then(|| {
        format!(
            "warning: there is no output.weight (the model's head is its table of embeddings), and llama.cpp v0.5.0 asks for one in \
             {arch}: it does not load the file"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ggraft_formats::Shape;

    #[test]
    fn a_head_that_the_runtime_asks_for_and_does_not_find_is_told() {
        let tensors = |names: &[&str]| -> Vec<Tensor> {
            let shape = Shape::new(&[1, 1]).unwrap();
            names.iter().map(|name| Tensor::in_memory(name, shape, &[0.0]).unwrap()).collect()
        };
        let tied = tensors(&["token_embd.weight"]);
        assert!(told_of("olmoe", &tied).unwrap().contains("asks for one in olmoe"));
        assert_eq!(told_of("llama", &tied), None);
        assert_eq!(told_of("olmoe", &tensors(&["token_embd.weight", "output.weight"])), None);
        assert_eq!(told_of("olmoe", &[]), None);
    }
}
