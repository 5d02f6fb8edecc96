//! A Hugging Face hub on loopback for tests: what a client that reads or writes needs, and the faults that it must survive.
//! Small files it gives itself; to weights it sends on, to another host name, by addresses that expire. What it takes, the
//! real `huggingface_hub` sends it the same way (`tests/remote_output.rs`).
#![allow(dead_code, reason = "every test file uses another part")]

#[path = "taking.rs"]
mod taking;

use super::server::{Asked, Reply, Server};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use taking::{Store, Taking, key};

/// What goes wrong.
#[derive(Clone, Default)]
pub struct Faults {
    /// Every so manieth large body is cut in its middle.
    pub cut: Option<usize>,
    /// Addresses of weights are good for so long.
    pub expire: Option<Duration>,
    /// The next requests for files are answered with this status.
    pub refuse: (u16, usize),
    /// Bytes a second on a connection.
    pub rate: Option<usize>,
    /// Every request waits so long.
    pub latency: Option<Duration>,
    /// The token that is asked for, by these models.
    pub gated: Vec<String>,
    pub token: Option<String>,
    /// Ranges are not heeded.
    pub no_ranges: bool,
    /// Called with the count of bodies sent by the host of weights.
    pub weights_sent: usize,
    /// After so many bodies of weights they are others, of the same length.
    pub change_after: Option<usize>,
    /// The token that may write; else any may.
    pub writer: Option<String>,
    /// Files that are longer are taken in parts of so many bytes.
    pub part: Option<usize>,
    /// The next files or parts are answered with this status.
    pub refuse_parts: (u16, usize),
    /// The answer to the next commit does not come.
    pub lose_commit: bool,
    /// Before the next commit somebody else commits this file.
    pub meanwhile: Option<(String, Vec<u8>)>,
    /// Commits are answered so, and not made.
    pub commits_say: Option<&'static str>,
    /// How long those who are refused are to wait, in seconds.
    pub retry_after: Option<u64>,
}

#[derive(Clone)]
pub struct Held {
    content: Arc<Vec<u8>>,
    git: String,
    sha256: String,
}

/// Files from this size on are weights to the hub.
const LARGE: usize = 100_000;

/// Whether the hub keeps such a file in its store.
fn is_large(name: &str, size: usize) -> bool {
    size >= LARGE || name.ends_with(".gguf") || name.ends_with(".safetensors")
}

/// A hub and its models.
pub struct Hub {
    pub server: Server,
    pub faults: Arc<Mutex<Faults>>,
    pub repos: Arc<Mutex<Repos>>,
    pub store: Arc<Mutex<Store>>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Held {
    fn new(content: Vec<u8>) -> Held {
        let mut git = Sha1::new();
        git.update(format!("blob {}\0", content.len()));
        git.update(&content);
        let sha256 = hex(&Sha256::digest(&content));
        Held { git: hex(&git.finalize()), sha256, content: Arc::new(content) }
    }
}

fn commit(files: &BTreeMap<String, Held>) -> String {
    let mut hash = Sha1::new();
    files.iter().for_each(|(name, held)| hash.update(format!("{name} {}\n", held.git)));
    hex(&hash.finalize())
}

impl Hub {
    /// A hub without models.
    pub fn start() -> Hub {
        let faults: Arc<Mutex<Faults>> = Arc::default();
        let repos: Arc<Mutex<Repos>> = Arc::default();
        let store: Arc<Mutex<Store>> = Arc::default();
        let port = Arc::new(Mutex::new(0));
        let (f, r, p, begun) = (Arc::clone(&faults), Arc::clone(&repos), Arc::clone(&port), Instant::now());
        let s = Arc::clone(&store);
        let server = Server::start(move |asked| {
            let faults = f.lock().unwrap().clone();
            if let Some(latency) = faults.latency {
                std::thread::sleep(latency);
            }
            if ["POST", "PUT"].contains(&asked.method.as_str()) {
                let (mut faults, mut repos, mut store) =
                    (f.lock().unwrap(), r.lock().unwrap(), s.lock().unwrap());
                let port = *p.lock().unwrap();
                let (faults, repos, store) = (&mut *faults, &mut *repos, &mut *store);
                return Taking { asked, faults, repos, store, port, begun }.answer();
            }
            answer(asked, &faults, &f, &r.lock().unwrap().clone(), *p.lock().unwrap(), begun)
        });
        *port.lock().unwrap() = server.port;
        Hub { server, faults, repos, store }
    }

