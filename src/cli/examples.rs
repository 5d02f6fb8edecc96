//! The examples at the end of each help. Every one of them is parsed by a test.

pub(super) const GGRAFT: &str = "\
Examples:
  ggraft merge --base llama-2-7b --chat llama-2-7b-chat --onto llama-2-ko-7b --type Q4_K_M
  ggraft convert Llama-3.1-8B/ --type Q8_0 -o llama.gguf
  ggraft quantize llama-F16.gguf llama-Q4_K_M.gguf Q4_K_M
  ggraft inspect llama.gguf --tensors
  ggraft help merge

`ggraft VERB -h` is a short help, `ggraft VERB --help` a long one.

Exit codes: 0 ok, 1 failure, 2 usage, 3 invalid input, 4 unsupported, 5 I/O, 6 no space, \
7 verification failed, 130 interrupted.";

pub(super) const MERGE: &str = "\
Examples:
  ggraft merge --base solar --chat solar-chat --onto eeve --type Q4_K_M --dry-run
  ggraft merge --base solar --chat solar-chat --onto eeve --type Q8_0,Q4_K_M --weight 0.6,0.8
  ggraft merge --base solar --chat solar-chat --onto eeve --type safetensors-bf16 -o merged/
  ggraft merge --onto eeve --vector a:solar:0.8 --vector b:solar:0.3 --method ties --type Q4_K_M
  ggraft merge --onto llama-3.1-8b --adapter my-lora/ --adapter other-lora/:0.5 --type Q4_K_M
  ggraft merge --base solar --chat solar-chat --onto eeve --type Q4_K_M --emit-recipe eeve.yml
  ggraft merge eeve.yml -o 'eeve-{weight}-{type}.gguf'";

pub(super) const CONVERT: &str = "\
Examples:
  ggraft convert Llama-3.1-8B/ --type Q4_K_M
  ggraft convert Llama-3.1-8B/ --type Q8_0,Q4_K_L -o llama-{type}.gguf
  ggraft convert Llama-3.1-8B/ --type BF16 -o llama-BF16.gguf --split-max-size 50G
  ggraft convert model.gguf --type Q8_0 --override-kv general.name=str:Other --dry-run";

pub(super) const ADAPTER: &str = "\
Examples:
  ggraft adapter my-lora/ --base Llama-3.1-8B/
  ggraft adapter my-lora/ --base Llama-3.1-8B/ --type F16 -o my-lora.gguf";

pub(super) const VECTOR: &str = "\
Examples:
  ggraft vector --base solar --chat solar-chat --rank 64 -o solar-chat-r64.gguf
  ggraft vector --base solar --chat solar-chat --rank 256 --type Q8_0 --dry-run";

pub(super) const QUANTIZE: &str = "\
Examples:
  ggraft quantize llama-F16.gguf Q4_K_M
  ggraft quantize llama-F16.gguf Q8_0,Q5_K_M,Q4_K_M
  ggraft quantize llama-F16.gguf llama-Q4_K_M.gguf Q4_K_M 8
  ggraft quantize --imatrix imatrix.gguf llama-F16.gguf llama-IQ4_XS.gguf IQ4_XS
  ggraft quantize --tensor-type attn_v=q8_0 llama-F16.gguf Q4_K_M
  ggraft quantize --target-size 4G llama-F16.gguf llama.gguf
  ggraft quantize --dry-run --sweep=3G,4G,5G llama-F16.gguf
  ggraft quantize llama.gguf pruned.gguf COPY --prune-layers 20,21";

pub(super) const PLAN: &str = "\
Examples:
  ggraft plan convert llama/ --type Q4_K_M -o llama.gguf --jobs 8 --plan run.plan
  ggraft plan quantize in.gguf out.gguf Q4_K_M --jobs 64 --plan run.plan --emit slurm > run.sbatch
  ggraft plan --plan run.plan --emit k8s --image registry.example/ggraft:0.1 > job.yaml
  seq 0 7 | xargs -P 8 -I{} ggraft job run.plan --job {}/8 && ggraft finish run.plan";

pub(super) const JOB: &str = "\
Examples:
  ggraft job run.plan --job 3/8
  ggraft job run.plan --job-from slurm --threads 8
  ggraft job run.plan --job-from env:TASK_NUMBER:1

Exit codes: 0 done, also if it was done before; 2, 3 and 4 are not worth another try; 5 and 6 are, \
130, 143 and 137 (killed) too: the job goes on where it was.";

pub(super) const STATUS: &str = "\
Examples:
  ggraft status run.plan
  ggraft status run.plan --json";

