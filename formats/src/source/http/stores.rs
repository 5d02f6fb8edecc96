//! What object stores answer, in words that help: their codes stand in headers or in XML.

use crate::error::{Error, Kind};
use crate::source::{Cloud, Stored};
use std::io::Read;
use std::path::Path;
use std::time::Duration;
use ureq::Body;
use ureq::http::{HeaderMap, Response};

/// As much of an answer is read to find its code.
const MOST: u64 = 4 << 10;
/// The longest code.
const MOST_CODE: usize = 64;

/// The code of an answer that is no success; empty if there is none.
pub fn code(response: &mut Response<Body>, grace: Duration, what: &Path) -> String {
    if let Some(code) = super::body::text(response.headers(), "x-ms-error-code") {
        return code.chars().take(MOST_CODE).collect();
    }
    // What cannot be read tells nothing.
    let text = super::body::poured(response.body_mut().as_reader().take(MOST), grace, what);
    let text = text.unwrap_or_default();
    code_in(&String::from_utf8_lossy(&text)).unwrap_or_default()
}

/// The code that an answer in XML tells.
pub fn code_in(text: &str) -> Option<String> {
    let code = text.split_once("<Code>")?.1.split_once("</Code>")?.0;
    let plain = code.len() <= MOST_CODE && code.bytes().all(|b| b.is_ascii_alphanumeric());
    plain.then(|| code.to_string())
}

/// The error of a store that answers with this status and this code, which may be empty.
pub fn of_code(place: &Stored, status: u16, code: &str) -> Error {
    let cloud = place.cloud;
    let found = if code.is_empty() { format!("status {status}") } else { format!("status {status}, {code}") };
    let io = |what: &str| Error::new(Kind::Io, what).file(&place.shown()).found(&found);
    match (status, code) {
        (_, "SignatureDoesNotMatch" | "InvalidAccessKeyId" | "AuthenticationFailed" | "InvalidSignature") => {
            io("the store does not know these credentials").hint(format!("check {}", cloud.variables()))
        }
        (_, "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken") => {
            io("the credentials for the store have expired").hint(format!("renew {}", cloud.variables()))
        }
        (_, "NoSuchBucket" | "ContainerNotFound") => io("there is no such bucket").hint(match cloud {
            Cloud::S3 => "check its name; AWS_ENDPOINT_URL and AWS_REGION say which store is asked",
            Cloud::Gcs => "check its name",
            Cloud::Azure => "check its name; AZURE_STORAGE_ACCOUNT_NAME says which account is asked",
        }),
        (_, "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError" | "PermanentRedirect") => {
            io("the store wants to be asked otherwise").hint("AWS_REGION must be the region of the bucket")
        }
        (401 | 403, _) => io("the store refuses to give it, or there is no such file").hint(format!(
            "check the name, and that whose credentials these are may read and list the bucket: {}",
            cloud.variables()
        )),
        (404 | 410, _) => io("there is no such file in the store").hint("check how its name is written"),
        (416, _) => io("the file is shorter than it was said to be"),
        _ => io("the store does not give it"),
    }
}

/// The same for what was to be written.
#[cfg(feature = "stores")]
pub fn of_writing(place: &Stored, status: u16, code: &str) -> Error {
    let reading = of_code(place, status, code);
    let is_told = ["SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken", "NoSuchBucket"]
        .contains(&code)
        || ["TokenRefreshRequired", "InvalidToken", "InvalidSignature"].contains(&code)
        || code.starts_with("Authorization")
        || code == "PermanentRedirect";
    if is_told {
        return reading;
    }
    let found = if code.is_empty() { format!("status {status}") } else { format!("status {status}, {code}") };
    let io = |what: &str| Error::new(Kind::Io, what).file(&place.shown()).found(&found);
    match status {
        401 | 403 => io("the store does not let it be written").hint(format!(
            "check that whose credentials these are may put objects into the bucket: {}",
            place.cloud.variables()
        )),
        413 => io("this is too large for the store").hint("give --split-max-size"),
        _ => {
            io("the store does not take the object as it should").hint("give the same command again to go on")
        }
    }
}

/// The error of a bucket that lies in another region than the one that was asked.
pub fn elsewhere(headers: &HeaderMap, what: &Path) -> Option<Error> {
    let region = super::body::text(headers, "x-amz-bucket-region")?;
    let is_name = region.len() <= 40 && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let place = Stored::of_shown(what).filter(|_| is_name && !headers.contains_key("location"))?;
    let e = Error::new(Kind::Io, "the bucket lies in another region").file(&place.shown());
    Some(e.found(region).hint(format!("set AWS_REGION={region}")))
}
