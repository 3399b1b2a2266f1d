//! Entries as lines on standard error, where the journal is not at the other end of it.

use std::fmt::Write as _;
use std::io::Write as _;

use jiff::Timestamp;
use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, Log, Metadata, Record};

use super::escape_controls;
use super::fields::{MESSAGE_ID, PREFIX};

/// Writes each entry as one line: time, urgency, message, then its fields as `key=value`. The time
/// is there whatever reads it: the line may end up in a plain file.
pub(super) struct PlainLog;

impl Log for PlainLog {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = line(record, Timestamp::now());
        // There is nobody to tell that nobody listens.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

fn line(record: &Record<'_>, now: Timestamp) -> String {
    let urgency = match record.level() {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "notice",
        Level::Debug | Level::Trace => "debug",
    };
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ");
    // Neither may a message begin a line of its own.
    let message = escape_controls(&record.args().to_string(), &[]);
    let mut line = format!("{now} {urgency}: {message}");
    // Our own source of fields does not fail.
    let _ = record.key_values().visit(&mut AppendFields(&mut line));
    line.push('\n');
    line
}

struct AppendFields<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for AppendFields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        // For programs, which read the journal; it says nothing to a person.
        if key.as_str() == MESSAGE_ID {
            return Ok(());
        }
        let name = key.as_str().trim_start_matches(PREFIX).to_ascii_lowercase();
        let value = value.to_string();
        let plain = |c: char| c.is_ascii_alphanumeric() || "+_.-/:".contains(c);
        let written = if !value.is_empty() && value.chars().all(plain) {
            write!(self.0, " {name}={value}")
        } else {
            write!(self.0, " {name}={value:?}")
        };
        written.map_err(|_| Error::msg("formatting failed"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Event;
    use super::super::fields::{Entry, Fields};
    use super::*;

    fn rendered(fields: &Fields<'_>, message: &str) -> String {
        let entry = Entry::new(Event::JobFailed, fields);
        line(
            &Record::builder()
                .level(Event::JobFailed.level())
                .args(format_args!("{message}"))
                .key_values(&entry)
                .build(),
            Timestamp::from_second(1_800_000_000).unwrap(),
        )
    }

    #[test]
    fn a_line_says_when_how_urgent_what_and_about_what() {
        let fields = Fields { job: Some("7a"), volume: Some("vg0/data"), ..Fields::default() };
        assert_eq!(
            rendered(&fields, "the job ended: größer"),
            "2027-01-15T08:00:00Z error: the job ended: größer job=7a volume=vg0/data\n"
        );
    }

    #[test]
    fn no_text_can_forge_a_line_or_a_field() {
        let fields =
            Fields { volume: Some("x\" job=1\n2027 error: y\u{1b}[2J"), ..Fields::default() };
        let line = rendered(&fields, "gone\n2027-01-15T08:00:00Z notice: all is well\r\u{9b}2J");
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert!(!line.trim_end_matches('\n').contains(char::is_control), "{line:?}");
        assert!(line.contains(r#" volume="x\" job=1\n2027 error: y\u{1b}[2J""#), "{line}");
        let fields = Fields { volume: Some(""), ..Fields::default() };
        assert!(rendered(&fields, "").ends_with(" volume=\"\"\n"));
    }
}
