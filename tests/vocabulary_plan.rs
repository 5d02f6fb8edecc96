//! Vocabularies that differ: trios of the shapes that people merge, each row checked bit for bit against an f64 oracle
//! that knows rows by their tokens' texts; and the wrong cases, each with its error or warning. Widths are scaled down,
//! the numbers of rows are the real ones.

mod support;

use ggraft::merge::tokens::matching::{Baseless, Class, Embeddings};
use ggraft::merge::{CHAT_VECTOR, Graft, Options, TemplateChoice, Vector, VocabularyChoices};
use ggraft_formats::{DType, Metadata, Model, Result, Shape, Tensor};
use std::collections::{HashMap, HashSet};
use support::rng;

/// The chat vector with these choices.
fn how(choices: &VocabularyChoices) -> Options {
    Options { vocabulary: choices.clone(), ..CHAT_VECTOR.into() }
}

const WIDTH: usize = 8;
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const UNUSED: i32 = 5;
const EMBEDDING: &str = "token_embd.weight";
const HEAD: &str = "output.weight";
const EOS: &str = "tokenizer.ggml.eos_token_id";

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
const LLAMA3: &str = "{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] + '<|eot_id|>' }}{% endfor %}";
const SOLAR: &str = "{% for m in messages %}### {{ m['role'] }}:\n{{ m['content'] }}{{ eos_token if m['role'] == 'assistant' }}\n\n{% endfor %}";

/// Which of the trio; every token has a row of its own in each.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Base,
    Chat,
    Cp,
}

/// A model as its tokens.
#[derive(Clone)]
struct Spec {
    role: Role,
    tokens: Vec<(String, i32)>,
    /// Rows beyond the tokens.
    padding: usize,
    tied: bool,
    /// Tokens whose rows are zero.
    untrained: HashSet<String>,
    dtype: DType,
    template: Option<&'static str>,
    eos: &'static str,
}

impl Spec {
    fn new(role: Role, tokens: Vec<(String, i32)>) -> Spec {
        Spec {
            role,
            tokens,
            padding: 0,
            tied: false,
            untrained: HashSet::new(),
            dtype: DType::BF16,
            template: None,
            eos: "</s>",
        }
    }

    /// The row of a token: what base has, and the changes of training.
    fn row(&self, table: &str, token: &str) -> Vec<f32> {
        if self.untrained.contains(token) {
            return vec![0.0; WIDTH];
        }
        let (seed, size) = match self.role {
            Role::Base => (1, 0.0),
            Role::Chat => (2, 0.05),
            Role::Cp => (3, 0.2),
        };
        let name = format!("{table}/{token}");
        let (old, new) = (rng::named(0, &name), rng::named(seed, &name));
        (0..WIDTH as u64).map(|i| rng::normal(old, i) + size * rng::normal(new, i)).collect()
    }

    /// Token texts of all rows; padding has texts of its own.
    fn texts(&self) -> Vec<String> {
        let n = self.tokens.len();
        let padding = (0..self.padding).map(|i| format!("[padding {}]", n + i));
        self.tokens.iter().map(|(text, _)| text.clone()).chain(padding).collect()
    }

    fn table(&self, name: &str) -> Tensor {
        let texts = self.texts();
        let values: Vec<f32> = texts.iter().flat_map(|t| self.row(name, t)).collect();
        let shape = Shape::new(&[WIDTH as u64, texts.len() as u64]).unwrap();
        Tensor::in_memory(name, shape, &values).unwrap().encode(self.dtype, None).unwrap()
    }

    fn model(&self) -> Model {
        let mut m = Metadata::new();
        m.set("general.architecture", "llama");
        m.set("llama.vocab_size", self.tokens.len() as u32);
        m.set("tokenizer.ggml.model", "llama");
        m.set("tokenizer.ggml.tokens", self.tokens.iter().map(|(t, _)| t.clone()).collect::<Vec<_>>());
        m.set("tokenizer.ggml.scores", vec![0f32; self.tokens.len()]);
        m.set("tokenizer.ggml.token_type", self.tokens.iter().map(|(_, t)| *t).collect::<Vec<_>>());
        if let Some(id) = self.tokens.iter().position(|(t, _)| t == self.eos) {
            m.set(EOS, id as u32);
        }
        if let Some(template) = self.template {
            m.set("tokenizer.chat_template", template);
        }
        let mut tensors = vec![self.table(EMBEDDING)];
        if !self.tied {
            tensors.push(self.table(HEAD));
        }
        Model { metadata: m, tensors, ..Model::default() }
    }
}

