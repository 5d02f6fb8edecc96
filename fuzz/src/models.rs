//! Small models: whatever is planned is carried out, or refused with a reason.

use super::containers::printable;
use super::scratch;
use ggraft::ftype::Ftype;
use ggraft::merge::{self, Graft, METHODS, Vector};
use ggraft::output::target::Target;
use ggraft::pipeline::{self, Resume, Work};
use ggraft_formats::{DType, Metadata, Model, Shape, Tensor};

/// The first byte chooses the type, the rest is a GGUF file.
pub fn quantize(data: &[u8]) {
    const TYPES: [&str; 8] = ["F32", "F16", "Q8_0", "Q4_K_M", "Q2_K", "IQ4_XS", "MXFP4_MOE", "Q5_1"];
    let Some((which, file)) = data.split_first() else { return };
    let ftype = Ftype::parse(TYPES[usize::from(*which) % TYPES.len()]).expect("a type");
    scratch::with(&[("x.gguf", file)], |dir| {
        let loaded = pipeline::open(&dir.join("x.gguf"), &Default::default());
        let target = Target { allow_requantize: true, ..Target::from(ftype) };
        let planned = loaded.and_then(|loaded| pipeline::convert(loaded, &target));
        let written = planned.and_then(|plan| {
            let output = dir.join("y.gguf");
            let total = plan.total;
            let work = Work { resume: Resume::Never, force: true, ..Work::default() };
            pipeline::write(&[(plan, output.clone())], &work, &())?;
            assert_eq!(std::fs::metadata(&output).expect("the output").len(), total);
            Ok(())
        });
        if let Err(e) = written {
            printable(&e.to_string());
        }
    });
}

/// Bytes that decide what is made; zeros when they end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, n: usize) -> usize {
        usize::from(self.next()) % n
    }

    fn float(&mut self) -> f32 {
        f32::from_le_bytes([self.next(), self.next(), self.next(), self.next()])
    }
}

/// Three models of a few tensors, a method and a weight.
pub fn merge(data: &[u8]) {
    let mut bytes = Bytes(data);
    let method = &METHODS[bytes.below(METHODS.len())];
    let weight = f64::from(bytes.next() as i8) / 16.0;
    let [onto, chat, base] = [(); 3].map(|()| model(&mut bytes));
    let graft = Graft::new(onto, &[Vector { chat, base }], merge::Options::from(method));
    let merged = graft.and_then(|graft| graft.model(&[weight]));
    let read = merged.and_then(|model| {
        model.tensors.iter().try_for_each(|t| {
            let rows = usize::try_from(t.shape().rows()).expect("few rows");
            let mut out = vec![0; rows * t.row_bytes()];
            t.read(0..rows, &mut out)
        })
    });
    if let Err(e) = read {
        printable(&e.to_string());
    }
}

fn model(bytes: &mut Bytes) -> Model {
    const DTYPES: [DType; 6] = [DType::F32, DType::BF16, DType::F16, DType::Q8_0, DType::Q4_0, DType::MXFP4];
    let tokens = 1 + bytes.below(4);
    let mut metadata = Metadata::new();
    metadata.set("general.architecture", if bytes.below(8) == 7 { "qwen2" } else { "llama" });
    metadata.set("llama.block_count", 1 + bytes.below(2) as u32);
    metadata.set("llama.rope.freq_base", [1e4f32, 1e6][bytes.below(2)]);
    if bytes.below(2) == 1 {
        metadata.set("tokenizer.ggml.model", "llama");
        let text = |b: u8| String::from_utf8_lossy(&[b'a' + b % 5]).into_owned();
        metadata.set("tokenizer.ggml.tokens", (0..tokens).map(|_| text(bytes.next())).collect::<Vec<_>>());
        metadata.set(
            "tokenizer.ggml.token_type",
            (0..tokens).map(|_| i32::from(bytes.next() % 8)).collect::<Vec<_>>(),
        );
    }
    let mut tensors = Vec::new();
    for (name, rows) in [("token_embd.weight", tokens), ("blk.0.attn_q.weight", 2), ("output_norm.weight", 1)]
    {
        // Now and then one is missing, or of another shape.
        let rows = match bytes.below(16) {
            15 => continue,
            14 => rows + 1,
            _ => rows,
        };
        let values: Vec<f32> =
            (0..32 * rows).map(|i| if i < 4 { bytes.float() } else { i as f32 / 64.0 }).collect();
        let shape = Shape::new(&[32, rows as u64]).expect("a small shape");
        let tensor = Tensor::in_memory(name, shape, &values).expect("a tensor");
        tensors.push(
            tensor.encode(DTYPES[bytes.below(DTYPES.len())], None).expect("an encoded tensor").checked(),
        );
    }
    Model { metadata, tensors, ..Model::default() }
}
