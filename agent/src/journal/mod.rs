//! The agent's log: events with structured fields for the journal, sentences for the rest.
//!
//! Where standard error leads to the journal (systemd.exec(5), `$JOURNAL_STREAM`), entries go there
//! by its native protocol, in which every value has a length of its own: no text can pass for a
//! field. Elsewhere they are lines on standard error. Either way text is bounded and a failure to
//! log is no failure of the agent. Nothing here decides what is logged.

mod event;
mod fields;
mod plain;

#[cfg(test)]
mod catalogue_tests;

pub(crate) use event::Event;
pub(crate) use fields::Fields;

use std::fmt;

use log::{Level, LevelFilter, Log, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

use fields::{Entry, cut};
use plain::PlainLog;

/// SYSLOG_IDENTIFIER, for `journalctl -t`.
const IDENTIFIER: &str = "thinmover";

/// Decides where entries of this process go, once and for all; before it they go nowhere.
pub(crate) fn init() {
    let (logger, problem) = choose();
    // A second call finds the first one's logger in place, which is as good.
    if log::set_boxed_logger(logger).is_ok() {
        // The libraries below have nothing to say that an operator acts on.
        log::set_max_level(LevelFilter::Info);
    }
    if let Some(problem) = problem {
        warn(problem);
    }
}

fn choose() -> (Box<dyn Log>, Option<String>) {
    if !connected_to_journal() {
        return (Box::new(PlainLog), None);
    }
    match JournalLog::empty() {
        Ok(journal) => (Box::new(journal.with_syslog_identifier(IDENTIFIER.to_owned())), None),
        Err(error) => {
            let problem = format!(
                "the journal's socket does not answer ({error}): its entries will have no fields"
            );
            (Box::new(PlainLog), Some(problem))
        }
    }
}

/// Writes an event: `message` is one sentence for a person who sees nothing else of it.
pub(crate) fn write(event: Event, fields: &Fields<'_>, message: impl fmt::Display) {
    let entry = Entry::new(event, fields);
    log::logger().log(
        &Record::builder()
            .level(event.level())
            .target(IDENTIFIER)
            .args(format_args!("{}", printable(&message)))
            .key_values(&entry)
            .build(),
    );
}

/// Writes that something is not as it should be, and that work goes on.
pub(crate) fn warn(message: impl fmt::Display) {
    sentence(Level::Warn, &message);
}

fn sentence(level: Level, message: &dyn fmt::Display) {
    log::logger().log(
        &Record::builder()
            .level(level)
            .target(IDENTIFIER)
            .args(format_args!("{}", printable(message)))
            .build(),
    );
}

/// The message, bounded, and with control characters but line ends escaped: journalctl shows one
/// that has any of them as "blob data", so a caller could hide it with a name of its choice.
fn printable(message: &dyn fmt::Display) -> String {
    let message = message.to_string();
    escape_controls(cut(&message), &['\n'])
}

/// The text with its control characters escaped, except those in `kept`.
fn escape_controls(text: &str, kept: &[char]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && !kept.contains(&c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_is_long_or_unprintable() {
        assert_eq!(printable(&"a\nb \u{1b}[2Jc\0 ä"), "a\nb \\u{1b}[2Jc\\u{0} ä");
        assert!(printable(&"m".repeat(1 << 20)).len() <= 8 << 10);
    }
}