struct Trio {
    base: Spec,
    chat: Spec,
    cp: Spec,
    choices: VocabularyChoices,
}

/// What the oracle expects of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expect {
    Cp,
    Sum,
    Lerp,
    Chat,
}

impl Trio {
    /// Base and chat have `shared` ordinary tokens behind `<unk> <s> </s>`, CP `more` of its own behind them.
    fn grown(shared: usize, more: usize) -> Trio {
        let tokens = vocabulary(shared);
        let new = (0..more).map(|i| (format!("new{i}"), NORMAL));
        let cp = tokens.iter().cloned().chain(new).collect();
        let mut chat = Spec::new(Role::Chat, tokens.clone());
        chat.template = Some(SOLAR);
        Trio {
            base: Spec::new(Role::Base, tokens),
            chat,
            cp: Spec::new(Role::Cp, cp),
            choices: VocabularyChoices::default(),
        }
    }

    fn rows(mut self, embeddings: Embeddings) -> Trio {
        self.choices.embeddings = embeddings;
        self
    }

    fn graft(&self) -> Result<Graft> {
        let vector = Vector { chat: self.chat.model(), base: self.base.model() };
        Graft::new(self.cp.model(), &[vector], how(&self.choices))
    }

    fn error(&self) -> String {
        self.graft().err().expect("a refusal").to_string()
    }

    /// Merges with some weights and holds every row against what is expected of its token.
    #[track_caller]
    fn meets(&self, expect: impl Fn(&str) -> Expect) -> Graft {
        let graft = self.graft().unwrap();
        for name in
            graft.onto().tensors.iter().map(|t| &t.name).filter(|n| [EMBEDDING, HEAD].contains(&n.as_str()))
        {
            let rows = [&self.cp, &self.chat, &self.base].map(|spec| Rows::of(spec, name));
            for w in [1.0, 0.5] {
                let merged = graft.model(&[w]).unwrap();
                let table = merged.tensors.iter().find(|t| t.name == *name).unwrap();
                self.table_meets(table, &rows, w, &expect);
            }
        }
        graft
    }

    #[track_caller]
    fn table_meets(&self, table: &Tensor, models: &[Rows; 3], w: f64, expect: &impl Fn(&str) -> Expect) {
        let [cp, chat, base] = models;
        let mut texts = self.cp.texts();
        let rows = table.shape().rows() as usize;
        texts.extend(self.chat.texts().into_iter().filter(|t| !cp.has(t)).take(rows - texts.len()));
        let mut found = vec![0f32; rows * WIDTH];
        table.decode_rows(0..rows, &mut found).unwrap();
        for (row, text) in texts.iter().enumerate() {
            let expected: Vec<f32> = match expect(text) {
                Expect::Cp => cp.row(text).to_vec(),
                Expect::Chat => chat.row(text).to_vec(),
                Expect::Sum => sum(cp.row(text), chat.row(text), base.row(text), w),
                Expect::Lerp => sum(cp.row(text), chat.row(text), cp.row(text), w),
            };
            let found = &found[row * WIDTH..(row + 1) * WIDTH];
            let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(found), bits(&expected), "{} row {row} '{text}' w {w}", table.name);
        }
    }
}

/// The rows of a model by text, decoded.
struct Rows {
    at: HashMap<String, usize>,
    values: Vec<f32>,
}

impl Rows {
    /// A tied model's head is its embedding.
    fn of(spec: &Spec, table: &str) -> Rows {
        let tensor = spec.table(if spec.tied { EMBEDDING } else { table });
        let rows = tensor.shape().rows() as usize;
        let mut values = vec![0.0; rows * WIDTH];
        tensor.decode_rows(0..rows, &mut values).unwrap();
        Rows { at: spec.texts().into_iter().enumerate().map(|(i, t)| (t, i)).collect(), values }
    }

