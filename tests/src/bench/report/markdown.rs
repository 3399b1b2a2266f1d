//! The report as a document: picture, tables, and all that is needed to judge them.

use super::table::{RATIO_NOTE, Table, bytes, tables, times};
use super::{Missing, Report};

/// A whole Markdown document that shows the picture `picture_name` beside it.
pub(super) fn document(report: &Report, picture_name: &str) -> String {
    let mut text = String::from("# How fast\n\n");
    let what = match report.server {
        None => "thinmover, its peers and the machine's own limit on the same volume in one run",
        Some(_) => "thinmover and its peers over S3, on the same volume in one run",
    };
    text.push_str(&format!(
        "Written by `make bench` on {}: {what}.\n\n![Time, memory and stored size of each \
         tool]({picture_name})\n\n{RATIO_NOTE}\n",
        report.date.get(..10).unwrap_or(&report.date),
    ));
    for table in tables(report) {
        text.push_str(&format!("\n## {}\n\n{}", table.title, rows(&table)));
    }
    text.push_str(&format!("\n## How it was measured\n\n{}", method(report)));
    text.push_str("\n## Tools\n\n| tool | told beyond its defaults |\n| --- | --- |\n");
    for tool in &report.tools {
        text.push_str(&line(&[&tool.title(), &tool.options]));
    }
    if !report.not_measured.is_empty() {
        text.push_str("\nNot measured:\n\n");
        for Missing { name, reason } in &report.not_measured {
            text.push_str(&format!("- {}: {}\n", escaped(name), escaped(reason)));
        }
    }
    text
}

fn rows(table: &Table) -> String {
    let mut headings = vec![""];
    headings.extend(&table.columns);
    let mut text = line(&headings);
    text.push_str(&format!("| --- |{}\n", " ---: |".repeat(table.columns.len())));
    for (name, cells) in &table.rows {
        let cells = cells.iter().map(|cell| match cell.ratio {
            Some(ratio) => format!("{} ({})", cell.value, times(ratio)),
            None => cell.value.clone(),
        });
        let cells: Vec<String> = std::iter::once(name.clone()).chain(cells).collect();
        text.push_str(&line(&cells.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    text
}

fn method(report: &Report) -> String {
    let machine = &report.machine;
    let volume = report.volume_bytes;
    let rounds = report.tools.iter().map(|tool| tool.rounds.len()).max().unwrap_or(0);
    let mut points = vec![
        format!(
            "Machine: {} × {}, {} of memory, Linux {}, {}.",
            machine.processors,
            machine.processor,
            bytes(machine.memory_bytes),
            machine.kernel,
            machine.filesystem
        ),
        format!(
            "Volume: an image file of {}: {} holes, {} random, {} log-like text, {} copies of earlier data \
             (4 MiB long, aligned to 256 KiB). It is generated, the same for the same seed ({}).",
            bytes(volume.total()),
            bytes(volume.hole),
            bytes(volume.random),
            bytes(volume.text),
            bytes(volume.copy),
            report.seed
        ),
        format!(
            "Each figure is the median of {rounds}. In each round every tool has its turn, so that drift of \
             the machine hits all alike. No time was further than {:.0} % from its median.",
            report.largest_deviation() * 100.0
        ),
        format!("Caches are {}.", report.caches),
        "Before the unchanged backup the image's time of change is set anew: it stands for a volume, \
         which has none, so every tool reads all of it again."
            .to_owned(),
        "Time runs from the start of the command until the filesystem it wrote to is synced \
         (syncfs), whatever the tool itself makes durable."
            .to_owned(),
        "Processor time is user and system time of all its processes. Peak memory is that of its \
         largest process (`ru_maxrss`). Stored are the lengths of the repository's files."
            .to_owned(),
        "Every restored volume is compared with the original byte for byte in the tool's first \
         round."
            .to_owned(),
    ];
    points.push(match report.server {
        None => "The limit is a plain program with the product's libraries: O_DIRECT reads by 4 threads, \
         keyed BLAKE3, zstd 1 and AES-256-GCM by 2, packs of 32 MiB written past the page cache. The \
         limit of a first backup is all steps, of an unchanged one reading and hashing, of a \
         restore a plain write of as many bytes as are not holes."
            .to_owned(),
        Some(server) => format!(
            "The repositories are in a bucket of {server} on 127.0.0.1, over plain HTTP: one that was \
             just started and is empty for each tool and round, on the same disk. Its requests are \
             counted by its own log; `multipart` are those that begin and complete an object of parts. \
             How long a line to a real store would take is not in these figures."
        ),
    });
    points.extend(report.busy_note());
    points.iter().map(|point| format!("- {}\n", escaped(point))).collect()
}

fn line(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| escaped(cell)).collect();
    format!("| {} |\n", cells.join(" | ").trim_start())
}

/// What ends a cell of a table or begins HTML.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn every_row_of_a_table_has_as_many_cells_as_its_heading() {
        let document = document(&sample::report(), "x.svg");
        let cells = |line: &str| line.replace("\\|", "").matches('|').count();
        let lines: Vec<&str> = document.lines().collect();
        let mut rows = 0;
        for pair in lines.windows(2).filter(|pair| pair.iter().all(|line| line.starts_with('|'))) {
            assert_eq!(cells(pair[0]), cells(pair[1]), "{pair:?}");
            rows += 1;
        }
        assert!(rows > 20, "{document}");
    }

    #[test]
    fn what_a_machine_or_tool_is_called_cannot_break_the_document() {
        let document = document(&sample::report(), "x.svg");
        assert!(document.contains("A &lt;fast> one") && document.contains("a \\| b"), "{document}");
    }

    #[test]
    fn what_is_missing_is_named_with_the_reason() {
        let document = document(&sample::report(), "x.svg");
        assert!(document.contains("- kopia: it cannot be built here; and so on\n"), "{document}");
    }
}
