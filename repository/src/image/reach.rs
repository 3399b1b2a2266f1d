//! All that a tree is made of.

use super::blobs::BlobSource;
use super::root::ImageRoot;
use super::tree::Tree;
use crate::error::Result;
use crate::id::Id;

/// Nodes that are read at once.
const NODES_AT_ONCE: usize = 256;

/// Shows the id of each blob of a tree, holes left out: of a node before what is below it, which is
/// left out where `enter` says no; then of blocks. An id may be shown more than once. Holds the ids of
/// some hundred nodes for each level.
pub(crate) fn for_each_id(
    source: &dyn BlobSource,
    root: ImageRoot,
    enter: &mut dyn FnMut(Id) -> Result<bool>,
    block: &mut dyn FnMut(Id) -> Result<()>,
) -> Result<()> {
    let tree = Tree::new(source, root);
    descend(&tree, root.depth() - 1, vec![(0, root.id())], enter, block)
}

fn descend(
    tree: &Tree<'_>,
    level: usize,
    nodes: Vec<(u64, Id)>,
    enter: &mut dyn FnMut(Id) -> Result<bool>,
    block: &mut dyn FnMut(Id) -> Result<()>,
) -> Result<()> {
    let mut wanted = Vec::with_capacity(nodes.len());
    for (first_block, id) in nodes {
        if !id.is_hole() && enter(id)? {
            wanted.push((first_block, id));
        }
    }
    for nodes in wanted.chunks(NODES_AT_ONCE) {
        for node in tree.load(level, nodes)? {
            let entries = node.entries(level).filter(|(_, id)| !id.is_hole());
            if level > 0 {
                descend(tree, level - 1, entries.collect(), enter, block)?;
            } else {
                entries.map(|(_, id)| id).try_for_each(&mut *block)?;
            }
        }
    }
    Ok(())
}
