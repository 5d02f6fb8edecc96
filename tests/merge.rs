//! The algebra of the merge against a readable f64 oracle, bit for bit.

#[allow(dead_code)]
#[path = "support/small.rs"]
mod small;

use ggraft::merge::{CHAT_VECTOR, Fate, Graft, Vector};
use ggraft_formats::gguf;
use ggraft_formats::write::{Layout, write};
use ggraft_formats::{DType, Model, Result, Rows, Shape, Tensor};
use small::{NAME, decode};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Weights with corners: signed zeros, denormals, large and small magnitudes.
fn weights(seed: u64) -> Vec<f32> {
    let mut next = small::numbers(seed);
    let corners = [0.0, -0.0, 1e-40, -1e-40, 1e-20, 3e20, -1.0, 1.0];
    (0..32 * 64)
        .map(|_| match next() % 5 {
            0 => corners[(next() % 8) as usize],
            _ => small::fraction(next()),
        })
        .collect()
}

fn model(values: &[f32], dtype: DType) -> Model {
    small::model(small::tensor(values, 64, dtype))
}

fn graft(cp: Model, chat: Model, base: Model) -> Result<Graft> {
    Graft::new(cp, &[Vector { chat, base }], CHAT_VECTOR)
}

/// All weights of the merge of three models of these values and dtypes.
fn merge(cp: (&[f32], DType), chat: (&[f32], DType), base: (&[f32], DType), w: f64) -> Vec<f32> {
    let graft = graft(model(cp.0, cp.1), model(chat.0, chat.1), model(base.0, base.1)).unwrap();
    assert_eq!(graft.verdicts()[0].fate, Fate::Merged);
    decode(&graft.model(&[w]).unwrap().tensors[0])
}

/// `out = CP + w * (chat - base)` as the README states it: in f64, rounded once; no change where the vector is
/// zero, and chat itself where CP is the base and w is 1.
fn oracle(cp: f32, chat: f32, base: f32, w: f64) -> f32 {
    let delta = w * (f64::from(chat) - f64::from(base));
    match (delta == 0.0, w == 1.0 && cp == base) {
        (_, true) => chat,
        (true, _) => cp,
        _ => (f64::from(cp) + delta) as f32,
    }
}

#[track_caller]
fn same_bits(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    let different = a.iter().zip(b).position(|(x, y)| x.to_bits() != y.to_bits());
    assert_eq!(different.map(|i| (i, a[i], b[i])), None);
}

const PLAIN: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

/// Values that the f16 range holds too.
fn tame(seed: u64) -> Vec<f32> {
    weights(seed).into_iter().map(|x| x.clamp(-6e4, 6e4)).collect()
}

#[test]
fn every_mix_of_dtypes_meets_the_oracle() {
    let (cp, chat, base) = (tame(1), tame(2), tame(3));
    for a in PLAIN {
        for b in PLAIN {
            for c in PLAIN {
                for w in [0.0, 0.3, 0.5, 1.0, 1.7, -1.0] {
                    let [x, y, z] =
                        [(&cp, a), (&chat, b), (&base, c)].map(|(v, d)| decode(&small::tensor(v, 64, d)));
                    let expected: Vec<f32> = (0..x.len()).map(|i| oracle(x[i], y[i], z[i], w)).collect();
                    same_bits(&merge((&cp, a), (&chat, b), (&base, c), w), &expected);
                }
            }
        }
    }
}

#[test]
fn quantized_inputs_are_decoded() {
    let (cp, chat, base) = (tame(1), tame(2), tame(3));
    let dtype = DType::Q8_0;
    let [x, y, z] = [&cp, &chat, &base].map(|v| decode(&small::tensor(v, 64, dtype)));
    let expected: Vec<f32> = (0..x.len()).map(|i| oracle(x[i], y[i], z[i], 0.5)).collect();
    same_bits(&merge((&cp, dtype), (&chat, dtype), (&base, dtype), 0.5), &expected);
}

#[test]
fn weight_zero_gives_cp() {
    let (cp, chat, base) = (weights(1), weights(2), weights(3));
    same_bits(&merge((&cp, DType::F32), (&chat, DType::F32), (&base, DType::F32), 0.0), &cp);
}

#[test]
fn chat_equal_to_base_gives_cp() {
    let (cp, chat) = (weights(1), weights(2));
    same_bits(&merge((&cp, DType::F32), (&chat, DType::F32), (&chat, DType::F32), 0.7), &cp);
}

