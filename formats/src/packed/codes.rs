//! What a code of up to eight bits is worth, and how codes lie in the bytes of a row.

use crate::quant::DType;

/// The value of every code.
pub type Table = [f32; 256];

/// The values of the floats of 4 bits, E2M1, the sign in the uppermost.
pub const E2M1: [f32; 16] =
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

/// The values of the codes of E2M1.
pub fn e2m1() -> Table {
    std::array::from_fn(|code| E2M1[code % 16])
}

/// Whole numbers, less `offset`.
pub fn whole(offset: f32) -> Table {
    std::array::from_fn(|code| code as f32 - offset)
}

/// The values of a dtype of one byte.
pub fn bytes(dtype: DType) -> Option<Table> {
    let codes: [u8; 256] = std::array::from_fn(|code| code as u8);
    let mut table = [0.0; 256];
    match dtype {
        DType::I8 => Some(codes.map(|code| f32::from(code as i8))),
        DType::U8 => Some(codes.map(f32::from)),
        DType::F8E4M3 | DType::F8E5M2 | DType::F8E8M0 => {
            dtype.decode(&codes, &mut table).ok().map(|()| table)
        }
        _ => None,
    }
}

/// How codes lie in the bytes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// So many bits each, from the lowest of the first byte on, without gaps.
    Stream(u32),
    /// So many bits each, whole ones in each word of 32 bits.
    Words(u32),
    /// Of 4 bits, the upper half of a byte first.
    Upper,
}

impl Packing {
    /// Bits of a code.
    pub fn bits(self) -> u32 {
        match self {
            Packing::Stream(bits) | Packing::Words(bits) => bits,
            Packing::Upper => 4,
        }
    }

    /// Bytes of a row of so many codes; words are whole. `None` if there are too many.
    pub fn bytes(self, codes: usize) -> Option<usize> {
        match self {
            Packing::Stream(bits) => Some(codes.checked_mul(bits as usize)?.div_ceil(8)),
            Packing::Words(bits) => codes.div_ceil(32 / bits.max(1) as usize).checked_mul(4),
            Packing::Upper => Some(codes.div_ceil(2)),
        }
    }

    /// The codes of `row`, as many as `out` holds.
    #[inline(never)]
    pub fn unpack(self, row: &[u8], out: &mut [u8]) {
        match self {
            Packing::Stream(8) => out.iter_mut().zip(row).for_each(|(code, b)| *code = *b),
            Packing::Stream(4) => {
                let (pairs, last) = out.as_chunks_mut::<2>();
                pairs.iter_mut().zip(row).for_each(|(codes, b)| *codes = [b & 15, b >> 4]);
                last.iter_mut().zip(&row[row.len().min(pairs.len())..]).for_each(|(code, b)| *code = b & 15);
            }
            Packing::Upper => {
                let (pairs, last) = out.as_chunks_mut::<2>();
                pairs.iter_mut().zip(row).for_each(|(codes, b)| *codes = [b >> 4, b & 15]);
                last.iter_mut().zip(&row[row.len().min(pairs.len())..]).for_each(|(code, b)| *code = b >> 4);
            }
            Packing::Stream(1) => stream::<1>(row, out),
            Packing::Stream(2) => stream::<2>(row, out),
            Packing::Stream(3) => stream::<3>(row, out),
            Packing::Stream(5) => stream::<5>(row, out),
            Packing::Stream(6) => stream::<6>(row, out),
            Packing::Stream(_) => stream::<7>(row, out),
            Packing::Words(bits) => {
                let each = (32 / bits.max(1)) as usize;
                for (codes, word) in out.chunks_mut(each).zip(row.as_chunks::<4>().0) {
                    let mut word = u32::from_le_bytes(*word);
                    for code in codes {
                        *code = (word & mask(bits)) as u8;
                        word >>= bits;
                    }
                }
            }
        }
    }
}

/// Codes of so many bits without gaps: eight of them are as many whole bytes.
fn stream<const BITS: usize>(row: &[u8], out: &mut [u8]) {
    let eight = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        spread::<BITS>(u64::from_le_bytes(word)).to_le_bytes()
    };
    let (eights, rest) = out.as_chunks_mut::<8>();
    let (whole, last) = row.as_chunks::<BITS>();
    eights.iter_mut().zip(whole).for_each(|(codes, bytes)| *codes = eight(bytes));
    let last = whole.get(eights.len()).map_or(last, |bytes| bytes);
    rest.iter_mut().zip(eight(last)).for_each(|(code, found)| *code = found);
}

/// The eight lowest fields of so many bits of a word, a byte each: halves are moved apart three times.
pub(super) fn spread<const BITS: usize>(word: u64) -> u64 {
    let apart = |word: u64, fields: usize, lanes: u64| {
        let (bits, lane) = (fields * BITS, fields * 8);
        let low = ((1u64 << bits) - 1) * lanes;
        word & low | word << (lane - bits) & low << lane
    };
    let word = apart(word, 4, 1);
    let word = apart(word, 2, 1 | 1 << 32);
    apart(word, 1, 1 | 1 << 16 | 1 << 32 | 1 << 48)
}

/// The lowest `bits` bits.
pub fn mask(bits: u32) -> u32 {
    (1 << bits.min(8)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code at `i`, bit by bit.
    fn bitwise(row: &[u8], bits: usize, first: usize) -> u8 {
        (0..bits).map(|b| (row[(first + b) / 8] >> ((first + b) % 8) & 1) << b).sum()
    }

    #[test]
    fn codes_of_any_width_are_found() {
        let row: Vec<u8> = (0..64u32).map(|i| (i * 151 + 29) as u8).collect();
        for bits in 1..=8usize {
            // Neither eights nor pairs are whole.
            let (mut dense, mut words) = ([0; 61], vec![0; 16 * (32 / bits)]);
            Packing::Stream(bits as u32).unpack(&row, &mut dense);
            Packing::Words(bits as u32).unpack(&row, &mut words);
            for (i, code) in dense.iter().enumerate() {
                assert_eq!(*code, bitwise(&row, bits, i * bits), "{bits} {i}");
            }
            for (i, code) in words.iter().enumerate() {
                let first = i / (32 / bits) * 32 + i % (32 / bits) * bits;
                assert_eq!(*code, bitwise(&row, bits, first), "{bits} {i}");
            }
        }
        let mut upper = [0; 3];
        Packing::Upper.unpack(&[0x12, 0x34], &mut upper);
        assert_eq!(upper, [1, 2, 3]);
    }
}
