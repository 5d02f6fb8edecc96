//! What may be asked for: a size in bytes, the size of a fixed mixture, bits a weight, or a divergence.

use crate::device::{self, Profile};
use crate::ftype::Ftype;
use ggraft_formats::{DType, Error, Metadata};

/// How large an output may become.
#[derive(Clone, Copy)]
pub enum Budget {
    Limit(Limit),
    /// What a device has room for beside a context of so many tokens, or of as many as it is used for.
    Device(&'static Profile, Option<u64>),
}

/// A size that the models do not decide.
#[derive(Clone, Copy)]
pub enum Limit {
    /// The whole file, in bytes.
    Bytes(u64),
    /// As large a file as this mixture makes.
    Like(&'static Ftype),
    /// The weights alone, in bits a weight.
    Bits(f64),
    /// As small a file as diverges by no more than this, in nats, as far as that is estimated.
    Divergence(f64),
}

/// Units of sizes, in lower case, and their bytes. Bare letters are decimal, as llama.cpp reads them.
const UNITS: [(&str, u64); 15] = [
    ("", 1),
    ("b", 1),
    ("k", 1000),
    ("kb", 1000),
    ("kib", 1 << 10),
    ("m", 1_000_000),
    ("mb", 1_000_000),
    ("mib", 1 << 20),
    ("g", 1_000_000_000),
    ("gb", 1_000_000_000),
    ("gib", 1 << 30),
    ("t", 1_000_000_000_000),
    ("tb", 1_000_000_000_000),
    ("tib", 1 << 40),
    ("bytes", 1),
];

impl Budget {
    /// The budget of `--target-size`: a number with a unit, or the name of a mixture.
    pub fn size(text: &str) -> Result<Budget, String> {
        let wrong = || {
            format!(
                "expected a size such as 5.5GiB, 5500MB or a number of bytes, or a type such as Q4_K_M, found '{text}'"
            )
        };
        let text = text.trim();
        if !text.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return Ftype::parse(text).map(|ftype| Budget::Limit(Limit::Like(ftype))).map_err(|_| wrong());
        }
        bytes(text).map(|bytes| Budget::Limit(Limit::Bytes(bytes))).ok_or_else(wrong)
    }

    /// The same without a device: the bytes that it has left for a model of these metadata.
    pub(super) fn settled(self, metadata: &Metadata) -> Result<Limit, Error> {
        match self {
            Budget::Device(profile, context) => {
                profile.room(metadata, device::context(metadata, context)).map(Limit::Bytes)
            }
            Budget::Limit(limit) => Ok(limit),
        }
    }

    /// The dtypes that it allows, if not all.
    pub(super) fn types(&self) -> Option<&'static [DType]> {
        match self {
            Budget::Device(profile, _) => Some(profile.types),
            Budget::Limit(_) => None,
        }
    }

    /// The budget of `--target-bpw`.
    pub fn bits(bits: f64) -> Result<Budget, String> {
        if bits.is_finite() && bits > 0.0 && bits <= 64.0 {
            return Ok(Budget::Limit(Limit::Bits(bits)));
        }
        Err(format!("expected bits per weight such as 4.5, found {bits:?}"))
    }

    /// The budget of `--target-kld`.
    pub fn divergence(nats: f64) -> Result<Budget, String> {
        if nats.is_finite() && nats > 0.0 && nats <= 10.0 {
            return Ok(Budget::Limit(Limit::Divergence(nats)));
        }
        Err(format!("expected a KL divergence in nats, above 0 and at most 10, such as 0.02, found {nats:?}"))
    }
}

/// The bytes of a size as it is typed, such as 5.5GiB, 500M or 4096; none if it is no size, or 0.
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let unit = text[end..].trim().to_ascii_lowercase();
    let scale = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes)?;
    let bytes = match text[..end].parse::<u64>() {
        Ok(n) => n.checked_mul(scale),
        Err(_) => text[..end].parse::<f64>().ok().map(|n| (n * scale as f64) as u64),
    };
    bytes.filter(|n| (1..=i64::MAX as u64).contains(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> u64 {
        match Budget::size(text) {
            Ok(Budget::Limit(Limit::Bytes(n))) => n,
            other => panic!("{text}: {:?}", other.err()),
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(of("5.5GiB"), 11 << 29);
        assert_eq!(of("5500MB"), 5_500_000_000);
        assert_eq!(of("4g"), 4_000_000_000);
        assert_eq!(of("123456789"), 123_456_789);
        assert_eq!(of("1.5 KiB"), 1536);
        assert!(matches!(Budget::size("q4_k_m"), Ok(Budget::Limit(Limit::Like(f))) if f.name == "Q4_K_M"));
    }

    #[test]
    fn other_words_are_refused() {
        for text in ["", "0", "GiB", "5.5.5GiB", "5XB", "-1", "99999999999999999999", "9e9", "Q9", "1e400TiB"]
        {
            let said = Budget::size(text).err().unwrap_or_else(|| panic!("{text}"));
            assert!(said.contains("such as 5.5GiB"), "{said}");
        }
        for bits in [0.0, -1.0, f64::NAN, f64::INFINITY, 65.0] {
            assert!(Budget::bits(bits).is_err());
        }
        for nats in [0.0, -0.1, f64::NAN, f64::INFINITY, 11.0] {
            assert!(Budget::divergence(nats).is_err());
        }
    }
}
