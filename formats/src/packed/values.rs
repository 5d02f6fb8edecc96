//! What the codes of a row are worth, in the way that is fastest for their packing: those of four bits by pairs, whole
//! numbers by arithmetic, others by a table.

use super::codes::{Packing, Table};

/// The values of codes.
pub struct Values {
    packing: Packing,
    table: Box<Table>,
    way: Way,
}

enum Way {
    /// What the two codes in each byte are worth.
    Pairs(Box<[[f32; 2]; 256]>),
    /// A code is worth itself, with these bits flipped, less a number.
    Whole {
        flip: u8,
        less: f32,
    },
    Listed,
}

impl Values {
    /// Of codes packed so, each worth what the table has at its place.
    pub fn new(packing: Packing, table: Table) -> Values {
        let codes = 1usize << packing.bits();
        let whole = |flip: u8| {
            let less = f32::from(flip) - table[0];
            let worth = |code: usize| f32::from(code as u8 ^ flip) - less;
            (0..codes).all(|code| table[code].to_bits() == worth(code).to_bits()).then_some(less)
        };
        let way = match packing {
            Packing::Stream(4) => {
                Way::Pairs(Box::new(std::array::from_fn(|byte| [table[byte & 15], table[byte >> 4]])))
            }
            Packing::Upper => {
                Way::Pairs(Box::new(std::array::from_fn(|byte| [table[byte >> 4], table[byte & 15]])))
            }
            _ => [0, 0x80]
                .into_iter()
                .find_map(|flip| Some(Way::Whole { flip, less: whole(flip)? }))
                .unwrap_or(Way::Listed),
        };
        Values { packing, table: Box::new(table), way }
    }

    pub fn packing(&self) -> Packing {
        self.packing
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The values of a row of packed codes, as many as `out` holds; `codes` is room for as many.
    #[inline(never)]
    pub fn of(&self, row: &[u8], codes: &mut [u8], out: &mut [f32]) {
        if let Way::Pairs(pairs) = &self.way {
            let (twos, last) = out.as_chunks_mut::<2>();
            let rest = &row[row.len().min(twos.len())..];
            twos.iter_mut().zip(row).for_each(|(values, b)| *values = pairs[usize::from(*b)]);
            last.iter_mut().zip(rest).for_each(|(x, b)| *x = pairs[usize::from(*b)][0]);
            return;
        }
        let codes = match self.packing {
            Packing::Stream(8) => row,
            packing => {
                packing.unpack(row, codes);
                codes
            }
        };
        match self.way {
            Way::Whole { flip, less } => {
                out.iter_mut().zip(codes).for_each(|(x, code)| *x = f32::from(code ^ flip) - less);
            }
            _ => out.iter_mut().zip(codes).for_each(|(x, code)| *x = self.table[usize::from(*code)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::codes::{bytes, e2m1, whole};
    use super::*;
    use crate::quant::DType;

    #[test]
    fn every_way_gives_what_the_table_has() {
        let row: Vec<u8> = (0..64u32).map(|i| (i * 151 + 29) as u8).collect();
        let tables = [
            whole(0.0),
            whole(8.0),
            e2m1(),
            bytes(DType::I8).unwrap(),
            bytes(DType::F8E4M3).unwrap(),
            std::array::from_fn(|code| ((code as i32 % 16) ^ 8) as f32 - 8.0),
        ];
        let streams = (1..=8).map(Packing::Stream);
        for packing in streams.chain([Packing::Words(3), Packing::Words(4), Packing::Upper]) {
            for table in tables {
                for count in [1, 7, 16, 61] {
                    let (mut codes, mut values) = (vec![0; count], vec![0.0; count]);
                    Values::new(packing, table).of(&row, &mut codes, &mut values);
                    packing.unpack(&row, &mut codes);
                    let due = codes.iter().map(|code| table[usize::from(*code)].to_bits());
                    assert!(values.iter().map(|x| x.to_bits()).eq(due), "{packing:?} {count}");
                }
            }
        }
    }
}
