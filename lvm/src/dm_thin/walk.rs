//! Down one tree of mappings or two at once, to their leaves in the order of their keys.
//!
//! The nodes of one height of both trees form one sequence in the order of their first keys. Such a
//! sequence is read ahead by a window of its own, so that the reads of a height are many and can
//! be sorted, and from its nodes come the references to the height below.
//!
//! **Skipping.** A block that both trees refer to with the same first key is followed in neither.
//! All that is below it stands in both trees alike, so leaving it out of both changes nothing in
//! what they differ in; and because a key stands only once in a tree, nothing else of either tree
//! has its keys. A shared block that is met in another constellation is read twice and found to be
//! the same: that costs time, never truth. So a comparison costs what the trees do not share.
//!
//! Memory: the windows, whatever the size of the trees.

use std::collections::VecDeque;

use super::error::{MetadataError, Problem};
use super::fetch::{Fetcher, Ticket};
use super::node::{KeyRange, Node, Reference};
use super::source::BlockSource;
use super::values::MetadataBlock;

/// `DM_BTREE_MAX_DEPTH` in the kernel's persistent-data/dm-btree.h; real trees are 5 high at most,
/// since a metadata device has 4 million blocks and a node at least 84 children.
pub(super) const MAX_HEIGHT: usize = 16;

/// The value of a mapping, in bytes.
pub(super) const MAPPING_BYTES: usize = 8;

/// How many leaves are read ahead. A third of it is read at a time, sorted by place.
const LEAVES_AHEAD: usize = 1536;
/// How many nodes of each height above are read ahead; each brings 84 leaves or more.
const NODES_AHEAD: usize = 24;

/// Which of two trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// The leaves of one tree or of two, in the order of their first keys.
#[derive(Debug)]
pub(super) struct Walk {
    /// By height; the leaves' is 0.
    heights: Vec<Height>,
    /// Subtrees without a key in here are left out.
    within: KeyRange,
}

/// The nodes of one height.
#[derive(Debug)]
struct Height {
    /// Where references to them come from: of each side the node above that is being followed.
    above: [Parent; 2],
    /// What is asked for and not yet taken.
    ahead: VecDeque<Ahead>,
    window: usize,
}

#[derive(Debug)]
struct Ahead {
    side: Side,
    place: Reference,
    ticket: Ticket,
}

/// A source of references in the order of their keys.
#[derive(Debug)]
enum Parent {
    Nothing,
    Root(Reference),
    Node { node: Node, next: usize },
}

impl Walk {
    /// Begins at the roots of one tree or two, whose keys may lie within `all`, to find what lies
    /// within `within`.
    pub(super) fn begin<S: BlockSource>(
        fetch: &mut Fetcher<S>,
        left: MetadataBlock,
        right: Option<MetadataBlock>,
        all: KeyRange,
        within: KeyRange,
    ) -> Result<Self, MetadataError> {
        fetch.abandon();
        let mut walk = Self { heights: Vec::new(), within };
        for (side, root) in [(Side::Left, Some(left)), (Side::Right, right)] {
            let Some(block) = root else { continue };
            let root = Reference { block, keys: all };
            let height = height(fetch, root)?;
            while walk.heights.len() <= height {
                walk.heights.push(Height::new(walk.heights.is_empty()));
            }
            walk.heights[height].above[side as usize] = Parent::Root(root);
        }
        Ok(walk)
    }

    /// The first key that the next leaf may have, `None` where there is no other leaf.
    pub(super) fn next_leaf_begins<S: BlockSource>(
        &mut self,
        fetch: &mut Fetcher<S>,
    ) -> Result<Option<u64>, MetadataError> {
        self.next_begins(fetch, 0)
    }

    /// The next leaf of either tree.
    pub(super) fn next_leaf<S: BlockSource>(
        &mut self,
        fetch: &mut Fetcher<S>,
    ) -> Result<Option<(Side, Node)>, MetadataError> {
        self.next_node(fetch, 0)
    }

    fn next_begins<S: BlockSource>(
        &mut self,
        fetch: &mut Fetcher<S>,
        height: usize,
    ) -> Result<Option<u64>, MetadataError> {
        if height >= self.heights.len() {
            return Ok(None);
        }
        self.look_ahead(fetch, height)?;
        Ok(self.heights[height].ahead.front().map(|next| next.place.keys.first))
    }

