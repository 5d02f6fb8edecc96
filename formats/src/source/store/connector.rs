//! The requests of object_store for credentials and lists, made by the agent that makes all others: no second stack of HTTP
//! is built. It waits where it stands, as the runtime has nothing else to do.

use crate::source::http::poured;
use async_trait::async_trait;
use object_store::ClientConfigKey;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;
use ureq::Agent;

/// The longest answer: a page of a list has a thousand names of a kilobyte each.
const MOST: u64 = 8 << 20;
/// How long an address of the own machine or its host may take to be reached: if it is there, it is near.
const NEAR: Duration = Duration::from_secs(1);
/// How long an answer may come slowly.
const GRACE: Duration = Duration::from_secs(60);

/// Makes clients of our agent.
#[derive(Debug)]
pub struct Connector {
    pub agent: Agent,
    /// What is told to people.
    pub place: PathBuf,
}

#[derive(Debug)]
struct Service {
    agent: Agent,
    place: PathBuf,
    /// Whether requests may go unencrypted.
    plain: bool,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let plain = yes(options.get_config_value(&ClientConfigKey::AllowHttp));
        Ok(HttpClient::new(Service { agent: self.agent.clone(), place: self.place.clone(), plain }))
    }
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        if !self.plain && parts.uri.scheme_str() != Some("https") {
            let said = "an address of http:// is not asked without AWS_ALLOW_HTTP, GOOGLE_ALLOW_HTTP or AZURE_ALLOW_HTTP";
            return Err(failed(HttpErrorKind::Unknown, std::io::Error::other(said)));
        }
        let body = match body.as_bytes() {
            Some(bytes) => bytes.to_vec(),
            None if body.is_empty() => Vec::new(),
            None => return Err(failed(HttpErrorKind::Unknown, std::io::Error::other("a body in pieces"))),
        };
        let near = parts.uri.host().is_some_and(|host| host.starts_with("169.254.") || host == "metadata");
        let request = ureq::http::Request::from_parts(parts, body);
        let mut config = self.agent.configure_request(request);
        if near {
            config = config.timeout_connect(Some(NEAR));
        }
        let request = config.build();
        let answer = match request.body().is_empty() {
            true => self.agent.run(request.map(|_| ())),
            false => self.agent.run(request),
        };
        let (parts, mut body) = answer.map_err(|e| failed(kind(&e), e))?.into_parts();
        let bytes = poured(body.as_reader().take(MOST + 1), GRACE, &self.place);
        let slow = |_| std::io::Error::other("the answer breaks off or comes too slowly");
        let bytes = bytes.map_err(|e| failed(HttpErrorKind::Interrupted, slow(e)))?;
        if bytes.len() as u64 > MOST {
            return Err(failed(HttpErrorKind::Decode, std::io::Error::other("the answer is too long")));
        }
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::from(bytes)))
    }
}

/// Whether a setting says yes, in any of the words that object_store knows.
pub fn yes(value: Option<String>) -> bool {
    let value = value.unwrap_or_default().to_ascii_lowercase();
    ["1", "true", "on", "yes", "y"].contains(&value.as_str())
}

fn failed(kind: HttpErrorKind, e: impl std::error::Error + Send + Sync + 'static) -> HttpError {
    HttpError::new(kind, e)
}

fn kind(e: &ureq::Error) -> HttpErrorKind {
    match e {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => HttpErrorKind::Connect,
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::Io(_) | ureq::Error::BodyStalled => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    }
}
