//! Finding single blocks in a tree.

use super::blobs::BlobSource;
use super::root::{ImageRoot, entry_blocks};
use super::tree::Tree;
use crate::error::{Error, Result};
use crate::id::Id;

/// The ids of `blocks`, whose numbers ascend, in their order. Of the tree only the nodes above them
/// are read, all of one level in one go.
pub(crate) fn block_ids(
    source: &dyn BlobSource,
    root: ImageRoot,
    blocks: &[u64],
) -> Result<Vec<Id>> {
    let is_ascending = blocks.windows(2).all(|pair| pair[0] < pair[1]);
    if !is_ascending || blocks.last().is_some_and(|&last| last >= root.blocks()) {
        return Err(Error::InvalidInput("blocks do not ascend or are not the image's".to_owned()));
    }
    let tree = Tree::new(source, root);
    let mut nodes = vec![(0, root.id())];
    for level in (0..root.depth()).rev() {
        let loaded = tree.load(level, &nodes)?;
        let entry = |block: u64| {
            let node = &loaded[loaded.partition_point(|node| node.first_block <= block) - 1];
            let at = (block - node.first_block) / entry_blocks(level);
            let id = usize::try_from(at).map_or(Id::HOLE, |at| node.id(at));
            (node.first_block + at * entry_blocks(level), id)
        };
        nodes = blocks.iter().map(|&block| entry(block)).collect();
        nodes.dedup();
    }
    Ok(nodes.into_iter().map(|(_, id)| id).collect())
}
