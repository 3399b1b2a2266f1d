//! What the workspace builds, as the tests and the guest need it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

/// The top folder of the source tree.
pub fn root() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// Builds the release binary and installs everything below `destination`, as `make install` does
/// on a host. What make and cargo say is shown only when they fail.
pub fn install_release(destination: &Path) -> Result<()> {
    let mut make = Command::new("make");
    make.arg("--silent").arg("-C").arg(root()).arg("install");
    make.arg(format!("DESTDIR={}", destination.display()));
    // A make above this one must not lend its job server or its flags.
    make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env_remove("MFLAGS");
    run_quietly(make)
}

/// Builds the agent with the feature `crash-points` and returns a copy of the binary that later
/// builds leave alone.
///
/// The profile and the target folder are those of `cargo test`, so that all dependencies are
/// already built; only the crates that know the feature are compiled a second time. Tests that run
/// side by side in one process share one build.
pub fn build_with_crash_points() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    match &*built {
        Some(binary) => Ok(binary.clone()),
        None => Ok(built.insert(build_crash_points()?).clone()),
    }
}

fn build_crash_points() -> Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root());
    cargo.args(["build", "--quiet", "--package", "thinmover", "--features", "crash-points"]);
    run_quietly(cargo)?;

    let target = target_directory();
    let built = target.join("debug/thinmover");
    let bytes =
        std::fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    // Another cargo may have put its own build in the same place meanwhile.
    let name = b"THINMOVER_CRASH_AT";
    if !bytes.windows(name.len()).any(|window| window == name) {
        bail!("{} was replaced by a build without crash points; try again", built.display());
    }
    let directory = target.join("crash-points");
    std::fs::create_dir_all(&directory)?;
    let copy = directory.join("thinmover");
    let new = directory.join(format!("thinmover.{}", std::process::id()));
    std::fs::copy(&built, &new).with_context(|| format!("cannot copy {}", built.display()))?;
    std::fs::rename(&new, &copy)?;
    Ok(copy)
}

/// Cargo's target folder.
pub fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Runs a command without input and shows its output only when it fails.
pub fn run_quietly(mut command: Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} failed ({})\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
