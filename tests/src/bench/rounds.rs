//! The run: rounds in which every tool, and the machine's limit, has its turn on the same volume.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};

use super::bucket::{Requests, Server};
use super::cold::ColdCache;
use super::files::{are_equal, total_bytes};
use super::limit::Step;
use super::measure::{Figures, measured};
use super::peers::{IMAGE, Peer, Place, THINMOVER};
use super::report::{
    LimitReport, LimitRound, Missing, Round, RoundRequests, StepFigures, ToolReport,
};
use super::tools::Tool;
use super::volume::Volume;

/// Where a run takes place.
pub struct Bench {
    work: WorkFolder,
    source: PathBuf,
    cold: ColdCache,
    harness: PathBuf,
    /// Whether repositories are in a bucket.
    over_s3: bool,
}

/// What a run found.
pub struct Measured {
    /// The tools that did their job in every round.
    pub tools: Vec<ToolReport>,
    /// Those that did not.
    pub failed: Vec<Missing>,
    /// The machine's limit; of no rounds in a run over S3.
    pub limit: LimitReport,
}

impl Bench {
    /// Makes a work folder below `folder` and the volume in it. `harness` is the executable of the
    /// benchmark, whose hidden subcommands measure commands and the limit.
    ///
    /// # Errors
    /// When there is no room, another run is under way there, or the folder cannot be written to.
    pub fn prepare(
        folder: &Path,
        volume: &Volume,
        cold: ColdCache,
        harness: PathBuf,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let work = WorkFolder::new(&folder.canonicalize()?)?;
        check_room(&work.path, volume)?;
        let source = work.path.join("source");
        std::fs::create_dir(&source)?;
        eprintln!("bench: writing the volume");
        volume.write_to(&source.join(IMAGE))?;
        Ok(Self { work, source, cold, harness, over_s3: false })
    }

    /// Gives each tool a server with an empty bucket in each of its rounds, if `over_s3`.
    #[must_use]
    pub fn over_s3(self, over_s3: bool) -> Self {
        Self { over_s3, ..self }
    }

    /// Runs all rounds. A tool that fails once, or restores other bytes, has no figures; that this
    /// product does is an error.
    ///
    /// # Errors
    /// When this product or the limit cannot be measured.
    pub fn run(&self, tools: Vec<Tool>, rounds: usize) -> Result<Measured> {
        let (mut failed, mut limit) = (Vec::new(), Vec::new());
        let is_able = |tool: &Tool| !self.over_s3 || tool.peer.knows_buckets();
        let (able, unable): (Vec<Tool>, Vec<Tool>) = tools.into_iter().partition(is_able);
        let unable = unable.iter().map(|tool| tool.peer.name());
        failed.extend(unable.map(|name| Missing::new(name, "it is not told how to use a bucket")));
        let mut running: Vec<(Tool, Vec<Round>)> =
            able.into_iter().map(|tool| (tool, Vec::new())).collect();
        for round in 1..=rounds {
            let mut still = Vec::new();
            for (tool, mut done) in running {
                let name = tool.peer.name();
                eprintln!("bench: round {round} of {rounds}: {name}");
                match self.tool_round(tool.peer.as_ref(), done.is_empty()) {
                    Ok(figures) => {
                        done.push(figures);
                        still.push((tool, done));
                    }
                    Err(error) if name == THINMOVER => return Err(error.context(THINMOVER)),
                    Err(error) => {
                        eprintln!("bench: {name}: {error:#}");
                        failed.push(Missing::new(name, format!("{error:#}")));
                    }
                }
            }
            running = still;
            if !self.over_s3 {
                eprintln!("bench: round {round} of {rounds}: the machine's limit");
                limit.push(self.limit_round()?);
            }
        }
        let report = |(tool, rounds): (Tool, Vec<Round>)| {
            ToolReport::new(tool.peer.name(), &tool.version, tool.peer.options(), rounds)
        };
        let tools = running.into_iter().map(report).collect();
        Ok(Measured { tools, failed, limit: LimitReport::new(limit) })
    }

