//! What the name of a model tells about it: `org/Llama-3.1-8B-Instruct-v2` is a base name, a size, a fine-tune and
//! a version. Serves `general.*`.
//! Specification: `Metadata.get_model_id_components`, `Metadata.id_to_title` and `gguf.utility.size_label`.

use ggraft_formats::Tensor;

/// The parts of a model's name; none where the name does not tell.
#[derive(Debug, Default, PartialEq)]
pub struct ModelId {
    /// The whole name without the organization.
    pub name: String,
    pub organization: Option<String>,
    pub basename: Option<String>,
    pub finetune: Option<String>,
    pub version: Option<String>,
    pub size_label: Option<String>,
}

/// What a part of a name has been taken for.
#[derive(Default)]
struct Part {
    text: String,
    basename: bool,
    size_label: bool,
    finetune: bool,
    version: bool,
    /// A dtype, such as `Q4_K`; it tells nothing of the model itself.
    dtype: bool,
}

impl Part {
    fn unknown(&self) -> bool {
        !(self.basename || self.size_label || self.finetune || self.version || self.dtype)
    }
}

impl ModelId {
    /// Takes `id` apart. `parameters` is the number of weights: a "size" far from it is a context length.
    pub fn parse(id: &str, parameters: u64) -> ModelId {
        if id.contains(' ') {
            return ModelId { name: id.to_string(), ..ModelId::default() };
        }
        let (organization, name) = match id.split_once('/') {
            Some((organization, name)) if organization.starts_with('.') => (None, name),
            Some((organization, name)) => (Some(organization.to_string()), name),
            None => (None, id),
        };
        let texts = name.split('-').filter(|text| !text.is_empty());
        let mut parts: Vec<Part> = texts.enumerate().map(|(i, text)| annotate(i, text, parameters)).collect();
        drop_words_beside_numbers(&mut parts);
        find_basename(&mut parts);
        let join = |takes: fn(&Part) -> bool| {
            let texts: Vec<&str> = parts.iter().filter(|p| takes(p)).map(|p| p.text.as_str()).collect();
            Some(texts.join("-")).filter(|text| !text.is_empty())
        };
        let (finetune, version) = (join(|p| p.finetune), join(|p| p.version && !p.basename));
        let mut sizes: Vec<&str> = Vec::new();
        for part in parts.iter().filter(|p| p.size_label) {
            if !sizes.contains(&part.text.as_str()) {
                sizes.push(&part.text);
            }
        }
        let size_label = Some(sizes.join("-")).filter(|text| !text.is_empty());
        // A base name alone is too ambiguous to tell.
        let told = size_label.is_some() || finetune.is_some() || version.is_some();
        let basename = join(|p| p.basename).filter(|_| told);
        ModelId { name: name.to_string(), organization, basename, finetune, version, size_label }
    }
}

fn annotate(i: usize, text: &str, parameters: u64) -> Part {
    let lower = text.to_ascii_lowercase();
    let mut part = Part { text: text.to_string(), ..Part::default() };
    if is_version(&lower) {
        part.version = true;
    } else if is_dtype(&lower) {
        part.dtype = true;
        part.text = text.to_uppercase();
    } else if i > 0 && is_size(&lower) {
        part.text = normal_size(text);
        if is_context_length(&part.text, parameters) {
            part.finetune = true;
            part.text.make_ascii_lowercase();
        } else {
            part.size_label = true;
        }
    } else if i > 0 && matches!(lower.as_str(), "chat" | "instruct" | "vision" | "lora") {
        part.finetune = true;
    }
    part
}

/// `text` without the digits it starts with; none if there are none.
fn after_digits(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < text.len()).then_some(rest)
}

/// `v0.3`, `iter2`, `1.5`.
fn is_version(text: &str) -> bool {
    let number = text.strip_prefix("iter").or(text.strip_prefix('v')).unwrap_or(text);
    is_version_number(number)
}

fn is_version_number(text: &str) -> bool {
    text.split('.').all(|digits| after_digits(digits) == Some(""))
}

/// `q4_k_m`, `iq2_xs`, `f16`, `bf16`, `fp32`.
fn is_dtype(text: &str) -> bool {
    let float = text.strip_prefix('b').unwrap_or(text).strip_prefix('f');
    if float.is_some_and(|rest| matches!(rest.strip_prefix('p').unwrap_or(rest), "16" | "32")) {
        return true;
    }
    let quantized = text.strip_prefix('i').unwrap_or(text).strip_prefix('q');
    let Some(rest) = quantized.and_then(|rest| rest.strip_prefix(|c: char| c.is_ascii_digit())) else {
        return false;
    };
    let rest: Vec<char> = rest.chars().collect();
    rest.chunks(2).all(|pair| matches!(pair, ['_', c] if c.is_alphanumeric() || *c == '_'))
}

