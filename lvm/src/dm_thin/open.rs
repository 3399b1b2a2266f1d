//! Opening the metadata of a pool by its path.

use std::path::Path;

use thinmover_io::{DirectFile, IoEngine};

use super::error::MetadataError;
use super::reader::{Root, ThinMetadata};
use super::source::FileBlocks;
use crate::device::holders;
use crate::direct::{self, Identity};
use crate::error::LvmError;

/// Opens a pool's metadata device, or a file with a copy of one, at `path`. A metadata snapshot is
/// read where there is one.
///
/// # Errors
/// What keeps it from being opened; [`Live`](MetadataError::Live) for a device in use that has no
/// metadata snapshot: the pool changes it while it is read.
pub fn open(path: &Path, engine: &IoEngine) -> Result<ThinMetadata<FileBlocks>, LvmError> {
    let source = direct::open_source(path)?;
    let device = || path.display().to_string();
    let mut file = DirectFile::new(source.file).map_err(|e| LvmError::io("open", path, e))?;
    // The pool writes past the page cache, which would go on giving what it once read.
    if matches!(source.identity, Identity::Device(_)) {
        let direct = file.insist_on_direct();
        file = direct.map_err(|_| MetadataError::NotDirect { device: device() })?;
    }
    let file = engine.open(file).map_err(|e| LvmError::io("read", path, e))?;
    let metadata = ThinMetadata::new(FileBlocks::new(file), Root::HeldIfAny)?;
    if let (Identity::Device(number), None) = (source.identity, metadata.held_root()) {
        let holders = holders(number).map_err(|e| LvmError::io("look at", path, e))?;
        if let Some(holder) = holders.into_iter().next() {
            return Err(MetadataError::Live { device: device(), holder }.into());
        }
    }
    Ok(metadata)
}
