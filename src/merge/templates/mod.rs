//! Chat templates that can be named. Each writes a prompt format that a model family publishes, in our own words;
//! adding one is a file and its line.

/// A template and where its format is described.
pub struct BuiltIn {
    pub name: &'static str,
    pub text: &'static str,
    /// Who published the format.
    pub source: &'static str,
}

/// Every template that can be named.
pub const TEMPLATES: &[BuiltIn] = &[
    BuiltIn {
        name: "alpaca",
        text: include_str!("alpaca.jinja"),
        source: "Stanford Alpaca, tatsu-lab/stanford_alpaca, README",
    },
    BuiltIn {
        name: "chatml",
        text: include_str!("chatml.jinja"),
        source: "OpenAI's Chat Markup Language, openai-python v0.28, chatml.md",
    },
    BuiltIn {
        name: "gemma",
        text: include_str!("gemma.jinja"),
        source: "Gemma formatting and system instructions, ai.google.dev",
    },
    BuiltIn {
        name: "llama2",
        text: include_str!("llama2.jinja"),
        source: "Llama 2 model card and prompt formats, llama.com",
    },
    BuiltIn {
        name: "llama3",
        text: include_str!("llama3.jinja"),
        source: "Llama 3 model card and prompt formats, llama.com",
    },
    BuiltIn {
        name: "mistral",
        text: include_str!("mistral.jinja"),
        source: "Mistral-7B-Instruct-v0.1, model card",
    },
    BuiltIn {
        name: "solar",
        text: include_str!("solar.jinja"),
        source: "SOLAR-10.7B-Instruct-v1.0, model card",
    },
];
