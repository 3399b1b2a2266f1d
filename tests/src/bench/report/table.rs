//! The tables of a report as plain data, and as text.

use super::{FigureRatios, Ratios, Report, Round, RoundRequests, ToolReport};
use crate::bench::bucket::Requests;
use crate::bench::limit::Step;
use crate::bench::measure::Figures;
use crate::bench::peers::THINMOVER;

/// A job that is measured: its name, and its figures in a round.
type Phase = (&'static str, fn(&Round) -> Figures);

/// All of them.
pub(super) const PHASES: [Phase; 3] = [
    ("first backup", |round| round.first_backup),
    ("unchanged backup", |round| round.unchanged_backup),
    ("restore", |round| round.restore),
];

/// What the second number in a cell is.
pub(super) const RATIO_NOTE: &str =
    "×: divided by thinmover's figure, so that above 1 thinmover is better.";

/// Rows of cells with a name each.
pub(super) struct Table {
    pub(super) title: &'static str,
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<(String, Vec<Cell>)>,
}

/// A figure, and how it compares.
pub(super) struct Cell {
    pub(super) value: String,
    pub(super) ratio: Option<f64>,
}

/// All tables of a report.
pub(super) fn tables(report: &Report) -> Vec<Table> {
    let mut tables = vec![
        phases(report, "Time", |figures| seconds(figures.wall_seconds), |ratios| ratios.wall, true),
        phases(
            report,
            "Processor time",
            |figures| seconds(figures.cpu_seconds),
            |ratios| ratios.cpu,
            true,
        ),
        phases(
            report,
            "Peak memory",
            |figures| bytes(figures.peak_bytes),
            |ratios| ratios.peak,
            false,
        ),
        stored(report),
    ];
    if report.limit.rounds.is_empty() {
        tables.extend(REQUESTS.map(|(title, of)| requests(report, title, of)));
    } else {
        tables.push(limit(report));
    }
    tables
}

/// A table of requests: its title, and which ones.
type RequestsOf = (&'static str, fn(&RoundRequests) -> Requests);

/// All of them.
const REQUESTS: [RequestsOf; 3] = [
    ("Requests of a first backup", |requests| requests.first_backup),
    ("Requests of an unchanged backup", |requests| requests.unchanged_backup),
    ("Requests of a restore", |requests| requests.restore),
];

fn requests(report: &Report, title: &'static str, of: fn(&RoundRequests) -> Requests) -> Table {
    let of_tool = |tool: &ToolReport| tool.median.requests.as_ref().map(of).unwrap_or_default();
    let own = report.own().map(of_tool).unwrap_or_default().total();
    let row = |tool: &ToolReport| {
        let requests = of_tool(tool);
        let is_peer = tool.name != THINMOVER && own > 0;
        let ratio = is_peer.then(|| requests.total() as f64 / own as f64);
        let mut cells = vec![Cell { value: requests.total().to_string(), ratio }];
        let kinds = requests.kinds();
        cells.extend(kinds.map(|(_, count)| Cell { value: count.to_string(), ratio: None }));
        (tool.title(), cells)
    };
    let kinds = Requests::default().kinds();
    let columns = std::iter::once("all").chain(kinds.map(|(kind, _)| kind)).collect();
    Table { title, columns, rows: report.tools.iter().map(row).collect() }
}

fn phases(
    report: &Report,
    title: &'static str,
    value: fn(Figures) -> String,
    ratio: fn(FigureRatios) -> f64,
    with_limit: bool,
) -> Table {
    let row = |round: &Round, ratios: Option<Ratios>| {
        let of_phase = |ratios: Ratios| {
            [ratios.first_backup, ratios.unchanged_backup, ratios.restore].map(ratio)
        };
        let ratios = ratios.map_or([None; 3], |ratios| of_phase(ratios).map(Some));
        let cells = PHASES.iter().zip(ratios);
        cells.map(|((_, figures), ratio)| Cell { value: value(figures(round)), ratio }).collect()
    };
    let mut rows: Vec<_> = report
        .tools
        .iter()
        .map(|tool| (tool.title(), row(&tool.median, ratios_of_peer(tool))))
        .collect();
    if with_limit && let Some(limit) = limit_round(report) {
        let ratios = report.own().map(|own| limit.divided_by(&own.median));
        rows.push(("the machine's limit".to_owned(), row(&limit, ratios)));
    }
    Table { title, columns: PHASES.map(|(name, _)| name).to_vec(), rows }
}

/// The machine's limit as if it were a tool: a first backup does every step, an unchanged one has
/// nothing to compress, and a restore writes.
pub(super) fn limit_round(report: &Report) -> Option<Round> {
    let limit = &report.limit.median;
    Some(Round {
        first_backup: limit.backup(Step::Write)?,
        unchanged_backup: limit.backup(Step::Hash)?,
        restore: limit.plain_write,
        ..Round::default()
    })
}

/// This product's own are 1 and say nothing.
fn ratios_of_peer(tool: &ToolReport) -> Option<Ratios> {
    tool.ratios.filter(|_| tool.name != THINMOVER)
}

fn stored(report: &Report) -> Table {
    let row = |round: &Round, ratios: Option<Ratios>| {
        let ratio = ratios.map(|ratios| ratios.stored);
        vec![
            Cell { value: bytes(round.stored_bytes), ratio },
            Cell { value: bytes(round.grown_bytes), ratio: None },
        ]
    };
    let rows =
        report.tools.iter().map(|tool| (tool.title(), row(&tool.median, ratios_of_peer(tool))));
    Table {
        title: "Stored",
        columns: vec!["by the first backup", "added by the unchanged one"],
        rows: rows.collect(),
    }
}

fn limit(report: &Report) -> Table {
    let row = |name: &str, figures: Figures| {
        let cell = |value| Cell { value, ratio: None };
        let cells = [seconds(figures.wall_seconds), seconds(figures.cpu_seconds)].map(cell);
        (name.to_owned(), Vec::from(cells))
    };
    let limit = &report.limit.median;
    let mut rows: Vec<_> =
        limit.steps.iter().map(|step| row(step.step.describe(), step.figures)).collect();
    rows.push(row("plain write of what is not a hole", limit.plain_write));
    let columns = vec!["time", "processor time"];
    Table { title: "The machine's limit, step by step", columns, rows }
}

impl Table {
    pub(super) fn to_terminal(&self) -> String {
        let rows: Vec<(&str, Vec<(&str, String)>)> = self
            .rows
            .iter()
            .map(|(name, cells)| {
                let cells = cells.iter();
                let cells = cells
                    .map(|cell| (cell.value.as_str(), cell.ratio.map_or(String::new(), times)));
                (name.as_str(), cells.collect())
            })
            .collect();
        let width = |text: &str| text.chars().count();
        let name_width = rows.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
        let name_width = name_width.max(width(self.title));
        let widths = |at: usize| {
            let cells = || rows.iter().filter_map(|(_, cells)| cells.get(at));
            let ratio = cells().map(|(_, ratio)| width(ratio)).max().unwrap_or(0);
            let gap = if ratio > 0 { 2 } else { 0 };
            let value = cells().map(|(value, _)| width(value)).max().unwrap_or(0);
            (value.max(width(self.columns[at]).saturating_sub(gap + ratio)), gap, ratio)
        };
        let mut text = format!("{:name_width$}", self.title.to_uppercase());
        for (at, column) in self.columns.iter().enumerate() {
            let (value, gap, ratio) = widths(at);
            text.push_str(&format!("   {column:>total$}", total = value + gap + ratio));
        }
        text.push('\n');
        for (name, cells) in &rows {
            let mut line = format!("{name:name_width$}");
            for (at, (cell, ratio)) in cells.iter().enumerate() {
                let (value_width, gap, ratio_width) = widths(at);
                line.push_str(&format!("   {cell:>value_width$}{:gap$}{ratio:>ratio_width$}", ""));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Three digits, and no more than hundredths.
pub(super) fn seconds(seconds: f64) -> String {
    let decimals = if seconds < 9.995 { 2 } else { usize::from(seconds < 99.95) };
    format!("{seconds:.decimals$} s")
}

/// Mebibytes, so that a column can be compared; kibibytes for what is next to nothing.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes < 1 << 20 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        _ => format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}

/// A ratio with enough digits to tell it from 1.
pub(super) fn times(ratio: f64) -> String {
    let decimals = if ratio < 1.995 { 2 } else { usize::from(ratio < 99.95) };
    format!("{ratio:.decimals$}×")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn numbers_have_about_three_digits() {
        assert_eq!(
            [1.0, 9.996, 26.44, 120.4].map(seconds),
            ["1.00 s", "10.0 s", "26.4 s", "120 s"]
        );
        assert_eq!([0.925, 1.0, 8.66, 120.0].map(times), ["0.93×", "1.00×", "8.7×", "120×"]);
        let sizes = [0, 1, 3 << 10, 1 << 20, 1934 << 20].map(bytes);
        assert_eq!(sizes, ["0", "1 KiB", "3 KiB", "1 MiB", "1934 MiB"]);
    }

    #[test]
    fn every_tool_and_the_limit_are_compared_with_this_product() {
        let tables = tables(&sample::report());
        let time = &tables[0];
        let names: Vec<&str> = time.rows.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["thinmover 0.1.0", "restic 0.14.0 & more", "the machine's limit"]);
        let ratios = |row: usize| time.rows[row].1.iter().map(|cell| cell.ratio.unwrap());
        assert!(time.rows[0].1.iter().all(|cell| cell.ratio.is_none()), "not with itself");
        assert!(ratios(1).all(|ratio| ratio == 8.0));
        // 2.4 of 3 seconds, 1.1 and 1.2 of 1.5.
        let limits: Vec<String> = ratios(2).map(times).collect();
        assert_eq!(limits, ["0.80×", "0.73×", "0.80×"]);
        let memory = &tables[2];
        assert_eq!(memory.rows.len(), 2, "the limit's program is not bounded in memory");
    }

    #[test]
    fn over_s3_requests_stand_where_the_limit_would() {
        let mut report = sample::report();
        report.limit = super::super::LimitReport::default();
        for (tool, put) in report.tools.iter_mut().zip([2, 6]) {
            let first_backup = Requests { put, ..Requests::default() };
            tool.median.requests = Some(RoundRequests { first_backup, ..Default::default() });
        }
        let tables = tables(&report);
        assert!(tables.iter().all(|table| !table.title.contains("limit")));
        let table = tables.iter().find(|table| table.title.contains("first")).unwrap();
        let cell = |row: usize, column: usize| &table.rows[row].1[column];
        assert_eq!((table.columns[0], table.columns[1]), ("all", "PUT"));
        assert_eq!((cell(0, 0).value.as_str(), cell(0, 0).ratio), ("2", None));
        assert_eq!((cell(1, 1).value.as_str(), cell(1, 0).ratio), ("6", Some(3.0)));
    }

    #[test]
    fn columns_line_up_on_the_terminal() {
        for table in tables(&sample::report()) {
            let text = table.to_terminal();
            let lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
            assert_eq!(lines.len(), table.rows.len() + 1);
            let full = lines[0].len();
            assert!(lines.iter().all(|line| line.len() <= full && full < 100), "{text}");
            for column in &table.columns {
                assert!(text.lines().next().unwrap().contains(column), "{text}");
            }
            // A full row ends where the heading does.
            assert!(lines[1..].iter().any(|line| line.len() == full) || table.title == "Stored");
        }
    }
}
