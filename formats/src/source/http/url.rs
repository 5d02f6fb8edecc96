//! Addresses, as far as they are needed: where one belongs, and where a relative one leads.

use ureq::http::{HeaderMap, Uri};

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// That of an address of the web; none of any other.
    pub fn of(url: &str) -> Option<Origin> {
        let uri: Uri = url.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let standard = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let authority = uri.authority()?;
        // A name and a password in an address are a trap.
        if authority.as_str().contains('@') {
            return None;
        }
        let host = authority.host().to_ascii_lowercase();
        (!host.is_empty()).then(|| Origin { scheme, host, port: authority.port_u16().unwrap_or(standard) })
    }

    fn is_safe(&self) -> bool {
        self.scheme == "https"
    }
}

/// Where `to` leads, as an answer from `from`; none if that is no address of the web, or less safe.
pub fn joined(from: &str, to: &str) -> Option<String> {
    let base = Origin::of(from)?;
    let to = to.trim();
    let authority_end = from.find("://").map(|at| at + 3)?;
    let path_start = from[authority_end..].find(['/', '?', '#']).map_or(from.len(), |at| authority_end + at);
    let scheme_end = to.find([':', '/', '?', '#']).filter(|at| to.as_bytes().get(*at) == Some(&b':'));
    let url = if scheme_end.is_some() {
        to.to_string()
    } else if to.starts_with("//") {
        format!("{}:{to}", base.scheme)
    } else if to.starts_with('/') {
        format!("{}{to}", &from[..path_start])
    } else if to.is_empty() {
        return None;
    } else {
        let path = from[path_start..].split(['?', '#']).next().unwrap_or_default();
        let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
        format!("{}{folder}{to}", &from[..path_start])
    };
    let there = Origin::of(&url)?;
    (there.is_safe() || !base.is_safe()).then_some(url)
}

/// Whether a redirect stays at the host it comes from.
pub fn is_same_host(from: &str, headers: &HeaderMap) -> bool {
    let to = headers.get("location").and_then(|to| to.to_str().ok());
    let to = to.and_then(|to| joined(from, to));
    to.is_some_and(|to| Origin::of(&to) == Origin::of(from))
}

/// A path as it stands in addresses.
pub fn encoded(path: &str, keep_slashes: bool) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'/' if keep_slashes => text.push('/'),
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => text.push(char::from(b)),
            b => text.push_str(&format!("%{b:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_addresses_of_the_web_alone() {
        let from = "https://hub.example/org/name/resolve/x.gguf?a=b";
        for (to, url) in [
            ("/api/x", "https://hub.example/api/x"),
            ("y.gguf?c", "https://hub.example/org/name/resolve/y.gguf?c"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("https://cdn.example:8443/x", "https://cdn.example:8443/x"),
        ] {
            assert_eq!(joined(from, to).as_deref(), Some(url), "{to}");
        }
        for to in ["", "file:///etc/passwd", "http://hub.example/x", "ftp://x/y", "javascript:x", "https://"]
        {
            assert_eq!(joined(from, to), None, "{to}");
        }
        assert_eq!(joined("http://a/b", "https://me:pw@c/d"), None);
        assert!(joined("http://a/b", "http://c/d").is_some());
    }

    #[test]
    fn an_origin_has_a_port() {
        assert_eq!(Origin::of("https://A.example/x"), Origin::of("https://a.example:443"));
        assert_ne!(Origin::of("http://a.example"), Origin::of("https://a.example"));
        assert_ne!(Origin::of("http://localhost:1"), Origin::of("http://127.0.0.1:1"));
        assert_eq!(encoded("a b/ü", true), "a%20b/%C3%BC");
    }
}
