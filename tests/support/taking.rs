//! The half of the hub on loopback that takes files: repositories and branches are made, files go to a store of another
//! host name by addresses that expire, at once or in parts, and a commit names them.

use super::{Faults, Held, Repos, hex, is_large, refused};
use crate::server::{Asked, Reply};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// What was taken and is in no commit yet.
#[derive(Default)]
pub struct Store {
    /// By their SHA-256.
    pub objects: BTreeMap<String, Arc<Vec<u8>>>,
    /// The parts of files that are not whole.
    parts: BTreeMap<usize, BTreeMap<usize, Vec<u8>>>,
    pub private: Vec<String>,
    /// What was committed, a line each: the model, the revision, the summary.
    pub commits: Vec<String>,
}

/// What a request is answered with.
pub struct Taking<'a> {
    pub asked: &'a Asked,
    pub faults: &'a mut Faults,
    pub repos: &'a mut Repos,
    pub store: &'a mut Store,
    pub port: u16,
    pub begun: Instant,
}

fn told(value: &Value) -> Reply {
    Reply::new(200, value.to_string()).with("Content-Type", "application/json")
}

/// The files of a revision.
pub fn key(repo: &str, revision: &str) -> String {
    if revision == "main" { repo.to_string() } else { format!("{repo}@{revision}") }
}