pub(super) const FINISH: &str = "\
Examples:
  ggraft finish run.plan
  ggraft finish run.plan --hash

The exit code is 7, and nothing gets its name, as long as jobs are missing; they are told as \
--array=5,17-19.";

pub(super) const SPLIT: &str = "\
Examples:
  ggraft split llama.gguf llama --max-size 4G
  ggraft split llama.gguf llama --max-tensors 64 --dry-run";

pub(super) const JOIN: &str = "\
Examples:
  ggraft join llama-00001-of-00003.gguf llama.gguf";

pub(super) const INSPECT: &str = "\
Examples:
  ggraft inspect llama.gguf
  ggraft inspect llama.gguf --tensors --cross-check
  ggraft inspect Llama-3.1-8B/ --json";

pub(super) const ARCHITECTURES: &str = "\
Examples:
  ggraft architectures
  ggraft architectures Qwen3ForCausalLM";

pub(super) const ADVISE: &str = "\
Examples:
  ggraft advise
  ggraft advise llama.gguf --for pi5-8gb --context 16384
  ggraft advise Llama-3.1-8B/";

pub(super) const VERIFY: &str = "\
Examples:
  ggraft verify llama.gguf
  ggraft verify llama.gguf --manifest llama.manifest
  ggraft verify llama.gguf --for v0.5.0
  ggraft verify llama-00001-of-00003.gguf --json";

pub(super) const HASH: &str = "\
Examples:
  ggraft hash llama.gguf > llama.manifest
  ggraft hash llama.gguf --check llama.manifest
  ggraft hash --sha256 --no-layer llama.gguf --json";

pub(super) const DIFF: &str = "\
Examples:
  ggraft diff llama-F16.gguf llama-Q4_K_M.gguf
  ggraft diff Llama-3.1-8B/ Llama-3.1-8B-Instruct/ --json
  ggraft diff llama.gguf other.gguf --exit-code

The exit code is 0 also where the models differ, with --exit-code 1.";

pub(super) const MEASURE: &str = "\
Examples:
  ggraft measure llama-Q4_K_M.gguf llama-Q8_0.gguf --against llama-F16.gguf --text text.txt
  ggraft measure llama-Q4_K_M.gguf --text text.txt --ctx 2048 --chunks 20
  ggraft measure a.gguf --against b.gguf --text text.txt --llama-cpp ~/llama.cpp/build/bin --json

Needs a build with the feature runtime, and the shared libraries of llama.cpp: of the folder that is \
named, or installed.";

pub(super) const IMATRIX: &str = "\
Examples:
  ggraft imatrix llama-F16.gguf --text calibration.txt
  ggraft imatrix llama-F16.gguf --text calibration.txt -o imatrix.gguf --chunks 100 --threads 8
  ggraft quantize llama-F16.gguf llama-IQ4_XS.gguf IQ4_XS --imatrix imatrix.gguf

Needs a build with the feature runtime, and the shared libraries of llama.cpp: of the folder that is \
named, or installed.";

pub(super) const META: &str = "\
Examples:
  ggraft meta get llama.gguf
  ggraft meta set llama.gguf general.name='str:My llama'
  ggraft meta unset llama.gguf general.url";

pub(super) const META_GET: &str = "\
Examples:
  ggraft meta get llama.gguf
  ggraft meta get llama.gguf general.name llama.context_length
  ggraft meta get llama.gguf tokenizer.ggml.tokens --json
  ggraft meta get llama.gguf tokenizer.chat_template --raw";

pub(super) const META_SET: &str = "\
Examples:
  ggraft meta set llama.gguf general.name='str:My llama' general.tags='[str]:chat,ko'
  ggraft meta set llama.gguf tokenizer.ggml.eos_token_id=u32:2 --dry-run
  ggraft meta set llama.gguf --chat-template template.jinja -o other.gguf

A change of a few bytes is made in place. Else a new file takes the old one's name when it is \
whole; its data is moved only if the new header needs it, and shared with the old file where the \
file system can.";

pub(super) const META_UNSET: &str = "\
Examples:
  ggraft meta unset llama.gguf general.url general.description
  ggraft meta unset llama.gguf tokenizer.chat_template -o plain.gguf";

pub(super) const COMPLETIONS: &str = "\
Examples:
  ggraft completions bash > ~/.local/share/bash-completion/completions/ggraft
  ggraft completions zsh > ~/.zfunc/_ggraft
  ggraft completions fish > ~/.config/fish/completions/ggraft.fish";

pub(super) const MAN: &str = "\
Examples:
  ggraft man | man -l -
  ggraft man ~/.local/share/man/man1";
