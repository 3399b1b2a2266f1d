//! Who this host is: an id made once and kept with the state, and the host's name for people.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use uuid::Uuid;

use crate::failure::{Code, Failure, Result};

const ID_FILE: &str = "host-id";

/// A volume is identified by its host's id and its LV UUID; `VG/LV` alone is an alias that
/// thousands of hosts share.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// Random, made once, kept in the state directory.
    pub(crate) id: Uuid,
    /// The kernel's host name, for people.
    pub(crate) name: String,
}

impl Host {
    /// Reads the id from `state_dir`, or makes one there.
    ///
    /// # Errors
    /// When the state directory cannot be written, or holds an id that is none.
    pub(crate) fn load(state_dir: &Path) -> Result<Self> {
        let path = state_dir.join(ID_FILE);
        let id = match fs::read_to_string(&path) {
            Ok(text) => Uuid::try_parse(text.trim()).map_err(|_| {
                Failure::new(Code::Failed, format!("{} holds no host id", path.display())).hint(
                    "put the host's id back from `thinmover backup list --json`, or remove the \
                     file to start a new identity",
                )
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make(state_dir, &path).map_err(|error| io_failure(&path, &error))?
            }
            Err(error) => return Err(io_failure(&path, &error)),
        };
        Ok(Self { id, name: name() })
    }
}

/// Writes a new id, whole and durable before it is used; of two processes that try at once both
/// end up with the one that came first.
fn make(state_dir: &Path, path: &Path) -> std::io::Result<Uuid> {
    fs::create_dir_all(state_dir)?;
    let temporary = state_dir.join(format!(".host-id.{}", Uuid::new_v4()));
    let mut file = fs::File::create_new(&temporary)?;
    writeln!(file, "{}", Uuid::new_v4())?;
    file.sync_all()?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => fs::File::open(state_dir)?.sync_all()?,
    }
    Uuid::try_parse(fs::read_to_string(path)?.trim())
        .map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error))
}

/// The id of a host that has one already and lets it be read.
pub(crate) fn known_id(state_dir: &Path) -> Option<Uuid> {
    let text = fs::read_to_string(state_dir.join(ID_FILE)).ok()?;
    Uuid::try_parse(text.trim()).ok()
}

pub(crate) fn name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}

fn io_failure(path: &Path, error: &std::io::Error) -> Failure {
    let code = match error.kind() {
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::StorageFull => Code::NoSpace,
        _ => Code::Failed,
    };
    let failure = Failure::new(code, format!("host id {}: {error}", path.display()));
    if code == Code::PermissionDenied { failure.hint("run as root") } else { failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_made_once() {
        let state = tempfile::tempdir().unwrap();
        let first = Host::load(state.path()).unwrap();
        assert_eq!(Host::load(state.path()).unwrap().id, first.id);
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_id_is_not_replaced() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join("host-id"), "half an i").unwrap();
        assert!(Host::load(state.path()).is_err());
        assert_eq!(fs::read(state.path().join("host-id")).unwrap(), b"half an i");
    }
}
