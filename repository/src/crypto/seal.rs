//! The AEAD, and how nonces are made.

use std::fmt;

use aws_lc_rs::aead::{
    AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use serde::{Deserialize, Serialize};

use super::Secret;
use crate::error::{Error, Result};

/// Length of the tag that a seal adds.
pub(crate) const TAG_BYTES: usize = 16;

/// The cipher that seals containers and outcomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encryption {
    /// The default: fastest where the processor has AES instructions.
    #[default]
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
    /// Faster where it has not.
    #[serde(rename = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

impl Encryption {
    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes256Gcm => &AES_256_GCM,
            Self::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        }
    }
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aes256Gcm => "aes-256-gcm",
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
        })
    }
}

/// A key of one object. The caller gives each nonce once; within an object it is the offset.
pub(crate) struct SealKey(LessSafeKey);

impl SealKey {
    pub(crate) fn new(encryption: Encryption, key: &Secret) -> Result<Self> {
        let key = UnboundKey::new(encryption.algorithm(), key.as_slice())
            .map_err(|_| Error::Internal("making a cipher key"))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Encrypts `bytes` in place; the tag goes behind them.
    pub(crate) fn seal(&self, nonce: u64, aad: &[u8], bytes: &mut [u8]) -> Result<[u8; TAG_BYTES]> {
        let tag = self
            .0
            .seal_in_place_separate_tag(to_nonce(nonce), Aad::from(aad), bytes)
            .map_err(|_| Error::Internal("encryption"))?;
        tag.as_ref().try_into().map_err(|_| Error::Internal("encryption"))
    }

    /// Decrypts `sealed` (with its tag) into `plain`, whose length becomes the plaintext's. Returns
    /// whether it is what was sealed; if not, `plain` holds nothing.
    #[must_use]
    pub(crate) fn open(&self, nonce: u64, aad: &[u8], sealed: &[u8], plain: &mut Vec<u8>) -> bool {
        plain.resize(sealed.len().saturating_sub(TAG_BYTES), 0);
        let opened = self.open_into(nonce, aad, sealed, plain);
        if !opened {
            plain.clear();
        }
        opened
    }

    /// The same, into a `plain` of the plaintext's length. If it is not what was sealed, what `plain`
    /// holds is not to be used.
    #[must_use]
    pub(crate) fn open_into(
        &self,
        nonce: u64,
        aad: &[u8],
        sealed: &[u8],
        plain: &mut [u8],
    ) -> bool {
        let (nonce, aad) = (to_nonce(nonce), Aad::from(aad));
        match sealed.split_last_chunk::<TAG_BYTES>() {
            Some((cipher, tag)) if cipher.len() == plain.len() => {
                self.0.open_separate_gather(nonce, aad, cipher, tag, plain).is_ok()
            }
            _ => false,
        }
    }
}

fn to_nonce(number: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_opens_only_unchanged_under_the_same_key_nonce_and_data() {
        for encryption in [Encryption::Aes256Gcm, Encryption::ChaCha20Poly1305] {
            let key = SealKey::new(encryption, &Secret::new([1; 32])).unwrap();
            let other = SealKey::new(encryption, &Secret::new([2; 32])).unwrap();
            let mut sealed = b"plaintext".to_vec();
            let tag = key.seal(64, b"aad", &mut sealed).unwrap();
            sealed.extend(tag);
            let mut plain = Vec::new();
            assert!(key.open(64, b"aad", &sealed, &mut plain));
            assert_eq!(plain, b"plaintext");
            assert!(!key.open(65, b"aad", &sealed, &mut plain));
            assert!(plain.is_empty());
            assert!(!key.open(64, b"add", &sealed, &mut plain));
            assert!(!other.open(64, b"aad", &sealed, &mut plain));
            assert!(!key.open(64, b"aad", &sealed[..10], &mut plain));
            for byte in 0..sealed.len() {
                sealed[byte] ^= 0x10;
                assert!(!key.open(64, b"aad", &sealed, &mut plain));
                sealed[byte] ^= 0x10;
            }
        }
    }
}
