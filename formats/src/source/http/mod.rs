//! The requests: GET and HEAD, POST and PUT by one agent, redirects followed by our own rules, answers held to what was asked, tried
//! again where that can help. The token goes to the hub's own address and nowhere else.

mod answer;
mod ranged;
mod retry;
mod send;
mod url;

pub use answer::{Answer, tag as answer_tag};
pub use ranged::opened;
pub use retry::{Failure, PATIENT, Tries, patiently};
pub use send::Send;
pub use url::{Origin, encoded, joined};

use super::{Access, Stop};
use crate::error::{Error, Kind, Result};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Proxy};

/// Redirects that are followed from one request.
const MOST_REDIRECTS: usize = 8;
/// The longest headers of an answer.
const MOST_HEADERS: usize = 64 << 10;
/// How long a connection may take, and how long a server may say nothing, unless the user says otherwise.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);

/// A token, and where it may go.
struct Token {
    secret: String,
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
        let silence = std::env::var("HF_HUB_DOWNLOAD_TIMEOUT").ok().and_then(|s| s.parse().ok());
        let silence = silence.map_or(SILENCE, |seconds: u64| Duration::from_secs(seconds.clamp(1, 3600)));
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
        let to = Origin::of(endpoint);
        let token = token.zip(to).map(|(secret, to)| Token { secret, to });
        Ok(Arc::new(Client { agent: config.new_agent(), token, silence, access: access.clone() }))
    }

    /// Whether there is a token for this address.
    pub fn knows(&self, url: &str) -> bool {
        self.token.as_ref().is_some_and(|token| Origin::of(url).as_ref() == Some(&token.to))
    }

    /// Asks once, and follows where it is sent.
    pub fn ask(&self, ask: &Ask<'_>) -> Result<Answer, Failure> {
        let (mut url, mut linked) = (ask.url.to_string(), answer::Linked::default());
        let grace = 2 * self.silence;
        for _ in 0..=MOST_REDIRECTS {
            if (ask.stop)() {
                return Err(Failure::Over(Error::new(Kind::Interrupted, "the fetching was stopped")));
            }
            let response = self.one(&url, ask)?;
            linked.add(response.headers());
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(Answer { response, url, linked, grace });
            }
            // Sizes and hashes of what is behind it stand in the redirect of the hub, and are all that is wanted.
            if ask.head && linked.is_whole() && !url::is_same_host(&url, response.headers()) {
                return Ok(Answer { response, url, linked, grace });
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

    fn one(&self, url: &str, ask: &Ask<'_>) -> Result<ureq::http::Response<ureq::Body>, Failure> {
        self.access.traffic.asked();
        let request = if ask.head { self.agent.head(url) } else { self.agent.get(url) };
        let mut request = request.header("Accept", "*/*");
        if let Some(token) = self.token.as_ref().filter(|_| self.knows(url)) {
            request = request.header("Authorization", format!("Bearer {}", token.secret));
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
