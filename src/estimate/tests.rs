use super::*;
use ggraft_formats::{Metadata, Shape, Value};

fn tensor(name: &str, ne: &[u64], value: impl Fn(usize) -> f32) -> Tensor {
    let shape = Shape::new(ne).unwrap();
    let values: Vec<f32> = (0..shape.elements() as usize).map(value).collect();
    Tensor::in_memory(name, shape, &values).unwrap()
}

fn model(architecture: &str, tensors: Vec<Tensor>) -> Model {
    let mut metadata = Metadata::default();
    metadata.set("general.architecture", Value::from(architecture));
    for (key, n) in [("attention.head_count", 4u32), ("attention.head_count_kv", 2), ("embedding_length", 8)]
    {
        metadata.set(&format!("{architecture}.{key}"), Value::from(n));
    }
    Model { metadata, tensors, ..Model::default() }
}

fn wave(i: usize) -> f32 {
    ((i * i) as f32 * 0.37).sin()
}

fn close(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((f64::from(*a) / b - 1.0).abs() < 1e-5, "{found:?} {expected:?}");
    }
}

#[test]
fn what_reads_a_norm_counts_by_its_squared_gains() {
    let norm = || tensor("blk.0.attn_norm.weight", &[8], |i| i as f32 + 1.0);
    let found = of_weights(
        &model(
            "cohere2",
            vec![
                norm(),
                tensor("blk.0.attn_q.weight", &[8, 8], wave),
                tensor("blk.0.ffn_gate_exps.weight", &[8, 4, 2], wave),
                tensor("blk.0.ssm_out.weight", &[8, 8], wave),
                tensor("token_embd.weight", &[8, 9], wave),
                tensor("output_norm.weight", &[8], |_| 2.0),
            ],
        ),
        &(),
    )
    .unwrap();
    let squares: Vec<f64> = (1..9).map(|g| f64::from(g * g)).collect();
    close(&found["blk.0.attn_q.weight"], &squares);
    // Both experts read the same, here beside the attention.
    close(&found["blk.0.ffn_gate_exps.weight"], &squares.repeat(2));
    close(&found["token_embd.weight"], &[4.0; 8]);
    assert_eq!(found.len(), 3, "what is not known has no estimate");
}

#[test]
fn values_are_seen_as_often_as_they_are_asked() {
    let tensors = vec![
        tensor("blk.0.attn_norm.weight", &[8], |_| 1.0),
        tensor("blk.0.attn_v.weight", &[8, 4], |i| if i % 8 == 0 { (i / 8 + 1) as f32 } else { 0.0 }),
        tensor("blk.0.attn_output.weight", &[8, 8], wave),
    ];
    let found = of_weights(&model("llama", tensors), &()).unwrap();
    close(&found["blk.0.attn_output.weight"], &[1.0, 4.0, 1.0, 4.0, 9.0, 16.0, 9.0, 16.0]);
}

#[test]
fn values_that_are_kept_with_queries_and_keys_are_found() {
    let tensors = vec![
        tensor("blk.0.attn_norm.weight", &[8], |_| 1.0),
        tensor("blk.0.attn_qkv.weight", &[8, 16], |i| if i % 8 == 0 { (i / 8 + 1) as f32 } else { 0.0 }),
        tensor("blk.0.attn_output.weight", &[8, 8], wave),
    ];
    let found = of_weights(&model("phi3", tensors), &()).unwrap();
    let rows = [13.0, 14.0, 13.0, 14.0, 15.0, 16.0, 15.0, 16.0].map(|v: f64| v * v);
    close(&found["blk.0.attn_output.weight"], &rows);
}

