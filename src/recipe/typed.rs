//! How the command line reads what recipes hold; the only file of a recipe that needs the words of the command line.

use super::word::{Choice, Word};
use crate::budget::Budget;
use crate::ftype::TensorType;
use crate::meta::Override;
use clap::builder::{PossibleValue, TypedValueParser, ValueParserFactory};
use clap::{Arg, Command};
use std::ffi::OsStr;
use std::marker::PhantomData;

/// How the command line reads a choice: the words are offered by shells.
#[derive(Clone)]
pub struct Words<T>(PhantomData<T>);

impl<T: Word + Send + Sync + 'static> ValueParserFactory for Choice<T> {
    type Parser = Words<T>;

    fn value_parser() -> Words<T> {
        Words(PhantomData)
    }
}

impl<T: Word + Send + Sync + 'static> TypedValueParser for Words<T> {
    type Value = Choice<T>;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Choice<T>, clap::Error> {
        let read = |word: &str| word.parse::<Choice<T>>();
        read.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(T::all().into_iter().map(|one| PossibleValue::new(one.word()))))
    }
}

/// The number of a layer.
pub(super) fn layer(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| String::from("expected the numbers of layers with commas between them, such as 0,1"))
}

/// Text that is a size.
pub(super) fn size(text: &str) -> Result<String, String> {
    Budget::size(text).map(|_| text.to_string())
}

/// A number of bits.
pub(super) fn bits(text: &str) -> Result<f64, String> {
    let bits = text.parse().map_err(|_| format!("expected bits per weight such as 4.5, found '{text}'"))?;
    Budget::bits(bits).map(|_| bits)
}

/// A divergence.
pub(super) fn divergence(text: &str) -> Result<f64, String> {
    let nats = text.parse().map_err(|_| format!("expected a KL divergence such as 0.02, found '{text}'"))?;
    Budget::divergence(nats).map(|_| nats)
}

/// Text that is a rule for dtypes.
pub(super) fn tensor_type(text: &str) -> Result<String, String> {
    TensorType::parse(text).map(|_| text.to_string()).map_err(|e| e.to_string())
}

/// Text that is a key and its value.
pub(super) fn override_kv(text: &str) -> Result<String, String> {
    text.parse::<Override>().map(|_| text.to_string())
}
