//! Chat templates that can be named. Each writes a prompt format that a model family publishes, in our own words;
//! adding one is a file and its line.

/// A template and where its format is described.
pub struct BuiltIn {
    pub name: &'static str,
    pub text: &'static str,
    /// The same in the language of Ollama's templates (Go's text/template), without BOS, which Ollama adds; none where
    /// that language cannot say it.
    pub ollama: Option<&'static str>,
    /// Who published the format.
    pub source: &'static str,
}

/// Every template that can be named.
pub const TEMPLATES: &[BuiltIn] = &[
    BuiltIn {
        name: "alpaca",
        text: include_str!("alpaca.jinja"),
        ollama: Some(include_str!("alpaca.gotmpl")),
        source: "Stanford Alpaca, tatsu-lab/stanford_alpaca, README",
    },
    BuiltIn {
        name: "chatml",
        text: include_str!("chatml.jinja"),
        ollama: Some(include_str!("chatml.gotmpl")),
        source: "OpenAI's Chat Markup Language, openai-python v0.28, chatml.md",
    },
    BuiltIn {
        name: "gemma",
        text: include_str!("gemma.jinja"),
        ollama: Some(include_str!("gemma.gotmpl")),
        source: "Gemma formatting and system instructions, ai.google.dev",
    },
    BuiltIn {
        name: "llama2",
        text: include_str!("llama2.jinja"),
        ollama: None,
        source: "Llama 2 model card and prompt formats, llama.com",
    },
    BuiltIn {
        name: "llama3",
        text: include_str!("llama3.jinja"),
        ollama: Some(include_str!("llama3.gotmpl")),
        source: "Llama 3 model card and prompt formats, llama.com",
    },
    BuiltIn {
        name: "mistral",
        text: include_str!("mistral.jinja"),
        ollama: Some(include_str!("mistral.gotmpl")),
        source: "Mistral-7B-Instruct-v0.1, model card",
    },
    BuiltIn {
        name: "solar",
        text: include_str!("solar.jinja"),
        ollama: Some(include_str!("solar.gotmpl")),
        source: "SOLAR-10.7B-Instruct-v1.0, model card",
    },
];
