//! The requests: GET and HEAD, POST, PUT and DELETE by one agent, redirects followed by our own rules, answers held to what
//! was asked, tried again where that can help. A token goes to the server that it is for, and nowhere else.

mod answer;
mod body;
mod ranged;
mod retry;
mod send;
mod stores;
mod url;

pub use answer::{Answer, tag as answer_tag};
#[cfg(feature = "stores")]
pub use body::poured;
pub use ranged::opened;
#[cfg(feature = "stores")]
pub use ranged::{Address, opened_at};
pub use retry::{Failure, PATIENT, Tries, patiently};
pub use send::{Send, piece};
#[cfg(feature = "stores")]
pub use stores::{code_in, of_code, of_writing};
pub use url::{Origin, encoded, joined};

use super::{Access, Stop, Stored};
use crate::error::{Error, Kind, Result};
use answer::Linked;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy};

/// Redirects that are followed from one request.
const MOST_REDIRECTS: usize = 8;
/// The longest headers of an answer.
const MOST_HEADERS: usize = 64 << 10;
/// How long a connection may take, and how long a server may say nothing, unless the user says otherwise.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);

/// What shows a server who asks.
pub trait Bearer: std::marker::Send + Sync {
    /// A token that is valid now; none, if none is needed.
    fn token(&self) -> Result<Option<String>>;

    /// What the server wants to see beside it.
    fn headers(&self) -> &[(&'static str, &'static str)] {
        &[]
    }
}

/// One that does not change.
impl Bearer for String {
    fn token(&self) -> Result<Option<String>> {
        Ok(Some(self.clone()))
    }
}

/// A token, and where it may go.
struct Token {
    bearer: Arc<dyn Bearer>,
    to: Origin,
}

/// Asks servers.
pub struct Client {
    agent: Agent,
    token: Option<Token>,
    /// How long a server may say nothing.
    silence: Duration,
    pub access: Access,
}

/// What is asked.
pub struct Ask<'a> {
    pub url: &'a str,
    /// Only to see what there is.
    pub head: bool,
    /// First and last byte.
    pub range: Option<(u64, u64)>,
    /// What the file must still be.
    pub tag: Option<&'a str>,
    /// What is told to people.
    pub what: &'a Path,
    pub stop: Stop<'a>,
}

impl Client {
    /// A client that gives `token` to the server at `endpoint`.
    pub fn new(access: &Access, token: Option<String>, endpoint: &str) -> Result<Arc<Client>> {
        Client::known_by(access, token.map(|token| Arc::new(token) as Arc<dyn Bearer>), endpoint)
    }

    /// The same, with tokens that are made when they are needed.
    pub fn known_by(access: &Access, bearer: Option<Arc<dyn Bearer>>, endpoint: &str) -> Result<Arc<Client>> {
        let to = Origin::of(endpoint);
        let token = bearer.zip(to).map(|(bearer, to)| Token { bearer, to });
        Ok(Arc::new(Client { agent: agent(access)?, token, silence: silence(), access: access.clone() }))
    }

    /// Whether there is a token for this address.
    pub fn knows(&self, url: &str) -> bool {
        self.token.as_ref().is_some_and(|token| Origin::of(url).as_ref() == Some(&token.to))
    }

    /// What a server gets to see of us: the token alone goes where it belongs.
    fn shown_to(&self, url: &str) -> Result<Vec<(&'static str, String)>> {
        let Some(token) = self.token.as_ref().filter(|_| self.knows(url)) else { return Ok(Vec::new()) };
        let mut all: Vec<_> =
            token.bearer.headers().iter().map(|(name, value)| (*name, value.to_string())).collect();
        all.extend(token.bearer.token()?.map(|secret| ("Authorization", format!("Bearer {secret}"))));
        Ok(all)
    }