    fn has(&self, text: &str) -> bool {
        self.at.contains_key(text)
    }

    fn row(&self, text: &str) -> &[f32] {
        let i = self.at[text];
        &self.values[i * WIDTH..(i + 1) * WIDTH]
    }
}

/// `CP + w * (chat - base)` in f64, rounded once.
fn sum(cp: &[f32], chat: &[f32], base: &[f32], w: f64) -> Vec<f32> {
    let one = |i: usize| match w * (f64::from(chat[i]) - f64::from(base[i])) {
        _ if w == 1.0 && cp[i] == base[i] => chat[i],
        0.0 => cp[i],
        delta => (f64::from(cp[i]) + delta) as f32,
    };
    (0..cp.len()).map(one).collect()
}

fn vocabulary(size: usize) -> Vec<(String, i32)> {
    let head = [("<unk>", 2), ("<s>", CONTROL), ("</s>", CONTROL)].map(|(t, kind)| (t.to_string(), kind));
    head.into_iter().chain((3..size).map(|i| (format!("t{i}"), NORMAL))).collect()
}

fn set(texts: &[&str]) -> HashSet<String> {
    texts.iter().map(|t| t.to_string()).collect()
}

fn control(text: &str) -> (String, i32) {
    (text.to_string(), CONTROL)
}

fn class(graft: &Graft, class: Class) -> usize {
    let counts = &graft.vocabulary.vectors[0].counts;
    counts.iter().find(|(c, _)| *c == class).map_or(0, |(_, count)| count.rows)
}

#[test]
fn eeve_appends_and_ends_turns_with_its_first_new_token() {
    let mut trio = Trio::grown(32000, 8960);
    trio.cp.tokens[32000] = control("<|im_end|>");
    trio.cp.eos = "<|im_end|>";
    let new = |t: &str| t.starts_with("new") || t == "<|im_end|>";
    let shared = trio.rows(Embeddings::Shared);
    let graft = shared.meets(|t| if new(t) { Expect::Cp } else { Expect::Sum });
    assert_eq!((class(&graft, Class::Shared), class(&graft, Class::CpOnly)), (32000, 8960));
    // The chat model's template ends turns with `</s>`; CP's own with the first new token.
    assert_eq!(graft.onto().metadata.u64(EOS), Some(2));
    let mut trio = shared.rows(Embeddings::Auto);
    trio.cp.template = Some("{% for m in messages %}{{ m['content'] + '<|im_end|>' }}{% endfor %}");
    let graft = trio.meets(|_| Expect::Cp);
    assert_eq!(graft.onto().metadata.u64(EOS), Some(32000));
    assert!(graft.notes.iter().any(|n| n.starts_with("onto's chat template is kept")), "{:?}", graft.notes);
    trio.cp.template = None;
    trio.meets(|t| if t == "</s>" { Expect::Sum } else { Expect::Cp });
}

#[test]
fn breeze_chinese_llama_and_llama_2_ko_append() {
    for rows in [61872, 55296, 46336] {
        let graft = Trio::grown(32000, rows - 32000)
            .rows(Embeddings::Shared)
            .meets(|t| if t.starts_with("new") { Expect::Cp } else { Expect::Sum });
        assert_eq!(class(&graft, Class::CpOnly), rows - 32000);
    }
    Trio::grown(32000, 14336).rows(Embeddings::Keep).meets(|_| Expect::Cp);
}

