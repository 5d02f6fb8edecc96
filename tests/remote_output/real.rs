//! The real client of the hub: it sends our hub the same files by the same requests, and shares its cache with us.

use super::run::{Ran, ran, trio};
use super::{Bench, CONVERT, server};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python that has `huggingface_hub`, where `.ci/fetch-hub-client` has put it.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("GGRAFT_HF_PYTHON").map(PathBuf::from);
    if python.is_none() {
        eprintln!("SKIPPED: no GGRAFT_HF_PYTHON, so nothing is compared with the real huggingface_hub");
    }
    python
}

impl Bench {
    /// Runs a script of the real client.
    fn real(&self, python: &Path, script: &str) -> Ran {
        let mut command = Command::new(python);
        command.args(["-c", script]).current_dir(self.dir.path());
        self.hub.known_to(&mut command, &self.path("home"));
        command.envs([
            ("HF_TOKEN", "hf_write"),
            ("HF_HUB_DISABLE_XET", "1"),
            ("HF_HUB_DISABLE_TELEMETRY", "1"),
        ]);
        command.envs([("HF_HUB_DISABLE_PROGRESS_BARS", "1"), ("HF_HUB_DISABLE_UPDATE_CHECK", "1")]);
        ran(&mut command)
    }
}

#[test]
fn the_real_client_sends_our_hub_the_same_files() {
    let Some(python) = python() else { return };
    let bench = Bench::new();
    bench.hub.fail(|f| f.part = Some(400_000));
    bench.ggraft(&format!("{CONVERT} --card -o here/x.gguf")).ok();
    bench.ggraft(&format!("{CONVERT} -o hf://acme/ours/x.gguf")).ok();
    let asked = |repo: &str| {
        let seen = bench.hub.server.seen();
        let of = |a: &&server::Asked| {
            a.method == "POST" && (a.path.contains(repo) || a.path.contains("/complete"))
        };
        let verb = |a: &server::Asked| {
            a.path.replace(repo, "").rsplit('/').find(|part| *part != "main").unwrap().to_string()
        };
        let mut verbs: Vec<String> = seen.iter().filter(of).map(verb).collect();
        verbs.dedup();
        verbs
    };
    let ours = asked("acme/ours");
    bench.hub.server.forget();
    // They find nothing of it in the store.
    bench.hub.store.lock().unwrap().objects.clear();
    let script = "from huggingface_hub import HfApi\napi = HfApi()\napi.create_repo('acme/theirs', private=True)\napi.upload_folder(repo_id='acme/theirs', folder_path='here')";
    bench.real(&python, script).ok();
    assert_eq!(bench.hub.names("acme/ours", "main"), bench.hub.names("acme/theirs", "main"));
    assert!(bench.hub.file("acme/ours", "main", "x.gguf") == bench.hub.file("acme/theirs", "main", "x.gguf"));
    // Who sends it is not seen by what was asked, in which order.
    for verbs in [ours, asked("acme/theirs")] {
        let of_upload = ["preupload", "batch", "complete", "verify", "commit"];
        let mut order: Vec<&str> =
            verbs.iter().map(String::as_str).filter(|verb| of_upload.contains(verb)).collect();
        order.dedup();
        assert_eq!(order, of_upload, "{verbs:?}");
    }
}

#[test]
fn the_real_client_and_we_share_a_cache() {
    let Some(python) = python() else { return };
    let bench = Bench::new();
    for name in ["base", "chat", "cp"] {
        bench.hub.add(&format!("acme/{name}"), &trio(name));
    }
    // We fill it, they check every file, and open it without the hub.
    bench.ggraft("convert acme/cp --download --type Q8_0 -o ours.gguf").ok();
    let cli = "import sys\nfrom huggingface_hub.cli.hf import main\nsys.argv = ['hf', 'cache', 'verify', 'acme/cp']\nmain()";
    let checked = bench.real(&python, cli).ok();
    assert!(
        format!("{}{}", checked.out, checked.err).to_lowercase().contains("verif"),
        "{}{}",
        checked.out,
        checked.err
    );
    let offline = "import os\nos.environ['HF_HUB_OFFLINE'] = '1'\n";
    bench.hub.server.forget();
    let files =
        "from huggingface_hub import hf_hub_download\nprint(hf_hub_download('acme/cp', 'model.safetensors'))";
    let found = bench.real(&python, &format!("{offline}{files}")).ok();
    let found = std::fs::read(found.out.trim()).unwrap();
    assert!(found == std::fs::read(trio("cp").join("model.safetensors")).unwrap());
    assert_eq!(bench.hub.server.seen().len(), 0);
    // They fill it, we use it, with the hub and without, and ask nothing.
    bench.real(&python, "from huggingface_hub import snapshot_download\nsnapshot_download('acme/base')").ok();
    bench.hub.server.forget();
    bench.ggraft("convert acme/base --type Q8_0 -o online.gguf").ok();
    let mut command = bench.command("convert acme/base --type Q8_0 -o offline.gguf");
    ran(command.env("HF_HUB_OFFLINE", "1")).ok();
    assert_eq!(bench.hub.server.seen().len(), 0);
    assert!(
        std::fs::read(bench.path("online.gguf")).unwrap()
            == std::fs::read(bench.path("offline.gguf")).unwrap()
    );
}
