//! Finding one key in a tree: for the small trees of devices.

use super::error::{MetadataError, Problem};
use super::fetch::Fetcher;
use super::node::{KeyRange, Node, Reference};
use super::source::BlockSource;
use super::values::MetadataBlock;
use super::walk::MAX_HEIGHT;

/// The leaf in which `key` stands, if it stands anywhere in the tree whose keys may lie within
/// `all`; its [place](Node::place) says up to which key there is nothing in other leaves. Where
/// all keys are larger, it is the first leaf.
pub(super) fn leaf_for<S: BlockSource>(
    fetch: &mut Fetcher<S>,
    root: MetadataBlock,
    value_bytes: usize,
    all: KeyRange,
    key: u64,
) -> Result<Node, MetadataError> {
    let mut place = Reference { block: root, keys: all };
    for _ in 0..MAX_HEIGHT {
        let node = Node::open(fetch.read(place.block)?, place, value_bytes)?;
        if node.is_leaf() {
            return Ok(node);
        }
        let next = node.position(key);
        let is_there = next < node.entries() && node.key(next) == key;
        place = node.child(if is_there { next } else { next.saturating_sub(1) });
    }
    Err(Problem::TooHigh(MAX_HEIGHT).at(root))
}
