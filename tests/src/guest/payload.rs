//! What the host hands in at each boot: the installed build and the files of `--with`.
//!
//! It travels as one tar archive that the guest sees as a raw disk; the initramfs unpacks it before
//! systemd starts (`files/unpack-payload`).

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace::{install_release, run_quietly};

/// Files for the guest. Nothing is copied back.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    /// Whether the release build is installed as by `make install`.
    pub installed: bool,
    /// Host files and folders that stand at the same absolute path inside.
    pub with: Vec<PathBuf>,
}

impl Payload {
    /// The installed build and these files.
    pub fn installed_with(with: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { installed: true, with: with.into_iter().collect() }
    }

    /// Writes the archive to `archive`, using `work` as scratch space.
    pub(super) fn pack(&self, archive: &Path, work: &Path) -> Result<()> {
        let stage = work.join("stage");
        std::fs::create_dir(&stage)?;
        if self.installed {
            install_release(&stage).context("cannot install the release build")?;
        }
        let mut tops = Vec::new();
        for entry in std::fs::read_dir(&stage)? {
            tops.push(PathBuf::from(entry?.file_name()));
        }
        let mut tar = tar("--create", archive, &stage);
        tar.args(["--owner=0", "--group=0"]);
        tar_paths(tar, &tops).context("cannot pack the installed build")?;

        let mut paths = Vec::new();
        for path in &self.with {
            paths.extend(resolve(path)?);
        }
        tar_paths(tar_append(archive), &paths).context("cannot pack the files of --with")
    }
}

/// The paths to pack for one `--with`, without the leading slash: the path itself and, where it is
/// a symbolic link, what it leads to, so that it does not dangle inside.
fn resolve(path: &Path) -> Result<Vec<PathBuf>> {
    let absolute = lexically_absolute(path)?;
    let found = absolute.symlink_metadata();
    let metadata = found.with_context(|| format!("--with {}", path.display()))?;
    let mut paths = vec![absolute.clone()];
    if metadata.is_symlink() {
        paths.push(absolute.canonicalize().with_context(|| format!("--with {}", path.display()))?);
    }
    for path in &mut paths {
        match path.strip_prefix("/") {
            Ok(relative) if !relative.as_os_str().is_empty() => *path = relative.to_owned(),
            _ => bail!("--with cannot take the whole root folder"),
        }
    }
    Ok(paths)
}

/// An absolute path without `.` and `..`; symbolic links stay as they are.
fn lexically_absolute(path: &Path) -> Result<PathBuf> {
    let mut absolute = PathBuf::new();
    for component in std::path::absolute(path)?.components() {
        match component {
            Component::ParentDir => {
                absolute.pop();
            }
            other => absolute.push(other),
        }
    }
    Ok(absolute)
}

fn tar(mode: &str, archive: &Path, directory: &Path) -> Command {
    let mut tar = Command::new("tar");
    tar.args([mode, "--sparse", "--numeric-owner", "--warning=no-file-changed"]);
    tar.arg("--file").arg(archive).arg("--directory").arg(directory);
    tar
}

fn tar_append(archive: &Path) -> Command {
    tar("--append", archive, Path::new("/"))
}

/// Runs tar over paths of any bytes and any number.
fn tar_paths(mut tar: Command, paths: &[PathBuf]) -> Result<()> {
    let mut list = tempfile::NamedTempFile::new()?;
    for path in paths {
        list.write_all(path.as_os_str().as_bytes())?;
        list.write_all(b"\0")?;
    }
    list.flush()?;
    tar.args(["--null", "--verbatim-files-from", "--files-from"]).arg(list.path());
    tar.stdin(Stdio::null());
    run_quietly(tar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_packed_with_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        std::fs::write(folder.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", folder.join("link")).unwrap();
        let relative = |name: &str| folder.join(name).strip_prefix("/").unwrap().to_owned();
        assert_eq!(
            resolve(&folder.join("sub/../link")).unwrap(),
            [relative("link"), relative("file")]
        );
    }

    #[test]
    fn a_missing_path_and_the_root_folder_are_refused() {
        assert!(resolve(Path::new("/nowhere/at/all")).is_err());
        assert!(resolve(Path::new("/")).is_err());
    }
}
