//! Crash points, as the trials that kill use them.

use std::collections::HashMap;

use thinmover_tests::fixtures::rounds;

/// What `kill -9` looks like to a shell.
pub(crate) const KILLED: i32 = 128 + 9;

/// The points of a crash-point log at which to kill, as `NAME#N`, N counting how often it was passed.
///
/// They come in pairs around each durable step, `…:before` and `…:after`. Between a step and the next
/// nothing changes on the host, so an ordinary run takes the first of each pair where it is passed for
/// the first time, and the very last point; a long run takes all.
pub(crate) fn points(log: &str) -> Vec<String> {
    let mut points = all_points(log);
    if rounds(1) == 1 {
        let last = points.last().cloned();
        points.retain(|point| point.ends_with(":before#1") || Some(point) == last.as_ref());
    }
    points
}

/// Every point of a crash-point log, as `NAME#N`.
pub(crate) fn all_points(log: &str) -> Vec<String> {
    let mut passed: HashMap<&str, u32> = HashMap::new();
    log.lines()
        .map(|name| {
            let count = passed.entry(name).or_default();
            *count += 1;
            format!("{name}#{count}")
        })
        .collect()
}
