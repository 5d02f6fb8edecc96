//! The tensors of the models in `fixtures/snapshots`, written out from their architectures: the snapshots name only
//! those whose dtype is not the default. Shapes are from the models' published configurations.

use crate::schema::Schema;
use ggraft::ftype::{Facts, TensorFact};
use ggraft_formats::{DType, Shape};

/// A real model: its recording and its tensors.
pub struct Model {
    pub file: &'static str,
    architecture: &'static str,
    tensors: Vec<(String, Shape)>,
}

impl Model {
    /// The facts; the hyperparameters are the recording's.
    pub fn facts<'a>(&'a self, schema: &Schema) -> Facts<'a> {
        let fact = |(name, shape): &'a (String, Shape)| TensorFact { name, shape: *shape, dtype: DType::F32 };
        Facts {
            tensors: self.tensors.iter().map(fact).collect(),
            architecture: self.architecture,
            n_layer: schema.number("n_layer"),
            n_head: schema.number("n_head"),
            n_head_kv: schema.number("n_head_kv"),
            n_expert: schema.number("n_expert"),
            is_trained: false,
            pinned: Vec::new(),
        }
    }

    /// A model with its embedding and last norm.
    fn new(file: &'static str, architecture: &'static str, n_embd: u64, n_vocab: u64) -> Model {
        let mut model = Model { file, architecture, tensors: Vec::new() };
        model.add("token_embd.weight", &[n_embd, n_vocab]);
        model.add("output_norm.weight", &[n_embd]);
        model
    }

    fn with_output(mut self, n_embd: u64, n_vocab: u64) -> Model {
        self.add("output.weight", &[n_embd, n_vocab]);
        self
    }

    fn add(&mut self, name: &str, ne: &[u64]) {
        self.tensors.push((name.to_string(), Shape::new(ne).unwrap()));
    }

    /// Adds tensors to a layer.
    fn layer(&mut self, i: u64, tensors: &[(&str, &[u64])]) {
        for (name, ne) in tensors {
            self.add(&format!("blk.{i}.{name}"), ne);
        }
    }

    /// Norms, attention with these widths, and a dense feed-forward part.
    fn dense(mut self, n_layer: u64, n_embd: u64, n_q: u64, n_kv: u64, n_ff: u64, norms: &[&str]) -> Model {
        for i in 0..n_layer {
            for norm in norms {
                self.layer(i, &[(norm, &[n_embd])]);
            }
            self.attention(i, n_embd, n_q, n_q, n_kv);
            self.feed_forward(i, "", n_embd, n_ff, &[]);
        }
        self
    }

    /// `n_q` is the width of the projected queries, `n_out` of what `attn_output` gets.
    fn attention(&mut self, i: u64, n_embd: u64, n_q: u64, n_out: u64, n_kv: u64) {
        self.layer(
            i,
            &[
                ("attn_q.weight", &[n_embd, n_q]),
                ("attn_k.weight", &[n_embd, n_kv]),
                ("attn_v.weight", &[n_embd, n_kv]),
                ("attn_output.weight", &[n_out, n_embd]),
            ],
        );
    }

    /// Gate, up and down; `experts` is empty or holds their number.
    fn feed_forward(&mut self, i: u64, kind: &str, n_embd: u64, n_ff: u64, experts: &[u64]) {
        for (name, ne) in [("gate", [n_embd, n_ff]), ("up", [n_embd, n_ff]), ("down", [n_ff, n_embd])] {
            self.add(&format!("blk.{i}.ffn_{name}{kind}.weight"), &[&ne, experts].concat());
        }
    }
}

const NORMS: [&str; 2] = ["attn_norm.weight", "ffn_norm.weight"];
const QWEN3_NORMS: [&str; 4] =
    ["attn_norm.weight", "ffn_norm.weight", "attn_q_norm.weight", "attn_k_norm.weight"];
const GEMMA3_NORMS: [&str; 6] = [
    "attn_norm.weight",
    "ffn_norm.weight",
    "attn_q_norm.weight",
    "attn_k_norm.weight",
    "post_attention_norm.weight",
    "post_ffw_norm.weight",
];

/// Llama-3.1-8B, whose sizes llama.cpp publishes; the recording of its larger sibling has the other hyperparameters.
pub fn llama_8b() -> Model {
    let mut llama =
        Model::new("meta-llama-3.1-70b-instruct", "llama", 4096, 128256).with_output(4096, 128256);
    llama.add("rope_freqs.weight", &[64]);
    llama.dense(32, 4096, 4096, 1024, 14336, &NORMS)
}

/// Every model of which there is a snapshot.
pub fn all() -> Vec<Model> {
    let mut llama =
        Model::new("meta-llama-3.1-70b-instruct", "llama", 8192, 128256).with_output(8192, 128256);
    llama.add("rope_freqs.weight", &[64]);
    vec![
        llama.dense(80, 8192, 8192, 1024, 28672, &NORMS),
        Model::new("qwen3-0.6b", "qwen3", 1024, 151936).with_output(1024, 151936).dense(
            28,
            1024,
            2048,
            1024,
            3072,
            &QWEN3_NORMS,
        ),
        Model::new("qwen3-14b", "qwen3", 5120, 151936).with_output(5120, 151936).dense(
            40,
            5120,
            5120,
            1024,
            17408,
            &QWEN3_NORMS,
        ),
        Model::new("gemma-3-4b-it", "gemma3", 2560, 262144).dense(34, 2560, 2048, 1024, 10240, &GEMMA3_NORMS),
        deepseek(),
        gpt_oss(),
        qwen_linear("qwen3-coder-next", "qwen3next", 2048, 151936, 48, 512),
        qwen_linear("qwen3.5-397b-a17b", "qwen35moe", 4096, 248320, 60, 1024),
    ]
}

