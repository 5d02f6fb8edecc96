//! DeepSeek V4 as it is published: in blocks of 4 and of 8 bits, with a layer that predicts; and its draft. MiMo V2.5, in blocks
//! of 8 bits that ranks held, with experts of 8 or of 4 bits.

use super::super::packed;
use super::{Draft, Tiny, Value, Words, json, laid_over};

pub fn all() -> Vec<Tiny> {
    vec![
        Tiny {
            again: &[
                ("layers.3.", "mtp.0."),
                ("hc_head_", "mtp.0.hc_head_"),
                ("norm.", "mtp.0.norm."),
                ("norm.", "mtp.0.enorm."),
                ("norm.", "mtp.0.hnorm."),
            ],
            more: &[
                ("mtp.0.e_proj.weight", &[64, 64]),
                ("mtp.0.h_proj.weight", &[64, 64]),
                ("layers.0.ffn.gate.bias", &[4]),
                ("layers.3.ffn.gate.bias_vl", &[4]),
                ("image_newline", &[64]),
            ],
            ..tiny("DeepSeek-V4-Tiny", json!({"architectures": ["DeepseekV4ForCausalLM"]}))
        },
        tiny(
            "DeepSeek-V4-Plain-Rope",
            json!({"architectures": ["DeepseekV4ForCausalLM"], "rope_scaling": null, "num_hash_layers": 0,
            "compress_ratios": [128, 4, 0, 0], "num_nextn_predict_layers": 0, "n_shared_experts": 2}),
        ),
        kimi("Kimi-K3-Tiny", None, json!({"routed_expert_hidden_size": null, "q_lora_rank": null})),
        kimi(
            "Kimi-K3-MXFP4-Tiny",
            Some(packed::kimi),
            json!({"linear_attn_config": {"full_attn_layers": [1, 4],
            "kda_layers": [2, 3], "num_heads": 4, "head_dim": 16, "short_conv_kernel_size": 4}}),
        ),
        mimo("MiMo-V2.5-Tiny", packed::mimo, json!({})),
        mimo(
            "MiMo-V2.5-MXFP4-Tiny",
            packed::mimo_in_halves,
            json!({"store_dtype": "mxfp4", "mxfp4_block_size": 32}),
        ),
    ]
}

