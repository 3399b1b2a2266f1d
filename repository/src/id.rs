//! Names of content: 32 bytes that only the holder of the key can make.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The keyed hash of a blob's kind and plaintext. All zero is a hole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub [u8; Id::BYTES]);

impl Id {
    /// Length of an id.
    pub const BYTES: usize = 32;
    /// Stands for zeroes; nothing is stored for it.
    pub const HOLE: Self = Self([0; Self::BYTES]);

    /// Whether this stands for zeroes.
    pub fn is_hole(&self) -> bool {
        *self == Self::HOLE
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({})", hex::encode(&self.0[..6]))
    }
}

impl FromStr for Id {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        decode_hex(text).map(Self)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a blob is; part of its id, so that one kind never passes for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobKind {
    /// A block of an image.
    Data,
    /// A node of an image's tree.
    ImageNode,
    /// A block of the bitmap that says which chunks were mapped.
    MappedBits,
    /// A node of such a bitmap's tree.
    MappedNode,
}

impl BlobKind {
    pub(crate) const ALL: [Self; 4] =
        [Self::Data, Self::ImageNode, Self::MappedBits, Self::MappedNode];

    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::ImageNode => 2,
            Self::MappedBits => 3,
            Self::MappedNode => 4,
        }
    }
}

/// Exactly `N` bytes of lower case hex: the stored format has one spelling for each value.
pub(crate) fn decode_hex<const N: usize>(text: &str) -> Result<[u8; N], &'static str> {
    if text.bytes().any(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("not lower case hex");
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| "wrong number of hex digits")?;
    Ok(bytes)
}
