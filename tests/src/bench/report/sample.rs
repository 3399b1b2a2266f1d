//! A small report for the tests of how reports are shown.

use super::super::limit::Step;
use super::super::machine::Machine;
use super::super::measure::Figures;
use super::super::volume::Volume;
use super::{LimitReport, LimitRound, Missing, Report, Round, StepFigures, ToolReport, VERSION};

/// Figures of so many seconds on two processors, and 100 MiB; nothing else ran.
pub(super) fn figures(wall_seconds: f64) -> Figures {
    let cpu_seconds = 2.0 * wall_seconds;
    Figures { wall_seconds, cpu_seconds, peak_bytes: 100 << 20, other_cpu_seconds: 0.0 }
}

/// A backup of `wall_seconds`; unchanged and restored in half of it.
pub(super) fn round(wall_seconds: f64) -> Round {
    Round {
        first_backup: figures(wall_seconds),
        unchanged_backup: figures(wall_seconds / 2.0),
        restore: figures(wall_seconds / 2.0),
        stored_bytes: 1641 << 20,
        grown_bytes: 3 << 10,
        requests: None,
    }
}

/// This product, a peer that is eight times slower, and one that is missing.
pub(super) fn report() -> Report {
    let own = [3.0, 3.75, 2.5].map(round).to_vec();
    let peer = [24.0, 25.0, 23.0].map(round).to_vec();
    let steps = Step::ALL.into_iter().zip([1.0, 1.1, 2.0, 2.2, 2.4]);
    let limit = LimitRound {
        steps: steps.map(|(step, wall)| StepFigures { step, figures: figures(wall) }).collect(),
        plain_write: figures(1.2),
    };
    let report = Report {
        version: VERSION,
        date: "2026-01-31T12:00:00Z".to_owned(),
        machine: Machine {
            processor: "A <fast> one".to_owned(),
            processors: 2,
            ..Machine::default()
        },
        volume_bytes: Volume::new(4 << 30, 1).unwrap().shares_bytes(),
        seed: 1,
        server: None,
        caches: "cold",
        tools: vec![
            ToolReport::new("thinmover", "0.1.0", "", own),
            ToolReport::new("restic", "0.14.0 & more", "a | b", peer),
        ],
        not_measured: vec![Missing::new("kopia", "it cannot be built here\nand so on")],
        limit: LimitReport::new(vec![limit]),
    };
    report.with_ratios()
}
