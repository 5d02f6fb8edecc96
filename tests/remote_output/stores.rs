//! Outputs that go to a store with the interface of Amazon, which is busy, forgets, lies, and lets others come first. The real
//! servers are asked by `.ci/test-stores`.

use super::run::{Ran, ran, trio};
use super::says;
use super::server::{Asked, Reply, Server};
use md5::{Digest, Md5};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// A bucket, and what goes wrong.
#[derive(Default)]
struct Held {
    /// Each with the SHA-256 that stands beside it.
    objects: BTreeMap<String, (Vec<u8>, String)>,
    uploads: BTreeMap<String, (String, BTreeMap<usize, Vec<u8>>)>,
    begun: usize,
    ended: usize,
    /// What is said of the next upload that is to end, and whether it ends.
    end_says: Option<(u16, &'static str, bool)>,
    /// The answer to the next end does not come.
    lose_end: bool,
    /// The next part comes damaged.
    damage: bool,
    /// Parts from this one on are answered with 503, to be asked again after five minutes.
    busy_from: Option<usize>,
    /// Before the next upload ends somebody else puts an object there.
    meanwhile: bool,
    /// `If-None-Match` is not heeded.
    is_careless: bool,
    /// Uploads may not be given up.
    keeps_all: bool,
    /// So many more reads of an object are answered before it is replaced by another of the same length.
    replaced_after: Option<usize>,
    /// `If-Match` is not heeded.
    ignores_match: bool,
}

const ENDED: &str = "<CompleteMultipartUploadResult><ETag>\"x-2\"</ETag></CompleteMultipartUploadResult>";

impl Held {
    fn answer(&mut self, asked: &Asked) -> Reply {
        let key = asked.path.trim_start_matches("/models").trim_start_matches('/').to_string();
        let query: BTreeMap<&str, &str> =
            asked.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        let upload = query.get("uploadId").copied();
        let no = query.get("partNumber").and_then(|no| no.parse::<usize>().ok());
        match (asked.method.as_str(), upload) {
            ("GET", _) if key.is_empty() => Reply::new(
                200,
                "<ListBucketResult><Name>models</Name><KeyCount>0</KeyCount><MaxKeys>1</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>",
            ),
            ("GET", None) => match self.objects.get(&key) {
                None => Reply::new(404, "<Error><Code>NoSuchKey</Code></Error>"),
                Some((content, sha256)) => {
                    let tag = self.replaced_after.map_or("\"x\"", |left| match left {
                        0 => "\"y\"",
                        _ => "\"x\"",
                    });
                    self.replaced_after = self.replaced_after.map(|left| left.saturating_sub(1));
                    let asked = if self.ignores_match { &unconditional(asked) } else { asked };
                    Reply::file(asked, content, tag).with("x-amz-meta-sha256", sha256)
                }
            },
            ("GET", Some(id)) => self.list(id),
            ("POST", None) => {
                self.begun += 1;
                let id = format!("u{}", self.begun);
                let sha256 = asked.header("x-amz-meta-sha256").unwrap_or_default().to_string();
                self.uploads.insert(id.clone(), (sha256, BTreeMap::new()));
                Reply::new(
                    200,
                    format!(
                        "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                    ),
                )
            }
            ("PUT", Some(id)) => self.part(asked, id, no.unwrap()),
            ("POST", Some(id)) => self.end(asked, &key, id),
            ("DELETE", Some(_)) if self.keeps_all => {
                Reply::new(403, "<Error><Code>AccessDenied</Code></Error>")
            }
            ("DELETE", Some(id)) => {
                self.uploads.remove(id);
                Reply::new(204, "")
            }
            _ => Reply::new(400, ""),
        }
    }

    /// A list that never ends.
    fn list(&self, id: &str) -> Reply {
        let Some((_, parts)) = self.uploads.get(id) else { return unknown() };
        let part = |(no, bytes): (&usize, &Vec<u8>)| {
            format!(
                "<Part><PartNumber>{no}</PartNumber><ETag>&quot;{}&quot;</ETag><Size>{}</Size></Part>",
                sum(bytes),
                bytes.len()
            )
        };
        let parts: String = parts.iter().map(part).collect();
        let more = "<IsTruncated>true</IsTruncated><NextPartNumberMarker>1</NextPartNumberMarker>";
        Reply::new(200, format!("<ListPartsResult>{parts}{more}</ListPartsResult>"))
    }

    fn part(&mut self, asked: &Asked, id: &str, no: usize) -> Reply {
        if self.busy_from.is_some_and(|from| no >= from) {
            return Reply::new(503, "<Error><Code>SlowDown</Code></Error>").with("Retry-After", 300);
        }
        let mut body = asked.body.to_vec();
        if std::mem::take(&mut self.damage) {
            body[7] ^= 1;
        }
        let told = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, Md5::digest(&body));
        if asked.header("content-md5") != Some(told.as_str()) {
            return Reply::new(400, "<Error><Code>BadDigest</Code></Error>");
        }
        let Some((_, parts)) = self.uploads.get_mut(id) else { return unknown() };
        let tag = format!("\"{}\"", sum(&body));
        parts.insert(no, body);
        Reply::new(200, "").with("ETag", tag)
    }

