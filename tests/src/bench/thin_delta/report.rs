//! What the pairs say, as Markdown.

use std::fmt::Write as _;

use crate::bench::machine::Machine;
use crate::bench::measure::Figures;

/// Both tools, one after the other, on the same file.
pub(super) struct Pair {
    pub(super) thinmover: Figures,
    pub(super) thin_delta: Figures,
}

/// The pairs of one file.
pub(super) struct Series {
    /// How the leaves lie in it.
    pub(super) leaves: &'static str,
    /// Not none.
    pub(super) pairs: Vec<Pair>,
}

/// A run, ready to be shown.
pub(super) struct Report {
    pub(super) date: String,
    /// Versions.
    pub(super) thinmover: String,
    pub(super) thin_delta: String,
    /// Of each device.
    pub(super) mappings: u64,
    /// Of both trees together.
    pub(super) leaves: usize,
    pub(super) caches: &'static str,
    pub(super) machine: Machine,
    pub(super) series: Vec<Series>,
}

/// The middle one of some values, with the least and the greatest.
struct Spread {
    least: f64,
    middle: f64,
    greatest: f64,
}

impl Spread {
    fn of(pairs: &[Pair], value: impl Fn(&Pair) -> f64) -> Self {
        let mut values: Vec<f64> = pairs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        let last = values.len().saturating_sub(1);
        let middle = f64::midpoint(at(last / 2), at(last.div_ceil(2)));
        Self { least: at(0), middle, greatest: at(last) }
    }

    fn text(&self, unit: &str) -> String {
        let Self { least, middle, greatest } = self;
        format!("{middle:.2}{unit} ({least:.2}–{greatest:.2})")
    }
}

impl Report {
    pub(super) fn markdown(&self) -> String {
        let Self { date, thinmover, thin_delta, mappings, leaves, caches, machine, series } = self;
        let mut text = format!(
            "# How fast a delta is\n\n\
             Written by `make bench BENCH=\"thin-delta --write-to docs/thin-delta.md\"` on {}: \
             `thinmover thin delta` {thinmover} beside `thin_delta` {thin_delta} of \
             thin-provisioning-tools, on the same metadata of two devices that share no node, so that \
             both read all of it: {mappings} mappings each, {leaves} leaves together.\n\n\
             Each figure is the median of {} pairs, with the least and the greatest; × is that of \
             thin_delta's time divided by thinmover's, pair by pair.\n\n\
             | leaves | thinmover | thin_delta | × |\n| --- | ---: | ---: | ---: |\n",
            date.get(..10).unwrap_or(date),
            series.first().map_or(0, |series| series.pairs.len()),
        );
        for Series { leaves, pairs } in series {
            let ours = Spread::of(pairs, |pair| pair.thinmover.wall_seconds);
            let theirs = Spread::of(pairs, |pair| pair.thin_delta.wall_seconds);
            let ratio = Spread::of(pairs, |pair| {
                pair.thin_delta.wall_seconds / pair.thinmover.wall_seconds.max(1e-9)
            });
            let (ours, theirs, ratio) = (ours.text(" s"), theirs.text(" s"), ratio.text("×"));
            let _ = writeln!(text, "| {leaves} | {ours} | {theirs} | {ratio} |");
        }
        text += "\n| leaves | processor time: thinmover | thin_delta | peak memory: thinmover | \
                 thin_delta |\n| --- | ---: | ---: | ---: | ---: |\n";
        for Series { leaves, pairs } in series {
            let cpu = |figures: fn(&Pair) -> Figures| {
                Spread::of(pairs, |pair| figures(pair).cpu_seconds).middle
            };
            let mib = |figures: fn(&Pair) -> Figures| {
                Spread::of(pairs, |pair| (figures(pair).peak_bytes >> 10) as f64 / 1024.0).middle
            };
            let (ours, theirs) = (|pair: &Pair| pair.thinmover, |pair: &Pair| pair.thin_delta);
            let _ = writeln!(
                text,
                "| {leaves} | {:.2} s | {:.2} s | {:.0} MiB | {:.0} MiB |",
                cpu(ours),
                cpu(theirs),
                mib(ours),
                mib(theirs)
            );
        }
        let others: f64 = series
            .iter()
            .flat_map(|series| &series.pairs)
            .flat_map(|pair| [pair.thinmover, pair.thin_delta])
            .map(|figures| figures.other_cpu_seconds / figures.wall_seconds.max(1e-9))
            .fold(0.0, f64::max);
        let Machine { processor, processors, memory_bytes, kernel, filesystem } = machine;
        let _ = write!(
            text,
            "\n- Machine: {processors} × {processor}, {} MiB of memory, Linux {kernel}, {filesystem}. \
             Everything else on it used at most {others:.2} of its processors during a command.\n\
             - Caches are {caches}.\n\
             - In one file the leaves lie as `thin_restore` writes them, one after the other, in the \
             other they have exchanged their places by chance: the best and the worst that a pool's \
             metadata can be. A pool in use lies in between.\n\
             - Both answers are counted, and are the same.\n",
            memory_bytes >> 20,
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(ours: f64, theirs: f64) -> Pair {
        let figures = |wall_seconds| Figures { wall_seconds, ..Figures::default() };
        Pair { thinmover: figures(ours), thin_delta: figures(theirs) }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_pairs_ratios() {
        let pairs = vec![pair(1.0, 2.0), pair(2.0, 12.0), pair(4.0, 12.0)];
        let report = Report {
            date: "2026-01-31T12:00:00Z".into(),
            thinmover: "1".into(),
            thin_delta: "2".into(),
            mappings: 3,
            leaves: 4,
            caches: "cold",
            machine: Machine::default(),
            series: vec![Series { leaves: "in order", pairs }],
        };
        let text = report.markdown();
        let row = "| in order | 2.00 s (1.00–4.00) | 12.00 s (2.00–12.00) | 3.00× (2.00–6.00) |";
        assert!(text.contains(row), "{text}");
    }
}
