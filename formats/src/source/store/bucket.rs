//! One bucket of a store: its credentials as object_store finds them, its list, and the addresses of its files. Keys of
//! Amazon and Azure sign addresses, which expire; tokens of Google and Azure are shown with each request instead.

use super::connector::{Connector, yes};
use super::errors::{told, without_credentials};
use crate::error::{Error, Result};
use crate::source::http::{Bearer, Client, agent, encoded};
use crate::source::{Access, Cloud, Stored};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, AzureCredential, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path as Key;
use object_store::signer::{HeaderName, HeaderValue, Method, SignedUrlOptions, Signer};
use object_store::{ClientConfigKey, RetryConfig};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long a signed address is good.
const VALID: Duration = Duration::from_secs(60 * 60);
/// The most files of a folder.
const MOST_FILES: usize = 100_000;
/// The most answers of a list, of which some may hold folders only.
const MOST_PAGES: usize = 10_000;
/// The version of Azure's interface, which must be told beside a token.
const AZURE_VERSION: [(&str, &str); 1] = [("x-ms-version", "2023-11-03")];

/// How a request shows who asks.
enum Shows {
    /// By what stands in its address.
    Signed(Arc<dyn Signer>),
    /// The address begins so, and ends so; a token of the client may go with it.
    Plain { base: String, query: String },
}

/// A bucket that is open.
pub struct Bucket {
    /// Without a key.
    place: Stored,
    client: Arc<Client>,
    runtime: Arc<Runtime>,
    shows: Shows,
    lists: Arc<dyn PaginatedListStore>,
}

/// What the settings of a store make of it.
struct Opened {
    shows: Shows,
    lists: Arc<dyn PaginatedListStore>,
    bearer: Option<Arc<dyn Bearer>>,
    /// Whether requests may go unencrypted.
    plain: bool,
}

impl Bucket {
    /// Opens the bucket of `place`, by what the environment says of it.
    pub fn open(place: &Stored, access: &Access) -> Result<Bucket> {
        let place = place.with("");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = Arc::new(runtime.map_err(|e| Error::io(&e, &place.shown()))?);
        let connector = Connector { agent: agent(access)?, place: place.shown() };
        let opened = match place.cloud {
            Cloud::S3 => s3(&place, connector, &runtime)?,
            Cloud::Gcs => gcs(&place, connector, &runtime)?,
            Cloud::Azure => azure(&place, connector, &runtime)?,
        };
        let Opened { shows, lists, bearer, plain } = opened;
        let mut bucket = Bucket { client: Client::new(access, None, "")?, place, runtime, shows, lists };
        let address = bucket.address("x")?;
        if address.starts_with("http://") && !plain {
            let allow = match bucket.place.cloud {
                Cloud::S3 => "AWS_ALLOW_HTTP=true",
                Cloud::Gcs => "GOOGLE_ALLOW_HTTP=true",
                Cloud::Azure => "AZURE_ALLOW_HTTP=true",
            };
            return Err(Error::usage("the address of the store is not an encrypted one")
                .file(&bucket.place.shown())
                .expected("https://")
                .hint(format!("set {allow} if it may be asked so")));
        }
        if bearer.is_some() {
            bucket.client = Client::known_by(access, bearer, &address)?;
        }
        Ok(bucket)
    }

    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The key of what people see as `path`, if it is of this bucket.
    pub fn key(&self, path: &Path) -> Option<String> {
        Stored::of_shown(path).filter(|there| there.with("") == self.place).map(|there| there.key)
    }

    /// Whether its addresses expire.
    pub fn expires(&self) -> bool {
        matches!(self.shows, Shows::Signed(_))
    }

    /// The address of a file, good for reading it.
    pub fn address(&self, key: &str) -> Result<String> {
        self.address_for(Method::GET, key, &[], &[])
    }

