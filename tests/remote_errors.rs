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
    says(&inspect(None, "s3://bucket//x.gguf"), 2, &["s3://bucket/folder"]);
    if !cfg!(feature = "stores") {
        says(
            &inspect(None, "s3://bucket/x.gguf"),
            4,
            &["s3://bucket/x.gguf", "--features stores", "signed https://"],
        );
    }
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
fn packed_answers_are_not_unpacked() {
    use std::io::Write;
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    (0..64).for_each(|_| bomb.write_all(&vec![b' '; 1 << 20]).unwrap());
    let bomb = bomb.finish().unwrap();
    let packed = move |_: &Asked| Reply::new(200, bomb.clone()).with("Content-Encoding", "gzip");
    let hub = Hub { server: Server::start(packed.clone()), ..Hub::start() };
    says(&inspect(&hub, None, "inspect acme/cp"), 4, &["encoded", "gzip"]);
    says(&inspect(&hub_that_gives(packed), None, "inspect acme/cp"), 4, &["does not give parts"]);
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

/// A hub that says it has a model of one file, whose files it gives by `file`.
fn hub_that_gives(file: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Hub {
    let siblings = "[{\"rfilename\":\"config.json\"},{\"rfilename\":\"model.safetensors\"}]";
    let listing = format!("{{\"sha\":\"{}\",\"siblings\":{siblings}}}", "0".repeat(40));
    let answer = move |asked: &Asked| match asked.path.starts_with("/api/") {
        true => Reply::new(200, listing.clone()),
        false => file(asked),
    };
    Hub { server: Server::start(answer), ..Hub::start() }
}

#[test]
fn bodies_that_are_cut_again_and_again_are_given_up() {
    let begun = Instant::now();
    // As much of them comes as would count for a step forward where it is kept.
    let cut = |reply: Reply| Reply { cut: Some(100_000), ..reply };
    let listing = move |_: &Asked| cut(Reply::new(200, vec![b' '; 200_000]));
    let hub = Hub { server: Server::start(listing), ..Hub::start() };
    says(&inspect(&hub, None, "inspect acme/cp"), 5, &["hf://acme/cp", "broke off", "tried 4 times"]);
    let hub = hub_that_gives(move |asked| cut(Reply::file(asked, &[0; 200_000], "\"x\"")));
    says(&inspect(&hub, None, "inspect acme/cp"), 5, &["model.safetensors", "broke off", "tried 4 times"]);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn bodies_that_come_drop_by_drop_are_given_up() {
    let drops = |reply: Reply| Reply { rate: Some(50), ..reply };
    let without =
        move |_: &Asked| Reply { without_length: true, ..drops(Reply::new(200, vec![b' '; 5_000])) };
    let with = move |_: &Asked| drops(Reply::new(200, vec![b' '; 5_000]));
    let one = |hub: Hub| {
        let (dir, begun) = (tempfile::tempdir().unwrap(), Instant::now());
        let mut command = Command::new(env!("CARGO_BIN_EXE_ggraft"));
        command.args(["inspect", "acme/cp"]);
        hub.known_to(&mut command, dir.path());
        says(&ran(command.env("HF_HUB_DOWNLOAD_TIMEOUT", "1")), 5, &["less than a kilobyte a second"]);
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    };
    std::thread::scope(|scope| {
        scope.spawn(|| one(Hub { server: Server::start(without), ..Hub::start() }));
        one(Hub { server: Server::start(with), ..Hub::start() });
    });
}

/// Runs `inspect acme/cp` and gives the most memory that it held, too.
#[cfg(target_os = "linux")]
fn inspected(hub: &Hub) -> (Ran, u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ggraft"));
    hub.known_to(command.args(["inspect", "acme/cp"]), dir.path());
    let pipe = std::process::Stdio::piped;
    let mut child = run::begin(command.stdout(pipe()).stderr(pipe()));
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        most = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(most);
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap_or(-1);
    (Ran { code, out: text(output.stdout), err: text(output.stderr) }, most << 10)
}

#[cfg(target_os = "linux")]
#[test]
fn json_of_millions_of_values_takes_little_memory() {
    let values = |before: &str, value: &str, after: &str| {
        [before.as_bytes(), &value.as_bytes().repeat((60 << 20) / value.len()), after.as_bytes()].concat()
    };
    let sha = "0".repeat(40);
    let begin = format!("{{\"sha\":\"{sha}\",\"siblings\":[");
    for (listing, word) in [
        (values(&begin, "0,", "0]}"), "not valid JSON"),
        (values(&begin, "{\"rfilename\":\"a\"},", "{}]}"), "more than 100000 files"),
        (values("{\"tags\":[", "0,", "0]}"), "no commit"),
    ] {
        let hub = Hub { server: Server::start(move |_| Reply::new(200, listing.clone())), ..Hub::start() };
        let (ran, most) = inspected(&hub);
        says(&ran, 3, &[word]);
        assert!(most < 200 << 20, "{word}: {most} bytes");
    }
    let config = values("[", "0,", "0]");
    let header = b"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]}}";
    let weights = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
    let hub = hub_that_gives(move |asked| match asked.path.ends_with(".json") {
        true => Reply::new(200, config.clone()),
        false => Reply::file(asked, &weights, "\"x\""),
    });
    let (ran, most) = inspected(&hub);
    says(&ran, 3, &["config.json", "too many values"]);
    assert!(most < 300 << 20, "{most} bytes");
}
