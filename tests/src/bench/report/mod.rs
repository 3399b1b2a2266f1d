//! What a run found, and the ways to show it: tables for the terminal and for Markdown, JSON, a picture.
//!
//! The structures here are the JSON document as well; version 1 of it.

mod markdown;
mod median;
mod svg;
mod table;

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::bucket::Requests;
use super::limit::Step;
use super::machine::Machine;
use super::measure::Figures;
use super::peers::THINMOVER;
use super::volume::Shares;

/// The version of the JSON document.
pub const VERSION: u32 = 1;

/// A tool that fails may have much to say; so much of it, in characters, is shown.
const REASON_LENGTH_MAX: usize = 300;

/// The share of the processors that the kernel's threads may well take by themselves: they write back
/// what tools leave in the page cache.
const QUIET_SHARE: f64 = 0.15;

/// All of a run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// When the run began, RFC 3339.
    pub date: String,
    /// Where it took place.
    pub machine: Machine,
    /// The volume's content by kind, in bytes.
    pub volume_bytes: Shares,
    /// The volume's seed.
    pub seed: u64,
    /// The server of a run over S3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<&'static str>,
    /// How cold the caches were.
    pub caches: &'static str,
    /// The tools, this product first.
    pub tools: Vec<ToolReport>,
    /// Tools that have no figures, and why.
    pub not_measured: Vec<Missing>,
    /// What the machine could do.
    pub limit: LimitReport,
}

/// One tool's figures.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolReport {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it was told beyond its defaults.
    pub options: String,
    /// The median of each figure.
    pub median: Round,
    /// Each median divided by this product's.
    pub ratios: Option<Ratios>,
    /// All rounds.
    pub rounds: Vec<Round>,
}

/// What one tool did in one round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Round {
    /// Into an empty repository.
    pub first_backup: Figures,
    /// Once more, nothing having changed.
    pub unchanged_backup: Figures,
    /// Of the last backup to a new file.
    pub restore: Figures,
    /// The repository after the first backup: the lengths of its files.
    pub stored_bytes: u64,
    /// What the unchanged backup added to it.
    pub grown_bytes: u64,
    /// What it asked of a server, over S3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<RoundRequests>,
}

/// The requests of each job of a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoundRequests {
    /// Of the first backup.
    pub first_backup: Requests,
    /// Of the unchanged backup.
    pub unchanged_backup: Requests,
    /// Of the restore.
    pub restore: Requests,
}

/// A round divided by another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ratios {
    /// Of the first backup.
    pub first_backup: FigureRatios,
    /// Of the unchanged backup.
    pub unchanged_backup: FigureRatios,
    /// Of the restore.
    pub restore: FigureRatios,
    /// Of the repository's size.
    pub stored: f64,
}

/// [`Figures`] divided by others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FigureRatios {
    /// Of the time.
    pub wall: f64,
    /// Of the processor time.
    pub cpu: f64,
    /// Of the peak memory.
    pub peak: f64,
}

/// A tool without figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// The machine's limit.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitReport {
    /// The median of each figure.
    pub median: LimitRound,
    /// All rounds.
    pub rounds: Vec<LimitRound>,
}

/// The machine's limit in one round.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitRound {
    /// Each step with those before it.
    pub steps: Vec<StepFigures>,
    /// Writing as many bytes as the volume has that are not holes.
    pub plain_write: Figures,
}

/// The machine's limit up to a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StepFigures {
    /// The last step.
    pub step: Step,
    /// What it took.
    #[serde(flatten)]
    pub figures: Figures,
}

impl Report {
    /// Adds the ratios to this product's figures; to be called once all tools are there.
    pub fn with_ratios(mut self) -> Self {
        if let Some(own) = self.own().map(|own| own.median) {
            for tool in &mut self.tools {
                tool.ratios = Some(tool.median.divided_by(&own));
            }
        }
        self
    }

    /// This product among the tools.
    fn own(&self) -> Option<&ToolReport> {
        self.tools.iter().find(|tool| tool.name == THINMOVER)
    }

    /// The tables as text for a terminal.
    pub fn to_terminal(&self) -> String {
        let tables: Vec<String> =
            table::tables(self).iter().map(|table| table.to_terminal()).collect();
        let mut text = tables.join("\n");
        text.push_str(&format!("\n{}\n", table::RATIO_NOTE));
        for Missing { name, reason } in &self.not_measured {
            text.push_str(&format!("not measured: {name}: {reason}\n"));
        }
        text.extend(self.busy_note().map(|note| note + "\n"));
        text
    }

