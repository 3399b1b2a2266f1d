//! A node's plaintext: ids without the holes at the end.

use super::FANOUT;
use crate::id::Id;

/// Longest plaintext of a node.
pub(super) const BYTES_MAX: usize = FANOUT * Id::BYTES;

/// The bytes of a node, empty if all its entries are holes.
pub(super) fn encode(ids: &[Id]) -> Vec<u8> {
    let length = ids.iter().rposition(|id| !id.is_hole()).map_or(0, |last| last + 1);
    ids[..length].iter().flat_map(|id| id.0).collect()
}

/// The ids of a node, without the holes at its end.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Id>, &'static str> {
    let (ids, rest) = bytes.as_chunks::<{ Id::BYTES }>();
    if !rest.is_empty() || ids.len() > FANOUT {
        return Err("a node of an impossible length");
    }
    let ids: Vec<Id> = ids.iter().map(|bytes| Id(*bytes)).collect();
    match ids.last() {
        Some(last) if !last.is_hole() => Ok(ids),
        _ => Err("a node that ends in a hole"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn holes_at_the_end_are_left_out_and_others_kept() {
        let [a, b] = [1, 2].map(|byte| Id([byte; 32]));
        let ids = [Id::HOLE, a, Id::HOLE, b];
        assert_eq!(decode(&encode(&ids)).unwrap(), ids);
        assert_eq!(encode(&[a, Id::HOLE, Id::HOLE]), encode(&[a]));
        assert!(encode(&[Id::HOLE; 128]).is_empty());
        assert!(decode(&[]).is_err() && decode(&[0; 32]).is_err() && decode(&[1; 33]).is_err());
        assert!(decode(&[1; 128 * 32]).is_ok() && decode(&[1; 129 * 32]).is_err());
    }

    proptest! {
        #[test]
        fn a_node_has_one_spelling(bytes in proptest::collection::vec(0u8..2, 0..4200)) {
            if let Ok(ids) = decode(&bytes) {
                prop_assert_eq!(encode(&ids), bytes);
            }
        }
    }
}
