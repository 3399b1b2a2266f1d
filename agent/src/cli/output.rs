//! Answers: one JSON document on stdout under `--json`, tables and sentences otherwise.

use std::fmt::Write as _;
use std::io::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use thinmover_lvm::Bytes;

use crate::failure::Failure;

/// How a command that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    Clean,
    WithWarnings,
    /// It did what was asked, and found damage.
    Damaged,
    /// It failed when its answer had begun; the answer's end says so.
    CutShort,
}

impl Done {
    /// The exit code that says so.
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Damaged | Self::CutShort => 1,
            Self::WithWarnings => 5,
        }
    }
}

/// What a command answers, for machines by `Serialize` and for people by [`human`](Self::human).
pub(super) trait Report: Serialize {
    /// Lines for a terminal, each ended by a newline.
    fn human(&self) -> String;
}

/// Prints the one answer of this process. A reader that went away (`| head`) is no error.
pub(super) fn print(report: &impl Report, as_json: bool) {
    let text = if as_json {
        serde_json::to_string(report).map(|text| text + "\n").unwrap_or_default()
    } else {
        report.human()
    };
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Prints a failure: under `--json` as the document on stdout, and always for people on stderr.
pub(super) fn print_failure(failure: &Failure, as_json: bool) {
    if as_json {
        println!("{}", json!({ "error": failure }));
    }
    eprintln!("thinmover: {failure}");
    if let Some(hint) = &failure.hint {
        eprintln!("  hint: {hint}");
    }
}

/// Prints a warning for people on stderr.
pub(super) fn print_warning(warning: &str) {
    eprintln!("thinmover: warning: {warning}");
}

/// Columns wide enough for their cells, a header line first. `right` names the columns (from 0)
/// that hold numbers.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    right: &[usize],
    rows: &[[String; N]],
) -> String {
    let mut widths = header.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&header.map(str::to_owned)).chain(rows) {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let _ = if right.contains(&column) {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:<width$}  ")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A number of bytes as people read it, e.g. `1.2 GiB`.
pub(super) fn size(bytes: u64) -> String {
    Bytes(bytes).to_string()
}

/// A line about a fallback that costs the host its page cache, where there was one.
pub(super) fn page_cache_note(page_cache: bool) -> &'static str {
    if page_cache {
        "  went through the page cache: direct I/O is not possible there\n"
    } else {
        ""
    }
}

/// A time as people read it, e.g. `2026-01-31 12:00:00Z`.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A fraction of 100 with one decimal, e.g. `41.7 %`.
pub(super) fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1} %"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".into(), "1".into()], ["longer".into(), "1000".into()]];
        assert_eq!(
            table(["NAME", "SIZE"], &[1], &rows),
            "NAME    SIZE\na          1\nlonger  1000\n"
        );
    }
}
