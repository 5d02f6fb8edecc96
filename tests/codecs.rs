//! Every dtype that is computed with: `encode` gives the bytes of ggml's `ggml_quantize_chunk`, and `decode` the bits
//! of its `dequantize_row_*`, on a million weights of each kind, with and without importance weights.
//! Without the peer, the sha256 of its bytes stand in for it; `GGRAFT_WRITE_GOLDENS=1` takes them anew, from it.

mod peer;
mod support;

use ggraft_formats::quant::By;
use ggraft_formats::{DType, simd};
use peer::{TypeInfo, peer};
use rayon::prelude::*;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use support::weights::{Importance, Kind, bytes};

const ROW: usize = 1024;
const ROWS: usize = 1024;

/// Those that are encoded and decoded.
const DTYPES: [DType; 28] = [
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::Q4_0,
    DType::Q4_1,
    DType::Q5_0,
    DType::Q5_1,
    DType::Q8_0,
    DType::Q2K,
    DType::Q3K,
    DType::Q4K,
    DType::Q5K,
    DType::Q6K,
    DType::IQ1S,
    DType::IQ1M,
    DType::IQ2XXS,
    DType::IQ2XS,
    DType::IQ2S,
    DType::IQ3XXS,
    DType::IQ3S,
    DType::IQ4NL,
    DType::IQ4XS,
    DType::TQ1_0,
    DType::TQ2_0,
    DType::MXFP4,
    DType::NVFP4,
    DType::Q1_0,
    DType::Q2_0,
];

/// Every dtype with every importance that it is encoded with.
fn cases() -> impl Iterator<Item = (DType, Importance)> {
    let cases = DTYPES.iter().flat_map(|d| Importance::ALL.map(|i| (*d, i)));
    cases.filter(|(dtype, importance)| *importance != Importance::Plain || dtype.traits().plain)
}

/// Those that look elements up in a codebook. The peer aborts where a distance to the entries is infinite.
const SEARCHED: [DType; 7] =
    [DType::IQ1S, DType::IQ1M, DType::IQ2XXS, DType::IQ2XS, DType::IQ2S, DType::IQ3XXS, DType::IQ3S];

#[test]
fn the_table_has_the_peers_names_and_sizes() {
    let Some(peer) = peer() else { return };
    // Floats of eight bits came later.
    for dtype in DType::all().filter(|d| d.traits().id.is_some() && *d != DType::F8E4M3) {
        let ours = TypeInfo {
            name: dtype.traits().name.to_string(),
            block: dtype.block(),
            bytes: dtype.traits().bytes,
        };
        assert_eq!(ours, peer.type_info(dtype));
    }
}

#[test]
fn every_codec_of_the_table_is_tested() {
    let codecs = DType::all().filter(|d| d.traits().encode.is_some());
    assert!(SEARCHED.iter().all(|d| DTYPES.contains(d)));
    assert_eq!(codecs.collect::<Vec<_>>(), DTYPES);
    let decoders = DType::all().filter(|d| {
        let t = d.traits();
        t.decode.is_some() && t.encode.is_none() && t.id.is_some() && !matches!(d, DType::F64 | DType::F8E4M3)
    });
    assert_eq!(decoders.count(), 0);
}

#[test]
fn encoding_gives_the_peers_bytes_and_decoding_its_bits() {
    let found: Vec<Found> = Kind::ALL
        .iter()
        .flat_map(|kind| {
            let weights = kind.weights(ROWS, ROW);
            let cases: Vec<_> = cases().collect();
            let found = cases.into_par_iter().map(|(dtype, i)| encode_and_decode(dtype, *kind, i, &weights));
            found.collect::<Vec<_>>()
        })
        .collect();
    settle("encoded", found);
}

#[test]
fn decoding_any_bytes_gives_the_peers_bits() {
    settle("decoded", DTYPES.into_par_iter().map(decode_any).collect());
}

#[test]
fn blocks_are_finite_if_all_their_elements_are() {
    for dtype in DTYPES {
        let size = dtype.traits().bytes;
        for block in bytes(size << 14).chunks(size) {
            let values = decode(dtype, block);
            let finite = values.as_chunks().0.iter().all(|b| f32::from_le_bytes(*b).is_finite());
            assert_eq!((dtype.traits().finite)(block), finite, "{dtype} {block:02x?}");
        }
    }
}

/// Rows of three super-blocks leave lanes over.
#[test]
fn every_instruction_set_gives_the_bytes_of_the_scalar_code() {
    const ROW: usize = 768;
    let cases: Vec<_> = Kind::ALL
        .iter()
        .flat_map(|kind| cases().map(move |(dtype, importance)| (*kind, dtype, importance)))
        .collect();
    cases.into_par_iter().for_each(|(kind, dtype, importance)| {
        let weights = kind.weights(85, ROW);
        let columns = importance.weights(ROW);
        let encode = || {
            let mut blocks = vec![0; dtype.row_bytes(weights.len() as u64).unwrap() as usize];
            let by = By { weights: columns.as_deref(), ..By::default() };
            (dtype.traits().encode.unwrap())(&weights, ROW, by, &mut blocks);
            let values = decode(dtype, &blocks);
            (blocks, values)
        };
        let scalar = simd::at(None, encode);
        for level in simd::levels() {
            let found = simd::at(level, encode);
            let case = format!("{dtype} {kind:?} {importance:?} {level:?}");
            let differ = blocks_that_differ("encoded", &found.0, &scalar.0, dtype.traits().bytes)
                .or_else(|| blocks_that_differ("decoded", &found.1, &scalar.1, 4 * dtype.block()));
            assert!(differ.is_none(), "{case}: {}", differ.unwrap_or_default());
        }
    });
}

