//! What a hub refuses is told in words that help: which model, which file, what to do. What a hostile server sends ends
//! in an error, soon and in little memory. The token goes to the hub alone.

#[path = "support/hub.rs"]
mod hub;
#[path = "support/run.rs"]
mod run;
#[path = "support/server.rs"]
mod server;

use hub::{Faults, Hub};
use run::{Ran, ran, trio};
use server::{Asked, Reply, Server};
use std::process::Command;
use std::time::{Duration, Instant};

fn inspect(hub: &Hub, token: Option<&str>, words: &str) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ggraft"));
    command.args(words.split_whitespace()).current_dir(dir.path());
    hub.known_to(&mut command, &dir.path().join("home"));
    token.map(|token| command.env("HF_TOKEN", token));
    ran(&mut command)
}

#[track_caller]
fn says(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
    words.iter().for_each(|word| assert!(ran.err.contains(word), "no '{word}' in {}", ran.err));
}

#[test]
fn what_the_hub_refuses_is_told_with_what_to_do() {
    let hub = Hub::with_trio();
    let inspect = |token: Option<&str>, name: &str| inspect(&hub, token, &format!("inspect {name}"));
    says(&inspect(None, "acme/none"), 5, &["hf://acme/none", "no such model", "private", "HF_TOKEN"]);
    says(
        &inspect(Some("t"), "acme/none"),
        5,
        &["hf://acme/none", "no such model, or the token may not read it"],
    );
    says(&inspect(None, "acme/cp@v9"), 5, &["hf://acme/cp@v9", "no such revision"]);
    says(
        &inspect(None, "hf://acme/cp/x.gguf"),
        5,
        &["hf://acme/cp/x.gguf", "no such file", "model.safetensors"],
    );
    inspect(None, "acme/cp@refs/pr/1").ok();
    let ran = inspect(None, "ACME/Cp").ok();
    assert!(ran.out.contains("hf://acme/cp@"), "as the hub spells it: {}", ran.out);
    hub.fail(|f| {
        *f = Faults { gated: vec!["acme/chat".into()], token: Some("sesame".into()), ..Faults::default() }
    });
    let page = "https://huggingface.co/acme/chat";
    says(&inspect(None, "acme/chat"), 5, &["hf://acme/chat", "granted to persons", page, "HF_TOKEN"]);
    says(&inspect(Some("wrong"), "acme/chat"), 5, &["not granted to the owner of the token", page]);
    inspect(Some("sesame"), "acme/chat").ok();
    says(&inspect(None, "s3://bucket/x.gguf"), 4, &["s3://", "signed https://"]);
    says(&inspect(None, "hf://a/b/../c"), 2, &["hf://org/name"]);
    says(&inspect(None, "none/of/these"), 5, &["none/of/these"]);
}

#[test]
fn a_server_that_is_gone_or_busy_for_good_is_told() {
    let hub = Hub::with_trio();
    hub.fail(|f| f.refuse = (503, 1_000));
    let begun = Instant::now();
    says(&inspect(&hub, None, "inspect acme/cp"), 5, &["not able to answer", "tried", "model.safetensors"]);
    let mut gone = Hub::start();
    gone.server.port = 1;
    says(&inspect(&gone, None, "inspect acme/cp"), 5, &["hf://acme/cp", "cannot be read", "tried"]);
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let hub = Hub::with_trio();
    // The host of weights refuses who shows a token, so a token that is not kept back ends the run.
    let ran = inspect(
        &hub,
        Some("hf_secret"),
        "convert acme/cp --type Q8_0 --verbose --json --report r.json -o x.gguf",
    )
    .ok();
    assert!(!ran.err.contains("hf_secret") && !ran.out.contains("hf_secret"));
    let seen = hub.server.seen();
    let has = |asked: &&Asked| asked.header("authorization").is_some();
    assert!(seen.iter().filter(|a| !a.path.starts_with("/cdn/")).all(|a| has(&a)));
    assert!(seen.iter().filter(|a| a.path.starts_with("/cdn/")).count() > 0);
    assert!(!seen.iter().filter(|a| a.path.starts_with("/cdn/")).any(|a| has(&a)));
    // An address of another host is asked without it.
    let other = Server::start(|asked| Reply::file(asked, b"GGUF", "\"x\""));
    inspect(&hub, Some("hf_secret"), &format!("inspect {}/x.gguf", other.url()));
    assert!(!other.seen().is_empty() && !other.seen().iter().any(|a| a.header("authorization").is_some()));
}

