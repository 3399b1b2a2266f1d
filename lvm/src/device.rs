//! Opening a volume's device, and making sure that it is that volume's.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::LvmError;
use crate::guard::Refusal;
use crate::inventory::Volume;
use crate::mounts::DeviceNumber;

/// How a device is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// For reading.
    Read,
    /// For reading and writing, refused while anything has claimed it.
    Exclusive,
}

/// Opens the device of the active `volume` and checks, on the open file, that it is the device with
/// the volume's device-mapper UUID: a name can lead somewhere else by now, an open file cannot.
pub(crate) fn open(volume: &Volume, access: Access) -> Result<File, LvmError> {
    let path = mapper_path(volume);
    let mut options = File::options();
    options.read(true);
    if access == Access::Exclusive {
        options.write(true).custom_flags(nix::libc::O_EXCL);
    }
    let file = options.open(&path).map_err(|source| match source.raw_os_error() {
        Some(nix::libc::EBUSY) => Refusal::InUse {
            volume: volume.alias(),
            why: "is in use: mounted, or held by another device".into(),
        }
        .into(),
        _ => LvmError::io("open", &path, source),
    })?;
    let number = device_number(&file).map_err(|source| LvmError::io("look at", &path, source))?;
    let found = dm_uuid_of(number).map_err(|source| LvmError::io("identify", &path, source))?;
    if found.as_deref() != Some(volume.dm_uuid().as_str()) {
        return Err(LvmError::Unexpected {
            volume: volume.alias(),
            what: format!("{} leads to another device", path.display()),
        });
    }
    Ok(file)
}

/// Opens the device-mapper device with that number for reading, and says by which path.
pub(crate) fn open_number(number: DeviceNumber) -> Result<(File, PathBuf), LvmError> {
    let name = sysfs(number).join("dm/name");
    let name = fs::read_to_string(&name).map_err(|source| LvmError::io("read", name, source))?;
    let path = Path::new("/dev/mapper").join(name.trim_end());
    let file = File::open(&path).map_err(|source| LvmError::io("open", &path, source))?;
    match device_number(&file) {
        Ok(found) if found == number => Ok((file, path)),
        Ok(_) => Err(LvmError::Unexpected {
            volume: path.display().to_string(),
            what: "it leads to another device".into(),
        }),
        Err(source) => Err(LvmError::io("look at", &path, source)),
    }
}

/// The node of the volume's device.
pub(crate) fn mapper_path(volume: &Volume) -> PathBuf {
    Path::new("/dev/mapper").join(volume.dm_name())
}

/// The number of the device behind an open file.
pub(crate) fn device_number(file: &File) -> io::Result<DeviceNumber> {
    Ok(DeviceNumber::from_raw(file.metadata()?.rdev()))
}

/// A block device's folder in sysfs.
fn sysfs(device: DeviceNumber) -> PathBuf {
    PathBuf::from(format!("/sys/dev/block/{}:{}", device.major, device.minor))
}

/// The device-mapper UUID of a device, `None` if it is none of device-mapper's.
pub(crate) fn dm_uuid_of(device: DeviceNumber) -> io::Result<Option<String>> {
    match fs::read_to_string(sysfs(device).join("dm/uuid")) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The kernel names of the devices built on top of `device` (LUKS, RAID, another LVM).
pub(crate) fn holders(device: DeviceNumber) -> io::Result<Vec<String>> {
    match fs::read_dir(sysfs(device).join("holders")) {
        Ok(entries) => {
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
        }
        // Partitions of a disk and old kernels have none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
