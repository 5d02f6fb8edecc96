#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ggraft_fuzz::run("tokenizer_tiktoken", data));
