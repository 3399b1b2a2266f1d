//! Crash points, as the trials that kill use them.

use std::collections::HashMap;

/// What `kill -9` looks like to a shell.
pub(crate) const KILLED: i32 = 128 + 9;

/// The names in a crash-point log as `NAME#N`, N counting how often it was passed.
pub(crate) fn points(log: &str) -> Vec<String> {
    let mut passed: HashMap<&str, u32> = HashMap::new();
    log.lines()
        .map(|name| {
            let count = passed.entry(name).or_default();
            *count += 1;
            format!("{name}#{count}")
        })
        .collect()
}
