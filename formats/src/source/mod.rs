//! Where the bytes of models come from. A `Locator` is what a user names: a path, a model of the Hugging Face hub, a place
//! in an object store, an address. What lies elsewhere is an `Object`, read by ranges; a `Window` fetches ahead what is going
//! to be read. The readers above see a `Folder` with its files and `Container`s with tensors, wherever they lie; outputs go to
//! a `Depot`. Without the feature `remote` there are only files.

mod access;
mod blocks;
mod container;
mod crew;
mod depot;
mod destination;
mod folder;
#[cfg(feature = "remote")]
mod http;
#[cfg(feature = "remote")]
mod hub;
mod locator;
mod object;
mod planning;
#[cfg(feature = "remote")]
mod site;
#[cfg(feature = "stores")]
mod store;
mod stored;
mod window;

pub use access::{Access, Traffic, Watch};
pub use container::Container;
pub use crew::together;
pub use depot::{Depot, Parcel, Sending, Sent, mark};
pub use destination::{Destination, is_away};
pub use folder::{Folder, Remote};
pub use locator::{Locator, Name, hub_id, is_named, shown};
pub use object::{Fetch, Known, Object, Span, Stop, is_elsewhere, planned};
pub use stored::{Cloud, Stored};
pub use window::{Fetching, Window, fetch_ahead, fetch_ahead_among};

pub(crate) use planning::is_planning;

use crate::error::{Error, Result};
use crate::model::Input;

/// Opens what lies elsewhere.
#[cfg(feature = "remote")]
pub(crate) fn open(locator: &Locator, access: &Access) -> Result<Input> {
    match locator {
        Locator::Path(path) => crate::format::open_path(path),
        Locator::Hub(name) => hub::open(name, access),
        #[cfg(feature = "stores")]
        Locator::Store(place) => store::open(place, access),
        #[cfg(not(feature = "stores"))]
        Locator::Store(place) => Err(without_stores(&place.shown())),
        Locator::Url(url) => site::open(url, access),
    }
}

/// The error of a build that knows no stores.
#[cfg(all(feature = "remote", not(feature = "stores")))]
fn without_stores(shown: &std::path::Path) -> Error {
    Error::unsupported("this build knows no object stores").file(shown).hint(
        "build it with them: cargo install --path . --features stores; or give a signed https:// address of the file",
    )
}

/// Opens a path; nothing else can be opened.
#[cfg(not(feature = "remote"))]
pub(crate) fn open(locator: &Locator, _access: &Access) -> Result<Input> {
    match locator {
        Locator::Path(path) => crate::format::open_path(path),
        Locator::Hub(_) | Locator::Store(_) | Locator::Url(_) => {
            Err(Error::unsupported("this build reads files only")
                .file(&locator.path())
                .hint("build with the feature remote, or download the model first"))
        }
    }
}

/// The error of a format whose files can be read only where they are.
pub(crate) fn must_be_here(what: &str, container: &Container) -> Error {
    Error::unsupported(format!("{what} cannot be read from elsewhere, as its directory stands at its end"))
        .file(container.path())
        .hint("give --download, or download the model first")
}