/// Llama-3-Open-Ko: one vocabulary, whose headers and end of turn only the chat model has trained.
#[test]
fn llama_3_copies_the_rows_that_only_chat_has_trained() {
    const MARKERS: [&str; 3] = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"];
    let mut trio = Trio::grown(128256, 0);
    for (spec, template) in [(&mut trio.base, None), (&mut trio.chat, Some(LLAMA3)), (&mut trio.cp, None)] {
        let reserved = (0..253).map(|i| control(&format!("<|reserved_special_token_{i}|>")));
        let last: Vec<_> = MARKERS.map(control).into_iter().chain(reserved).collect();
        spec.tokens.splice(128000.., last);
        spec.template = template;
        spec.untrained = spec.tokens[128003..].iter().map(|(t, _)| t.clone()).collect();
        if spec.role != Role::Chat {
            spec.untrained.extend(set(&MARKERS));
        }
    }
    let graft = trio.meets(|t| if MARKERS.contains(&t) { Expect::Chat } else { Expect::Sum });
    assert_eq!(class(&graft, Class::Shared), 128256);
    let copied: Vec<&str> = graft.vocabulary.vectors[0].copied.iter().map(|c| c.token.as_str()).collect();
    assert_eq!(copied, MARKERS);
    assert_eq!(graft.onto().metadata.u64("tokenizer.ggml.eot_token_id"), Some(128002));
    trio.choices.no_auto_copy = true;
    let graft = trio.meets(|_| Expect::Sum);
    assert!(
        graft.notes.iter().any(|n| n.starts_with("warning: chat alone has trained")),
        "{:?}",
        graft.notes
    );
    trio.choices.copy_tokens = vec!["t100".into()];
    trio.meets(|t| if t == "t100" { Expect::Chat } else { Expect::Sum });
}

/// A chat model on Mistral that brings ChatML's tokens, which base and CP lack.
fn chatml_on_mistral() -> Trio {
    let mut trio = Trio::grown(32000, 0);
    trio.chat.tokens.extend([control("<|im_start|>"), control("<|im_end|>")]);
    trio.chat.template = Some(CHATML);
    trio.chat.eos = "<|im_end|>";
    trio
}

#[test]
fn chat_only_tokens_are_refused_or_appended() {
    let mut trio = chatml_on_mistral();
    assert_eq!(
        trio.error(),
        "the chat template (the chat model's) needs tokens that only the chat model has: their trained rows would \
         be lost: expected these tokens in onto's vocabulary, found in chat alone: '<|im_start|>' (id 32000) \
         '<|im_end|>' (id 32001); give --add-chat-tokens to append them to onto, or choose a template of onto's own \
         tokens with --chat-template"
    );
    trio.choices.add_chat_tokens = true;
    let expect = |t: &str| match t {
        "<|im_start|>" | "<|im_end|>" => Expect::Chat,
        _ => Expect::Cp,
    };
    let graft = trio.meets(expect);
    let m = &graft.onto().metadata;
    assert_eq!((m.u64("llama.vocab_size"), m.u64(EOS)), (Some(32002), Some(32001)));
    for key in ["tokens", "scores", "token_type"] {
        let array = m.get(&format!("tokenizer.ggml.{key}")).unwrap().as_array().unwrap();
        assert_eq!(array.len(), 32002, "{key}");
    }
    assert_eq!(class(&graft, Class::Added), 2);
    // Behind a CP that has grown, and with another dtype.
    let mut trio = chatml_on_mistral().rows(Embeddings::Shared);
    trio.cp = Spec { dtype: DType::F16, ..Trio::grown(32000, 100).cp };
    trio.choices.add_chat_tokens = true;
    let graft = trio.meets(|t| match t {
        "<|im_start|>" | "<|im_end|>" => Expect::Chat,
        t if t.starts_with("new") => Expect::Cp,
        _ => Expect::Sum,
    });
    assert_eq!(graft.onto().metadata.u64(EOS), Some(32101));
}

#[test]
fn rows_move_by_token() {
    let mut trio = Trio::grown(1000, 500).rows(Embeddings::Shared);
    trio.cp.tokens[3..].reverse();
    trio.chat.tokens[500..].rotate_left(7);
    let graft = trio.meets(|t| if t.starts_with("new") { Expect::Cp } else { Expect::Sum });
    assert_eq!((class(&graft, Class::Shared), class(&graft, Class::Moved)), (3, 997));
}

