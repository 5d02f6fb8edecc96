//! A small mutator for the stable toolchain: the same seed makes the same inputs everywhere. It knows no coverage;
//! libFuzzer does, and what it finds is kept in the corpus, from which this starts.

/// splitmix64 (Steele, Lea, Flood, 2014).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, or 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.next() % n as u64) as usize }
    }
}

/// Numbers at the edges of their types.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// The longest input that is made.
const LONGEST: usize = 1 << 12;

/// `seed`, changed in one to four places.
pub fn mutate(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(data.len());
        match random.below(8) {
            0 => data.truncate(at),
            1 => data.insert(at, random.next() as u8),
            2 => {
                let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
                let width = [1, 2, 4, 8][random.below(4)].min(data.len() - at);
                data[at..at + width].copy_from_slice(&edge[..width]);
            }
            3 => {
                let to = (at + random.below(16)).min(data.len());
                data.drain(at..to);
            }
            4 => {
                let to = (at + random.below(16)).min(data.len());
                let part = data[at..to].to_vec();
                data.splice(at..at, part);
            }
            5 => {
                let from = random.below(other.len());
                let to = (from + random.below(32)).min(other.len());
                data.splice(at..at, other[from..to].iter().copied());
            }
            6 if !data.is_empty() => data[at] ^= 1 << random.below(8),
            _ if !data.is_empty() => data[at] = random.next() as u8,
            _ => {}
        }
    }
    data.truncate(LONGEST);
    data
}