/// What `inspect` of a GGUF at a server says.
fn at(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Ran {
    let (hub, site) = (Hub::start(), Server::start(handler));
    let begun = Instant::now();
    let ran = inspect(&hub, None, &format!("inspect {}/x.gguf", site.url()));
    assert!(begun.elapsed() < Duration::from_secs(45), "{:?}: {}", begun.elapsed(), ran.err);
    ran
}

#[test]
fn hostile_servers_end_in_errors() {
    let part =
        |told: &'static str| move |_: &Asked| Reply::new(206, vec![0; 100]).with("Content-Range", told);
    says(&at(|_| Reply::new(200, vec![0; 1 << 20])), 4, &["does not give parts", "download"]);
    says(&at(part("bytes 0-99/50")), 5, &["which part"]);
    says(&at(part("bytes 5-104/1000")), 5, &["another part"]);
    says(&at(part("bytes 0-49/100")), 5, &["another part"]);
    says(&at(part("nonsense")), 5, &["which part", "nonsense"]);
    says(
        &at(|_| Reply::new(206, "").with("Content-Range", "bytes 0-99/18446744073709551616")),
        5,
        &["which part"],
    );
    let gzip = |asked: &Asked| Reply::file(asked, &[0; 100], "\"x\"").with("Content-Encoding", "gzip");
    says(&at(gzip), 4, &["encoded", "gzip"]);
    let to = |place: &'static str| move |_: &Asked| Reply::new(302, "").with("Location", place);
    for place in ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x", "", "http://me:pw@127.0.0.1/x"] {
        let ran = at(to(place));
        says(&ran, 3, &["a place that is not read"]);
        assert!(!ran.err.contains("pw"), "{}", ran.err);
    }
    says(&at(to("/x.gguf")), 3, &["in circles"]);
    let long =
        |_: &Asked| (0..1000).fold(Reply::new(206, ""), |r, i| r.with(&format!("X-{i}"), "y".repeat(5000)));
    says(&at(long), 3, &["headers"]);
    // A header that promises more than it holds: as of a file that lies here.
    let header = |strings: u64| {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
        bytes.extend(b"k\x09\0\0\0\x08\0\0\0");
        bytes.extend(strings.to_le_bytes());
        bytes
    };
    let huge = move |asked: &Asked| {
        // It says that it is a terabyte, and has nothing of it.
        let bytes = header(1 << 29);
        let length = bytes.len();
        let range = asked.range(1 << 40).unwrap_or(0..0);
        let sent = &bytes[range.start.min(length)..range.end.min(length)];
        let mut body = sent.to_vec();
        body.resize(range.len().min(1 << 21), 0xff);
        let told = format!("bytes {}-{}/{}", range.start, range.start + body.len().max(1) - 1, 1u64 << 40);
        Reply::new(206, body).with("Content-Range", told)
    };
    let ran = at(huge);
    assert!(matches!(ran.code, 3 | 5), "{}", ran.err);
}

#[test]
fn a_tag_that_changes_with_every_answer_is_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.gguf");
    run::ggraft([&"convert".into(), &trio("cp"), &"--type".into(), &"F16".into(), &"-o".into(), &file]).ok();
    let content = std::fs::read(&file).unwrap();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let (hub, site) = (
        Hub::start(),
        Server::start(move |asked| {
            let tag = format!("\"{}\"", count.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            let mut without = asked.clone();
            // As servers that ignore the condition.
            without.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("if-match"));
            Reply::file(&without, &content, &tag)
        }),
    );
    says(&inspect(&hub, None, &format!("hash {}/x.gguf", site.url())), 5, &["changed while it was read"]);
}

#[test]
fn an_answer_about_a_model_that_lies_is_refused() {
    let sha = "0".repeat(40);
    for (json, word) in [
        ("[".repeat(100_000), "not valid JSON"),
        ("{}".into(), "no commit"),
        (format!("{{\"sha\":\"{sha}\"}}"), "no files"),
        ("{\"sha\":\"../../x\",\"siblings\":[]}".into(), "no commit"),
        (format!("{{\"id\":\"../x\",\"sha\":\"{sha}\",\"siblings\":[]}}"), "no name"),
        (format!("{{\"sha\":\"{sha}\",\"siblings\":[{{\"rfilename\":\"../../x.json\"}}]}}"), "outside"),
        (
            format!(
                "{{\"sha\":\"{sha}\",\"siblings\":[{{\"rfilename\":\"model.safetensors\",\"size\":7}}]}}"
            ),
            "not as long",
        ),
    ] {
        let hub = Hub {
            server: Server::start(move |asked| match asked.path.starts_with("/api/") {
                true => Reply::new(200, json.clone()),
                false => Reply::file(asked, &[0; 100], "\"x\""),
            }),
            ..Hub::start()
        };
        let ran = inspect(&hub, None, "inspect acme/cp");
        assert!(matches!(ran.code, 3 | 5) && ran.err.contains(word), "'{word}' in {}", ran.err);
    }
}

#[test]
fn bodies_without_end_are_not_read_to_it() {
    let endless = |_: &Asked| Reply { without_length: true, ..Reply::new(200, vec![b' '; 80 << 20]) };
    let hub = Hub { server: Server::start(endless), ..Hub::start() };
    says(&inspect(&hub, None, "inspect acme/cp"), 3, &["too long"]);
    let long = |_: &Asked| Reply::new(200, "x").with("Content-Length", 1u64 << 50);
    let hub = Hub { server: Server::start(long), ..Hub::start() };
    says(&inspect(&hub, None, "inspect acme/cp"), 3, &["too long"]);
}