#[test]
fn a_tied_head_is_the_embedding() {
    for (chat, base) in [(true, true), (true, false), (false, true)] {
        let mut trio = Trio::grown(100, 20).rows(Embeddings::Shared);
        (trio.chat.tied, trio.base.tied) = (chat, base);
        trio.meets(|t| if t.starts_with("new") { Expect::Cp } else { Expect::Sum });
        let mut trio = Trio::grown(100, 0);
        (trio.chat.tied, trio.base.tied) = (chat, base);
        trio.meets(|_| Expect::Sum);
    }
    let mut trio = Trio::grown(100, 20).rows(Embeddings::Shared);
    (trio.chat.tied, trio.base.tied, trio.cp.tied) = (true, true, true);
    trio.meets(|t| if t.starts_with("new") { Expect::Cp } else { Expect::Sum });
}

#[test]
fn padding_is_preserved() {
    let mut trio = Trio::grown(100, 20).rows(Embeddings::Shared);
    (trio.base.padding, trio.chat.padding, trio.cp.padding) = (28, 4, 8);
    trio.cp.tokens.extend((120..124).map(|id| (format!("[PAD{id}]"), UNUSED)));
    trio.chat.tokens.extend((100..124).map(|id| (format!("[PAD{id}]"), UNUSED)));
    let kept = |t: &str| t.starts_with("new") || t.starts_with("[P") || t.starts_with("[p");
    let graft = trio.meets(|t| if kept(t) { Expect::Cp } else { Expect::Sum });
    assert_eq!(class(&graft, Class::Padding), 12);
    // Identical but for padding: every token gets the vector.
    let mut trio = Trio::grown(100, 0);
    (trio.chat.padding, trio.cp.padding) = (4, 8);
    trio.meets(|t| if kept(t) { Expect::Cp } else { Expect::Sum });
}

#[test]
fn tokens_that_base_lacks() {
    let mut trio = Trio::grown(100, 20).rows(Embeddings::Shared);
    trio.chat.tokens.extend([("new5".to_string(), NORMAL), control("<|im_end|>")]);
    trio.chat.template = Some("{% for m in messages %}{{ m['content'] + '<|im_end|>' }}{% endfor %}");
    trio.cp.tokens.push(control("<|im_end|>"));
    let both = |t: &str| t == "new5" || t == "<|im_end|>";
    for baseless in Baseless::ALL {
        trio.choices.baseless = baseless;
        let graft = trio.meets(|t| match baseless {
            _ if !both(t) => {
                if t.starts_with("new") {
                    Expect::Cp
                } else {
                    Expect::Sum
                }
            }
            Baseless::Keep => Expect::Cp,
            Baseless::Lerp => Expect::Lerp,
            Baseless::Copy => Expect::Chat,
            Baseless::Auto => {
                if t == "new5" {
                    Expect::Cp
                } else {
                    Expect::Chat
                }
            }
        });
        assert_eq!(class(&graft, Class::Baseless), 2);
    }
}

/// A wrong case: what is made of a sound trio, and what the user is told.
type Wrong = (&'static str, fn(&mut Trio), &'static str);

const REFUSED: &[Wrong] = &[
    (
        "all, but grown",
        |t| t.choices.embeddings = Embeddings::All,
        "--embeddings all adds rows by id, for identical vocabularies",
    ),
    (
        "the end of a turn is no token",
        |t| t.choices.template = given(LLAMA3),
        "ends a turn with a token that the output's vocabulary lacks",
    ),
    (
        "the end of a turn is an ordinary token",
        |t| {
            t.cp.tokens.push(("<|eot_id|>".into(), NORMAL));
            t.choices.template = given(LLAMA3);
        },
        "expected '<|eot_id|>' to be one special token",
    ),
    (
        "no template to take",
        |t| {
            t.chat.template = {
                t.choices.template = TemplateChoice::Chat;
                None
            }
        },
        "the chat model has no chat template",
    ),
    ("no template to keep", |t| t.choices.template = TemplateChoice::Cp, "onto has no chat template"),
    (
        "a token that onto lacks is to be copied",
        |t| t.choices.copy_tokens = vec!["nowhere".into()],
        "--copy-token 'nowhere' cannot be copied",
    ),
    (
        "a token that chat lacks is to be copied",
        |t| t.choices.copy_tokens = vec!["new3".into()],
        "found none of chat",
    ),
    (
        "the template needs tokens of chat alone",
        |t| {
            t.chat.tokens.push(control("<|im_end|>"));
            t.chat.template = Some(CHATML);
        },
        "needs tokens that only the chat model has",
    ),
    ("onto tied, the vector not", |t| t.cp.tied = true, "one row cannot get two vectors"),
    (
        "onto tied, chat's new tokens not",
        |t| {
            (t.cp.tied, t.choices.add_chat_tokens) = (true, true);
            t.chat.tokens.push(control("<|im_end|>"));
        },
        "cannot be appended: onto's head is its embedding",
    ),
];

