//! The devices, a row each. Memory is what is left for a model where the system and some programs run.
//! Sources: ggml's `repack.cpp` (which dtypes are rearranged for a CPU, and of how many rows), llama.cpp's docs/ops (what a
//! backend multiplies), the README of wllama (2 GB a file, parts of 512 MB).

use super::Profile;
use ggraft_formats::DType::{self, *};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Rearranged on ARM CPUs with dot products; the K types in eight rows.
const ARM: &[DType] = &[Q4_0, IQ4NL, Q4K, Q5K, Q6K, Q8_0];
/// Rearranged with AVX2, or with fast kernels of their own.
const X86: &[DType] = &[Q4_0, IQ4NL, Q4K, Q5K, Q6K, Q8_0];
/// With SIMD kernels in WebAssembly.
const WASM: &[DType] = &[Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2K, Q3K, Q4K, Q5K, Q6K];
const HEXAGON: &[DType] = &[Q4_0, Q4_1, Q8_0, IQ4NL, Q4K, Q5K, Q6K, F16];
const ADRENO: &[DType] = &[Q4_0, Q8_0, Q6K, F16];
const GPU: &[DType] = &[Q2K, Q3K, IQ4XS, IQ4NL, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0];

const CPU: Profile = Profile {
    name: "",
    what: "",
    memory: 0,
    types: ARM,
    strict: false,
    rows: 8,
    file: None,
    part: None,
    whole: false,
};

/// Every device, the smallest of a kind first.
pub const PROFILES: &[Profile] = &[
    Profile {
        name: "pi5-4gb",
        what: "Raspberry Pi 5 with 4 GB, llama.cpp on its CPU",
        memory: 3 * GIB,
        ..CPU
    },
    Profile {
        name: "pi5-8gb",
        what: "Raspberry Pi 5 with 8 GB, llama.cpp on its CPU",
        memory: 13 * GIB / 2,
        ..CPU
    },
    Profile {
        name: "phone-6gb",
        what: "a phone with 6 GB, llama.cpp on its CPU",
        memory: 5 * GIB / 2,
        ..CPU
    },
    Profile { name: "phone-8gb", what: "a phone with 8 GB, llama.cpp on its CPU", memory: 4 * GIB, ..CPU },
    Profile { name: "phone-12gb", what: "a phone with 12 GB, llama.cpp on its CPU", memory: 7 * GIB, ..CPU },
    Profile {
        name: "npu-hexagon",
        what: "a phone with 12 GB, llama.cpp on a Snapdragon's Hexagon NPU",
        memory: 7 * GIB,
        types: HEXAGON,
        strict: true,
        rows: 1,
        ..CPU
    },
    Profile {
        name: "gpu-adreno",
        what: "a phone with 12 GB, llama.cpp on an Adreno GPU by OpenCL",
        memory: 7 * GIB,
        types: ADRENO,
        strict: true,
        rows: 1,
        ..CPU
    },
    Profile {
        name: "browser",
        what: "a browser, wllama",
        memory: 7 * GIB / 2,
        types: WASM,
        rows: 1,
        file: Some(2 * GIB - MIB),
        part: Some(512 * MIB),
        ..CPU
    },
    Profile {
        name: "laptop-8gb",
        what: "a PC with 8 GB, llama.cpp on its CPU",
        memory: 5 * GIB,
        types: X86,
        ..CPU
    },
    Profile {
        name: "laptop-16gb",
        what: "a PC with 16 GB, llama.cpp on its CPU",
        memory: 12 * GIB,
        types: X86,
        ..CPU
    },
    Profile {
        name: "mac-16gb",
        what: "an Apple M with 16 GB, llama.cpp by Metal",
        memory: 21 * GIB / 2,
        types: GPU,
        rows: 1,
        ..CPU
    },
    Profile {
        name: "gpu-8gb",
        what: "a graphics card with 8 GB",
        memory: 15 * GIB / 2,
        types: GPU,
        rows: 1,
        ..CPU
    },
    Profile {
        name: "gpu-12gb",
        what: "a graphics card with 12 GB",
        memory: 23 * GIB / 2,
        types: GPU,
        rows: 1,
        ..CPU
    },
    Profile {
        name: "gpu-24gb",
        what: "a graphics card with 24 GB",
        memory: 23 * GIB,
        types: GPU,
        rows: 1,
        ..CPU
    },
    Profile {
        name: "ollama",
        what: "Ollama on a PC with 16 GB",
        memory: 12 * GIB,
        types: X86,
        whole: true,
        ..CPU
    },
];