/// The rows that are compared: all. Of a dtype that is searched for only an eighth, for the peer takes a microsecond for a
/// weight of it; and of those that are enormous only the ones whose squares are finite.
fn part(dtype: DType, kind: Kind, weights: &[f32]) -> Vec<f32> {
    let searched = SEARCHED.contains(&dtype);
    let rows = if searched { ROWS / 8 } else { ROWS };
    let step = if searched && kind == Kind::Enormous { 4 } else { 1 };
    weights[..rows * ROW].chunks(ROW).step_by(step).flatten().copied().collect()
}

/// What one case gave: the dtype, the rest of its name, the hash of the right bytes, and what was wrong, if anything.
struct Found {
    dtype: DType,
    case: String,
    hash: String,
    problem: Option<String>,
}

/// Our bytes against the peer's; without it, the hash of ours is left to be compared with the recorded one.
fn encode_and_decode(dtype: DType, kind: Kind, importance: Importance, weights: &[f32]) -> Found {
    let case = format!("{kind:?} {importance:?}");
    let columns = importance.weights(ROW);
    let part = part(dtype, kind, weights);
    let weights = &part[..];
    let mut ours = vec![0; dtype.row_bytes(weights.len() as u64).unwrap() as usize];
    let by = By { weights: columns.as_deref(), ..By::default() };
    (dtype.traits().encode.unwrap())(weights, ROW, by, &mut ours);
    let Some(peer) = peer() else {
        return Found { dtype, case, hash: sha256(&ours), problem: None };
    };
    let theirs = peer.quantize_chunk(dtype, weights, ROW, columns.as_deref());
    let problem = blocks_that_differ("encoded", &ours, &theirs, dtype.traits().bytes).or_else(|| {
        blocks_that_differ(
            "decoded",
            &decode(dtype, &theirs),
            &theirs_decoded(dtype, &theirs),
            4 * dtype.block(),
        )
    });
    Found { dtype, case, hash: sha256(&theirs), problem }
}

fn decode_any(dtype: DType) -> Found {
    let blocks = bytes((1 << 20) / dtype.block() * dtype.traits().bytes);
    let ours = decode(dtype, &blocks);
    let case = String::from("any bytes");
    if peer().is_none() {
        return Found { dtype, case, hash: sha256(&ours), problem: None };
    }
    let theirs = theirs_decoded(dtype, &blocks);
    let problem = blocks_that_differ("decoded", &ours, &theirs, 4 * dtype.block());
    Found { dtype, case, hash: sha256(&theirs), problem }
}

fn decode(dtype: DType, blocks: &[u8]) -> Vec<u8> {
    let mut values = vec![0.0; blocks.len() / dtype.traits().bytes * dtype.block()];
    (dtype.traits().decode.unwrap())(blocks, &mut values);
    bits(&values)
}

fn theirs_decoded(dtype: DType, blocks: &[u8]) -> Vec<u8> {
    peer().map_or(Vec::new(), |peer| bits(&peer.dequantize(dtype, blocks)))
}

fn bits(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// How many blocks of `size` bytes differ, and the first that does.
fn blocks_that_differ(what: &str, ours: &[u8], theirs: &[u8], size: usize) -> Option<String> {
    let (ours, theirs): (Vec<_>, Vec<_>) = (ours.chunks(size).collect(), theirs.chunks(size).collect());
    let differ: Vec<usize> =
        (0..ours.len().max(theirs.len())).filter(|i| ours.get(*i) != theirs.get(*i)).collect();
    let first = *differ.first()?;
    Some(format!(
        "{} of {} {what} blocks differ, first block {first}:\n  ours   {:02x?}\n  theirs {:02x?}",
        differ.len(),
        theirs.len(),
        ours.get(first),
        theirs.get(first)
    ))
}

/// Fails with all problems at once, having compared the hashes with the recorded ones or, if asked to, recorded them.
fn settle(section: &str, found: Vec<Found>) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/goldens/codecs")
        .join(format!("{section}.json"));
    let mut problems: Vec<String> = found
        .iter()
        .filter_map(|f| f.problem.as_ref().map(|p| format!("{} {}: {p}", f.dtype, f.case)))
        .collect();
    if std::env::var_os("GGRAFT_WRITE_GOLDENS").is_some() && peer().is_some() {
        let mut goldens = Map::new();
        for f in found {
            goldens.entry(f.dtype.to_string()).or_insert_with(|| Map::new().into())[f.case] = f.hash.into();
        }
        std::fs::write(&path, format!("{:#}\n", Value::Object(goldens))).unwrap();
    } else {
        let goldens: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let strange = found.iter().filter(|f| goldens[f.dtype.to_string()][&f.case] != f.hash.as_str());
        problems.extend(strange.map(|f| format!("{} {}: not the recorded bytes", f.dtype, f.case)));
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
