//! Keys and seals (FORMAT.md, sections 4 to 6). Everything that touches key bytes lives here; the
//! rest of the crate sees ids, and seals that open or do not.

mod keys;
mod passphrase;
mod seal;
mod slot;

pub(crate) use keys::{DomainKeys, RepositoryKeys};
pub use passphrase::Passphrase;
pub use seal::Encryption;
pub(crate) use seal::{SealKey, TAG_BYTES};
pub use slot::PassphraseCost;
pub(crate) use slot::{Slot, SlotError, seal as seal_slot};

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// 32 secret bytes, wiped when dropped.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// Bytes from the operating system's generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// As [`random`], for keys.
pub(crate) fn random_secret() -> Result<Secret> {
    let mut secret = Secret::default();
    fill(secret.as_mut_slice())?;
    Ok(secret)
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    #[cfg(test)]
    if repeatable::fill(bytes) {
        return Ok(());
    }
    aws_lc_rs::rand::fill(bytes).map_err(|_| Error::Internal("the random generator"))
}

/// Names and keys that are the same in each run of a test, so that a schedule can be repeated.
#[cfg(test)]
pub(crate) mod repeatable {
    use std::cell::Cell;

    thread_local! {
        static STATE: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// From here on this thread's randomness follows from `seed`, which no other thread has.
    pub(crate) fn seed(seed: u64) {
        STATE.set(Some(seed));
    }

    pub(super) fn fill(bytes: &mut [u8]) -> bool {
        let Some(seed) = STATE.get() else { return false };
        STATE.set(Some(seed.wrapping_add(1 << 32)));
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(bytes);
        true
    }
}