    fn tool_round(&self, peer: &dyn Peer, compare: bool) -> Result<Round> {
        let (folder, log) = self.fresh_folder("round")?;
        let server = self.over_s3.then(|| Server::start(&folder)).transpose()?;
        let bucket = server.as_ref().map(|server| server.bucket().clone());
        let place = Place { folder, source: self.source.clone(), bucket };
        place.prepare()?;
        let sent = || server.as_ref().map_or(Ok(Requests::default()), Server::requests);
        for command in peer.init(&place)? {
            // Measured like the rest, so that its output is kept and an error shown.
            measured(&self.harness, &command, &place.folder, &log)
                .context("cannot make a repository")?;
        }
        let cold = |command: &Command, what: &str| {
            self.cold.empty(&[&self.source, &place.folder])?;
            let before = sent()?;
            let figures = measured(&self.harness, command, &place.folder, &log)
                .with_context(|| format!("the {what} failed"))?;
            show(what, figures);
            Ok::<_, anyhow::Error>((figures, sent()? - before))
        };
        let (first_backup, of_first) = cold(&peer.backup(&place), "first backup")?;
        let stored_bytes = total_bytes(&place.stored())?;
        self.touch_volume()?;
        let (unchanged_backup, of_unchanged) = cold(&peer.backup(&place), "unchanged backup")?;
        let grown_bytes = total_bytes(&place.stored())?.saturating_sub(stored_bytes);
        let (restore, of_restore) = cold(&peer.restore(&place)?, "restore")?;
        if compare && !are_equal(&self.source.join(IMAGE), &peer.restored(&place))? {
            bail!("it restored other bytes than it was given");
        }
        let requests = server.is_some().then_some(RoundRequests {
            first_backup: of_first,
            unchanged_backup: of_unchanged,
            restore: of_restore,
        });
        drop(server);
        std::fs::remove_dir_all(&place.folder)?;
        Ok(Round { first_backup, unchanged_backup, restore, stored_bytes, grown_bytes, requests })
    }

    fn limit_round(&self) -> Result<LimitRound> {
        let image = self.source.join(IMAGE);
        let run = |arguments: &[&str]| {
            let (folder, log) = self.fresh_folder("round")?;
            let mut command = Command::new(&self.harness);
            command.args(arguments).arg(&image).arg(&folder);
            self.cold.empty(&[&self.source])?;
            let figures = measured(&self.harness, &command, &folder, &log)?;
            std::fs::remove_dir_all(&folder)?;
            Ok::<_, anyhow::Error>(figures)
        };
        let mut steps = Vec::new();
        for step in Step::ALL {
            let name = clap::ValueEnum::to_possible_value(&step).context("a step has a name")?;
            let figures = run(&["limit", name.get_name()])?;
            show(step.describe(), figures);
            steps.push(StepFigures { step, figures });
        }
        let plain_write = run(&["plain-write"])?;
        show("plain write", plain_write);
        Ok(LimitRound { steps, plain_write })
    }

    /// A new folder, and the path for a log beside it.
    fn fresh_folder(&self, name: &str) -> Result<(PathBuf, PathBuf)> {
        let folder = self.work.path.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir(&folder)?;
        Ok((folder, self.work.path.join("log")))
    }

    /// A volume has no time of change; without one to trust, tools read the image again.
    fn touch_volume(&self) -> Result<()> {
        let image = File::options().write(true).open(self.source.join(IMAGE))?;
        Ok(image.set_modified(SystemTime::now())?)
    }
}

/// An empty folder, locked against a second run, and removed when the run ends. What a killed run left
/// of it is removed by the next.
struct WorkFolder {
    path: PathBuf,
    _lock: File,
}

impl WorkFolder {
    fn new(folder: &Path) -> Result<Self> {
        let lock = File::create(folder.join("thinmover-bench.lock"))?;
        lock.try_lock().with_context(|| format!("a run is under way in {}", folder.display()))?;
        let path = folder.join("thinmover-bench.work");
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        std::fs::create_dir(&path)?;
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("bench: cannot remove {}: {error}", self.path.display());
        }
    }
}

/// How much of the file at `path` is not holes, in bytes.
///
/// # Errors
/// When there is no such file.
pub fn allocated_bytes(path: &Path) -> Result<u64> {
    // stat(2): st_blocks counts units of 512 bytes.
    Ok(path.metadata()?.blocks() * 512)
}

/// The volume, a repository, and a restored volume that may have lost its holes.
fn check_room(folder: &Path, volume: &Volume) -> Result<()> {
    let shares = volume.shares_bytes();
    let needed = 2 * (shares.total() - shares.hole) + shares.total();
    let statvfs = nix::sys::statvfs::statvfs(folder)?;
    let free = statvfs.blocks_available() * statvfs.fragment_size();
    ensure!(
        free >= needed,
        "{} MiB must be free at {} and only {} MiB are; use a smaller --size or another --folder",
        needed >> 20,
        folder.display(),
        free >> 20
    );
    Ok(())
}

fn show(what: &str, figures: Figures) {
    let Figures { wall_seconds, cpu_seconds, peak_bytes, .. } = figures;
    let peak_mib = peak_bytes as f64 / f64::from(1 << 20);
    eprintln!("  {what:<42} {wall_seconds:7.2} s  {cpu_seconds:7.2} s CPU  {peak_mib:5.0} MiB");
}
