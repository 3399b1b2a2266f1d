//! A key slot: the master key wrapped by a passphrase (FORMAT.md, section 6).

use argon2::{Algorithm, Argon2, Params, Version};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Encryption, Passphrase, SealKey, Secret, random};
use crate::error::{Error, Result};
use crate::id::decode_hex;

const VERSION: u32 = 1;
const MEMORY_KIB_MAX: u32 = 64 << 10;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 4;
/// The sealed master key.
const WRAPPED_BYTES: usize = 48;

/// What guessing a passphrase costs, for each guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseCost {
    /// Argon2id's memory in KiB, at most 65,536.
    pub memory_kib: u32,
    /// Argon2id's passes over it, at most 16.
    pub passes: u32,
    /// Argon2id's lanes, at most 4.
    pub lanes: u32,
}

impl Default for PassphraseCost {
    /// RFC 9106's second recommendation (64 MiB, three passes) in one lane.
    fn default() -> Self {
        Self { memory_kib: MEMORY_KIB_MAX, passes: 3, lanes: 1 }
    }
}

impl PassphraseCost {
    /// The least that Argon2id takes: for tests, where the passphrase is no secret.
    pub const WORTHLESS: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };

    fn is_in_bounds(self) -> bool {
        (1..=LANES_MAX).contains(&self.lanes)
            && (1..=PASSES_MAX).contains(&self.passes)
            && (8 * self.lanes..=MEMORY_KIB_MAX).contains(&self.memory_kib)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    version: u32,
    kind: String,
    #[serde(default)]
    kdf: String,
    #[serde(default)]
    memory_kib: u32,
    #[serde(default)]
    passes: u32,
    #[serde(default)]
    lanes: u32,
    #[serde(default)]
    salt: String,
    #[serde(default)]
    created_at: Option<Timestamp>,
}

/// A parsed slot. Parsing bounds all costs, so opening cannot be made to take more.
#[derive(Debug)]
pub(crate) struct Slot<'b> {
    head: &'b [u8],
    cost: PassphraseCost,
    salt: [u8; 16],
    wrapped: [u8; WRAPPED_BYTES],
}

/// Why bytes are no slot that this version opens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SlotError {
    /// Of another kind or version; not for us.
    Unknown,
    /// Not what was written.
    Damaged(&'static str),
}

impl<'b> Slot<'b> {
    pub(crate) fn parse(bytes: &'b [u8]) -> std::result::Result<Self, SlotError> {
        use SlotError::{Damaged, Unknown};
        let end = bytes.iter().position(|&b| b == b'\n').ok_or(Damaged("no line end"))? + 1;
        let (head, rest) = bytes.split_at(end);
        let parsed: Head = serde_json::from_slice(head).map_err(|_| Damaged("not a slot"))?;
        if parsed.version > VERSION || parsed.kind != "passphrase" || parsed.kdf != "argon2id" {
            return Err(Unknown);
        }
        let Head { memory_kib, passes, lanes, .. } = parsed;
        let cost = PassphraseCost { memory_kib, passes, lanes };
        if parsed.version != VERSION || !cost.is_in_bounds() {
            return Err(Damaged("its costs are out of bounds"));
        }
        let salt = decode_hex(&parsed.salt).map_err(Damaged)?;
        let wrapped = rest.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
        let wrapped = decode_hex(wrapped.ok_or(Damaged("no second line"))?).map_err(Damaged)?;
        Ok(Self { head, cost, salt, wrapped })
    }

    /// The master key, if the passphrase is the slot's and nothing of it was changed.
    pub(crate) fn open(
        &self,
        repository: &[u8; 16],
        passphrase: &Passphrase,
    ) -> Result<Option<Secret>> {
        let key = wrapping_key(self.cost, &self.salt, passphrase)?;
        let mut master = zeroize::Zeroizing::new(Vec::new());
        let opened = key.open(0, &aad(repository, self.head), &self.wrapped, &mut master);
        Ok(opened.then(|| master.as_slice().try_into().ok().map(Secret::new)).flatten())
    }
}

