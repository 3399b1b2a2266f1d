//! Crash points, as the trials that kill use them.

use std::collections::HashMap;

use thinmover_tests::fixtures::rounds;

/// What `kill -9` looks like to a shell.
pub(crate) const KILLED: i32 = 128 + 9;

/// The points of a crash-point log at which to kill, as `NAME#N`, N counting how often it was passed.
///
/// They come in pairs around each durable step, `…:before` and `…:after`. Between a step and the next
/// nothing changes on the host, so an ordinary run takes the first of each pair, where it is passed for
/// the first and for the last time, and the very last point; a long run takes all.
pub(crate) fn points(log: &str) -> Vec<String> {
    let mut points = all_points(log);
    if rounds(1) == 1 {
        let name = |point: &str| point.split('#').next().unwrap_or_default().to_owned();
        let all: Vec<String> = points.iter().map(|point| name(point)).collect();
        let mut index = 0;
        points.retain(|_| {
            let (before, after) = (&all[..index], &all[index + 1..]);
            let here = &all[index];
            index += 1;
            let is_end = !before.contains(here) || !after.contains(here);
            here.ends_with(":before") && is_end || after.is_empty()
        });
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