impl Taking<'_> {
    pub fn answer(mut self) -> Reply {
        let path = self.asked.path.clone();
        if let Some(rest) = path.strip_prefix("/store/") {
            return self.put(rest);
        }
        // Its address is secret enough.
        if let ("/api/complete", Ok(body)) = (path.as_str(), serde_json::from_slice(&self.asked.body)) {
            return self.complete(&body);
        }
        if let Some(refusal) = self.stranger() {
            return refusal;
        }
        let body: Value = serde_json::from_slice(&self.asked.body).unwrap_or_default();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            ["api", "validate-yaml"] => told(&json!({ "errors": [], "warnings": [] })),
            ["api", "repos", "create"] => self.create(&body),
            ["api", "models", org, name, verb, revision @ ..] => {
                let (repo, revision) = (format!("{org}/{name}"), revision.join("/"));
                if !self.repos.contains_key(&repo) {
                    return refused(404, "RepoNotFound", "Repository not found");
                }
                if *verb == "branch" {
                    let files = self.repos[&repo].clone();
                    self.repos.insert(key(&repo, &revision), files);
                    return told(&json!({}));
                }
                match *verb {
                    "preupload" => preupload(&body),
                    "commit" => self.commit(&repo, &revision),
                    _ => Reply::new(404, ""),
                }
            }
            [org, _, "info", "lfs", "objects", "batch"] if !org.is_empty() => self.batch(&body),
            [_, _, "info", "lfs", "verify"] => {
                let oid = body["oid"].as_str().unwrap_or_default();
                Reply::new(if self.store.objects.contains_key(oid) { 200 } else { 404 }, "{}")
            }
            _ => Reply::new(404, ""),
        }
    }

    /// Refuses those who may not write.
    fn stranger(&self) -> Option<Reply> {
        let bearer = self.asked.header("authorization").and_then(|text| text.strip_prefix("Bearer "));
        match (self.faults.writer.as_deref(), bearer) {
            (None, Some(_)) => None,
            (Some(writer), Some(bearer)) if writer == bearer => None,
            (_, Some("hf_read")) => Some(refused(403, "", "this token has the role read")),
            _ => Some(refused(401, "", "Invalid username or password.")),
        }
    }

    fn create(&mut self, body: &Value) -> Reply {
        let repo = format!(
            "{}/{}",
            body["organization"].as_str().unwrap_or(""),
            body["name"].as_str().unwrap_or("")
        );
        if self.repos.contains_key(&repo) {
            return refused(409, "", "You already created this model repo");
        }
        if body["visibility"] == "private" {
            self.store.private.push(repo.clone());
        }
        let first = (String::from(".gitattributes"), Held::new(b"*.gguf filter=lfs\n".to_vec()));
        self.repos.insert(repo.clone(), BTreeMap::from([first]));
        told(&json!({ "url": format!("http://127.0.0.1:{}/{repo}", self.port), "name": repo }))
    }

    fn batch(&mut self, body: &Value) -> Reply {
        let home = format!("http://127.0.0.1:{}", self.port);
        let until = self.faults.expire.map_or(u128::MAX, |good| (self.begun.elapsed() + good).as_millis());
        let mut objects = Vec::new();
        for one in body["objects"].as_array().into_iter().flatten() {
            let (oid, size) = (one["oid"].as_str().unwrap(), one["size"].as_u64().unwrap() as usize);
            if self.store.objects.contains_key(oid) {
                objects.push(json!({ "oid": oid, "size": size }));
                continue;
            }
            let number = self.store.parts.len();
            self.store.parts.insert(number, BTreeMap::new());
            let place = format!("http://localhost:{}/store/{oid}?until={until}&upload={number}", self.port);
            let upload = match self.faults.part.filter(|part| size > *part) {
                None => json!({ "href": place }),
                Some(part) => {
                    let mut header = json!({ "chunk_size": part.to_string() });
                    for no in 1..=size.div_ceil(part) {
                        header[no.to_string()] = json!(format!("{place}&part={no}"));
                    }
                    json!({ "href": format!("{home}/api/complete?upload={number}"), "header": header })
                }
            };
            let path = self.asked.path.replace("objects/batch", "verify");
            let verify = json!({ "href": format!("{home}{path}") });
            objects
                .push(json!({ "oid": oid, "size": size, "actions": { "upload": upload, "verify": verify } }));
        }
        told(&json!({ "transfer": "basic", "objects": objects }))
    }

    fn put(&mut self, oid: &str) -> Reply {
        if self.asked.header("authorization").is_some() {
            return Reply::new(400, "only one way to say who you are");
        }
        let query: BTreeMap<&str, &str> =
            self.asked.query.split('&').filter_map(|p| p.split_once('=')).collect();
        if self.begun.elapsed().as_millis() > query["until"].parse().unwrap() {
            return Reply::new(403, "Request has expired");
        }
        if let (status, 1..) = self.faults.refuse_parts {
            self.faults.refuse_parts.1 -= 1;
            let reply = Reply::new(status, "not now");
            return self.faults.retry_after.map_or(reply.clone(), |after| reply.with("Retry-After", after));
        }
        if let Some(rate) = self.faults.rate {
            std::thread::sleep(std::time::Duration::from_secs_f64(
                self.asked.body.len() as f64 / rate as f64,
            ));
        }
        let (number, body) = (query["upload"].parse().unwrap(), self.asked.body.to_vec());
        match query.get("part") {
            None if hex(&Sha256::digest(&body)) != oid => return Reply::new(400, "BadDigest"),
            None => _ = self.store.objects.insert(oid.to_string(), Arc::new(body)),
            Some(part) => {
                let parts = self.store.parts.entry(number).or_default();
                parts.insert(part.parse().unwrap(), body);
            }
        }
        Reply::new(200, "").with("ETag", format!("\"{number}-{}\"", query.get("part").unwrap_or(&"0")))
    }

    fn complete(&mut self, body: &Value) -> Reply {
        let number = self.asked.query.strip_prefix("upload=").and_then(|n| n.parse().ok()).unwrap();
        let parts = self.store.parts.get(&number).cloned().unwrap_or_default();
        let told_parts = body["parts"].as_array().cloned().unwrap_or_default();
        let right = told_parts
            .iter()
            .all(|part| part["etag"] == format!("\"{number}-{}\"", part["partNumber"]).as_str());
        let whole: Vec<u8> = parts.values().flatten().copied().collect();
        let oid = body["oid"].as_str().unwrap_or_default();
        if !right || told_parts.len() != parts.len() || hex(&Sha256::digest(&whole)) != oid {
            return Reply::new(400, "the parts are not those of the file");
        }
        self.store.objects.insert(oid.to_string(), Arc::new(whole));
        told(&json!({ "success": true }))
    }

    fn commit(&mut self, repo: &str, revision: &str) -> Reply {
        let key = key(repo, revision);
        let Some(files) = self.repos.get(&key) else {
            return refused(404, "RevisionNotFound", "Invalid rev id");
        };
        let mut files = files.clone();
        if let Some(said) = self.faults.commits_say {
            return Reply::new(200, said);
        }
        if let Some((name, content)) = self.faults.meanwhile.take() {
            files.insert(name, Held::new(content));
            self.repos.insert(key.clone(), files.clone());
        }
        let (is, mut summary) = (super::commit(&files), String::new());
        for line in self.asked.body.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_slice(line).unwrap();
            let value = &line["value"];
            let path = value["path"].as_str().unwrap_or_default().to_string();
            match line["key"].as_str() {
                Some("header") if value["parentCommit"].as_str().is_some_and(|parent| parent != is) => {
                    return refused(412, "", "A commit has happened since. Please refresh and try again.");
                }
                Some("header") => summary = value["summary"].as_str().unwrap().to_string(),
                Some("file") => {
                    let content = base64::Engine::decode(
                        &base64::engine::general_purpose::STANDARD,
                        value["content"].as_str().unwrap(),
                    );
                    files.insert(path, Held::new(content.unwrap()));
                }
                Some("lfsFile") => {
                    let Some(object) = self.store.objects.get(value["oid"].as_str().unwrap()) else {
                        return refused(400, "", "the store has no such file");
                    };
                    files.insert(path, Held::new(object.to_vec()));
                }
                other => return refused(400, "", &format!("{other:?}")),
            }
        }
        let commit = super::commit(&files);
        self.repos.insert(key, files);
        self.store.commits.push(format!("{repo} {revision} {summary}"));
        if std::mem::take(&mut self.faults.lose_commit) {
            return Reply { cut: Some(0), ..Reply::new(200, "lost") };
        }
        let url = format!("http://127.0.0.1:{}/{repo}/commit/{commit}", self.port);
        told(&json!({ "success": true, "commitOid": commit, "commitUrl": url }))
    }
}

fn preupload(body: &Value) -> Reply {
    let file = |one: &Value| {
        let (path, size) = (one["path"].as_str().unwrap(), one["size"].as_u64().unwrap() as usize);
        let large = is_large(path, size);
        json!({ "path": path, "uploadMode": if large { "lfs" } else { "regular" }, "shouldIgnore": false })
    };
    told(&json!({ "files": body["files"].as_array().unwrap().iter().map(file).collect::<Vec<_>>() }))
}
