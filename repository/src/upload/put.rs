//! Creating objects, with a named point on either side at which a test can kill the process.

use thinmover_io::crash_point;

use crate::error::Result;
use crate::store::{Creation, ObjectWriter, Store};

/// Creates an object; `what` names the step (`session`, `index`, …).
pub(crate) fn create(store: &dyn Store, what: &str, key: &str, bytes: &[u8]) -> Result<Creation> {
    crash_point(&format!("store:put:{what}:before"));
    let creation = store.create(key, bytes)?;
    crash_point(&format!("store:put:{what}:after"));
    Ok(creation)
}

/// As [`create`], for an object whose bytes have been appended.
pub(super) fn finish(what: &str, writer: Box<dyn ObjectWriter>) -> Result<Creation> {
    crash_point(&format!("store:put:{what}:before"));
    let creation = writer.finish()?;
    crash_point(&format!("store:put:{what}:after"));
    Ok(creation)
}