/// DeepSeek-V3.1: compressed attention, three dense layers, then 256 experts and a shared one.
fn deepseek() -> Model {
    let mut model = Model::new("deepseek-v3.1", "deepseek2", 7168, 129280).with_output(7168, 129280);
    for i in 0..61 {
        model.layer(
            i,
            &[
                ("attn_norm.weight", &[7168]),
                ("ffn_norm.weight", &[7168]),
                ("attn_q_a.weight", &[7168, 1536]),
                ("attn_q_a_norm.weight", &[1536]),
                ("attn_q_b.weight", &[1536, 24576]),
                ("attn_kv_a_mqa.weight", &[7168, 576]),
                ("attn_kv_a_norm.weight", &[512]),
                ("attn_k_b.weight", &[128, 512, 128]),
                ("attn_v_b.weight", &[512, 128, 128]),
                ("attn_output.weight", &[16384, 7168]),
            ],
        );
        if i < 3 {
            model.feed_forward(i, "", 7168, 18432, &[]);
        } else {
            model.layer(i, &[("ffn_gate_inp.weight", &[7168, 256]), ("exp_probs_b.bias", &[256])]);
            model.feed_forward(i, "_exps", 7168, 2048, &[256]);
            model.feed_forward(i, "_shexp", 7168, 2048, &[]);
        }
    }
    model
}

/// gpt-oss-120b: biases everywhere, sinks, 128 experts; 2880 columns fill no block of 256.
fn gpt_oss() -> Model {
    let mut model = Model::new("gpt-oss-120b", "gpt-oss", 2880, 201088).with_output(2880, 201088);
    for i in 0..36 {
        model.attention(i, 2880, 4096, 4096, 512);
        model.feed_forward(i, "_exps", 2880, 2880, &[128]);
        model.layer(
            i,
            &[
                ("attn_norm.weight", &[2880]),
                ("post_attention_norm.weight", &[2880]),
                ("attn_q.bias", &[4096]),
                ("attn_k.bias", &[512]),
                ("attn_v.bias", &[512]),
                ("attn_output.bias", &[2880]),
                ("attn_sinks.weight", &[64]),
                ("ffn_gate_inp.weight", &[2880, 128]),
                ("ffn_gate_inp.bias", &[128]),
                ("ffn_gate_exps.bias", &[2880, 128]),
                ("ffn_up_exps.bias", &[2880, 128]),
                ("ffn_down_exps.bias", &[2880, 128]),
            ],
        );
    }
    model
}

/// Qwen3-Next and Qwen3.5: linear attention but for every fourth layer, 512 experts and a shared one.
fn qwen_linear(
    file: &'static str,
    arch: &'static str,
    n_embd: u64,
    n_vocab: u64,
    n_layer: u64,
    n_ff: u64,
) -> Model {
    let mut model = Model::new(file, arch, n_embd, n_vocab).with_output(n_embd, n_vocab);
    // Widths of the full attention's output, and of the linear attention's keys and values.
    let (n_out, n_v) = (2 * n_embd, 2 * n_embd);
    let n_qkv = n_v + 4096;
    for i in 0..n_layer {
        model.layer(i, &[("attn_norm.weight", &[n_embd]), ("post_attention_norm.weight", &[n_embd])]);
        if i % 4 == 3 {
            model.attention(i, n_embd, 2 * n_out, n_out, 512);
            model.layer(i, &[("attn_q_norm.weight", &[256]), ("attn_k_norm.weight", &[256])]);
        } else {
            model.layer(
                i,
                &[
                    ("attn_qkv.weight", &[n_embd, n_qkv]),
                    ("attn_gate.weight", &[n_embd, n_v]),
                    ("ssm_conv1d.weight", &[4, n_qkv]),
                    ("ssm_dt.bias", &[n_v / 128]),
                    ("ssm_a", &[n_v / 128]),
                    ("ssm_norm.weight", &[128]),
                    ("ssm_out.weight", &[n_v, n_embd]),
                ],
            );
            let gates: &[&str] = if arch == "qwen3next" { &["ssm_ba"] } else { &["ssm_alpha", "ssm_beta"] };
            for gate in gates {
                model.add(&format!("blk.{i}.{gate}.weight"), &[n_embd, 64]);
            }
        }
        model.layer(i, &[("ffn_gate_inp.weight", &[n_embd, 512]), ("ffn_gate_inp_shexp.weight", &[n_embd])]);
        model.feed_forward(i, "_exps", n_embd, n_ff, &[512]);
        model.feed_forward(i, "_shexp", n_embd, n_ff, &[]);
    }
    model
}