    fn next_node<S: BlockSource>(
        &mut self,
        fetch: &mut Fetcher<S>,
        height: usize,
    ) -> Result<Option<(Side, Node)>, MetadataError> {
        self.look_ahead(fetch, height)?;
        let Some(Ahead { side, place, ticket }) = self.heights[height].ahead.pop_front() else {
            return Ok(None);
        };
        let node = Node::open(fetch.take(ticket, place.block)?, place, MAPPING_BYTES)?;
        node.check_height(height)?;
        Ok(Some((side, node)))
    }

    /// Fills the window once a third of it is free.
    fn look_ahead<S: BlockSource>(
        &mut self,
        fetch: &mut Fetcher<S>,
        height: usize,
    ) -> Result<(), MetadataError> {
        let window = self.heights[height].window;
        if self.heights[height].ahead.len() > window - window / 3 {
            return Ok(());
        }
        while self.heights[height].ahead.len() < window {
            let Some((side, place)) = self.next_reference(fetch, height)? else { break };
            let ticket = fetch.ask(place.block)?;
            self.heights[height].ahead.push_back(Ahead { side, place, ticket });
        }
        fetch.flush();
        Ok(())
    }

    /// The next node of that height to be read.
    fn next_reference<S: BlockSource>(
        &mut self,
        fetch: &mut Fetcher<S>,
        height: usize,
    ) -> Result<Option<(Side, Reference)>, MetadataError> {
        loop {
            // Nodes above that are not followed yet begin at this key, and so do their children.
            let others_begin = self.next_begins(fetch, height + 1)?;
            let Height { above: [left, right], .. } = &mut self.heights[height];
            let (side, place) = match (left.front(), right.front()) {
                (Some(a), Some(b)) if b.keys.first < a.keys.first => (Side::Right, b),
                (Some(a), _) => (Side::Left, a),
                (None, Some(b)) => (Side::Right, b),
                (None, None) if others_begin.is_none() => return Ok(None),
                (None, None) => {
                    self.follow_next(fetch, height)?;
                    continue;
                }
            };
            if others_begin.is_some_and(|others| others <= place.keys.first) {
                self.follow_next(fetch, height)?;
                continue;
            }
            if left.front().zip(right.front()).is_some_and(|(a, b)| a.is_same_subtree(b)) {
                left.advance();
                right.advance();
                continue;
            }
            if side == Side::Left {
                left.advance()
            } else {
                right.advance()
            }
            let KeyRange { first, last } = self.within;
            if place.keys.first <= last && place.keys.last >= first {
                return Ok(Some((side, place)));
            }
        }
    }

    /// Turns to the next node above. Its side's last one has been followed to its end: the keys
    /// of that end before this one's begin.
    fn follow_next<S: BlockSource>(
        &mut self,
        fetch: &mut Fetcher<S>,
        height: usize,
    ) -> Result<(), MetadataError> {
        if let Some((side, node)) = self.next_node(fetch, height + 1)? {
            let parent = &mut self.heights[height].above[side as usize];
            debug_assert!(parent.front().is_none(), "the last one is not at its end");
            *parent = Parent::Node { node, next: 0 };
        }
        Ok(())
    }
}

impl Height {
    fn new(leaves: bool) -> Self {
        let window = if leaves { LEAVES_AHEAD } else { NODES_AHEAD };
        Self { above: [Parent::Nothing, Parent::Nothing], ahead: VecDeque::new(), window }
    }
}

impl Parent {
    fn front(&self) -> Option<Reference> {
        match self {
            Self::Nothing => None,
            Self::Root(root) => Some(*root),
            Self::Node { node, next } => Some(node.child(*next)),
        }
    }

    fn advance(&mut self) {
        match self {
            Self::Node { node, next } if *next + 1 < node.entries() => *next += 1,
            _ => *self = Self::Nothing,
        }
    }
}

impl Reference {
    fn is_same_subtree(self, other: Self) -> bool {
        self.block == other.block && self.keys.first == other.keys.first
    }
}

/// How many nodes are between the root and the leaves, the root counted, by its first children.
/// That it is the same everywhere is checked on the way.
fn height<S: BlockSource>(fetch: &mut Fetcher<S>, root: Reference) -> Result<usize, MetadataError> {
    let mut place = root;
    for height in 0..MAX_HEIGHT {
        let node = Node::open(fetch.read(place.block)?, place, MAPPING_BYTES)?;
        if node.is_leaf() {
            return Ok(height);
        }
        place = node.child(0);
    }
    Err(Problem::TooHigh(MAX_HEIGHT).at(root.block))
}
