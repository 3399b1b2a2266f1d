//! The object `config`: what a repository is, readable without a key, proven with it (FORMAT.md,
//! section 5).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::crypto::{Encryption, RepositoryKeys};
use crate::error::{Error, Result};
use crate::id::decode_hex;
use crate::names::CONFIG;

/// The format version this build writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

const FORMAT: &str = "thinmover repository";

/// What can be known of a repository without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Random, made at init.
    pub id: [u8; 16],
    /// Of the stored format.
    pub format_version: u32,
    /// The hash that ids are made with.
    pub hash: &'static str,
    /// The cipher.
    pub encryption: Encryption,
    /// The compression.
    pub compression: &'static str,
    /// When the repository was made.
    pub created_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    format: String,
    version: u32,
    id: String,
    hash: String,
    encryption: String,
    compression: String,
    created_at: Timestamp,
}

/// Read before the rest, so that a newer format may look otherwise.
#[derive(Deserialize)]
struct Magic {
    format: String,
    version: u32,
}

impl Descriptor {
    /// The repository's id as text: 32 hex digits.
    pub fn id_text(&self) -> String {
        hex::encode(self.id)
    }

    pub(crate) fn new(id: [u8; 16], encryption: Encryption) -> Self {
        let created_at = Timestamp::now();
        let (hash, compression) = ("blake3", "zstd");
        Self { id, format_version: FORMAT_VERSION, hash, encryption, compression, created_at }
    }

    /// The bytes of `config`.
    pub(crate) fn to_bytes(&self, keys: &RepositoryKeys) -> Result<Vec<u8>> {
        let line = Line {
            format: FORMAT.to_owned(),
            version: self.format_version,
            id: hex::encode(self.id),
            hash: self.hash.to_owned(),
            encryption: self.encryption.to_string(),
            compression: self.compression.to_owned(),
            created_at: self.created_at,
        };
        let mut bytes = serde_json::to_vec(&line).map_err(|_| Error::Internal("writing config"))?;
        bytes.push(b'\n');
        let code = code_line(keys, &bytes);
        bytes.extend(code.bytes());
        Ok(bytes)
    }
}

/// `config` as read, not yet proven.
#[derive(Debug)]
pub(crate) struct UnprovenConfig<'b> {
    descriptor: Descriptor,
    line: &'b [u8],
    code: &'b [u8],
}

impl<'b> UnprovenConfig<'b> {
    pub(crate) fn parse(url: &str, bytes: &'b [u8]) -> Result<Self> {
        let not_ours = |reason: &str| Error::NotARepository {
            url: url.to_owned(),
            reason: format!("its config {reason}"),
        };
        let newer = |found: String| Error::NewerFormat {
            object: url.to_owned(),
            found,
            supported: FORMAT_VERSION,
        };
        let end = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
        let (line, code) = bytes.split_at(end);
        let magic: Magic = serde_json::from_slice(line)
            .map_err(|_| not_ours("has neither a format nor a version"))?;
        if magic.format != FORMAT {
            return Err(not_ours("names another format"));
        }
        if magic.version > FORMAT_VERSION {
            return Err(newer(magic.version.to_string()));
        }
        let parsed: Line = serde_json::from_slice(line)
            .map_err(|error| Error::damaged(CONFIG, error.to_string()))?;
        let id = decode_hex(&parsed.id).map_err(|reason| Error::damaged(CONFIG, reason))?;
        if parsed.version != FORMAT_VERSION {
            return Err(Error::damaged(CONFIG, "no such format version"));
        }
        let encryption = [Encryption::Aes256Gcm, Encryption::ChaCha20Poly1305]
            .into_iter()
            .find(|known| known.to_string() == parsed.encryption)
            .ok_or_else(|| newer(format!("encryption {}", parsed.encryption)))?;
        for (what, found, known) in
            [("hash", &parsed.hash, "blake3"), ("compression", &parsed.compression, "zstd")]
        {
            if found != known {
                return Err(newer(format!("{what} {found}")));
            }
        }
        let created_at = parsed.created_at;
        let descriptor = Descriptor { created_at, ..Descriptor::new(id, encryption) };
        Ok(Self { descriptor, line, code })
    }

    pub(crate) fn repository(&self) -> &[u8; 16] {
        &self.descriptor.id
    }

    /// Checks every byte with the key that a slot gave.
    pub(crate) fn prove(self, keys: &RepositoryKeys) -> Result<Descriptor> {
        if self.code == code_line(keys, self.line).as_bytes() {
            Ok(self.descriptor)
        } else {
            Err(Error::damaged(CONFIG, "it is not what was written at init"))
        }
    }
}

fn code_line(keys: &RepositoryKeys, line: &[u8]) -> String {
    format!("{}\n", keys.config_code(line).to_hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Secret;
    use proptest::prelude::*;

    fn keys() -> RepositoryKeys {
        RepositoryKeys::new(Secret::new([3; 32]))
    }

    fn read(bytes: &[u8]) -> Result<Descriptor> {
        UnprovenConfig::parse("file:///r", bytes)?.prove(&keys())
    }

    #[test]
    fn what_was_written_is_read() {
        for encryption in [Encryption::Aes256Gcm, Encryption::ChaCha20Poly1305] {
            let descriptor = Descriptor::new([1; 16], encryption);
            assert_eq!(read(&descriptor.to_bytes(&keys()).unwrap()).unwrap(), descriptor);
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let mut bytes = Descriptor::new([1; 16], Encryption::default()).to_bytes(&keys()).unwrap();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&bytes).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(read(&bytes).is_ok());
        assert!((0..bytes.len()).all(|length| read(&bytes[..length]).is_err()));
    }

    #[test]
    fn a_newer_format_is_named_even_if_it_looks_otherwise() {
        let newer = br#"{"format":"thinmover repository","version":7,"else":[]}"#;
        let error = read(newer).unwrap_err();
        assert!(matches!(&error, Error::NewerFormat { found, supported: 1, .. } if found == "7"));
    }

    #[test]
    fn something_else_is_no_repository() {
        for bytes in [&b""[..], b"hello\n", b"{}\n", b"{\"format\":\"other\",\"version\":1}\n"] {
            assert!(matches!(read(bytes), Err(Error::NotARepository { .. })));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(read(&bytes).is_err());
        }
    }
}
