//! A file that holds tensors: mapped, or somewhere else. Serves the readers of formats, which need its first bytes and
//! give its tensors places.

use super::object::Object;
use crate::error::Result;
use crate::mmap::Mapping;
use crate::quant::DType;
use crate::shape::Shape;
use crate::stamp::Stamp;
use crate::tensor::Tensor;
use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A file that holds tensors. Cloning shares it.
#[derive(Clone)]
pub enum Container {
    Mapped(Mapping),
    Elsewhere(Arc<Object>),
}

impl Container {
    /// The file at a path.
    pub fn open(path: &Path) -> Result<Container> {
        Mapping::open(path).map(Container::Mapped)
    }

    /// Where it is, as it is told to people.
    pub fn path(&self) -> &Path {
        match self {
            Container::Mapped(file) => file.path(),
            Container::Elsewhere(object) => object.path(),
        }
    }

    /// The file, if it is here.
    pub fn mapping(&self) -> Option<&Mapping> {
        match self {
            Container::Mapped(file) => Some(file),
            Container::Elsewhere(_) => None,
        }
    }

    /// Its state when it was opened.
    pub fn stamp(&self) -> Stamp {
        match self {
            Container::Mapped(file) => file.stamp().clone(),
            Container::Elsewhere(object) => object.stamp(),
        }
    }

    /// Its bytes.
    pub fn length(&self) -> u64 {
        match self {
            Container::Mapped(file) => file.bytes().len() as u64,
            Container::Elsewhere(object) => object.length(),
        }
    }

    /// The first `bytes`; all of it, if it has no more.
    pub fn start(&self, bytes: u64) -> Result<Cow<'_, [u8]>> {
        let bytes = bytes.min(self.length());
        match self {
            Container::Mapped(file) => file.slice(0..bytes).map(Cow::Borrowed),
            Container::Elsewhere(object) => object.start(bytes).map(Cow::Owned),
        }
    }

    /// A tensor that lies in it from byte `offset` on.
    pub fn tensor(&self, name: &str, shape: Shape, dtype: DType, offset: u64) -> Result<Tensor> {
        match self {
            Container::Mapped(file) => Tensor::mapped(name, shape, dtype, file, offset),
            Container::Elsewhere(object) => object.tensor(name, shape, dtype, offset),
        }
    }
}

/// Two are the same file if they are at the same place.
impl PartialEq for Container {
    fn eq(&self, other: &Container) -> bool {
        self.path() == other.path()
    }
}

impl AsRef<Path> for Container {
    fn as_ref(&self) -> &Path {
        self.path()
    }
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path().fmt(f)
    }
}
