//! The report as a picture: bars, drawn as SVG that reads on a light and on a dark page.

use super::Report;
use super::table::{PHASES, bytes, limit_round, seconds, times};
use crate::bench::peers::THINMOVER;

/// Lengths in the picture's units, which are pixels where it is not scaled.
const WIDTH: f64 = 760.0;
const COLUMN_WIDTH: f64 = WIDTH / 2.0;
const NAME_WIDTH: f64 = 92.0;
const BAR_WIDTH: f64 = 160.0;
const BAR_HEIGHT: f64 = 14.0;
const ROW_HEIGHT: f64 = 22.0;
const TITLE_HEIGHT: f64 = 26.0;
const PANEL_GAP: f64 = 18.0;
const MARGIN: f64 = 8.0;

const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.quiet { fill: #59636e }
.own { fill: #1f6feb }
.peer { fill: #afb8c1 }
.limit { fill: none; stroke: #59636e; stroke-dasharray: 3 2 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.quiet { fill: #9198a1 }
.own { fill: #4493f8 }
.peer { fill: #57606a }
.limit { stroke: #9198a1 }
}";

struct Panel {
    title: String,
    bars: Vec<Bar>,
}

struct Bar {
    name: String,
    class: &'static str,
    value: f64,
    label: String,
    ratio: Option<f64>,
}

/// The whole picture.
pub(super) fn picture(report: &Report) -> String {
    let panels = panels(report);
    let (left, right) = panels.split_at(panels.len().div_ceil(2));
    let height = |panels: &[Panel]| {
        panels.iter().map(|panel| panel_height(panel) + PANEL_GAP).sum::<f64>() + MARGIN
    };
    let height = f64::max(height(left), height(right));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\">\n<title>Time, memory and stored size of each tool</title>\n\
         <style>\n{STYLE}\n</style>\n"
    );
    for (column, x) in [(left, MARGIN), (right, MARGIN + COLUMN_WIDTH)] {
        let mut y = MARGIN;
        for panel in column {
            draw(&mut svg, panel, x, y);
            y += panel_height(panel) + PANEL_GAP;
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn panels(report: &Report) -> Vec<Panel> {
    let tool_bars = |value: &dyn Fn(usize) -> (f64, String)| {
        let own =
            report.tools.iter().position(|tool| tool.name == THINMOVER).map(|own| value(own).0);
        let bar = |(at, tool): (usize, &super::ToolReport)| {
            let (value, label) = value(at);
            let is_own = tool.name == THINMOVER;
            Bar {
                name: tool.name.clone(),
                class: if is_own { "own" } else { "peer" },
                value,
                label,
                ratio: own.filter(|&own| !is_own && own > 0.0).map(|own| value / own),
            }
        };
        report.tools.iter().enumerate().map(bar).collect::<Vec<_>>()
    };
    let limit = limit_round(report);
    let mut panels = Vec::new();
    for (name, figures) in PHASES {
        let of = |at: usize| {
            let wall = figures(&report.tools[at].median).wall_seconds;
            (wall, seconds(wall))
        };
        let mut bars = tool_bars(&of);
        bars.extend(limit.map(|limit| {
            let value = figures(&limit).wall_seconds;
            let [name, label] = ["limit".to_owned(), seconds(value)];
            Bar { name, class: "limit", value, label, ratio: None }
        }));
        panels.push(Panel { title: format!("Time of {} {name}", article(name)), bars });
    }
    panels.push(Panel {
        title: "Processor time of a first backup".to_owned(),
        bars: tool_bars(&|at| {
            let cpu = report.tools[at].median.first_backup.cpu_seconds;
            (cpu, seconds(cpu))
        }),
    });
    panels.push(Panel {
        title: "Peak memory of a first backup".to_owned(),
        bars: tool_bars(&|at| {
            let peak = report.tools[at].median.first_backup.peak_bytes;
            (peak as f64, bytes(peak))
        }),
    });
    panels.push(Panel {
        title: "Stored by a first backup".to_owned(),
        bars: tool_bars(&|at| {
            let stored = report.tools[at].median.stored_bytes;
            (stored as f64, bytes(stored))
        }),
    });
    panels
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

fn panel_height(panel: &Panel) -> f64 {
    TITLE_HEIGHT + ROW_HEIGHT * panel.bars.len() as f64
}

fn draw(svg: &mut String, panel: &Panel, x: f64, y: f64) {
    let largest = panel.bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    svg.push_str(&text(x, y + 14.0, "title", &panel.title));
    for (row, bar) in panel.bars.iter().enumerate() {
        let top = y + TITLE_HEIGHT + ROW_HEIGHT * row as f64;
        let baseline = top + BAR_HEIGHT - 3.0;
        // Never so short that it is not seen.
        let width = f64::max(bar.value / largest * BAR_WIDTH, 1.0);
        let bar_x = x + NAME_WIDTH;
        let name_class = if bar.class == "own" { "title" } else { "quiet" };
        svg.push_str(&text(x, baseline, name_class, &bar.name));
        svg.push_str(&format!(
            "<rect class=\"{}\" x=\"{bar_x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" \
             rx=\"2\"/>\n",
            bar.class
        ));
        let ratio = bar.ratio.map(|ratio| format!("  ({})", times(ratio))).unwrap_or_default();
        svg.push_str(&text(bar_x + width + 6.0, baseline, "", &format!("{}{ratio}", bar.label)));
    }
}

fn text(x: f64, y: f64, class: &str, content: &str) -> String {
    let content = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{content}</text>\n")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    /// The value of an attribute of each element with this class.
    fn attributes(svg: &str, class: &str, attribute: &str) -> Vec<f64> {
        let start = format!("<rect class=\"{class}\"");
        let rects = svg.lines().filter(|line| line.starts_with(&start));
        let value = |line: &str| {
            let (_, rest) = line.split_once(&format!(" {attribute}=\"")).unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        };
        rects.map(value).collect()
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let svg = picture(&sample::report());
        let (own, peer) = (attributes(&svg, "own", "width"), attributes(&svg, "peer", "width"));
        assert_eq!((own.len(), peer.len()), (6, 6));
        // Three times and the processor time are an eighth, memory and size the same.
        for panel in 0..4 {
            assert!((peer[panel] / own[panel] - 8.0).abs() < 0.05, "{own:?} {peer:?}");
        }
        assert_eq!(own[4..], peer[4..]);
        assert_eq!(attributes(&svg, "limit", "width").len(), 3);
    }

    #[test]
    fn nothing_lies_outside_or_upon_another_bar() {
        let svg = picture(&sample::report());
        let all = |attribute| {
            ["own", "peer", "limit"].map(|class| attributes(&svg, class, attribute)).concat()
        };
        let places: Vec<(f64, f64)> = all("x").into_iter().zip(all("y")).collect();
        for (at, place) in places.iter().enumerate() {
            assert!(!places[..at].contains(place), "{place:?}");
        }
        assert!(places.iter().zip(all("width")).all(|((x, _), width)| x + width < WIDTH));
    }

    #[test]
    fn the_picture_is_well_formed_and_has_a_dark_side() {
        let mut report = sample::report();
        report.tools[1].name = "a & <b>".to_owned();
        let svg = picture(&report);
        assert!(svg.contains("a &amp; &lt;b&gt;"));
        assert!(svg.contains("prefers-color-scheme: dark"));
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }
}
