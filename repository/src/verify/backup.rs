//! Verifying one backup: its tree, its blocks, and every container they lie in.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::ops::{ControlFlow, Range};

use super::containers::ContainerChecker;
use super::report::{VerifyProgress, VerifyReport};
use crate::error::{Error, Result};
use crate::id::{BlobKind, Id};
use crate::image::{BlobSource, ImageWalk, Window};
use crate::index::Located;
use crate::manifest::Manifest;
use crate::mapped::MappedChunks;
use crate::restore::Image;

/// Blocks looked up at once.
const WINDOW_BLOCKS: usize = 8192;

/// Reads everything that the backup reaches. `on_progress` may stop it.
pub(crate) fn verify(
    image: &Image,
    manifest: &Manifest,
    on_progress: &mut dyn FnMut(VerifyProgress) -> ControlFlow<()>,
) -> Result<VerifyReport> {
    let total_bytes = image.root().total_bytes();
    let image_bytes = std::cell::Cell::new(0);
    let on_bytes = Box::new(|checked_bytes| {
        on_progress(VerifyProgress { image_bytes: image_bytes.get(), total_bytes, checked_bytes })
    });
    let checker = RefCell::new(ContainerChecker::new(image.store(), image.keys(), on_bytes)?);
    let verifier = Verifier { image, name: format!("backup {}", manifest.id), checker: &checker };
    let mut walk = ImageWalk::new(&verifier, image.root());
    loop {
        match walk.next_window(WINDOW_BLOCKS) {
            Ok(Some(window)) => {
                verifier.check_window(&window)?;
                let blocks = window.first_block + window.ids.len() as u64;
                image_bytes.set((blocks * u64::from(manifest.block_bytes)).min(total_bytes));
            }
            Ok(None) => break,
            Err(error) => {
                verifier.note(error, Some(image_bytes.get()..total_bytes), "its tree")?;
                break;
            }
        }
    }
    verifier.check_mapped()?;
    let mut checker = checker.into_inner();
    for (container, error) in image.index().damaged() {
        checker.report.add(&container.key(image.keys().id()), None, error);
    }
    Ok(checker.report)
}

struct Verifier<'v, 'c> {
    image: &'v Image,
    name: String,
    checker: &'v RefCell<ContainerChecker<'c>>,
}

impl Verifier<'_, '_> {
    fn check_window(&self, window: &Window) -> Result<()> {
        let located = self.check_containers(&window.ids)?;
        let root = self.image.root();
        let mut checker = self.checker.borrow_mut();
        for (block, id) in (window.first_block..).zip(&window.ids) {
            if id.is_hole() {
                continue;
            }
            let length = root.block_length(block);
            let problem = match located.get(id) {
                None => "is in no index that can be read",
                Some(found) if !checker.holds(found.container, &found.entry) => "is damaged",
                Some(found) if found.entry.kind != BlobKind::Data.byte() => "is something else",
                Some(found) if found.entry.plain_bytes != length => "has another length",
                Some(_) => continue,
            };
            let start = block * u64::from(root.block_bytes());
            let range = Some(start..start + u64::from(length));
            checker.report.add(&self.name, range, format!("this part of the image {problem}"));
        }
        Ok(())
    }

    /// Reads the list of mapped chunks to its end.
    fn check_mapped(&self) -> Result<()> {
        let Some(list) = self.image.mapped() else { return Ok(()) };
        match MappedChunks::new(self, list).find_map(Result::err) {
            None => Ok(()),
            Some(error) => self.note(error, None, "its list of mapped chunks"),
        }
    }

    /// Reports what ended the reading of `part`, unless somebody said stop.
    fn note(&self, error: Error, range: Option<Range<u64>>, part: &str) -> Result<()> {
        if matches!(error, Error::Canceled) {
            return Err(error);
        }
        let report = &mut self.checker.borrow_mut().report;
        report.add_error(self.image.object(), &error);
        report.add(&self.name, range, format!("{part} cannot be read any further: {error}"));
        Ok(())
    }

    /// Finds blobs and checks all that they lie in and that led to them.
    fn check_containers(&self, ids: &[Id]) -> Result<HashMap<Id, Located>> {
        let mut wanted: Vec<Id> = ids.iter().copied().filter(|id| !id.is_hole()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut located = self.image.locate_available(&wanted)?;
        let mut is_settled = false;
        loop {
            let containers: BTreeSet<_> =
                located.values().flat_map(|found| [found.index, found.container]).collect();
            let mut checker = self.checker.borrow_mut();
            let mut are_there = true;
            for container in containers {
                are_there &= checker.check(container, is_settled)?;
            }
            if are_there {
                return Ok(located);
            }
            // Maintenance has merged or repacked them, or they are lost.
            let again = self.image.locate_anew(&wanted)?;
            is_settled = again == located;
            located = again;
        }
    }
}

impl BlobSource for Verifier<'_, '_> {
    fn read_blobs(
        &self,
        kind: BlobKind,
        bytes_max: usize,
        ids: &[Id],
    ) -> Result<HashMap<Id, Vec<u8>>> {
        self.check_containers(ids)?;
        self.image.read_blobs(kind, bytes_max, ids)
    }

    fn object(&self) -> &str {
        self.image.object()
    }
}
