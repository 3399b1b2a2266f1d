//! Finding what a caller names: `VG/LV`, a volume's name, its UUID, or a path.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::device::dm_uuid_of;
use crate::error::LvmError;
use crate::guard::Refusal;
use crate::inventory::{Inventory, Pool, Volume};
use crate::mounts::DeviceNumber;

/// What a caller's SOURCE or TARGET stands for.
#[derive(Clone, Debug)]
pub enum Place {
    /// A logical volume.
    Volume(Box<Volume>),
    /// Any other block device, an image file, or a path where nothing is yet; see
    /// [`direct`](crate::direct).
    Path(PathBuf),
}

/// Whether `spec` is a path and not the name of a volume.
pub fn is_path(spec: &str) -> bool {
    ["/", "./", "../"].iter().any(|start| spec.starts_with(start))
}

impl Inventory {
    /// The volume that `spec` names: `VG/LV`, the name of one volume, a UUID, or a path that leads
    /// to a volume's device.
    ///
    /// # Errors
    /// [`LvmError::NotFound`], [`LvmError::Ambiguous`] with the candidates, or a [`Refusal`] where
    /// it names a pool or a part of one, or its group is exported.
    pub fn find_volume(&self, spec: &str) -> Result<&Volume, LvmError> {
        if is_path(spec) {
            return match self.by_path(Path::new(spec))? {
                Some(volume) => Ok(volume),
                None => Err(self.not_found(spec)),
            };
        }
        let found = one(spec, &self.volumes, |volume| {
            names(spec, &volume.alias(), volume.name.as_str(), volume.uuid.as_str())
        })?;
        match found {
            Some(volume) => Ok(volume),
            None if self.find_pool(spec).is_ok() => Err(pool_named(spec)),
            None => Err(self.not_found(spec)),
        }
    }

    /// The pool that `spec` names: `VG/LV`, the name of one pool, or a UUID.
    ///
    /// # Errors
    /// [`LvmError::NotFound`], [`LvmError::Ambiguous`], or a [`Refusal`] where its group is exported.
    pub fn find_pool(&self, spec: &str) -> Result<&Pool, LvmError> {
        one(spec, &self.pools, |pool| {
            names(spec, &pool.alias(), pool.name.as_str(), pool.uuid.as_str())
        })?
        .ok_or_else(|| self.not_found(spec))
    }

    /// What `spec` stands for: a path that is no volume's is that path, also if nothing is there,
    /// except under `/dev`, where no file is ever made.
    ///
    /// # Errors
    /// As [`find_volume`](Self::find_volume), or what the system reports of the path.
    pub fn find_place(&self, spec: &str) -> Result<Place, LvmError> {
        if !is_path(spec) {
            return Ok(Place::Volume(Box::new(self.find_volume(spec)?.clone())));
        }
        let path = Path::new(spec);
        match self.by_path(path)? {
            Some(volume) => Ok(Place::Volume(Box::new(volume.clone()))),
            None if path.starts_with("/dev") && !path.exists() => Err(self.not_found(spec)),
            None => Ok(Place::Path(path.to_owned())),
        }
    }

    /// The volume whose device `path` leads to, through any symbolic links; or, where there is no
    /// such file, the inactive volume whose device would be there.
    fn by_path(&self, path: &Path) -> Result<Option<&Volume>, LvmError> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.by_absent_path(path);
            }
            Err(source) => return Err(LvmError::io("look at", path, source)),
        };
        if !metadata.file_type().is_block_device() {
            return Ok(None);
        }
        match dm_uuid_of(DeviceNumber::from_raw(metadata.rdev())) {
            Ok(Some(dm_uuid)) => self.by_dm_uuid(&path.to_string_lossy(), &dm_uuid),
            Ok(None) => Ok(None),
            Err(source) => Err(LvmError::io("read the device-mapper UUID of", path, source)),
        }
    }

    fn by_dm_uuid(&self, spec: &str, dm_uuid: &str) -> Result<Option<&Volume>, LvmError> {
        if !dm_uuid.starts_with("LVM-") {
            return Ok(None);
        }
        if let Some(volume) = self.volumes.iter().find(|volume| volume.dm_uuid() == dm_uuid) {
            return Ok(Some(volume));
        }
        let of_pool = |pool: &&Pool| pool.dm_uuid().trim_end_matches("-tpool") == base(dm_uuid);
        if self.pools.iter().any(|pool| of_pool(&pool)) {
            return Err(pool_named(spec));
        }
        // A part of a volume (`-tdata`, `-real`), or a volume LVM does not show: never plain bytes.
        Err(Refusal::Kind { volume: spec.to_owned(), why: "is a part of an LVM volume" }.into())
    }

    fn by_absent_path(&self, path: &Path) -> Result<Option<&Volume>, LvmError> {
        let Some(in_dev) = path.strip_prefix("/dev").ok().and_then(Path::to_str) else {
            return Ok(None);
        };
        let is = |alias: String, dm_name: String| match in_dev.strip_prefix("mapper/") {
            Some(name) => dm_name == name,
            None => alias == in_dev,
        };
        if self.pools.iter().any(|pool| is(pool.alias(), pool.dm_name())) {
            return Err(pool_named(&path.to_string_lossy()));
        }
        Ok(self.volumes.iter().find(|volume| is(volume.alias(), volume.dm_name())))
    }

    /// What is not listed is not there, or in a group that is exported: LVM lists none of its volumes.
    fn not_found(&self, spec: &str) -> LvmError {
        let group = spec.trim_start_matches("/dev/").split('/').next().unwrap_or_default();
        let hint = match self.groups.iter().find(|other| other.name.as_str() == group) {
            Some(known) if known.exported => {
                return Refusal::Group { group: group.to_owned(), why: "is exported".into() }
                    .into();
            }
            Some(_) => String::new(),
            None if spec.contains('/') && !is_path(spec) => format!(
                ": no volume group {group} is visible (on RHEL 9 its devices must be listed by \
                 lvmdevices)"
            ),
            None => String::new(),
        };
        LvmError::NotFound { spec: spec.to_owned(), hint }
    }
}