    /// Asks once, and follows where it is sent.
    pub fn ask(&self, ask: &Ask<'_>) -> Result<Answer, Failure> {
        let (mut url, mut linked) = (ask.url.to_string(), Linked::default());
        for _ in 0..=MOST_REDIRECTS {
            if (ask.stop)() {
                return Err(Failure::Over(Error::new(Kind::Interrupted, "the fetching was stopped")));
            }
            let response = self.one(&url, ask)?;
            linked.add(response.headers());
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(Answer { linked, ..self.answered(response, url, ask.what) });
            }
            if let Some(error) = stores::elsewhere(response.headers(), ask.what) {
                return Err(Failure::Over(error));
            }
            // Sizes and hashes of what is behind it stand in the redirect of the hub, and are all that is wanted.
            if ask.head && linked.is_whole() && !url::is_same_host(&url, response.headers()) {
                return Ok(Answer { linked, ..self.answered(response, url, ask.what) });
            }
            let to = response.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or_default();
            url = joined(&url, to).ok_or_else(|| {
                let shown = super::locator::shown_address(to);
                let e = Error::invalid("the server sends us to a place that is not read").file(ask.what);
                let e = e.expected("an address of https:// or http://, as safe as the first one");
                Failure::Over(e.found(format!("'{}'", shown.display())))
            })?;
        }
        let e = Error::invalid("the server sends us in circles").file(ask.what);
        Err(Failure::Over(e.found(format!("more than {MOST_REDIRECTS} redirects"))))
    }

    /// An answer, and what a store says of its refusal.
    fn answered(&self, mut response: Response<Body>, url: String, what: &Path) -> Answer {
        let is_refusal = response.status().as_u16() >= 400 && Stored::of_shown(what).is_some();
        let code =
            if is_refusal { stores::code(&mut response, 2 * self.silence, what) } else { String::new() };
        Answer { response, url, linked: Linked::default(), grace: 2 * self.silence, code }
    }

    fn one(&self, url: &str, ask: &Ask<'_>) -> Result<Response<Body>, Failure> {
        self.access.traffic.asked();
        let request = if ask.head { self.agent.head(url) } else { self.agent.get(url) };
        let mut request = request.header("Accept", "*/*");
        for (name, value) in self.shown_to(url)? {
            request = request.header(name, value);
        }
        if let Some((first, last)) = ask.range {
            request = request.header("Range", format!("bytes={first}-{last}"));
        }
        // A weak tag matches nothing.
        if let Some(tag) = ask.tag.filter(|tag| tag.starts_with('"')) {
            request = request.header("If-Match", tag);
        }
        request.call().map_err(|e| retry::refused(&e, ask.what))
    }
}

/// How long a server may say nothing.
fn silence() -> Duration {
    let seconds = std::env::var("HF_HUB_DOWNLOAD_TIMEOUT").ok().and_then(|s| s.parse().ok());
    seconds.map_or(SILENCE, |seconds: u64| Duration::from_secs(seconds.clamp(1, 3600)))
}

/// What makes the requests.
pub fn agent(access: &Access) -> Result<Agent> {
    let silence = silence();
    let config = Agent::config_builder()
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .max_response_header_size(MOST_HEADERS)
        .max_idle_connections(4 * access.connections.max(1))
        .max_idle_connections_per_host(access.connections.max(1))
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(silence))
        .timeout_per_read(Some(silence))
        .accept_encoding("identity")
        .user_agent(concat!("ggraft/", env!("CARGO_PKG_VERSION")))
        .proxy(Proxy::try_from_env())
        .tls_config(tls()?)
        .build();
    Ok(config.new_agent())
}

/// The roots that the system trusts, with ring's algorithms.
fn tls() -> Result<TlsConfig> {
    static ROOTS: OnceLock<Arc<Vec<Certificate<'static>>>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        // What cannot be loaded is told where a server is not trusted for it.
        let found = rustls_native_certs::load_native_certs().certs;
        Arc::new(found.iter().map(|one| Certificate::from_der(one.as_ref()).to_owned()).collect())
    });
    let roots: Vec<Certificate<'static>> = roots.iter().cloned().collect();
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::from(roots.into_iter()))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}
