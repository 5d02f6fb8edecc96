//! Hubs that lie about uploads.

use super::hub::Hub;
use super::{Bench, CONVERT, says, server};

/// A hub that takes files in general, and says `batch` of where a large one goes, or `kept` of how files are kept.
fn hub_that_says(kept: Option<&'static str>, batch: &'static str) -> Hub {
    let answer = move |asked: &server::Asked| {
        let path = asked.path.as_str();
        if path.contains("/preupload/") {
            let body: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
            let mut files = body["files"].clone();
            for file in files.as_array_mut().unwrap() {
                file["uploadMode"] = "lfs".into();
            }
            let told = serde_json::json!({ "files": files }).to_string();
            return server::Reply::new(200, kept.map_or(told, String::from));
        }
        match path.ends_with("/batch") {
            true => server::Reply::new(200, batch),
            false => server::Reply::new(200, format!("{{\"sha\":\"{}\",\"siblings\":[]}}", "0".repeat(40))),
        }
    };
    Hub { server: server::Server::start(answer), ..Hub::start() }
}

#[test]
fn a_hub_that_lies_about_an_upload_is_refused() {
    let mut bench = Bench::new();
    let words = format!("{CONVERT} -o hf://acme/out/x.gguf");
    for (batch, word) in [
        ("[[[[", "not valid JSON"),
        ("{}", "tells of no file"),
        (r#"{"objects":[{"oid":"0","size":1,"actions":{}}]}"#, "another file"),
        (r#"{"objects":[{"actions":{"upload":{"href":"file:///etc/passwd"}}}]}"#, "none of https://"),
        (r#"{"objects":[{"actions":{"upload":{"href":"/x","header":{"chunk_size":0}}}}]}"#, "no size"),
        (
            r#"{"objects":[{"actions":{"upload":{"href":"/x","header":{"chunk_size":"1"}}}}]}"#,
            "too many parts",
        ),
        (
            r#"{"objects":[{"actions":{"upload":{"href":"/x","header":{"chunk_size":1000000,"1":"http://s/1","7":"http://s/7"}}}}]}"#,
            "not those of the parts",
        ),
        (r#"{"objects":[{"error":{"code":1,"message":"no room"}}]}"#, "'no room'"),
    ] {
        bench.hub = hub_that_says(None, batch);
        let ran = bench.ggraft(&words);
        assert!(matches!(ran.code, 3 | 5) && ran.err.contains(word), "{batch}: {}", ran.err);
    }
    for (kept, word) in [("{}", "lists no files"), (r#"{"files":[]}"#, "a file is missing")] {
        bench.hub = hub_that_says(Some(kept), "{}");
        says(&bench.ggraft(&words), 3, &[word]);
    }
    bench.hub = Hub {
        server: server::Server::start(|_| server::Reply::new(200, "x").with("Content-Length", 1u64 << 50)),
        ..Hub::start()
    };
    says(&bench.ggraft(&words), 3, &["too long"]);
    assert_eq!(bench.stages().len(), 1);
}

#[test]
fn a_commit_that_was_not_made_is_not_believed() {
    let bench = Bench::new();
    let words = format!("{CONVERT} -o hf://acme/out/x.gguf");
    let oid = r#"{"success":false,"commitOid":"0123456789012345678901234567890123456789"}"#;
    for said in ["{}", r#"{"success":true}"#, oid, r#"{"success":true,"commitOid":"x"}"#] {
        bench.hub.fail(|f| f.commits_say = Some(said));
        says(&bench.ggraft(&words), 3, &["it tells of no commit", "the outputs are whole, in"]);
        assert_eq!(bench.stages().len(), 1, "{said}");
    }
    // Nor one that does not hold the files.
    let other = r#"{"success":true,"commitOid":"0123456789012345678901234567890123456789"}"#;
    bench.hub.fail(|f| f.commits_say = Some(other));
    says(&bench.ggraft(&words), 5, &["does not hold what was sent", "the outputs are whole, in"]);
    bench.hub.fail(|f| f.commits_say = None);
    bench.ggraft(&words).ok();
    assert!(bench.stages().is_empty() && bench.hub.file("acme/out", "main", "x.gguf").is_some());
}
