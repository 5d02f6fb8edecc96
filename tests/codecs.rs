//! The harness itself: that the peer loads, knows the same dtypes as we do, and runs a model.

mod peer;

use ggraft_formats::DType;
use peer::{TypeInfo, peer};

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