/// The device-mapper UUID without the suffix that LVM gives to parts of a volume.
fn base(dm_uuid: &str) -> &str {
    /// `LVM-` and two UUIDs of 32 characters.
    const LENGTH: usize = 4 + 32 + 32;
    dm_uuid.get(..LENGTH).unwrap_or(dm_uuid)
}

fn names(spec: &str, alias: &str, name: &str, uuid: &str) -> bool {
    spec == alias || spec == name || spec == uuid
}

fn one<'a, T: Alias>(
    spec: &str,
    all: &'a [T],
    is: impl Fn(&T) -> bool,
) -> Result<Option<&'a T>, LvmError> {
    let found: Vec<&T> = all.iter().filter(|item| is(item)).collect();
    match found.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        several => Err(LvmError::Ambiguous {
            spec: spec.to_owned(),
            candidates: several.iter().map(|item| item.described()).collect(),
        }),
    }
}

trait Alias {
    fn described(&self) -> String;
}

impl Alias for Volume {
    fn described(&self) -> String {
        format!("{} ({})", self.alias(), self.uuid)
    }
}

impl Alias for Pool {
    fn described(&self) -> String {
        format!("{} ({})", self.alias(), self.uuid)
    }
}

fn pool_named(spec: &str) -> LvmError {
    Refusal::Kind { volume: spec.to_owned(), why: "is a thin pool, not a volume" }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::testing::{inventory, thin, uuid};

    fn host() -> Inventory {
        let mut inventory = inventory(vec![thin("data-one", 'd'), thin("twin", 't')]);
        let mut other = thin("twin", 'u');
        other.vg = crate::names::VgName::new("vg1").unwrap();
        other.vg_uuid = uuid('h');
        inventory.volumes.push(other);
        inventory
    }

    #[test]
    fn a_volume_is_found_by_alias_name_uuid_and_the_path_its_device_would_have() {
        let host = host();
        for spec in [
            "vg0/data-one",
            "data-one",
            uuid('d').as_str(),
            "/dev/vg0/data-one",
            "/dev/mapper/vg0-data--one",
        ] {
            assert_eq!(host.find_volume(spec).unwrap().uuid, uuid('d'), "{spec}");
        }
        assert_eq!(host.find_volume("vg1/twin").unwrap().uuid, uuid('u'));
    }

    #[test]
    fn a_name_in_two_groups_is_ambiguous_and_both_are_named() {
        let host = host();
        let error = host.find_volume("twin").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        let text = error.to_string();
        assert!(text.contains("vg0/twin") && text.contains("vg1/twin"), "{text}");
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let host = host();
        for spec in ["", "/", "nothing", "vg0/nothing", "vg9/x", "vg0/", "data", "/dev/vg0/none"] {
            let error = host.find_volume(spec).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{spec}: {error}");
        }
    }

    #[test]
    fn a_pool_is_no_volume() {
        let host = host();
        for spec in ["pool0", "vg0/pool0", uuid('p').as_str()] {
            assert_eq!(host.find_volume(spec).unwrap_err().kind(), ErrorKind::Refused, "{spec}");
            assert_eq!(host.find_pool(spec).unwrap().uuid, uuid('p'));
        }
        for path in ["/dev/vg0/pool0", "/dev/mapper/vg0-pool0"] {
            assert_eq!(host.find_volume(path).unwrap_err().kind(), ErrorKind::Refused, "{path}");
        }
    }

    #[test]
    fn an_exported_group_is_named_as_the_reason() {
        let mut host = host();
        host.groups[0].exported = true;
        host.volumes.clear();
        for spec in ["vg0/data-one", "/dev/vg0/data-one"] {
            for error in [host.find_volume(spec).unwrap_err(), host.find_place(spec).unwrap_err()] {
                assert_eq!(error.kind(), ErrorKind::Refused, "{spec}");
                assert!(error.to_string().contains("vg0 is exported"), "{error}");
            }
        }
        assert_eq!(host.find_volume("vg1/gone").unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn parts_of_a_pool_are_neither_volumes_nor_plain_devices() {
        let host = host();
        for suffix in ["-pool", "-tpool"] {
            let part = format!("{}{suffix}", crate::names::dm_uuid(&uuid('g'), &uuid('p')));
            assert!(host.by_dm_uuid("x", &part).is_err());
        }
        let hidden = format!("{}-tdata", crate::names::dm_uuid(&uuid('g'), &uuid('z')));
        assert!(host.by_dm_uuid("x", &hidden).is_err());
        assert!(host.by_dm_uuid("x", "CRYPT-LUKS2-abc").unwrap().is_none());
    }

    #[test]
    fn any_other_path_is_a_place_of_its_own() {
        let host = host();
        let file = tempfile::NamedTempFile::new().unwrap();
        for path in [file.path(), Path::new("/no/such/image"), Path::new("/dev/null")] {
            let place = host.find_place(path.to_str().unwrap()).unwrap();
            assert!(matches!(place, Place::Path(found) if found == path));
        }
    }

    #[test]
    fn nothing_is_ever_made_under_dev() {
        let error = host().find_place("/dev/vg0/mistyped").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_symbolic_link_to_a_file_is_not_taken_for_a_volume() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("data-one");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert!(host().find_volume(link.to_str().unwrap()).is_err());
    }
}