/// `7b`, `10.8b`, `8x7b`, `a22b`, `7b1`, `large`.
fn is_size(text: &str) -> bool {
    if matches!(text, "small" | "mini" | "medium" | "large" | "xl" | "xxl") {
        return true;
    }
    let experts = after_digits(text).and_then(|rest| rest.strip_prefix('x'));
    let number = experts.or(text.strip_prefix('a')).unwrap_or(text);
    let Some(rest) = after_digits(number) else { return false };
    let rest = rest.strip_prefix(['.', '_']).map_or(Some(rest), after_digits);
    let suffix = rest.and_then(|rest| rest.strip_prefix(['k', 'm', 'b', 't']));
    matches!(suffix.map(str::as_bytes), Some([] | [b'0'..=b'9']))
}

/// `7b` as `7B`, `10_8b` as `10.8B`, bloom's `7b1` as `7.1B`.
fn normal_size(text: &str) -> String {
    let mut text = text.replace('_', ".");
    if text.ends_with(|c: char| c.is_ascii_digit())
        && let (Some(digit), Some(unit)) = (text.pop(), text.pop())
    {
        text.extend(['.', digit, unit]);
    }
    if let Some(unit) = text.pop() {
        let number = text.ends_with(|c: char| c.is_ascii_digit());
        text.push(if number { unit.to_ascii_uppercase() } else { unit });
    }
    text
}

/// Whether a "size" is so far from the number of weights that it must be a context length (`128K`).
fn is_context_length(size: &str, parameters: u64) -> bool {
    let Some((number, exponent)) = ["K", "M", "B", "T"]
        .iter()
        .zip(1..)
        .find_map(|(unit, exponent)| Some((size.strip_suffix(unit)?.parse::<f64>().ok()?, exponent)))
    else {
        return false;
    };
    let away = (number * 1000f64.powi(exponent) - parameters as f64).abs();
    away > (u128::from(parameters) * 7 / 8) as f64
}

/// `large` says nothing beside `7B`.
fn drop_words_beside_numbers(parts: &mut [Part]) {
    let numbered = |p: &Part| p.size_label && p.text.contains(|c: char| c.is_ascii_digit());
    if parts.iter().any(numbered) {
        for part in parts.iter_mut().filter(|p| p.text.chars().all(char::is_alphabetic)) {
            part.size_label = false;
        }
    }
}

/// The base name is what comes before the first part that is something else; versions within it belong to it,
/// trailing ones do not. All that is still unknown is a fine-tune's name.
fn find_basename(parts: &mut [Part]) {
    let mut at_start = true;
    for part in parts.iter_mut() {
        let begins_with_letter = part.text.starts_with(char::is_alphabetic);
        at_start = at_start && (part.version || (part.unknown() && begins_with_letter));
        if at_start {
            part.basename = true;
        } else if part.unknown() {
            part.finetune = true;
        }
    }
    for part in parts.iter_mut().rev().take_while(|p| p.basename && p.version) {
        part.basename = false;
    }
}

/// A name as a title: `tiny-llama-v1.1` is `Tiny Llama v1.1`. Words with capitals stay as they are.
pub fn title(id: &str) -> String {
    let words: Vec<String> = id.replace('-', " ").split_whitespace().map(title_word).collect();
    words.join(" ")
}

fn title_word(word: &str) -> String {
    let lower = word.chars().any(char::is_lowercase) && !word.chars().any(char::is_uppercase);
    let version = word.strip_prefix('v').is_some_and(is_version_number);
    if !lower || version || word.starts_with(|c: char| c.is_ascii_digit()) {
        return word.to_string();
    }
    let (mut title, mut inside) = (String::new(), false);
    for c in word.chars() {
        let cased = c.is_lowercase();
        if cased && !inside {
            title.extend(c.to_uppercase());
        } else {
            title.push(c);
        }
        inside = cased;
    }
    title
}

/// How many weights a model has, in all and beside its experts.
#[derive(Debug, Default)]
pub struct Size {
    pub total: u64,
    /// Those of one expert of every layer.
    expert: u64,
    shared: u64,
    /// The experts of all stacks, and the stacks.
    experts: (u64, u64),
}

