//! One or several of a kind: `weight: 0.7` or `weight: [0.5, 0.7]`.

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

pub(super) fn serialize<T: Serialize, S: Serializer>(items: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    match items {
        [one] => one.serialize(serializer),
        _ => items.serialize(serializer),
    }
}

pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(Many(PhantomData))
}

struct Many<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Many<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one or a list of several")
    }

    fn visit_bool<E: Error>(self, x: bool) -> Result<Vec<T>, E> {
        T::deserialize(x.into_deserializer()).map(|x| vec![x])
    }

    fn visit_i64<E: Error>(self, x: i64) -> Result<Vec<T>, E> {
        T::deserialize(x.into_deserializer()).map(|x| vec![x])
    }

    fn visit_f64<E: Error>(self, x: f64) -> Result<Vec<T>, E> {
        T::deserialize(x.into_deserializer()).map(|x| vec![x])
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        T::deserialize(text.into_deserializer()).map(|x| vec![x])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Vec<T>, A::Error> {
        let items: Vec<T> = Deserialize::deserialize(SeqAccessDeserializer::new(seq))?;
        if items.is_empty() { Err(Error::custom("the list must not be empty")) } else { Ok(items) }
    }
}
