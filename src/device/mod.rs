//! What a device can run: how much memory a model may take there, which dtypes have fast kernels, how large a file may be;
//! and what a model needs at a context. Serves `--for`, by which a file is made for a device, and `ggraft advise`.
//! The map: `need` is the memory of a model, `profiles` are the devices, `advice` brings both together.

mod advice;
mod need;
mod profiles;

pub use advice::Advice;
pub use need::{Need, cache};
pub use profiles::PROFILES;

use ggraft_formats::{DType, Error, Metadata, Result};

/// The context if none is told: of a long conversation.
pub const CONTEXT: u64 = 8192;

/// No context is longer.
pub const MOST: u64 = 1 << 32;

/// The tokens that a model is to read at once: as many as were asked for, else those of a long conversation, but no
/// more than it was trained for.
pub fn context(metadata: &Metadata, asked: Option<u64>) -> u64 {
    asked.unwrap_or_else(|| trained(metadata).unwrap_or(CONTEXT).clamp(1, CONTEXT))
}

/// What to say of a context that is longer than any that the model was trained for.
pub fn overlong(metadata: &Metadata, context: u64) -> Option<String> {
    let trained = trained(metadata).filter(|most| context > *most)?;
    Some(format!("warning: the model was trained for a context of {trained}, and {context} are asked for"))
}

/// The longest context that a model was trained for.
fn trained(metadata: &Metadata) -> Option<u64> {
    metadata.u64(&format!("{}.context_length", metadata.str("general.architecture")?))
}

/// A tensor of a file that is made for a device.
pub struct Weight<'a> {
    pub name: &'a str,
    pub dtype: DType,
    pub bytes: u64,
}

/// A device with its runtime.
#[derive(Debug)]
pub struct Profile {
    /// As users type it.
    pub name: &'static str,
    pub what: &'static str,
    /// Bytes that a model may take: weights, cache and buffers.
    pub memory: u64,
    /// The dtypes of matrices that are fast there, or the only ones that run.
    pub types: &'static [DType],
    /// Whether other dtypes do not run at all.
    pub strict: bool,
    /// The rows of a matrix must be a multiple of this for the fast kernels.
    pub rows: u64,
    /// The largest file.
    pub file: Option<u64>,
    /// The largest part that should be loaded at once.
    pub part: Option<u64>,
    /// Whether the runtime reads one file only.
    pub whole: bool,
}

impl Profile {
    /// The bytes that are left for weights beside what the model needs at this context.
    ///
    /// # Errors
    /// Nothing is left.
    pub fn room(&self, metadata: &Metadata, context: u64) -> Result<u64> {
        let need = Need::of(metadata, 0, context)?;
        let left = self.memory.checked_sub(need.total()).filter(|left| *left > 0);
        let left = left.ok_or_else(|| {
            Error::usage("the context alone takes more memory than the device has for a model")
                .expected(format!("at most {} bytes ({})", self.memory, self.name))
                .found(format!("{} bytes at a context of {context}", need.total()))
                .hint("give a smaller --context")
        })?;
        Ok(self.file.map_or(left, |most| left.min(most)))
    }

    /// Refuses parts where the runtime reads one file.
    ///
    /// # Errors
    /// That.
    pub fn check_parts(&self, is_split: bool) -> Result<()> {
        match self.whole && is_split {
            false => Ok(()),
            true => Err(Error::usage(format!("{} reads a model from one file", self.what))
                .hint("leave out --split-max-size, --split-max-tensors and --keep-split")),
        }
    }

    /// What to say of a file of these tensors that is made for it.
    ///
    /// # Errors
    /// A dtype does not run there.
    pub fn told(
        &self,
        metadata: &Metadata,
        context: u64,
        weights: &[Weight<'_>],
        is_split: bool,
    ) -> Result<Vec<String>> {
        let bytes = weights.iter().map(|one| one.bytes).fold(0, u64::saturating_add);
        let others = self.others(weights)?;
        let need = Need::of(metadata, bytes, context)?;
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let mut notes = vec![format!(
            "for {}: {} MiB of {} MiB are taken at a context of {context}: weights {}, cache {}, state {}, buffers {}",
            self.name,
            mib(need.total()),
            mib(self.memory),
            mib(need.weights),
            mib(need.cache),
            mib(need.state),
            mib(need.buffers)
        )];
        notes.extend(overlong(metadata, context));
        if let Some(part) = self.part.filter(|part| bytes > *part && !is_split) {
            let part = part / 1_000_000;
            notes.push(format!(
                "{} loads parts of at most {part} MB best: --split-max-size {part}M",
                self.name
            ));
        }
        notes.extend(others);
        Ok(notes)
    }

    /// What to say of matrices that have to keep dtypes which are not for the device.
    fn others(&self, weights: &[Weight<'_>]) -> Result<Option<String>> {
        let is_other = |one: &&Weight<'_>| one.dtype.is_quantized() && !self.types.contains(&one.dtype);
        let others: Vec<&Weight<'_>> = weights.iter().filter(is_other).collect();
        let Some(first) = others.first() else { return Ok(None) };
        if self.strict {
            return Err(Error::unsupported(format!("{} does not run this dtype", self.what))
                .tensor(first.name)
                .expected(self.types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
                .found(first.dtype)
                .hint(
                    "start from the unquantized model, and name no other dtypes; or give --allow-requantize",
                ));
        }
        let (count, dtype, name) = (others.len(), first.dtype, first.name);
        Ok(Some(format!(
            "warning: {count} tensors have dtypes that are slow on {}, {name} ({dtype}) the first",
            self.name
        )))
    }
}
