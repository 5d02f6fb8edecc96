//! A web server on loopback for tests: what a handler answers is sent as it says, also where no honest server would.
#![allow(dead_code, reason = "every test file uses another part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    /// What came with it; of what was seen only short ones are kept.
    pub body: Arc<Vec<u8>>,
}

/// Bodies that are kept of what was seen.
const SHORT: usize = 1 << 16;

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The bytes that are asked for of so many.
    pub fn range(&self, length: usize) -> Option<std::ops::Range<usize>> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let first: usize = first.parse().ok()?;
        let last = last.parse().map_or(length, |last: usize| length.min(last + 1));
        (first < last).then_some(first..last)
    }
}

/// What is answered.
#[derive(Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Send no more than this much of the body, and hang up.
    pub cut: Option<usize>,
    /// Leave out the length of the body.
    pub without_length: bool,
    /// Bytes a second, if they are limited.
    pub rate: Option<usize>,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, body: body.into(), ..Reply::default() }
    }

    pub fn with(mut self, name: &str, value: impl ToString) -> Reply {
        self.headers.push((name.to_string(), value.to_string()));
        self
    }

    /// `content` with this tag, or the part of it that was asked for.
    pub fn file(asked: &Asked, content: &[u8], tag: &str) -> Reply {
        let tagged = |reply: Reply| reply.with("ETag", tag).with("Accept-Ranges", "bytes");
        if asked.header("if-match").is_some_and(|wanted| wanted != tag) {
            return tagged(Reply::new(412, ""));
        }
        match asked.header("range").map(|_| asked.range(content.len())) {
            None => tagged(Reply::new(200, content)),
            Some(None) => Reply::new(416, "").with("Content-Range", format!("bytes */{}", content.len())),
            Some(Some(part)) => {
                let told = format!("bytes {}-{}/{}", part.start, part.end - 1, content.len());
                tagged(Reply::new(206, &content[part])).with("Content-Range", told)
            }
        }
    }
}

type Handler = dyn Fn(&Asked) -> Reply + Send + Sync;

/// A server that runs as long as it is held.
pub struct Server {
    pub port: u16,
    seen: Arc<Mutex<Vec<Asked>>>,
    stopped: Arc<std::sync::atomic::AtomicBool>,
}

impl Server {
    pub fn start(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let stopped = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (handler, list, over): (Arc<Handler>, _, _) =
            (Arc::new(handler), Arc::clone(&seen), Arc::clone(&stopped));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                let (handler, list) = (Arc::clone(&handler), Arc::clone(&list));
                std::thread::spawn(move || serve(&stream, &*handler, &list));
            }
        });
        Server { port, seen, stopped }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All that was asked so far.
    pub fn seen(&self) -> Vec<Asked> {
        self.seen.lock().unwrap().clone()
    }

    pub fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, std::sync::atomic::Ordering::Relaxed);
        // Wakes the thread that listens.
        _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: &TcpStream, handler: &Handler, seen: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read(&mut reader, stream) {
        let mut short = asked.clone();
        if short.body.len() > SHORT {
            short.body = Arc::default();
        }
        seen.lock().unwrap().push(short);
        let reply = handler(&asked);
        if send(stream, &asked, &reply).is_err() || reply.cut.is_some() || reply.without_length {
            _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}

fn read(reader: &mut impl BufRead, mut stream: &TcpStream) -> Option<Asked> {
    let mut line = String::new();
    reader.take(1 << 16).read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_string(), words.next()?.to_string());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.take(1 << 16).read_line(&mut line).ok().filter(|n| *n > 0)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_string(), value.to_string())),
            None => break,
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut asked =
        Asked { method, path: decoded(path), query: query.to_string(), headers, body: Arc::default() };
    let length: u64 = asked.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    if asked.header("expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body).ok().filter(|n| *n as u64 == length)?;
    asked.body = Arc::new(body);
    Some(asked)
}

fn decoded(path: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = path.bytes();
    while let Some(b) = bytes.next() {
        let hex =
            (b == b'%').then(|| [bytes.next(), bytes.next()].into_iter().flatten().map(char::from).collect());
        out.push(hex.and_then(|hex: String| u8::from_str_radix(&hex, 16).ok()).unwrap_or(b));
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn send(mut stream: &TcpStream, asked: &Asked, reply: &Reply) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let has_length = reply.headers.iter().any(|(name, _)| name == "Content-Length");
    if !reply.without_length && !has_length {
        head += &format!("Content-Length: {}\r\n", reply.body.len());
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if asked.method == "HEAD" {
        return Ok(());
    }
    let body = &reply.body[..reply.cut.unwrap_or(reply.body.len()).min(reply.body.len())];
    match reply.rate {
        None => stream.write_all(body),
        Some(rate) => body.chunks((rate / 50).max(1)).try_for_each(|part| {
            std::thread::sleep(Duration::from_millis(20));
            stream.write_all(part)
        }),
    }
}