/// With scores that are products of two tensors; of the packed one the experts are in blocks of 4 bits.
fn kimi(name: &'static str, packs: Option<packed::Packs>, own: Value) -> Tiny {
    const START: &str = "language_model.model.";
    let text = json!({"model_type": "kimi_linear", "hidden_act": "situ", "hidden_size": 64, "intermediate_size": 96,
        "moe_intermediate_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4,
        "kv_lora_rank": 32, "q_lora_rank": 48, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16,
        "mla_use_nope": true, "head_dim": 16, "num_experts": 4, "num_experts_per_token": 2, "num_shared_experts": 1,
        "first_k_dense_replace": 1, "routed_scaling_factor": 2.446, "moe_renormalize": true,
        "moe_router_activation_func": "sigmoid", "num_expert_group": 1, "topk_group": 1, "rms_norm_eps": 1e-5,
        "routed_expert_hidden_size": 32, "activation_situ_beta": 4.0, "activation_situ_linear_beta": 25.0,
        "attn_res_block_size": 2, "rope_theta": 10000.0, "model_max_length": 2048, "tie_word_embeddings": false,
        "vocab_size": 50257, "eos_token_id": 50256, "linear_attn_config": {"full_attn_layers": [4],
        "kda_layers": [1, 2, 3], "num_heads": 4, "head_dim": 16, "short_conv_kernel_size": 4, "gate_lower_bound": -5.0}});
    let mut config = json!({"architectures": ["KimiK3ForConditionalGeneration"], "model_type": "kimi_k3",
        "torch_dtype": "bfloat16", "text_config": laid_over(text, &own)});
    if packs.is_some() {
        config["quantization_config"] = json!({"quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized",
            "ignore": ["lm_head"], "config_groups": {"group_0": {"targets": ["Linear"], "format": "mxfp4-pack-quantized",
            "weights": {"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32, "symmetric": true}}}});
    }
    let layers = (0..4).flat_map(|l| ["self_attention", "mlp"].map(|part| format!("layers.{l}.{part}_res")));
    let parts: Vec<String> = layers.chain([String::from("output_attn_res")]).collect();
    let text = |text: String| -> &'static str { text.leak() };
    let pairs = |end: &str| -> &'static [(&'static str, &'static str)] {
        let pair = |part: &String| (text(format!("{START}{part}.")), text(format!("{START}{part}_{end}.")));
        parts.iter().map(pair).chain([("lm_head.", "language_model.lm_head.")]).collect::<Vec<_>>().leak()
    };
    let again = pairs("proj");
    Tiny {
        words: Words::Whole("gpt-2"),
        files: &[("chat_template.jinja", "{{ messages[0].content }}")],
        draft: Draft { optional: true, prefix: 2, ..Draft::default() },
        respelled: pairs("norm"),
        again: &again[..parts.len()],
        packs,
        ..Tiny::new(name, config)
    }
}

fn mimo(name: &'static str, packs: packed::Packs, packing: Value) -> Tiny {
    let flash = super::all().into_iter().find(|tiny| tiny.name == "MiMo-V2-Flash-Tiny").unwrap();
    let packing = laid_over(
        json!({"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}),
        &packing,
    );
    // A rank's rows of a layer within a window are a whole block.
    let own = json!({"architectures": ["MiMoV2ForCausalLM"], "model_type": "mimo_v2", "swa_num_key_value_heads": 8,
        "quantization_config": packing});
    Tiny { name, config: laid_over(flash.config.clone(), &own), packs: Some(packs), ..flash }
}

pub fn draft() -> Tiny {
    Tiny {
        target: Some("DeepSeek-V4-Tiny"),
        respelled: &[
            ("layers.", "mtp."),
            ("norm.", "mtp.1.norm."),
            ("hc_head_", "mtp.1.hc_head_"),
            ("main_", "mtp.0.main_"),
            ("markov_", "mtp.1.markov_"),
            ("confidence_", "mtp.1.confidence_"),
        ],
        more: &[
            ("layers.0.ffn.gate.bias_vl", &[4]),
            ("confidence_head.proj.weight", &[1, 72]),
            ("markov_head.markov_w1.weight", &[50257, 8]),
            ("markov_head.markov_w2.weight", &[50257, 8]),
        ],
        ..tiny(
            "DeepSeek-V4-Tiny-DSpark",
            json!({"architectures": ["DeepseekV4DSparkModel"], "dspark_block_size": 4, "dspark_noise_token_id": 9,
            "dspark_target_layer_ids": [1, 2], "num_nextn_predict_layers": 2}),
        )
    }
}

fn tiny(name: &'static str, own: Value) -> Tiny {
    let sizes = json!({"model_type": "deepseek_v4", "hidden_act": "silu", "hidden_size": 64, "moe_intermediate_size": 32,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 32, "q_lora_rank": 32,
        "qk_rope_head_dim": 16, "num_experts_per_tok": 2, "n_routed_experts": 4, "n_shared_experts": 1,
        "hc_mult": 4, "num_hash_layers": 1, "sliding_window": 128, "o_groups": 2, "o_lora_rank": 32, "index_n_heads": 2,
        "index_head_dim": 64, "index_topk": 16, "num_nextn_predict_layers": 1, "vocab_size": 50257});
    let numbers = json!({"scoring_func": "sqrtsoftplus", "norm_topk_prob": true, "routed_scaling_factor": 1.5,
        "max_position_embeddings": 1024, "rope_theta": 10000, "compress_ratios": [0, 4, 128, 0, 0],
        "compress_rope_theta": 160000, "rope_scaling": {"type": "yarn", "factor": 16, "beta_fast": 32, "beta_slow": 1,
        "original_max_position_embeddings": 64}, "hc_sinkhorn_iters": 20, "hc_eps": 1e-6, "swiglu_limit": 10.0,
        "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
        "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
        "scale_fmt": "ue8m0", "weight_block_size": [128, 128]}});
    let config = laid_over(sizes, &numbers);
    Tiny {
        words: Words::Whole("gpt-2"),
        packs: Some(packed::deepseek4),
        single: &["_fn", "_base", "_scale", ".ape", "attn_sink", "gate.bias", "bias_vl"],
        ..Tiny::new(name, laid_over(config, &own))
    }
}