    /// A hub with the trio as `acme/base`, `acme/chat` and `acme/cp`.
    pub fn with_trio() -> Hub {
        let hub = Hub::start();
        for name in ["base", "chat", "cp"] {
            hub.add(&format!("acme/{name}"), &super::run::trio(name));
        }
        hub
    }

    /// A model with the files of a folder.
    pub fn add(&self, repo: &str, dir: &Path) {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            files.insert(name, Held::new(std::fs::read(path).unwrap()));
        }
        self.repos.lock().unwrap().insert(repo.to_string(), files);
    }

    /// Gives a model a file, or another one of that name.
    pub fn put(&self, repo: &str, name: &str, content: Vec<u8>) {
        let mut repos = self.repos.lock().unwrap();
        repos.entry(repo.to_string()).or_default().insert(name.to_string(), Held::new(content));
    }

    /// A file of a model, as it was committed.
    pub fn file(&self, repo: &str, revision: &str, name: &str) -> Option<Vec<u8>> {
        let repos = self.repos.lock().unwrap();
        repos.get(&key(repo, revision))?.get(name).map(|held| held.content.to_vec())
    }

    /// The names of the files of a model.
    pub fn names(&self, repo: &str, revision: &str) -> Vec<String> {
        let repos = self.repos.lock().unwrap();
        repos.get(&key(repo, revision)).map_or_else(Vec::new, |files| files.keys().cloned().collect())
    }

    pub fn commit(&self, repo: &str) -> String {
        commit(&self.repos.lock().unwrap()[repo])
    }

    pub fn fail(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults.lock().unwrap());
    }

    /// Lets a command know this hub, and nothing else of the user's.
    pub fn known_to(&self, command: &mut Command, home: &Path) {
        alone(command, home);
        command.env("HF_ENDPOINT", self.server.url());
    }

    /// The requests to the host of weights, and the bytes that they asked for.
    pub fn weights_asked(&self) -> (usize, usize) {
        let all = self.server.seen();
        let weights = all.iter().filter(|asked| asked.path.starts_with("/cdn/"));
        let bytes = |asked: &Asked| asked.range(usize::MAX).map_or(0, |range| range.len());
        weights.fold((0, 0), |(n, sum), asked| (n + 1, sum + bytes(asked)))
    }
}

/// Takes from a command what the environment of the tests says of the hub.
pub fn alone(command: &mut Command, home: &Path) {
    for name in [
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "XDG_CACHE_HOME",
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HF_TOKEN_PATH",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_ENDPOINT",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ] {
        command.env_remove(name);
    }
    command.env("HF_HOME", home);
}

fn refused(status: u16, code: &str, text: &str) -> Reply {
    Reply::new(status, format!("{{\"error\":\"{text}\"}}"))
        .with("X-Error-Code", code)
        .with("X-Error-Message", text)
}

type Repos = BTreeMap<String, BTreeMap<String, Held>>;

