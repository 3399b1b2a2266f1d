//! Snapshots that somebody asked for and that stay until they are deleted.

use thinmover_lvm::{
    Filesystem, LvName, LvmError, MountedSnapshot, OwnedSnapshot, Purpose, Refusal,
};

use super::context::Scope;
use super::shared::Engine;
use crate::failure::{Code, Failure, Result, chain};

/// An answer, and what recovery could not put back before it.
pub(crate) type Warned<T> = (T, Vec<String>);

impl Engine {
    /// Looks up what a snapshot is to be made of, and returns its UUID.
    ///
    /// # Errors
    /// `NotFound`, `NotAllowed` outside of `scope`, `Exists` where a volume has the name.
    pub(crate) fn check_new_snapshot(
        &self,
        origin: &str,
        name: &str,
        scope: &Scope,
    ) -> Result<String> {
        let inventory = self.lvm.inventory()?;
        let origin = inventory.find_volume(origin)?;
        scope.check_group(origin.vg.as_str())?;
        let volume = format!("{}/{name}", origin.vg);
        if inventory.find_volume(&volume).is_ok() {
            return Err(LvmError::from(Refusal::NameTaken { volume }).into());
        }
        Ok(origin.uuid.to_string())
    }

    /// Makes a snapshot that stays until it is deleted.
    ///
    /// # Errors
    /// What a guard refused, or LVM; nothing is left behind then.
    pub(crate) fn create_snapshot(
        &self,
        origin: &str,
        name: Option<&str>,
        scope: &Scope,
    ) -> Result<Warned<OwnedSnapshot>> {
        let name = name
            .map(LvName::new)
            .transpose()
            .map_err(|error| Failure::from_error(Code::Usage, &error))?;
        let warnings = self.recover()?;
        let inventory = self.lvm.inventory()?;
        let volume = inventory.find_volume(origin)?;
        scope.check_group(volume.vg.as_str())?;
        let snapshot = self.lvm.create_snapshot(
            volume,
            Purpose::Operator { name },
            &self.settings.pool_limits,
        )?;
        let uuid = snapshot.uuid().clone();
        drop(snapshot);
        let made = self.snapshots().and_then(|snapshots| {
            let made = snapshots.into_iter().find(|snapshot| snapshot.uuid == uuid);
            made.ok_or_else(|| {
                let message = format!("the new snapshot of {} is gone already", volume.alias());
                Failure::new(Code::Failed, message)
            })
        });
        made.map(|snapshot| (snapshot, warnings)).map_err(|mut failure| {
            match self.lvm.delete_snapshot(uuid.as_str()) {
                Ok(()) | Err(LvmError::NotFound { .. }) => {}
                Err(error) => {
                    failure.message = format!("{}; also, {}", failure.message, chain(&error));
                }
            }
            failure
        })
    }

    /// The snapshots that thinmover made and that exist.
    pub(crate) fn snapshots(&self) -> Result<Vec<OwnedSnapshot>> {
        Ok(self.lvm.snapshots()?)
    }

    /// Deletes one of thinmover's snapshots, `VG/LV`, name or UUID.
    ///
    /// # Errors
    /// `NotFound` when it is none of them, `Busy` while it is mounted or read.
    pub(crate) fn delete_snapshot(&self, spec: &str) -> Result<Warned<()>> {
        let warnings = self.recover()?;
        self.lvm.delete_snapshot(spec)?;
        Ok(((), warnings))
    }

    /// Mounts a snapshot read-only in this process's mount namespace.
    pub(crate) fn mount_snapshot(
        &self,
        spec: &str,
        filesystem: Option<Filesystem>,
    ) -> Result<Warned<MountedSnapshot>> {
        let warnings = self.recover()?;
        Ok((self.lvm.mount_snapshot(spec, filesystem)?, warnings))
    }

    /// Undoes [`mount_snapshot`](Self::mount_snapshot).
    pub(crate) fn unmount_snapshot(&self, spec: &str) -> Result<Warned<()>> {
        let warnings = self.recover()?;
        self.lvm.unmount_snapshot(spec)?;
        Ok(((), warnings))
    }
}