const WARNED: &[Wrong] = &[
    ("no template at all", |t| t.chat.template = None, "neither onto nor the chat model has a chat template"),
    (
        "the template does not render",
        |t| t.chat.template = Some("{% include 'x' %}"),
        "the chat template cannot be rendered",
    ),
    (
        "the template never ends",
        |t| {
            t.chat.template =
                Some("{% for i in range(9999) %}{% for j in range(9999) %}{{ j }}{% endfor %}{% endfor %}")
        },
        "the chat template cannot be rendered",
    ),
    (
        "markers that are no tokens",
        |t| {
            t.choices.template =
                given("{% for m in messages %}<|turn|>{{ m['content'] + eos_token }}{% endfor %}")
        },
        "not single special tokens of the output's vocabulary: <|turn|>",
    ),
    (
        "tokens of chat are left out",
        |t| t.chat.tokens.push(control("<|tool|>")),
        "special tokens of chat that onto lacks are left out, their rows with them: '<|tool|>'",
    ),
    (
        "a token has another type",
        |t| t.chat.tokens[50].1 = CONTROL,
        "tokens have the text of onto's but another type, and count as others: t50",
    ),
    (
        "onto has another template",
        |t| t.cp.template = Some("{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}"),
        "which --chat-template chat takes",
    ),
    (
        "nothing ends a turn",
        |t| {
            t.chat.eos = "none";
            t.cp.eos = "none";
            t.chat.template = Some("{% for m in messages %}{{ m['content'] }}\n{% endfor %}")
        },
        "no token ends a turn",
    ),
    ("nothing to add", |t| t.choices.add_chat_tokens = true, "--add-chat-tokens adds nothing"),
];

fn given(text: &str) -> TemplateChoice {
    TemplateChoice::Given { name: String::from("mine"), text: text.to_string() }
}

#[test]
fn every_wrong_case_is_refused_or_told() {
    for (name, spoil, said) in REFUSED {
        let mut trio = Trio::grown(100, 20);
        spoil(&mut trio);
        let e = trio.graft().err().unwrap_or_else(|| panic!("{name}: merged"));
        assert!(e.to_string().contains(said), "{name}: {e}");
        assert!(matches!(e.kind().exit_code(), 2 | 3), "{name}");
    }
    for (name, spoil, said) in WARNED {
        let mut trio = Trio::grown(100, 20);
        spoil(&mut trio);
        let graft = trio.graft().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(graft.notes.iter().any(|n| n.contains(said)), "{name}: {:?}", graft.notes);
        let sound = Trio::grown(100, 20).graft().unwrap();
        assert!(!sound.notes.iter().any(|n| n.contains(said)), "{name} is told of a sound trio too");
    }
}

/// The two chat models must agree on a row that is copied.
#[test]
fn two_vectors() {
    let mut trio = Trio::grown(100, 20);
    trio.choices.copy_tokens = vec!["t5".into()];
    let vector = || Vector { chat: trio.chat.model(), base: trio.base.model() };
    let graft = |vectors: &[Vector]| Graft::new(trio.cp.model(), vectors, how(&trio.choices));
    graft(&[vector(), vector()]).unwrap();
    let other = Vector { chat: trio.cp.model(), base: trio.base.model() };
    let e = graft(&[vector(), other]).err().unwrap().to_string();
    assert!(e.contains("two chat models have different rows for the token 5 that is to be copied"), "{e}");
    let mut chat = trio.chat.clone();
    chat.template = Some("{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}");
    let other = Vector { chat: chat.model(), base: trio.base.model() };
    let e = graft(&[vector(), other]).err().unwrap().to_string();
    assert!(e.contains("the chat models have different chat templates"), "{e}");
}