/// The bytes of a new slot.
pub(crate) fn seal(
    repository: &[u8; 16],
    master: &Secret,
    passphrase: &Passphrase,
    cost: PassphraseCost,
) -> Result<Vec<u8>> {
    if !cost.is_in_bounds() {
        return Err(Error::InvalidInput(format!(
            "a passphrase may cost 8 KiB a lane to {MEMORY_KIB_MAX} KiB of memory, \
             1 to {PASSES_MAX} passes and 1 to {LANES_MAX} lanes"
        )));
    }
    let salt = random()?;
    let head = Head {
        version: VERSION,
        kind: "passphrase".to_owned(),
        kdf: "argon2id".to_owned(),
        memory_kib: cost.memory_kib,
        passes: cost.passes,
        lanes: cost.lanes,
        salt: hex::encode(salt),
        created_at: Some(Timestamp::now()),
    };
    let mut bytes = serde_json::to_vec(&head).map_err(|_| Error::Internal("writing a key slot"))?;
    bytes.push(b'\n');
    let key = wrapping_key(cost, &salt, passphrase)?;
    let mut wrapped = zeroize::Zeroizing::new(**master);
    let tag = key.seal(0, &aad(repository, &bytes), wrapped.as_mut_slice())?;
    bytes.extend(hex::encode(*wrapped).bytes());
    bytes.extend(hex::encode(tag).bytes());
    bytes.push(b'\n');
    Ok(bytes)
}

fn aad(repository: &[u8; 16], head: &[u8]) -> Vec<u8> {
    [repository.as_slice(), head].concat()
}

fn wrapping_key(cost: PassphraseCost, salt: &[u8; 16], passphrase: &Passphrase) -> Result<SealKey> {
    let failed = |_| Error::Internal("deriving a key from the passphrase");
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(failed)?;
    let mut key = Secret::default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.bytes(), salt, key.as_mut_slice())
        .map_err(failed)?;
    SealKey::new(Encryption::Aes256Gcm, &key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REPOSITORY: [u8; 16] = [9; 16];

    fn slot() -> Vec<u8> {
        let passphrase = Passphrase::new("correct horse");
        seal(&REPOSITORY, &Secret::new([5; 32]), &passphrase, PassphraseCost::WORTHLESS).unwrap()
    }

    fn open(bytes: &[u8], repository: &[u8; 16], passphrase: &str) -> Option<[u8; 32]> {
        let slot = Slot::parse(bytes).ok()?;
        slot.open(repository, &Passphrase::new(passphrase)).unwrap().map(|secret| *secret)
    }

    #[test]
    fn a_slot_gives_the_master_key_for_its_passphrase_only() {
        let bytes = slot();
        assert_eq!(open(&bytes, &REPOSITORY, "correct horse"), Some([5; 32]));
        assert_eq!(open(&bytes, &REPOSITORY, "correct horsf"), None);
        assert_eq!(open(&bytes, &[8; 16], "correct horse"), None);
    }

    #[test]
    fn every_flipped_bit_keeps_a_slot_shut() {
        let mut bytes = slot();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&bytes, &REPOSITORY, "correct horse"), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn hostile_costs_are_refused_before_anything_is_allocated() {
        let text = String::from_utf8(slot()).unwrap();
        for (from, to) in [
            ("\"memoryKib\":8", "\"memoryKib\":4294967295"),
            ("\"memoryKib\":8", "\"memoryKib\":0"),
            ("\"passes\":1", "\"passes\":4000000"),
            ("\"passes\":1", "\"passes\":0"),
            ("\"lanes\":1", "\"lanes\":0"),
            ("\"lanes\":1", "\"lanes\":100000"),
        ] {
            let hostile = text.replace(from, to);
            assert_ne!(hostile, text);
            let error = Slot::parse(hostile.as_bytes()).unwrap_err();
            assert_eq!(error, SlotError::Damaged("its costs are out of bounds"));
        }
    }

    #[test]
    fn other_kinds_and_newer_slots_are_left_alone() {
        let text = String::from_utf8(slot()).unwrap();
        for (from, to) in [("passphrase", "keyfile"), ("\"version\":1", "\"version\":2")] {
            let other = text.replace(from, to);
            assert_eq!(Slot::parse(other.as_bytes()).unwrap_err(), SlotError::Unknown);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Slot::parse(&bytes);
        }

        #[test]
        fn a_damaged_slot_parses_or_is_refused(at in 0usize..300, byte: u8) {
            let mut bytes = slot();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Slot::parse(&bytes);
        }
    }
}