    fn end(&mut self, asked: &Asked, key: &str, id: &str) -> Reply {
        if std::mem::take(&mut self.meanwhile) {
            self.objects.insert(key.to_string(), (b"theirs".to_vec(), String::new()));
        }
        let is_new = asked.header("if-none-match").is_some() && !self.is_careless;
        if is_new && self.objects.contains_key(key) {
            return Reply::new(412, "<Error><Code>PreconditionFailed</Code></Error>");
        }
        let says = self.end_says.take();
        if let Some((status, text, false)) = says {
            return Reply::new(status, text);
        }
        let Some((sha256, parts)) = self.uploads.remove(id) else { return unknown() };
        self.objects.insert(key.to_string(), (parts.into_values().flatten().collect(), sha256));
        self.ended += 1;
        if std::mem::take(&mut self.lose_end) {
            return Reply { cut: Some(0), ..Reply::new(200, ENDED) };
        }
        says.map_or(Reply::new(200, ENDED), |(status, text, _)| Reply::new(status, text))
    }
}

/// The same without a condition.
fn unconditional(asked: &Asked) -> Asked {
    let mut asked = asked.clone();
    asked.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("if-match"));
    asked
}

fn unknown() -> Reply {
    Reply::new(404, "<Error><Code>NoSuchUpload</Code></Error>")
}