fn answer(
    asked: &Asked,
    faults: &Faults,
    shared: &Mutex<Faults>,
    repos: &Repos,
    port: u16,
    begun: Instant,
) -> Reply {
    if let Some(name) = asked.path.strip_prefix("/cdn/") {
        return weights(asked, faults, shared, repos, name, begun);
    }
    let parts: Vec<&str> = asked.path.trim_start_matches('/').split('/').collect();
    let (repo, revision, file) = match parts.as_slice() {
        ["api", "models", org, name, "revision" | "tree", revision @ ..] => {
            (format!("{org}/{name}"), revision.join("/"), None)
        }
        [org, name, "resolve", revision, file @ ..] => {
            (format!("{org}/{name}"), revision.to_string(), Some(file.join("/")))
        }
        _ => return refused(404, "RepoNotFound", "Repository not found"),
    };
    if let Some(token) = faults.token.as_ref().filter(|_| faults.gated.contains(&repo)) {
        let bearer = asked.header("authorization");
        if bearer != Some(&format!("Bearer {token}")) {
            let status = if bearer.is_some() { 403 } else { 401 };
            return refused(status, "GatedRepo", "Access to this model is restricted");
        }
    }
    let Some((real, files)) = repos.iter().find(|(name, _)| name.eq_ignore_ascii_case(&repo)) else {
        return refused(401, "RepoNotFound", "Repository not found");
    };
    if *real != repo {
        return Reply::new(307, "").with("Location", asked.path.replacen(&repo, real, 1));
    }
    let of_branch = |(name, files): &(&String, &BTreeMap<String, Held>)| {
        name.strip_prefix(&format!("{real}@")).is_some_and(|rev| rev == revision || commit(files) == revision)
    };
    let branch = repos.iter().find(of_branch).map(|(_, files)| files);
    let files = branch.unwrap_or(files);
    let commit = commit(files);
    if branch.is_none() && ![&commit, "main", "refs/pr/1"].contains(&revision.as_str()) {
        return refused(404, "RevisionNotFound", "Invalid rev id");
    }
    let Some(file) = file else {
        if asked.path.contains("/tree/") {
            return Reply::new(200, tree(files)).with("Content-Type", "application/json");
        }
        let siblings: Vec<String> = files
            .iter()
            .map(|(name, held)| {
                let (size, git) = (held.content.len(), &held.git);
                let large = match is_large(name, size) {
                    true => format!(
                        ",\"lfs\":{{\"sha256\":\"{}\",\"size\":{size},\"pointerSize\":135}}",
                        held.sha256
                    ),
                    false => String::new(),
                };
                format!("{{\"rfilename\":\"{name}\",\"size\":{size},\"blobId\":\"{git}\"{large}}}")
            })
            .collect();
        let json =
            format!("{{\"id\":\"{real}\",\"sha\":\"{commit}\",\"siblings\":[{}]}}", siblings.join(","));
        return Reply::new(200, json).with("Content-Type", "application/json");
    };
    // Requests come at a time: one of them takes the last refusal.
    let refusal = || {
        let refuse = &mut shared.lock().unwrap().refuse;
        refuse.1 = refuse.1.checked_sub(1)?;
        Some(refuse.0)
    };
    if let Some(status) = refusal() {
        return Reply::new(status, "not now").with("RateLimit", "\"resolvers\";r=0;t=1");
    }
    let Some(held) = files.get(&file) else { return refused(404, "EntryNotFound", "Entry not found") };
    if !is_large(&file, held.content.len()) {
        return Reply::file(asked, &held.content, &format!("\"{}\"", held.git)).with("X-Repo-Commit", commit);
    }
    let until = faults.expire.map_or(u128::MAX, |good| (begun.elapsed() + good).as_millis());
    // Another host name than the hub's, so that a client which keeps its token is found out.
    Reply::new(302, "")
        .with("Location", format!("http://localhost:{port}/cdn/{repo}/{file}?until={until}"))
        .with("X-Linked-Etag", format!("\"{}\"", held.sha256))
        .with("X-Linked-Size", held.content.len())
        .with("X-Repo-Commit", commit)
}

/// The files of a commit, as those who check a cache ask for them.
fn tree(files: &BTreeMap<String, Held>) -> String {
    let file = |(name, held): (&String, &Held)| {
        let (size, git) = (held.content.len(), &held.git);
        let large = match is_large(name, size) {
            true => format!(",\"lfs\":{{\"oid\":\"{}\",\"size\":{size},\"pointerSize\":135}}", held.sha256),
            false => String::new(),
        };
        format!("{{\"type\":\"file\",\"path\":\"{name}\",\"size\":{size},\"oid\":\"{git}\"{large}}}")
    };
    format!("[{}]", files.iter().map(file).collect::<Vec<_>>().join(","))
}

fn weights(
    asked: &Asked,
    faults: &Faults,
    shared: &Mutex<Faults>,
    repos: &Repos,
    name: &str,
    begun: Instant,
) -> Reply {
    if asked.header("authorization").is_some() {
        return Reply::new(400, "only one way to say who you are");
    }
    let until: u128 = asked.query.strip_prefix("until=").and_then(|t| t.parse().ok()).unwrap_or(0);
    if begun.elapsed().as_millis() > until {
        return Reply::new(403, "Request has expired");
    }
    let second = name.match_indices('/').nth(1);
    let held = second.and_then(|(at, _)| repos.get(&name[..at])?.get(&name[at + 1..])).cloned();
    let Some(mut held) = held else { return Reply::new(404, "") };
    let count = {
        let mut shared = shared.lock().unwrap();
        shared.weights_sent += 1;
        shared.weights_sent
    };
    if faults.change_after.is_some_and(|after| count > after) {
        held = Held::new(held.content.iter().map(|b| b ^ 1).collect());
    }
    if faults.no_ranges {
        return Reply::new(200, &held.content[..]);
    }
    let mut reply = Reply::file(asked, &held.content, &format!("\"{}\"", held.sha256));
    reply.rate = faults.rate;
    reply.cut = faults
        .cut
        .filter(|n| count.is_multiple_of(*n) && reply.body.len() > 1000)
        .map(|_| reply.body.len() / 2);
    reply
}