impl Size {
    /// Counted from the tensors of a GGUF; nothing where there are adapters among them, of which one at most counts.
    pub fn of<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Size {
        let mut size = Size::default();
        for tensor in tensors {
            if tensor.name.ends_with(".lora_a") {
                return Size::default();
            }
            let elements = tensor.shape().elements();
            size.total = size.total.saturating_add(elements);
            let stacked = tensor.name.contains("_exps.");
            let place = if tensor.name.contains(".bias") { 1 } else { 2 };
            match tensor.shape().ne().get(place).copied().filter(|n| stacked && *n > 0) {
                Some(count) if tensor.shape().ne().len() >= 3 => {
                    size.expert = size.expert.saturating_add(elements / count);
                    size.experts = (size.experts.0.saturating_add(count), size.experts.1 + 1);
                }
                _ => size.shared = size.shared.saturating_add(elements),
            }
        }
        size
    }

    /// `7B`, or `8x7B` of eight experts.
    pub fn label(&self) -> String {
        match self.experts.0.checked_div(self.experts.1) {
            Some(count) if count > 0 => {
                format!("{count}x{}", size_label(self.shared.saturating_add(self.expert)))
            }
            _ => size_label(self.total),
        }
    }
}

/// A number of weights in at least two digits: `3.0M`, `8B`, `70B`.
pub fn size_label(parameters: u64) -> String {
    let count = parameters as f64;
    let (scaled, unit) = match parameters {
        n if n > 1_000_000_000_000 => (count * 1e-12, "T"),
        n if n > 1_000_000_000 => (count * 1e-9, "B"),
        n if n > 1_000_000 => (count * 1e-6, "M"),
        _ => (count * 1e-3, "K"),
    };
    let digits = format!("{scaled:.0}").trim_start_matches('0').len();
    format!("{scaled:.*}{unit}", 2usize.saturating_sub(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BILLION: u64 = 1_000_000_000;

    /// Base name, size, fine-tune and version, with `-` for none.
    fn parts(id: &str, parameters: u64) -> [String; 4] {
        let id = ModelId::parse(id, parameters);
        [id.basename, id.size_label, id.finetune, id.version].map(|part| part.unwrap_or("-".into()))
    }

    #[test]
    fn names_are_taken_apart() {
        for (id, billions, expected) in [
            ("meta-llama/Llama-2-7b-chat-hf", 7, ["Llama-2", "7B", "chat-hf", "-"]),
            ("Meta-Llama-3.1-8B-Instruct", 8, ["Meta-Llama-3.1", "8B", "Instruct", "-"]),
            ("EEVE-Korean-10.8B-v1.0", 11, ["EEVE-Korean", "10.8B", "-", "v1.0"]),
            ("Mixtral-8x7B-v0.1", 47, ["Mixtral", "8x7B", "-", "v0.1"]),
            ("bloom-7b1", 7, ["bloom", "7.1B", "-", "-"]),
            ("Yarn-Llama-2-7b-128K", 7, ["Yarn-Llama-2", "7B", "128k", "-"]),
            ("phi-medium-7B-Q4_K_M", 7, ["phi-medium", "7B", "-", "-"]),
            ("gpt-large", 1, ["gpt", "large", "-", "-"]),
            ("cp", 1, ["-", "-", "-", "-"]),
            ("A name of words", 1, ["-", "-", "-", "-"]),
        ] {
            assert_eq!(parts(id, billions * BILLION), expected, "{id}");
        }
    }

    #[test]
    fn an_organization_is_no_relative_path() {
        assert_eq!(ModelId::parse("org/x-7B", 7 * BILLION).organization.as_deref(), Some("org"));
        assert_eq!(ModelId::parse("./x-7B", 7 * BILLION).organization, None);
    }

    #[test]
    fn titles_keep_capitals_and_versions() {
        for (id, expected) in [
            ("tiny-llama-v1.1", "Tiny Llama v1.1"),
            ("EEVE-ko-10.8b", "EEVE Ko 10.8b"),
            ("gpt2xl-don't", "Gpt2Xl Don'T"),
            ("A  name of words", "A Name Of Words"),
        ] {
            assert_eq!(title(id), expected);
        }
    }

    #[test]
    fn sizes_have_two_digits() {
        for (parameters, expected) in [
            (1, "0.00K"),
            (999_999, "1000K"),
            (1_000_000, "1000K"),
            (3_034_368, "3.0M"),
            (6_738_415_616, "6.7B"),
            (70_553_706_496, "71B"),
            (1_000_000_000_001, "1.0T"),
        ] {
            assert_eq!(size_label(parameters), expected);
        }
    }
}