fn sum(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

struct Bucket {
    dir: tempfile::TempDir,
    server: Server,
    held: Arc<Mutex<Held>>,
}

/// The output has two parts.
const WORDS: &str = "convert %cp --type F32 -o s3://models/out/x.gguf";

impl Bucket {
    fn new() -> Bucket {
        let held: Arc<Mutex<Held>> = Arc::default();
        let shared = Arc::clone(&held);
        let server = Server::start(move |asked| shared.lock().unwrap().answer(asked));
        Bucket { dir: tempfile::tempdir().unwrap(), server, held }
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ggraft"));
        let trio = format!("{}/", trio("").display());
        command.args(words.split_whitespace().map(|word| word.replace('%', &trio)));
        super::hub::alone(&mut command, &self.dir.path().join("home"));
        let own = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("AWS_"));
        own.for_each(|name| _ = command.env_remove(name));
        command.current_dir(self.dir.path()).env("AWS_ENDPOINT_URL", self.server.url());
        command.envs([("AWS_ACCESS_KEY_ID", "ci"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
        command.envs([("AWS_REGION", "us-east-1"), ("AWS_ALLOW_HTTP", "true")]);
        command
    }

    fn ggraft(&self, words: &str) -> Ran {
        ran(&mut self.command(words))
    }

    /// After a fault, a run that succeeds; how often an upload was begun.
    #[track_caller]
    fn goes(&self, fault: impl FnOnce(&mut Held)) -> usize {
        *self.held.lock().unwrap() = Held::default();
        fault(&mut self.held.lock().unwrap());
        self.ggraft(WORDS).ok();
        let held = self.held.lock().unwrap();
        let (content, _) = &held.objects["out/x.gguf"];
        assert!(*content == std::fs::read(self.whole()).unwrap() && held.ended == 1);
        // One is begun to see whether it may be.
        held.begun - 1
    }

    /// The same output here.
    fn whole(&self) -> PathBuf {
        let path = self.dir.path().join("whole.gguf");
        if !path.exists() {
            self.ggraft("convert %cp --type F32 -o whole.gguf").ok();
        }
        path
    }
}

#[test]
fn a_store_that_has_not_done_what_it_says_is_asked_again() {
    let bucket = Bucket::new();
    let error = "<Error><Code>InternalError</Code></Error>";
    for says in [error, "", "<CompleteMulti", "<Error>what?</Error>"] {
        assert_eq!(bucket.goes(|held| held.end_says = Some((200, says, false))), 1, "{says}");
    }
    // It was done, and the answer was lost, or tells nothing.
    assert_eq!(bucket.goes(|held| held.lose_end = true), 1);
    assert_eq!(bucket.goes(|held| held.end_says = Some((200, "", true))), 1);
    // The upload is of no use after a conflict, or was forgotten.
    let conflict = "<Error><Code>ConditionalRequestConflict</Code></Error>";
    assert_eq!(bucket.goes(|held| held.end_says = Some((409, conflict, false))), 2);
    let forgotten = "<Error><Code>NoSuchUpload</Code></Error>";
    assert_eq!(bucket.goes(|held| held.end_says = Some((404, forgotten, false))), 2);
    assert_eq!(bucket.goes(|held| held.damage = true), 1);
    assert_eq!(bucket.goes(|held| held.keeps_all = true), 1);
    // A yes for what is not there is none.
    *bucket.held.lock().unwrap() = Held { end_says: Some((200, ENDED, false)), ..Held::default() };
    says(&bucket.ggraft(WORDS), 5, &["s3://models/out/x.gguf", "has another or none"]);
}

#[test]
fn an_object_that_appears_meanwhile_stays() {
    let bucket = Bucket::new();
    for is_careless in [false, true] {
        *bucket.held.lock().unwrap() = Held { is_careless, ..Held::default() };
        bucket.held.lock().unwrap().objects.insert("out/x.gguf".into(), (b"mine".to_vec(), String::new()));
        says(&bucket.ggraft(WORDS), 1, &["the output exists", "s3://models/out/x.gguf"]);
    }
    *bucket.held.lock().unwrap() = Held { meanwhile: true, ..Held::default() };
    says(&bucket.ggraft(WORDS), 1, &["the output exists", "meanwhile"]);
    assert_eq!(bucket.held.lock().unwrap().objects["out/x.gguf"].0, b"theirs");
    bucket.ggraft(&format!("{WORDS} --force")).ok();
    assert_eq!(
        bucket.held.lock().unwrap().objects["out/x.gguf"].0.len() as u64,
        std::fs::metadata(bucket.whole()).unwrap().len()
    );
}

#[test]
fn an_object_that_is_replaced_while_it_is_read_is_an_error_and_leaves_nothing() {
    let bucket = Bucket::new();
    let content = std::fs::read(bucket.whole()).unwrap();
    let words = "convert s3://models/in.gguf --type Q8_0 --fetch-memory 1M --connections 1 -o y.gguf";
    let reset = |replaced_after, ignores_match| {
        let objects = BTreeMap::from([("in.gguf".into(), (content.clone(), String::new()))]);
        *bucket.held.lock().unwrap() = Held { objects, replaced_after, ignores_match, ..Held::default() };
    };
    reset(None, false);
    bucket.ggraft(words).ok();
    let reads = bucket.server.seen().iter().filter(|asked| asked.path.ends_with("in.gguf")).count();
    std::fs::remove_file(bucket.dir.path().join("y.gguf")).unwrap();
    for ignores_match in [false, true] {
        reset(Some(reads - 3), ignores_match);
        let ran = bucket.ggraft(words);
        says(&ran, 5, &["the file changed while it was read", "s3://models/in.gguf"]);
        let names = std::fs::read_dir(bucket.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with('y')).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_wait_for_a_store_and_the_next_run_sends_the_rest() {
    use std::process::Stdio;
    use std::time::{Duration, Instant};
    let bucket = Bucket::new();
    bucket.held.lock().unwrap().busy_from = Some(2);
    let mut child = bucket.command(WORDS).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    let has_one = || bucket.held.lock().unwrap().uploads.values().any(|(_, parts)| parts.contains_key(&1));
    let is_busy = || bucket.server.seen().iter().any(|asked| asked.query.contains("partNumber=2"));
    while !(has_one() && is_busy()) && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut kill = Command::new("kill");
    assert_eq!(ran(kill.args(["-INT", &child.id().to_string()])).code, 0);
    let code = child.wait().unwrap().code();
    assert!(code == Some(130) && begun.elapsed() < Duration::from_secs(60), "{code:?}");
    bucket.held.lock().unwrap().busy_from = None;
    bucket.server.forget();
    says(&bucket.ggraft(WORDS).ok(), 0, &["written by an earlier run"]);
    let parts = bucket.server.seen().into_iter().filter(|asked| asked.method == "PUT");
    assert_eq!(parts.count(), 1, "the first part was there");
}

#[test]
fn a_key_that_is_no_path_on_every_machine_is_refused() {
    let bucket = Bucket::new();
    for key in ["a\\b.gguf", "C:/x.gguf"] {
        says(&bucket.ggraft(&format!("convert %cp --type Q8_0 -o s3://models/{key}")), 2, &["called so"]);
    }
    assert!(bucket.server.seen().is_empty());
}