    /// The address for a request, with what stands behind the question mark, and the headers that must be sent with it.
    pub fn address_for(
        &self,
        method: Method,
        key: &str,
        query: &[(&str, &str)],
        headers: &[(&'static str, &str)],
    ) -> Result<String> {
        match &self.shows {
            Shows::Plain { .. } if !query.is_empty() || !headers.is_empty() => {
                Err(without_credentials(&self.place.with(key)))
            }
            Shows::Plain { base, query } => {
                let mark = if query.is_empty() { "" } else { "?" };
                Ok(format!("{base}/{}{mark}{query}", encoded(key, true)))
            }
            Shows::Signed(signer) => {
                let there = self.place.with(key);
                let name = Key::parse(key).map_err(|e| told(&e.into(), &there))?;
                let mut options = SignedUrlOptions::default().with_query(query.iter().copied());
                for (name, value) in headers {
                    let wrong =
                        |_| Error::invalid("a header cannot be sent").file(&there.shown()).found(*value);
                    let value = HeaderValue::from_str(value).map_err(wrong)?;
                    options = options.with_signed_header(HeaderName::from_static(name), value);
                }
                let signed = signer.signed_url_opts(method, &name, VALID, &options);
                let url = self.runtime.block_on(signed).map_err(|e| told(&e, &there))?;
                Ok(url.to_string())
            }
        }
    }

    /// The keys of the files of a folder, not of those in it, with the bytes of each.
    pub fn list(&self, dir: &Stored) -> Result<BTreeMap<String, u64>> {
        let prefix = if dir.key.is_empty() { None } else { Some(format!("{}/", dir.key)) };
        let (mut files, mut token) = (BTreeMap::new(), None::<String>);
        let many = |what: &str, most: usize| {
            Error::invalid(what).file(&dir.shown()).expected(format!("at most {most}"))
        };
        for _ in 0..MOST_PAGES {
            let before = token.clone();
            let options =
                PaginatedListOptions { delimiter: Some("/".into()), page_token: token, ..Default::default() };
            let page = self.lists.list_paginated(prefix.as_deref(), options);
            let page = self.runtime.block_on(page).map_err(|e| told(&e, dir))?;
            self.client.access.traffic.asked();
            files.extend(page.result.objects.into_iter().map(|o| (o.location.to_string(), o.size)));
            if files.len() > MOST_FILES {
                return Err(many("there are too many files in this folder of the store", MOST_FILES));
            }
            token = page.page_token;
            match &token {
                None => return Ok(files),
                Some(_) if token == before => {
                    return Err(Error::invalid("the list of the store does not go on").file(&dir.shown()));
                }
                Some(_) => {}
            }
        }
        Err(many("the list of the store has too many pages", MOST_PAGES))
    }

    /// Sees that the bucket is there, and that this folder may be listed.
    pub fn knock(&self, folder: &str) -> Result<()> {
        let prefix = if folder.is_empty() { None } else { Some(format!("{folder}/")) };
        let options =
            PaginatedListOptions { delimiter: Some("/".into()), max_keys: Some(1), ..Default::default() };
        self.client.access.traffic.asked();
        let page = self.runtime.block_on(self.lists.list_paginated(prefix.as_deref(), options));
        page.map(|_| ()).map_err(|e| told(&e, &self.place))
    }
}

/// Requests for lists and credentials are small, and soon told in vain.
fn retry() -> RetryConfig {
    RetryConfig { max_retries: 3, retry_timeout: Duration::from_secs(30), ..RetryConfig::default() }
}

fn s3(place: &Stored, connector: Connector, runtime: &Runtime) -> Result<Opened> {
    use AmazonS3ConfigKey as Setting;
    let builder = AmazonS3Builder::from_env().with_bucket_name(&place.bucket).with_retry(retry());
    let builder = builder.with_http_connector(connector);
    let has = |key| builder.get_config_value(&key).is_some();
    let is_known = has(Setting::AccessKeyId)
        || has(Setting::WebIdentityTokenFile)
        || has(Setting::ContainerCredentialsRelativeUri)
        || has(Setting::ContainerCredentialsFullUri);
    let is_public = yes(builder.get_config_value(&Setting::SkipSignature));
    // The host of the machine is asked last, unless that is forbidden by the switch of Amazon's own programs.
    if !is_known && !is_public && yes(std::env::var("AWS_EC2_METADATA_DISABLED").ok()) {
        return Err(without_credentials(place));
    }
    let plain = yes(builder.get_config_value(&Setting::Client(ClientConfigKey::AllowHttp)));
    // What is public has the address of what is signed, without the signature.
    let builder = if is_public {
        builder.with_access_key_id("public").with_secret_access_key("public")
    } else {
        builder
    };
    let store = Arc::new(builder.build().map_err(|e| told(&e, place))?);
    let shows = match is_public {
        false => Shows::Signed(store.clone()),
        true => {
            let key = Key::from("x");
            let signed = store.signed_url(Method::GET, &key, VALID);
            let url = runtime.block_on(signed).map_err(|e| told(&e, place))?;
            let base =
                url.as_str().split('?').next().and_then(|url| url.strip_suffix("/x")).unwrap_or_default();
            Shows::Plain { base: base.to_string(), query: String::new() }
        }
    };
    Ok(Opened { shows, lists: store, bearer: None, plain })
}

/// Google's tokens.
struct Google(Arc<GoogleCloudStorage>, Arc<Runtime>, Stored);

impl Bearer for Google {
    fn token(&self) -> Result<Option<String>> {
        let credential = self.1.block_on(self.0.credentials().get_credential());
        let bearer = credential.map_err(|e| told(&e, &self.2))?.bearer.clone();
        Ok(Some(bearer).filter(|bearer| !bearer.is_empty()))
    }
}

fn gcs(place: &Stored, connector: Connector, runtime: &Arc<Runtime>) -> Result<Opened> {
    use GoogleConfigKey as Setting;
    let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(&place.bucket);
    let builder = builder.with_retry(retry()).with_http_connector(connector);
    let is_public = yes(builder.get_config_value(&Setting::SkipSignature));
    let plain = yes(builder.get_config_value(&Setting::Client(ClientConfigKey::AllowHttp)));
    let base = builder.get_config_value(&Setting::BaseUrl);
    let base = base.unwrap_or_else(|| String::from("https://storage.googleapis.com"));
    let base = format!("{}/{}", base.trim_end_matches('/'), place.bucket);
    let store = Arc::new(builder.build().map_err(|e| told(&e, place))?);
    let google = Google(Arc::clone(&store), Arc::clone(runtime), place.clone());
    let bearer = (!is_public).then(|| Arc::new(google) as Arc<dyn Bearer>);
    Ok(Opened { shows: Shows::Plain { base, query: String::new() }, lists: store, bearer, plain })
}

/// Azure's tokens.
struct Microsoft(Arc<MicrosoftAzure>, Arc<Runtime>, Stored);

impl Bearer for Microsoft {
    fn token(&self) -> Result<Option<String>> {
        let credential = self.1.block_on(self.0.credentials().get_credential());
        Ok(match credential.map_err(|e| told(&e, &self.2))?.as_ref() {
            AzureCredential::BearerToken(token) => Some(token.clone()),
            _ => None,
        })
    }

    fn headers(&self) -> &[(&'static str, &'static str)] {
        &AZURE_VERSION
    }
}

fn azure(place: &Stored, connector: Connector, runtime: &Arc<Runtime>) -> Result<Opened> {
    use AzureConfigKey as Setting;
    let builder = MicrosoftAzureBuilder::from_env().with_container_name(&place.bucket);
    let builder = builder.with_retry(retry()).with_http_connector(connector);
    let is_emulator = yes(builder.get_config_value(&Setting::UseEmulator));
    let plain = is_emulator || yes(builder.get_config_value(&Setting::Client(ClientConfigKey::AllowHttp)));
    let is_public = yes(builder.get_config_value(&Setting::SkipSignature));
    let account = builder.get_config_value(&Setting::AccountName).unwrap_or_default();
    let endpoint = builder.get_config_value(&Setting::Endpoint);
    let endpoint = endpoint.unwrap_or_else(|| format!("https://{account}.blob.core.windows.net"));
    let base = format!("{}/{}", endpoint.trim_end_matches('/'), place.bucket);
    let store = Arc::new(builder.build().map_err(|e| told(&e, place))?);
    let opened = |shows, bearer| Opened { shows, lists: store.clone(), bearer, plain };
    let unsigned = |query| Shows::Plain { base: base.clone(), query };
    if is_public {
        return Ok(opened(unsigned(String::new()), None));
    }
    let credential = runtime.block_on(store.credentials().get_credential());
    Ok(match credential.map_err(|e| told(&e, place))?.as_ref() {
        AzureCredential::AccessKey(_) => opened(Shows::Signed(store.clone()), None),
        AzureCredential::SASToken(pairs) => {
            let pairs = pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value, false)));
            opened(unsigned(pairs.collect::<Vec<_>>().join("&")), None)
        }
        AzureCredential::BearerToken(_) => {
            let bearer = Microsoft(Arc::clone(&store), Arc::clone(runtime), place.clone());
            opened(unsigned(String::new()), Some(Arc::new(bearer)))
        }
    })
}
