//! Special tokens of the families: under the default policy the tokens that the chat template writes get chat's rows, whole,
//! whatever the weight, where base and CP have never seen them. CP's vocabulary has grown, so rows go by token.

mod support;

use ggraft::chat::templates::TEMPLATES;
use ggraft::merge::{CHAT_VECTOR, Graft, Vector};
use ggraft_formats::{Metadata, Model, Shape, Tensor};
use std::collections::BTreeSet;
use support::rng;

const WIDTH: usize = 16;
const TABLE: &str = "token_embd.weight";

/// What a family calls its GGUF, how it begins and ends turns, and how its template writes them.
struct Family {
    gguf: &'static str,
    tokens: &'static [&'static str],
    end: &'static str,
    template: String,
}

/// OpenAI's harmony, in a few words: a turn names its channel, and the last one ends otherwise.
const HARMONY: &str = "{% for m in messages %}{% if m['role'] == 'assistant' %}<|start|>assistant<|channel|>final<|message|>\
{{ m['content'] }}{% if loop.last %}<|return|>{% else %}<|end|>{% endif %}{% else %}<|start|>{{ m['role'] }}<|message|>\
{{ m['content'] }}<|end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}";

/// The later templates of Mistral, whose brackets are tokens.
const INST: &str = "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }}[/INST]\
{% elif m['role'] == 'assistant' %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}";

fn families() -> Vec<Family> {
    let named = |name: &str| TEMPLATES.iter().find(|t| t.name == name).unwrap().text.to_string();
    vec![
        Family {
            gguf: "gemma3",
            tokens: &["<start_of_turn>", "<end_of_turn>"],
            end: "<end_of_turn>",
            template: named("gemma"),
        },
        Family {
            gguf: "qwen3",
            tokens: &["<|im_start|>", "<|im_end|>"],
            end: "<|im_end|>",
            template: named("chatml"),
        },
        Family { gguf: "llama", tokens: &["[INST]", "[/INST]"], end: "</s>", template: INST.into() },
        Family {
            gguf: "gpt-oss",
            tokens: &["<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|return|>"],
            end: "<|return|>",
            template: HARMONY.into(),
        },
    ]
}

/// A model of one table: three special tokens, the family's, and words; a seed of its own for what it has trained.
fn model(family: &Family, seed: u64, trained: bool, words: usize, template: bool) -> Model {
    let special = ["<unk>", "<s>", "</s>"].into_iter().chain(family.tokens.iter().copied());
    let mut tokens: Vec<String> = special.map(String::from).collect();
    let specials = tokens.len();
    tokens.extend((0..words).map(|i| format!("word{i}")));
    let mut values = Vec::new();
    for (id, token) in tokens.iter().enumerate() {
        let (old, new) = (rng::named(1, token), rng::named(seed, token));
        let size = if !trained && (3..specials).contains(&id) { 1e-3 } else { 1.0 };
        let moved = if size == 1.0 { 0.3 } else { 0.0 };
        values.extend((0..WIDTH as u64).map(|i| size * rng::normal(old, i) + moved * rng::normal(new, i)));
    }
    let mut m = Metadata::new();
    m.set("general.architecture", family.gguf);
    m.set("tokenizer.ggml.model", "llama");
    m.set("tokenizer.ggml.tokens", tokens.clone());
    m.set("tokenizer.ggml.scores", vec![0f32; tokens.len()]);
    let kinds: Vec<i32> = (0..tokens.len()).map(|id| if id < specials { 3 } else { 1 }).collect();
    m.set("tokenizer.ggml.token_type", kinds);
    m.set("tokenizer.ggml.bos_token_id", 1u32);
    let end = if template { family.end } else { "</s>" };
    m.set("tokenizer.ggml.eos_token_id", tokens.iter().position(|t| t == end).unwrap() as u32);
    if template {
        m.set("tokenizer.chat_template", family.template.as_str());
    }
    let shape = Shape::new(&[WIDTH as u64, tokens.len() as u64]).unwrap();
    let tensors = vec![Tensor::in_memory(TABLE, shape, &values).unwrap()];
    Model { metadata: m, tensors, ..Model::default() }
}

fn rows(model: &Model) -> Vec<Vec<u32>> {
    let table = model.tensors.iter().find(|t| t.name == TABLE).unwrap();
    let mut values = vec![0.0; table.shape().elements() as usize];
    table.decode_rows(0..table.shape().rows() as usize, &mut values).unwrap();
    values.chunks(WIDTH).map(|row| row.iter().map(|x| x.to_bits()).collect()).collect()
}

#[test]
fn the_tokens_of_the_template_get_chats_rows_in_every_family() {
    for family in families() {
        let base = model(&family, 2, false, 300, false);
        let chat = model(&family, 3, true, 300, true);
        let cp = model(&family, 4, false, 340, false);
        let before = rows(&cp);
        let theirs = rows(&chat);
        let graft = Graft::new(cp, &[Vector { chat, base }], CHAT_VECTOR).unwrap();
        let merged = graft.model(&[0.5]).unwrap();
        let after = rows(&merged);
        let (summary, _) = graft.tokens(&[0.5]);
        let marked: BTreeSet<usize> = (3..3 + family.tokens.len()).collect();
        let copied: BTreeSet<usize> = summary.vectors[0].copied.iter().map(|c| c.id).collect();
        assert_eq!(copied, marked, "{}", family.gguf);
        for id in 0..after.len() {
            // What ends a turn in Mistral is a token that all have trained, and gets the vector.
            let moves = id == 2 && family.end == "</s>";
            match marked.contains(&id) {
                true => assert_eq!(after[id], theirs[id], "{}: row {id}", family.gguf),
                false => assert_eq!(after[id] == before[id], !moves, "{}: row {id}", family.gguf),
            }
        }
        let eos = merged.metadata.u64("tokenizer.ggml.eos_token_id").unwrap() as usize;
        let end = merged.metadata.get("tokenizer.ggml.tokens").and_then(|v| v.as_array());
        assert!(end.is_some_and(|all| all.len() == after.len()));
        assert!(family.tokens.contains(&family.end) == marked.contains(&eos), "{}", family.gguf);
    }
}