/// The mean over many random inputs.
#[test]
fn what_the_activation_lets_through_is_what_random_inputs_give() {
    let gains: Vec<f32> = (0..8).map(|i| 0.5 + i as f32 / 8.0).collect();
    let (gate, up) = (|i: usize| wave(i + 3), |i: usize| 0.5 * wave(i + 3) + wave(i + 100));
    let tensors = vec![
        tensor("blk.0.ffn_norm.weight", &[8], |i| gains[i]),
        tensor("blk.0.ffn_gate.weight", &[8, 3], gate),
        tensor("blk.0.ffn_up.weight", &[8, 3], up),
        tensor("blk.0.ffn_down.weight", &[3, 8], wave),
    ];
    let found = of_weights(&model("llama", tensors), &()).unwrap();
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let (mut sums, tries) = ([0.0; 3], 200_000);
    for _ in 0..tries {
        let x: Vec<f64> = gains
            .iter()
            .map(|g| {
                let (a, b) = (1.0 - uniform(), uniform());
                f64::from(*g) * (-2.0 * a.ln()).sqrt() * (2.0 * std::f64::consts::PI * b).cos()
            })
            .collect();
        for (row, sum) in sums.iter_mut().enumerate() {
            let product = |w: &dyn Fn(usize) -> f32| -> f64 {
                x.iter().enumerate().map(|(i, x)| f64::from(w(row * 8 + i)) * x).sum()
            };
            let (g, u) = (product(&gate), product(&up));
            *sum += (g / (1.0 + (-g).exp()) * u).powi(2);
        }
    }
    for (sum, found) in sums.iter().zip(&*found["blk.0.ffn_down.weight"]) {
        let mean = sum / f64::from(tries);
        assert!((mean / f64::from(*found) - 1.0).abs() < 0.03, "{mean} {found}");
    }
}

#[test]
fn experts_have_estimates_of_their_own_and_the_norm_behind_is_not_the_one_before() {
    let tensors = vec![
        tensor("blk.0.ffn_norm.weight", &[8], |_| 1.0),
        tensor("blk.0.ffn_gate_exps.weight", &[8, 3, 2], |i| if i < 24 { 0.1 } else { 1.0 }),
        tensor("blk.0.ffn_up_exps.weight", &[8, 3, 2], wave),
        tensor("blk.0.ffn_down_exps.weight", &[3, 8, 2], wave),
        tensor("blk.1.post_attention_norm.weight", &[8], |_| 1.0),
        tensor("blk.1.post_ffw_norm.weight", &[8], |_| 1.0),
        tensor("blk.1.ffn_up.weight", &[8, 3], wave),
    ];
    let found = of_weights(&model("qwen3moe", tensors), &()).unwrap();
    let down = &found["blk.0.ffn_down_exps.weight"];
    assert_eq!(down.len(), 6);
    assert!(down[..3].iter().sum::<f32>() < down[3..].iter().sum::<f32>() / 10.0, "{down:?}");
    assert!(!found.contains_key("blk.1.ffn_up.weight"));
}

#[test]
fn the_norm_is_the_one_that_the_graph_of_the_architecture_reads() {
    let tensors = || {
        vec![
            tensor("blk.0.attn_norm.weight", &[8], |_| 1.0),
            tensor("blk.0.attn_norm_2.weight", &[8], |_| 2.0),
            tensor("blk.0.attn_qkv.weight", &[8, 16], wave),
            tensor("blk.0.ffn_up.weight", &[8, 3], wave),
            tensor("blk.0.ffn_down.weight", &[3, 8], wave),
        ]
    };
    let falcon = of_weights(&model("falcon", tensors()), &()).unwrap();
    close(&falcon["blk.0.attn_qkv.weight"], &[4.0; 8]);
    close(&falcon["blk.0.ffn_up.weight"], &[1.0; 8]);
    let other = of_weights(&model("llama", tensors()), &()).unwrap();
    close(&other["blk.0.attn_qkv.weight"], &[1.0; 8]);
    assert_eq!(
        other.len(),
        1,
        "a part that is not known to stand beside the attention reads nobody knows what"
    );
    let ours = vec![
        tensor("blk.0.ffn_norm.weight", &[8], |_| 1.0),
        tensor("blk.0.ffn_norm_exps.weight", &[8], |_| 3.0),
        tensor("blk.0.ffn_gate.weight", &[8, 3], wave),
        tensor("blk.0.ffn_gate_exps.weight", &[8, 3, 2], wave),
        tensor("blk.0.ffn_up.weight", &[8, 3], wave),
        tensor("blk.0.ffn_down.weight", &[3, 8], wave),
    ];
    let found = of_weights(&model("gpt-oss", ours), &()).unwrap();
    close(&found["blk.0.ffn_gate.weight"], &[1.0; 8]);
    close(&found["blk.0.ffn_gate_exps.weight"], &[9.0; 16]);
    assert!(!found.contains_key("blk.0.ffn_down.weight"), "its activation is none that is known here");
}
