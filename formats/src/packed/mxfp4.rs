//! MXFP4 as trainers have it, two neighbours in a byte and exponents apart, as ggml has it: the exponent first, elements 16
//! apart in a byte. The numbers are the same.
//! Specification: `block_mxfp4` of ggml.

/// Bytes of codes under one exponent.
const CODES: usize = 16;

/// Blocks of 17 bytes from as many exponents (E8M0) and 16 bytes of codes for each, as many as `out` holds.
#[inline(never)]
pub fn mxfp4(exponents: &[u8], codes: &[u8], out: &mut [u8]) {
    let blocks = exponents.iter().zip(codes.as_chunks::<CODES>().0);
    for (out, (exponent, codes)) in out.as_chunks_mut::<{ 1 + CODES }>().0.iter_mut().zip(blocks) {
        *out = rearranged(*exponent, codes);
    }
}

fn rearranged(exponent: u8, codes: &[u8; CODES]) -> [u8; 1 + CODES] {
    let code = |i: usize| if i.is_multiple_of(2) { codes[i / 2] & 15 } else { codes[i / 2] >> 4 };
    let mut block = [exponent; 1 + CODES];
    for (i, byte) in block[1..].iter_mut().enumerate() {
        *byte = code(i) | code(i + CODES) << 4;
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_come_sixteen_apart() {
        let codes: Vec<u8> = (0..2 * CODES).map(|i| (i * 37 + 11) as u8).collect();
        let mut out = [0; 2 * (1 + CODES)];
        mxfp4(&[120, 130], &codes, &mut out);
        for (i, byte) in codes.iter().enumerate() {
            let (block, exponent) = (&out[i / CODES * (1 + CODES)..], [120, 130][i / CODES]);
            assert_eq!(block[0], exponent);
            let i = i % CODES;
            for (place, code) in [(2 * i, byte & 15), (2 * i + 1, byte >> 4)] {
                let held = block[1 + place % CODES];
                assert_eq!(if place < CODES { held & 15 } else { held >> 4 }, code);
            }
        }
    }
}