    /// Writes Markdown to `path`, and beside it under the same name JSON and the picture.
    ///
    /// # Errors
    /// When one of the three cannot be written.
    pub fn write_to(&self, path: &Path) -> Result<()> {
        let picture = path.with_extension("svg");
        let picture_name = picture.file_name().unwrap_or_default().to_string_lossy();
        let json = serde_json::to_string_pretty(self)? + "\n";
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        for (path, text) in [
            (path, markdown::document(self, &picture_name)),
            (&path.with_extension("json"), json),
            (&picture, svg::picture(self)),
        ] {
            std::fs::write(path, text)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// The share of the processors that others had while tools were measured.
    fn others_share(&self) -> f64 {
        let rounds = self.tools.iter().flat_map(|tool| &tool.rounds);
        let figures = rounds.flat_map(|round| table::PHASES.map(|(_, figures)| figures(round)));
        let (others, wall) = figures.fold((0.0, 0.0), |(others, wall), figures| {
            (others + figures.other_cpu_seconds, wall + figures.wall_seconds)
        });
        others / f64::max(wall * self.machine.processors as f64, f64::MIN_POSITIVE)
    }

    /// What takes the worth from the figures of a busy machine.
    fn busy_note(&self) -> Option<String> {
        let share = self.others_share();
        (share > QUIET_SHARE).then(|| {
            let percent = share * 100.0;
            match self.server {
                None => format!(
                    "The machine was not idle: others had {percent:.0} % of its processors meanwhile."
                ),
                Some(server) => format!(
                    "{server} runs on the same machine: it and all others had {percent:.0} % of the \
                     processors meanwhile."
                ),
            }
        })
    }

    /// The furthest that the time of any round was from its median, as a share of the median.
    fn largest_deviation(&self) -> f64 {
        let deviation = |tool: &ToolReport, figures: fn(&Round) -> Figures| {
            let median = figures(&tool.median).wall_seconds;
            let differences =
                tool.rounds.iter().map(figures).map(|round| round.wall_seconds - median);
            differences.map(|difference| difference.abs() / median).fold(0.0, f64::max)
        };
        let of_tools = self
            .tools
            .iter()
            .flat_map(|tool| table::PHASES.map(|(_, figures)| deviation(tool, figures)));
        of_tools.fold(0.0, f64::max)
    }
}

impl ToolReport {
    /// The report of these rounds, which are not none.
    pub fn new(name: &str, version: &str, options: &str, rounds: Vec<Round>) -> Self {
        let [name, version, options] = [name, version, options].map(str::to_owned);
        let median = median::of_rounds(&rounds);
        Self { name, version, options, median, ratios: None, rounds }
    }

    fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

impl LimitReport {
    /// The report of these rounds, which are not none.
    pub fn new(rounds: Vec<LimitRound>) -> Self {
        Self { median: median::of_limit(&rounds), rounds }
    }
}

impl LimitRound {
    /// What a backup cannot beat that goes as far as `last`.
    fn backup(&self, last: Step) -> Option<Figures> {
        self.steps.iter().find(|figures| figures.step == last).map(|figures| figures.figures)
    }
}

impl Missing {
    /// A tool and why it has no figures; the lines of a long reason become one.
    pub fn new(name: &str, reason: impl AsRef<str>) -> Self {
        let lines = reason.as_ref().lines().map(str::trim).filter(|line| !line.is_empty());
        let mut reason = lines.collect::<Vec<_>>().join("; ");
        if let Some((end, _)) = reason.char_indices().nth(REASON_LENGTH_MAX) {
            reason.truncate(end);
            reason.push('…');
        }
        Self { name: name.to_owned(), reason }
    }
}

impl Round {
    fn divided_by(&self, own: &Self) -> Ratios {
        let divided = |figures: Figures, own: Figures| FigureRatios {
            wall: figures.wall_seconds / own.wall_seconds,
            cpu: figures.cpu_seconds / own.cpu_seconds,
            peak: figures.peak_bytes as f64 / own.peak_bytes as f64,
        };
        Ratios {
            first_backup: divided(self.first_backup, own.first_backup),
            unchanged_backup: divided(self.unchanged_backup, own.unchanged_backup),
            restore: divided(self.restore, own.restore),
            stored: self.stored_bytes as f64 / own.stored_bytes as f64,
        }
    }
}

#[cfg(test)]
mod sample;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_files_stand_beside_each_other_and_the_document_shows_the_picture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docs/speed.md");
        sample::report().write_to(&path).unwrap();
        let markdown = std::fs::read_to_string(&path).unwrap();
        assert!(markdown.contains("(speed.svg)"), "{markdown}");
        assert!(path.with_extension("svg").exists());
        let json = std::fs::read_to_string(path.with_extension("json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["version"], 1);
        assert_eq!(json["tools"][1]["name"], "restic");
        assert_eq!(json["tools"][1]["ratios"]["firstBackup"]["wall"], 8.0);
        assert_eq!(json["tools"][1]["rounds"].as_array().unwrap().len(), 3);
        assert_eq!(json["limit"]["median"]["steps"][4]["step"], "write");
    }

    #[test]
    fn a_busy_machine_is_told() {
        let mut report = sample::report();
        for share in [0.0, 0.1, 0.5] {
            for round in report.tools.iter_mut().flat_map(|tool| &mut tool.rounds) {
                for figures in
                    [&mut round.first_backup, &mut round.unchanged_backup, &mut round.restore]
                {
                    figures.other_cpu_seconds = 2.0 * figures.wall_seconds * share;
                }
            }
            assert!((report.others_share() - share).abs() < 1e-9);
            for text in [report.to_terminal(), markdown::document(&report, "x.svg")] {
                assert_eq!(text.contains("others had 50 %"), share == 0.5, "{text}");
            }
        }
    }

    #[test]
    fn the_terminal_is_told_what_is_missing_in_one_line() {
        let text = sample::report().to_terminal();
        assert!(
            text.contains("not measured: kopia: it cannot be built here; and so on\n"),
            "{text}"
        );
        let long = Missing::new("a", "×".repeat(1000));
        assert_eq!(long.reason.chars().count(), REASON_LENGTH_MAX + 1);
    }

    #[test]
    fn the_largest_deviation_is_that_of_the_least_steady_time() {
        let deviation = sample::report().largest_deviation();
        assert!((deviation - 0.25).abs() < 1e-9, "{deviation}");
    }
}
