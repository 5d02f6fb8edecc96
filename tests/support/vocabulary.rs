//! Real vocabularies: reads `fixtures/vocab/ggml-vocab-NAME.gguf.gz` for the tests that rebuild tokenizer files
//! from them. A deliberately small reader of its own, because what it reads is to judge the product's reader.
//! Specification: ggml `docs/gguf.md`.

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;

/// What sort of token it is, numbered as in SentencePiece and in `tokenizer.ggml.token_type`.
pub const NORMAL: i32 = 1;
pub const UNKNOWN: i32 = 2;
pub const CONTROL: i32 = 3;
pub const USER_DEFINED: i32 = 4;
pub const BYTE: i32 = 6;

/// The tokens of a model, in the order of their ids, and how they merge.
pub struct Vocabulary {
    pub name: String,
    pub tokens: Vec<String>,
    pub types: Vec<i32>,
    /// SentencePiece only.
    pub scores: Vec<f32>,
    /// Byte-level BPE only, as "left right".
    pub merges: Vec<String>,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub add_bos: Option<bool>,
}

impl Vocabulary {
    /// Reads one of llama-spm, phi-3 (SentencePiece), llama-bpe, qwen2, gpt-2, deepseek-llm (byte-level BPE).
    pub fn load(name: &str) -> Vocabulary {
        let path = fixture(&format!("vocab/ggml-vocab-{name}.gguf.gz"));
        let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).expect("gzip data");
        let mut kv = metadata(&mut Cursor(&bytes));
        let mut take = |key: &str| kv.remove(&format!("tokenizer.ggml.{key}"));
        let id = |field: Option<Field>| field.map(|f| f.numbers()[0] as u32);
        Vocabulary {
            name: name.to_string(),
            tokens: take("tokens").map(Field::texts).expect("tokens"),
            types: take("token_type").expect("types").numbers().iter().map(|x| *x as i32).collect(),
            scores: take("scores").map_or(Vec::new(), |f| f.numbers().iter().map(|x| *x as f32).collect()),
            merges: take("merges").map_or(Vec::new(), Field::texts),
            bos: id(take("bos_token_id")),
            eos: id(take("eos_token_id")),
            add_bos: take("add_bos_token").map(|f| f.numbers()[0] != 0.0),
        }
    }

    /// Only the first tokens, for models that are to be small: of SentencePiece the bytes come first.
    pub fn first(mut self, count: usize) -> Vocabulary {
        self.tokens.truncate(count);
        self.types.truncate(count);
        self.scores.truncate(count);
        self
    }

    /// With `more` tokens appended, as a model for another language has them: an end of turn, then words of two
    /// Korean syllables.
    pub fn grown(mut self, more: usize) -> Vocabulary {
        let syllable = |i: usize| char::from_u32(0xac00 + i as u32).expect("a syllable");
        self.eos = u32::try_from(self.tokens.len()).ok();
        let words = (1..more).map(|i| (format!("{}{}", syllable(i), syllable(0)), NORMAL));
        for (token, kind) in [("<|im_end|>".to_string(), CONTROL)].into_iter().chain(words) {
            self.scores.push(-(self.tokens.len() as f32));
            self.tokens.push(token);
            self.types.push(kind);
        }
        self
    }

    /// With `more` words of two Chinese characters appended, and nothing else.
    pub fn widened(mut self, more: usize) -> Vocabulary {
        const WORDS: usize = 0x5000;
        let character = |i: usize| char::from_u32(0x4e00 + i as u32).expect("a character");
        for i in 0..more {
            self.scores.push(-(self.tokens.len() as f32));
            self.tokens.push(format!("{}{}", character(i % WORDS), character(i / WORDS)));
            self.types.push(NORMAL);
        }
        self
    }

    /// With these control tokens appended.
    pub fn with(mut self, tokens: &[&str]) -> Vocabulary {
        for token in tokens {
            self.scores.push(-(self.tokens.len() as f32));
            self.tokens.push(token.to_string());
            self.types.push(CONTROL);
        }
        self
    }

    /// Whether its tokenizer is a SentencePiece model rather than byte-level BPE.
    pub fn is_sentencepiece(&self) -> bool {
        !self.scores.is_empty()
    }

    /// Whether the converter made this token up to fill a gap between tokenizer and `vocab_size`.
    pub fn is_padding(&self, id: usize) -> bool {
        self.tokens[id] == format!("[PAD{id}]")
    }
}

/// A file of `fixtures/`.
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// A value of the metadata, with every number widened to f64.
enum Field {
    Numbers(Vec<f64>),
    Texts(Vec<String>),
}

impl Field {
    fn numbers(&self) -> &[f64] {
        match self {
            Field::Numbers(numbers) => numbers,
            Field::Texts(_) => panic!("expected numbers, found texts"),
        }
    }

    fn texts(self) -> Vec<String> {
        match self {
            Field::Texts(texts) => texts,
            Field::Numbers(_) => panic!("expected texts, found numbers"),
        }
    }
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, tail) = self.0.split_first_chunk().expect("a whole file");
        self.0 = tail;
        *head
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn length(&mut self) -> usize {
        u64::from_le_bytes(self.take()) as usize
    }

    fn text(&mut self) -> String {
        let length = self.length();
        let (head, tail) = self.0.split_at(length);
        self.0 = tail;
        String::from_utf8(head.to_vec()).expect("UTF-8")
    }

    /// `n` values of GGUF type `kind`.
    fn values(&mut self, kind: u32, n: usize) -> Field {
        if kind == 8 {
            return Field::Texts((0..n).map(|_| self.text()).collect());
        }
        let number = |c: &mut Self| match kind {
            0 | 7 => f64::from(c.take::<1>()[0]),
            4 => f64::from(c.u32()),
            5 => f64::from(i32::from_le_bytes(c.take())),
            6 => f64::from(f32::from_le_bytes(c.take())),
            other => panic!("a vocabulary has no values of type {other}"),
        };
        Field::Numbers((0..n).map(|_| number(self)).collect())
    }
}

/// All metadata of a GGUF file of version 3.
fn metadata(file: &mut Cursor) -> HashMap<String, Field> {
    const ARRAY: u32 = 9;
    assert_eq!(&file.take(), b"GGUF");
    assert_eq!(file.u32(), 3, "the version");
    assert_eq!(file.length(), 0, "a vocabulary has no tensors");
    let count = file.length();
    let mut all = HashMap::new();
    for _ in 0..count {
        let key = file.text();
        let (kind, n) = match file.u32() {
            ARRAY => (file.u32(), file.length()),
            scalar => (scalar, 1),
        };
        all.insert(key, file.values(kind, n));
    }
    all
}
