//! The words of other programs, and what to do instead: verbs, and options by the verbs that they are typed behind.

/// Verbs, and what they come to here.
const VERBS: &[(&[&str], &str)] = &[
    (
        &["run", "serve", "chat", "start", "generate", "cli"],
        "ggraft makes files and runs none: give them to llama-cli -m FILE.gguf, to Ollama (`--modelfile` writes what it takes) or to LM Studio",
    ),
    (
        &["pull", "download", "get", "fetch", "clone"],
        "models of the Hugging Face hub are read by their names, and --download keeps them: ggraft convert org/name --type Q4_K_M --download; a key is read by `ggraft meta get`",
    ),
    (
        &["list", "ls", "ps", "models", "cache"],
        "ggraft keeps no store of models: they are files where you put them, and `ggraft inspect FILE` says what one holds",
    ),
    (
        &["create", "import"],
        "ggraft convert MODEL --type Q4_K_M --modelfile writes what `ollama create` takes in",
    ),
    (
        &["push", "upload", "publish"],
        "--card writes the model card beside the outputs; `hf upload org/name FOLDER` sends them",
    ),
    (&["login", "auth"], "for models of the hub that need one, set HF_TOKEN to your token"),
    (&["rm", "remove", "delete"], "ggraft keeps no store of models: delete the file"),
    (
        &["lora", "merge-lora", "convert-lora"],
        "ggraft merge --onto MODEL --adapter DIR --type Q4_K_M merges an adapter, ggraft adapter DIR --base MODEL converts it",
    ),
    (&["extract", "extract-lora"], "ggraft vector --base MODEL --chat MODEL --rank 64"),
    (
        &["set", "unset", "edit", "metadata", "set-metadata", "new-metadata"],
        "ggraft meta set FILE.gguf KEY=VALUE",
    ),
    (&["compare"], "ggraft diff ONE OTHER"),
    (&["check", "validate", "test"], "ggraft verify FILE"),
    (&["checksum", "sha256", "gguf-hash"], "ggraft hash FILE"),
    (&["gguf-split"], "ggraft split FILE PREFIX --max-size 50G, and ggraft join FIRST-PART OUT.gguf"),
    (
        &["perplexity", "ppl", "kld"],
        "ggraft measure FILE --text TEXT tells the perplexity, with --against REFERENCE.gguf the KL divergence",
    ),
    (
        &["bench"],
        "that is llama.cpp's own (llama-bench); ggraft advise MODEL says what a model takes on a device",
    ),
    (&["types", "formats", "help-types"], "ggraft convert --help lists the types"),
    (&["archs", "arch", "supported", "supported-models"], "ggraft architectures"),
    (&["update", "upgrade", "self-update"], "ggraft does not replace itself: install it again as you did"),
];