#[test]
fn cp_equal_to_base_gives_chat() {
    let (cp, chat) = (weights(1), weights(2));
    same_bits(&merge((&cp, DType::F32), (&chat, DType::F32), (&cp, DType::F32), 1.0), &chat);
}

#[test]
fn an_overflow_is_an_error_with_its_place() {
    let mut chat = vec![0.0; 32 * 64];
    chat[64 + 5] = f32::MAX;
    let zero = vec![0.0; 32 * 64];
    let [cp, base] = [&chat, &zero].map(|v| model(v, DType::F32));
    let tensor = &graft(cp.clone(), cp, base).unwrap().model(&[1.0]).unwrap().tensors[0];
    let e = tensor.decode_rows(0..32, &mut vec![0.0; 2048]).unwrap_err();
    assert_eq!(
        e.to_string(),
        "tensor 'blk.0.attn_q.weight': the merged weight is not finite: found inf at row 1, column 5; \
         choose a smaller --weight"
    );
}

#[test]
fn models_that_do_not_belong_together() {
    let cp = model(&weights(1), DType::F32);
    let mut chat = model(&weights(2), DType::F32);
    let shape = Shape::new(&[32, 64]).unwrap();
    chat.tensors = vec![
        Tensor::in_memory(NAME, shape, &weights(2)).unwrap(),
        Tensor::in_memory("blk.0.attn_q.bias", Shape::new(&[4]).unwrap(), &[0.0; 4]).unwrap(),
    ];
    let e = graft(cp.clone(), chat, cp.clone()).err().unwrap();
    assert_eq!(e.kind().exit_code(), 3);
    assert_eq!(
        e.to_string(),
        "tensor 'blk.0.attn_q.weight': chat has another shape than onto: expected [64, 32], found [32, 64]; \
         the three models must be of one family: chat and onto are both made from base\n\
         tensor 'blk.0.attn_q.bias': chat has a tensor that onto lacks"
    );
    let mut base = cp.clone();
    base.metadata.set("general.architecture", "qwen2");
    let e = graft(cp.clone(), cp, base).err().unwrap();
    assert_eq!(e.to_string(), "base differs from onto in the architecture: expected llama, found qwen2");
}

/// Rows that count the bytes that are read of them.
struct Counted {
    source: Tensor,
    bytes: Arc<AtomicUsize>,
}

impl Rows for Counted {
    fn read(&self, rows: Range<usize>, out: &mut [u8]) -> Result<()> {
        self.bytes.fetch_add(out.len(), Ordering::Relaxed);
        self.source.read(rows, out)
    }
}

/// Three weights times two types, written in one pass: each input is read once, and once only.
#[test]
fn many_outputs_read_the_inputs_once() {
    const ROWS: u64 = 20_000;
    let read = Arc::new(AtomicUsize::new(0));
    let shape = Shape::new(&[64, ROWS]).unwrap();
    let counted = |seed: u64| {
        let values: Vec<f32> = weights(seed)
            .into_iter()
            .cycle()
            .take(shape.elements() as usize)
            .map(|x| x.clamp(-9.0, 9.0))
            .collect();
        let source = Tensor::in_memory(NAME, shape, &values).unwrap();
        let rows = Arc::new(Counted { source, bytes: Arc::clone(&read) });
        let tensors = vec![Tensor::new(NAME, shape, DType::F32, rows).unwrap()];
        Model { tensors, ..model(&weights(seed), DType::F32) }
    };
    let graft = graft(counted(1), counted(2), counted(3)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut outputs = Vec::new();
    for w in [0.5, 0.7, 1.0] {
        for dtype in [DType::Q8_0, DType::BF16] {
            let merged = graft.model(&[w]).unwrap();
            let tensors = vec![merged.tensors[0].clone().encode(dtype, None).unwrap()];
            outputs.push((Model { tensors, ..merged }, dir.path().join(format!("{w}-{dtype}.gguf"))));
        }
    }
    let files: Vec<Layout<'_>> =
        outputs.iter().map(|(model, path)| gguf::plan(model, path).unwrap()).collect();
    write(&files, &()).unwrap();
    assert_eq!(read.load(Ordering::Relaxed) as u64, 3 * ROWS * 64 * 4);
}
