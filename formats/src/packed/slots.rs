//! Codes of rows that lie far apart and share bytes or words: a row has its codes at one place of each.

use super::codes::mask;

/// Where the codes of a row lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Bytes of what codes share: 1, or 4 (little-endian).
    pub item: usize,
    /// The lowest bit of the code in it.
    pub shift: u32,
    /// Bits of a code.
    pub bits: u32,
}

impl Slots {
    /// The codes themselves, one of each of the `items`.
    #[inline(never)]
    pub fn numbers(self, items: &[u8], out: &mut [f32]) {
        let (shift, mask) = (self.shift, mask(self.bits));
        if self.item == 1 {
            let mask = mask as u8;
            out.iter_mut().zip(items).for_each(|(x, b)| *x = (b >> shift & mask) as f32);
        } else {
            let words = items.as_chunks::<4>().0;
            let code = |b: &[u8; 4]| (u32::from_le_bytes(*b) >> shift & mask) as f32;
            out.iter_mut().zip(words).for_each(|(x, b)| *x = code(b));
        }
    }

    /// What `table` has for the codes of two bits in bytes.
    #[inline(never)]
    pub fn quarters(self, bytes: &[u8], table: [f32; 4], out: &mut [f32]) {
        let shift = self.shift;
        out.iter_mut().zip(bytes).for_each(|(x, b)| *x = table[usize::from(b >> shift & 3)]);
    }
}

/// The codes that begin at bit `bit` of the words of their columns: `bytes` has a row of as many words of 32 bits as `out`
/// has columns, and another below it where a code ends there.
#[inline(never)]
pub fn fields(bytes: &[u8], bit: usize, bits: u32, out: &mut [f32]) {
    let (words, columns) = (bytes.as_chunks::<4>().0, out.len());
    let word = |i: usize| words.get(i).map_or(0, |b| u64::from(u32::from_le_bytes(*b)));
    for (i, x) in out.iter_mut().enumerate() {
        let both = word(i) | word(i + columns) << 32;
        *x = ((both >> bit) as u32 & mask(bits)) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_one_code_of_each_byte_or_word() {
        let bytes: [u8; 8] = std::array::from_fn(|i| (i * 151 + 29) as u8);
        for (bits, shift) in [(8, 0), (4, 4), (2, 2), (1, 7)] {
            let mut found = [0.0; 8];
            Slots { item: 1, shift, bits }.numbers(&bytes, &mut found);
            assert_eq!(found, bytes.map(|b| (u32::from(b) >> shift & mask(bits)) as f32), "{bits}");
        }
        let mut found = [0.0; 2];
        Slots { item: 4, shift: 27, bits: 3 }.numbers(&bytes, &mut found);
        assert_eq!(found, [3, 7].map(|i| f32::from(bytes[i] >> 3 & 7)));
        let mut found = [0.0; 8];
        Slots { item: 1, shift: 4, bits: 2 }.quarters(&bytes, [-1.0, 0.0, 1.0, 2.0], &mut found);
        assert_eq!(found, bytes.map(|b| f32::from(b >> 4 & 3) - 1.0));
    }

    #[test]
    fn codes_may_lie_across_two_words() {
        // 3 bits from bit 31 on: the lowest in the first row of words, two in the second.
        let words = [0x8000_0000u32, 0, 0x7fff_fffe, 3];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut found = [0.0; 2];
        fields(&bytes, 31, 3, &mut found);
        assert_eq!(found, [5.0, 6.0]);
        fields(&bytes[..8], 29, 3, &mut found);
        assert_eq!(found, [4.0, 0.0]);
    }
}
