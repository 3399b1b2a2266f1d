//! Everything that knows the stored format: packs, index runs, images, manifests, keys.
//!
//! The format is written down in `FORMAT.md` beside this crate; the sections named in the modules
//! are its. What this crate promises: a backup that is listed is complete, because its manifest is
//! created last and in one step; no read ever returns a byte that was not proven to be what was
//! written; no length that comes from outside is allocated before it is bounded.
//!
//! It may not know LVM, sockets or the host: callers hand in bytes and get bytes. All calls block;
//! it starts no threads of its own, callers share [`Upload`] and [`Image`] by reference between
//! theirs.
//!
//! ```
//! # use std::ops::ControlFlow;
//! # use thinmover_repository::*;
//! # fn main() -> Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let url = format!("file://{}/repository", dir.path().display());
//! # let passphrase = Passphrase::new("secret");
//! # let cost = PassphraseCost::WORTHLESS;
//! # let io = thinmover_io::IoEngine::default();
//! # let options = InitOptions { passphrase_cost: cost, ..InitOptions::default() };
//! let repository = Repository::init(open_store(&url, &io)?, &options, &passphrase)?;
//!
//! let domain = Domain("host-1".into());
//! let volume = VolumeKey("host-1/lv-uuid".into());
//! let upload = repository.begin_upload(&domain, &volume, UploadLimits::default())?;
//! let mut packer = upload.packer()?; // one for each worker
//! let mut tree = upload.image_builder(3 << 18, 1 << 18)?; // 768 KiB in blocks of 256 KiB
//! tree.push(packer.store_block(&[7; 1 << 18])?.id)?;
//! tree.push_holes(2)?;
//! packer.finish()?;
//! let image = tree.finish()?;
//! # let source = Source { host: "host-1".into(), name: "vg0/lv0".into(), ..Source::default() };
//! # let draft = ManifestDraft {
//! #     source, created_at: "2026-01-31T12:00:00Z".parse().unwrap(), tier: "full".into(),
//! #     reason: String::new(), image, mapped: None, lineage: None, read_bytes: 3 << 18,
//! #     labels: Default::default(), ttl: None, previous: None,
//! # };
//! let backup = upload.commit(draft)?;
//!
//! let image = repository.image(&backup, ReadLimits::default())?;
//! let (mut walk, mut opener) = (image.walk(), image.opener()?);
//! let (mut bytes, mut plain) = (RangeBuffer::default(), Vec::new());
//! while let Some(window) = walk.next_window(1024)? {
//!     image.fetch_each(image.plan(&window)?, &mut bytes, &mut |read, bytes| {
//!         for blob in &read.blobs {
//!             opener.open(read, bytes, blob, &mut plain)?;
//!             assert_eq!((blob.blocks.as_slice(), plain.len()), (&[0][..], 1 << 18));
//!         }
//!         Ok(())
//!     })?;
//! }
//! assert!(repository.verify(&backup, &mut |_| ControlFlow::Continue(()))?.ok());
//! # Ok(())
//! # }
//! ```

pub mod benchmark;
mod collect;
mod config;
mod container;
mod crypto;
mod digest;
mod error;
mod hold;
mod id;
mod image;
mod index;
mod keep;
mod listing;
mod manifest;
mod mapped;
mod names;
mod repository;
mod restore;
mod sealed;
mod session;
pub mod store;
mod upload;
mod verify;

pub use collect::{
    Collected, CollectionEnd, MaintainOptions, MaintainProgress, MaintainReport, RepackLimits,
};
pub use config::{Descriptor, FORMAT_VERSION};
pub use crypto::{Encryption, Passphrase, PassphraseCost};
pub use error::{Error, Result};
pub use hold::Hold;
pub use id::{BlobKind, Id};
pub use image::{
    BLOCK_BYTES_DEFAULT, BasedImage, ChangedBlock, ImageBuilder, ImageDiff, ImageRoot, ImageWalk,
    Window, check_block_bytes,
};
pub use listing::{Backups, DamagedBackup, Filter, Found};
pub use manifest::{Manifest, ManifestDraft, Source};
pub use mapped::{MappedChunks, MappedListBuilder, MappedRoot};
pub use names::{BackupLocation, ContainerId, Domain, DomainId, SessionId, VolumeId, VolumeKey};
pub use repository::{InitOptions, Repository, RepositoryStatus};
pub use restore::{Fetched, Image, Opener, PackRead, PlannedBlob, ReadLimits};
pub use session::{OpenSession, SessionKind};
pub use store::{
    ConditionalWrites, GiveUp, RangeBuffer, S3Encryption, S3Options, Store, StoreError,
    StoreErrorKind, open_store, open_store_with,
};
pub use upload::{LiveBackup, Packer, Stored, Upload, UploadLimits};
pub use verify::{VerifyError, VerifyProgress, VerifyReport};
