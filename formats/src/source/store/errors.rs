//! What object_store says of a failure, in our words: never an address that is signed, never a secret.

use crate::error::{Error, Kind};
use crate::source::http::{code_in, of_code};
use crate::source::{Cloud, Stored};
use object_store::Error as Failed;

/// The longest text that is told.
const MOST_TOLD: usize = 160;

/// The error of a store that was asked for `place`.
pub fn told(e: &Failed, place: &Stored) -> Error {
    let text = e.to_string();
    let status = match e {
        Failed::NotFound { .. } => 404,
        Failed::PermissionDenied { .. } => 403,
        Failed::Unauthenticated { .. } => 401,
        _ => 0,
    };
    if lacks_credentials(&text) {
        return without_credentials(place);
    }
    if text.contains("redirect without LOCATION") {
        return of_code(place, 301, "PermanentRedirect");
    }
    let code = code_in(&text);
    if status != 0 || code.is_some() {
        return of_code(place, status, &code.unwrap_or_default());
    }
    let e = Error::new(Kind::Io, "the store cannot be asked").file(&place.shown()).found(plain(&text));
    e.hint(match place.cloud {
        Cloud::S3 => "check the network, AWS_ENDPOINT_URL, AWS_REGION and AWS_ALLOW_HTTP",
        Cloud::Gcs => "check the network and the credentials (GOOGLE_APPLICATION_CREDENTIALS)",
        Cloud::Azure => {
            "check the network and the account (AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ENDPOINT)"
        }
    })
}

/// Whether it failed for want of credentials: the last place where they are looked for is the machine's host.
fn lacks_credentials(text: &str) -> bool {
    ["169.254.", "Missing AccessKeyId", "Missing SecretAccessKey", "Account must be specified", "//metadata"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// The error for one who has shown no credentials.
pub fn without_credentials(place: &Stored) -> Error {
    let e = Error::new(Kind::Io, "there are no credentials for the store").file(&place.shown());
    let set = place.cloud.variables();
    e.hint(match place.cloud {
        Cloud::S3 => format!(
            "set {set}; profiles of ~/.aws and their logins are not read: \
             eval \"$(aws configure export-credentials --format env)\" sets the keys of one. \
             AWS_SKIP_SIGNATURE=true asks a public bucket without"
        ),
        Cloud::Gcs => format!("set {set}; GOOGLE_SKIP_SIGNATURE=true asks a public bucket without"),
        Cloud::Azure => {
            format!(
                "set {set}, or AZURE_STORAGE_SAS_KEY; AZURE_SKIP_SIGNATURE=true asks a public one without"
            )
        }
    })
}

/// A text without addresses, which may be signed, and without what a server wrote.
fn plain(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().split('<').next().unwrap_or_default();
    let words = line.split_whitespace().filter(|word| !word.contains("://"));
    let line = words.collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(MOST_TOLD).collect()
}