/// Options: those of a verb alone, if one is named, and what to do instead.
const OPTIONS: &[(&str, &[&str], &str)] = &[
    (
        "quantize",
        &["-o", "--output", "--outfile"],
        "the output is the second word: ggraft quantize IN.gguf OUT.gguf TYPE",
    ),
    (
        "merge",
        &["--emit-vector", "--rank"],
        "the vector is a file of its own: ggraft vector --base MODEL --chat MODEL --type safetensors, or --rank 64 as an adapter",
    ),
    ("adapter", &["--base-model-id"], "give the base with --base: a directory, or org/name of the hub"),
    ("merge", &["--lora", "--lora-model"], "give the adapter with --adapter DIR[:WEIGHT]"),
    (
        "merge",
        &["--model", "--models", "-m"],
        "the models are --base, --chat and --onto; or give a recipe of mergekit: ggraft merge recipe.yml",
    ),
    (
        "merge",
        &["--out-path", "--out-dir", "--output-dir", "--out"],
        "give -o FILE, or -o DIRECTORY with --type safetensors",
    ),
    (
        "",
        &["--model", "-m", "--model-path", "--input", "-i", "--infile"],
        "the model is given without an option, as the first word",
    ),
    ("", &["--out", "--out-file", "--output-file"], "give -o FILE"),
    (
        "",
        &["--remote", "--hf-repo", "-hf", "--repo-id", "--repo"],
        "a model of the hub is given by its name, org/name, in the place of a path",
    ),
    ("", &["--revision", "--branch"], "a revision stands behind the name: org/name@revision"),
    ("", &["--token", "--hf-token", "--use-auth-token"], "set HF_TOKEN to your token"),
    (
        "",
        &["--cache-dir", "--transformers-cache", "--lora-merge-cache", "--local-dir"],
        "the hub's cache is where HF_HUB_CACHE or HF_HOME says; --download fills it",
    ),
    (
        "",
        &["--metadata"],
        "convert takes it; elsewhere set keys with --override-kv KEY=TYPE:VALUE, or afterwards with `ggraft meta set`; --name gives the name",
    ),
    (
        "",
        &["--bigendian", "--big-endian"],
        "ggraft writes little-endian files, as nearly every machine reads them; llama.cpp's gguf_convert_endian.py turns one round",
    ),
    (
        "",
        &["--mistral-format"],
        "convert takes it; elsewhere give what that writes, or the files that transformers reads (config.json, model.safetensors)",
    ),
    (
        "",
        &["--disable-mistral-community-chat-template"],
        "leave it out: the chat template is the model's own; `ggraft meta set FILE --chat-template FILE` sets another",
    ),
    (
        "",
        &["--mtp", "--no-mtp", "--no-nextn", "--dspark", "--target-model-dir"],
        "layers that predict further tokens are converted with the model where its family's page has them (`ggraft architectures NAME`); `ggraft convert` takes --mtp and --no-mtp",
    ),
    (
        "",
        &["--fuse-qkv"],
        "convert takes it; elsewhere leave it out, for every llama.cpp reads queries, keys and values apart",
    ),
    (
        "",
        &["--fuse-gate-up-exps"],
        "convert takes it; elsewhere leave it out, for every llama.cpp reads the experts apart",
    ),
    (
        "",
        &["--sentence-transformers-dense-modules"],
        "ggraft convert takes it; a merge leaves out what comes after pooling",
    ),
    (
        "",
        &["--fp8-as-q8"],
        "convert takes it; elsewhere give --type Q8_0: weights of fp8 are decoded and encoded anew",
    ),
    (
        "",
        &["--max-buffer-size", "--low-cpu-memory", "--lazy-unpickle", "--lazy"],
        "leave it out: rows are streamed, so memory does not grow with the model",
    ),
    (
        "",
        &["--cuda", "--gpu", "--gpu-rich", "--read-to-gpu", "--device", "--multi-gpu", "--low-vram"],
        "leave it out: ggraft computes on the CPU, and reads as fast as the disk; -t sets the threads",
    ),
    ("", &["--trust-remote-code"], "leave it out: no code of a model is ever run"),
    (
        "",
        &["--allow-crimes"],
        "leave it out; --allow-mismatch, --allow-unrelated and --allow-swapped permit what they say",
    ),
    (
        "",
        &["--copy-tokenizer", "--no-copy-tokenizer", "--safe-serialization"],
        "leave it out: the tokenizer is always written, and weights never as pickles",
    ),
    ("", &["--out-shard-size", "--max-shard-size"], "give --split-max-size SIZE"),
    ("", &["--write-model-card"], "give --card"),
    (
        "",
        &["--random-seed", "--seed"],
        "give --param seed=N to a method that drops weights at random (dare_linear, dare_ties)",
    ),
    (
        "",
        &["--quantize", "--quantization", "--quant", "--dtype", "--format", "--ftype", "--q-bits"],
        "give --type TYPE, such as --type Q4_K_M",
    ),
    ("", &["--nthread", "--nthreads", "--num-threads", "--jobs", "-j"], "give --threads N"),
    (
        "",
        &["--ctx-size", "-c", "-ngl", "--n-gpu-layers", "--prompt", "-p"],
        "that is for running the model: give it to llama-cli",
    ),
    (
        "",
        &["--upload", "--push-to-hub", "--private"],
        "`hf upload org/name FOLDER` sends a folder; --card writes its model card",
    ),
    ("", &["--overwrite", "--overwrite-output", "-y", "--yes"], "give --force"),
    ("", &["--resume"], "leave it out: an interrupted run goes on by the same command"),
];

/// What to do instead of this verb.
pub(super) fn verb(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    VERBS.iter().find(|(words, _)| words.contains(&word.as_str())).map(|(_, instead)| *instead)
}

/// What to do instead of this option behind this verb.
pub(super) fn option(verb: &str, name: &str) -> Option<&'static str> {
    let name = name.replace('_', "-");
    let is =
        |row: &&(&str, &[&str], &str)| (row.0.is_empty() || row.0 == verb) && row.1.contains(&name.as_str());
    OPTIONS.iter().find(is).map(|(.., instead)| *instead)
}
