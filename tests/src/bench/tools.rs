//! Finding the tools that are compared, and building those that no package has.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use super::peers::{KNOWN, Known, LEFT_OUT, Origin, Peer, THINMOVER, version_in};
use super::report::Missing;
use crate::workspace::{run_quietly, target_directory};

/// Which peers to compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those that are here.
    Installed,
    /// Those that are here, and those that cargo or go can build.
    All,
    /// These, built where that is possible.
    Named(Vec<String>),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "installed" => return Ok(Self::Installed),
            "all" => return Ok(Self::All),
            "none" => return Ok(Self::Named(Vec::new())),
            _ => {}
        }
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        match names.iter().find(|name| KNOWN.iter().all(|known| known.name != name.as_str())) {
            None => Ok(Self::Named(names)),
            Some(name) => {
                let known: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
                Err(format!("{name} is not known; there are {}", known.join(", ")))
            }
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed => f.write_str("installed"),
            Self::All => f.write_str("all"),
            Self::Named(names) => f.write_str(&names.join(",")),
        }
    }
}

/// A tool that was found.
pub struct Tool {
    /// What it does.
    pub peer: Box<dyn Peer>,
    /// What it says of itself.
    pub version: String,
}

/// The tools to measure, this product first, and those that are not to be had.
///
/// # Errors
/// When this product's own binary does not run.
pub fn find(wanted: &Wanted, thinmover: Option<&Path>) -> Result<(Vec<Tool>, Vec<Missing>)> {
    let (mut tools, mut missing) = (Vec::new(), Vec::new());
    for known in KNOWN {
        let found = match (known.origin, wanted) {
            (Origin::Here, _) => {
                let built = || target_directory().join("release").join(known.binary);
                std::path::absolute(thinmover.map_or_else(built, Path::to_owned))
                    .map_err(Into::into)
            }
            (_, Wanted::Named(names)) if !names.iter().any(|name| name == known.name) => {
                Err(anyhow::anyhow!("it was not asked for"))
            }
            (_, wanted) => here_or_built(known, *wanted != Wanted::Installed),
        };
        match found.and_then(|path| tool(known, path)) {
            Ok(tool) => tools.push(tool),
            Err(error) if known.name == THINMOVER => return Err(error),
            Err(error) => missing.push(Missing::new(known.name, format!("{error:#}"))),
        }
    }
    missing.extend(LEFT_OUT.iter().map(|&(name, reason)| Missing::new(name, reason)));
    Ok((tools, missing))
}

/// Whether a subcommand's help has an option.
pub fn has_option(binary: &Path, subcommand: &[&str], option: &str) -> bool {
    let help = Command::new(binary).args(subcommand).arg("--help").stdin(Stdio::null()).output();
    help.is_ok_and(|help| {
        [help.stdout, help.stderr].concat().windows(option.len()).any(|at| at == option.as_bytes())
    })
}

/// What a command prints.
///
/// # Errors
/// When it cannot be run or fails.
pub fn output(mut command: Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{program} failed ({}): {}", output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn tool(known: &Known, path: PathBuf) -> Result<Tool> {
    let peer = (known.at)(path);
    let printed = output(peer.version())?;
    let version = version_in(&printed).unwrap_or("of an unknown version").to_owned();
    Ok(Tool { peer, version })
}

fn here_or_built(known: &Known, build: bool) -> Result<PathBuf> {
    let built = tools_directory()?.join("bin").join(known.binary);
    if built.exists() {
        return Ok(built);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut installed = std::env::split_paths(&path).map(|folder| folder.join(known.binary));
    if let Some(installed) = installed.find(|path| path.is_file()) {
        return Ok(installed);
    }
    let command = match known.origin {
        Origin::Crate(name) => cargo_install(name)?,
        Origin::GoPackage(name) => go_install(name)?,
        Origin::Here | Origin::Package => bail!("it is not installed"),
    };
    if !build {
        bail!("it is not installed (--peers all builds it)");
    }
    eprintln!("bench: building {} (once, several minutes)", known.name);
    // All that the build says would drown the report.
    run_quietly(command).map_err(|error| {
        eprintln!("bench: {}: {error:#}", known.name);
        anyhow::anyhow!("it is not installed and could not be built")
    })?;
    Ok(built)
}

fn cargo_install(name: &str) -> Result<Command> {
    let mut cargo = Command::new("cargo");
    cargo.args(["install", "--quiet", "--locked", "--root"]).arg(tools_directory()?).arg(name);
    // Neither its build nor its result belongs to this workspace.
    cargo.current_dir(tools_directory()?).env_remove("CARGO_TARGET_DIR");
    Ok(cargo)
}

fn go_install(name: &str) -> Result<Command> {
    let mut go = Command::new("go");
    go.args(["install", &format!("{name}@latest")]).env("GOBIN", tools_directory()?.join("bin"));
    Ok(go)
}

/// Where tools that were built are kept, outlasting `cargo clean`.
fn tools_directory() -> Result<PathBuf> {
    let named = |variable: &str| {
        std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
    };
    let cache = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")));
    let folder = cache.context("HOME is not set")?.join("thinmover-bench");
    std::fs::create_dir_all(folder.join("bin"))
        .with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_peers_are_named_or_a_word_for_several() {
        assert_eq!("installed".parse(), Ok(Wanted::Installed));
        assert_eq!("none".parse(), Ok(Wanted::Named(Vec::new())));
        let named = Wanted::Named(vec!["restic".to_owned(), "borg".to_owned()]);
        assert_eq!("restic, borg".parse(), Ok(named));
        let error = "restic,tar".parse::<Wanted>().unwrap_err();
        assert!(error.contains("tar") && error.contains("kopia"), "{error}");
    }
}
