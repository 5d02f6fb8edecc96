//! Every dtype that is computed with: `encode` gives the bytes of ggml's `ggml_quantize_chunk`, and `decode` the bits
//! of its `dequantize_row_*`, on a million weights of each kind, with and without importance weights.
//! Without the peer, golden hashes of its bytes stand in for it. `GGRAFT_WRITE_GOLDENS=1` takes them anew, from it.

mod peer;
mod support;

use ggraft_formats::DType;
use peer::{TypeInfo, peer};
use rayon::prelude::*;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use support::weights::{Importance, Kind, bytes};

const ROW: usize = 1024;
const ROWS: usize = 1024;

const DTYPES: [DType; 13] = [
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
];

#[test]
fn the_table_has_the_peers_names_and_sizes() {
    let Some(peer) = peer() else { return };
    for dtype in DType::all().filter(|d| d.traits().id.is_some()) {
        let ours = TypeInfo {
            name: dtype.traits().name.to_string(),
            block: dtype.block(),
            bytes: dtype.traits().bytes,
        };
        assert_eq!(ours, peer.type_info(dtype));
    }
}

#[test]
fn encoded_and_decoded_weights_are_the_peers() {
    let cases: Vec<(Kind, Importance)> =
        Kind::ALL.iter().flat_map(|kind| Importance::ALL.map(|importance| (*kind, importance))).collect();
    let failures: Vec<String> = Kind::ALL
        .into_iter()
        .flat_map(|kind| {
            let weights = kind.weights(ROWS, ROW);
            let cases: Vec<_> = DTYPES.iter().flat_map(|d| Importance::ALL.map(|i| (*d, i))).collect();
            cases.into_par_iter().filter_map(|(d, i)| compare(d, kind, i, &weights).err()).collect::<Vec<_>>()
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        cases.len() * DTYPES.len(),
        failures.join("\n")
    );
}

fn compare(dtype: DType, kind: Kind, importance: Importance, weights: &[f32]) -> Result<(), String> {
    let Some(peer) = peer() else { return Ok(()) };
    let imp = importance.weights(ROW);
    let traits = dtype.traits();
    let theirs = peer.quantize_chunk(dtype, weights, ROW, imp.as_deref());
    let mut ours = vec![0u8; theirs.len()];
    traits.encode.unwrap()(weights, ROW, imp.as_deref(), &mut ours);
    let differ = ours.chunks(traits.bytes).zip(theirs.chunks(traits.bytes)).filter(|(a, b)| a != b).count();
    if differ > 0 {
        let at =
            ours.chunks(traits.bytes).zip(theirs.chunks(traits.bytes)).position(|(a, b)| a != b).unwrap();
        return Err(format!(
            "{dtype} {kind:?} {importance:?}: {differ} of {} blocks, first {at}\n  ours   {:02x?}\n  theirs {:02x?}\n  x {:?}",
            ours.len() / traits.bytes,
            &ours[at * traits.bytes..][..traits.bytes],
            &theirs[at * traits.bytes..][..traits.bytes],
            &weights[at * traits.block..][..traits.block.min(32)]
        ));
    }
    let b = peer.dequantize(dtype, &theirs);
    let mut a = vec![0f32; b.len()];
    traits.decode.unwrap()(&theirs, &mut a);
    let differ = a.iter().zip(&b).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    if differ > 0 {
        return Err(format!("{dtype} {kind:?} {importance:?}: decode {differ}"));
    }
    Ok(())
}
