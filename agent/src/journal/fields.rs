//! What an event is about: the structured part of an entry.

use std::borrow::Cow;

use log::kv::{Error, Key, Source, Value, VisitSource};

use super::event::Event;
use crate::failure::Code;

/// The key of an event's id, as systemd.journal-fields(7) wants it.
pub(super) const MESSAGE_ID: &str = "MESSAGE_ID";
/// What our own fields begin with.
pub(super) const PREFIX: &str = "THINMOVER_";
/// Longer text is cut, so that no caller fills the journal with one entry. In bytes.
const TEXT_LENGTH_MAX: usize = 8 << 10;

/// What an event is about; all of it optional. No secret may stand here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fields<'a> {
    /// The job's id.
    pub(crate) job: Option<&'a str>,
    /// The job's kind, such as `upload`.
    pub(crate) kind: Option<&'a str>,
    /// The phase the job is in now.
    pub(crate) phase: Option<&'a str>,
    /// `VG/LV`, or the path, of the source or target.
    pub(crate) volume: Option<&'a str>,
    /// The repository's name or URL.
    pub(crate) repository: Option<&'a str>,
    /// The backup's id.
    pub(crate) backup: Option<&'a str>,
    /// Why it failed.
    pub(crate) code: Option<Code>,
    /// Who asked for it.
    pub(crate) uid: Option<u32>,
}

impl<'a> Fields<'a> {
    /// The names of all fields, as they stand in the journal.
    #[cfg(test)]
    pub(super) const NAMES: [&'static str; 8] = [
        "THINMOVER_JOB",
        "THINMOVER_KIND",
        "THINMOVER_PHASE",
        "THINMOVER_VOLUME",
        "THINMOVER_REPOSITORY",
        "THINMOVER_BACKUP",
        "THINMOVER_CODE",
        "THINMOVER_UID",
    ];

    fn entries(&self) -> impl Iterator<Item = (&'static str, Cow<'a, str>)> + use<'a> {
        let texts = [
            ("THINMOVER_JOB", self.job),
            ("THINMOVER_KIND", self.kind),
            ("THINMOVER_PHASE", self.phase),
            ("THINMOVER_VOLUME", self.volume),
            ("THINMOVER_REPOSITORY", self.repository),
            ("THINMOVER_BACKUP", self.backup),
        ];
        texts
            .into_iter()
            .filter_map(|(name, text)| Some((name, Cow::Borrowed(cut(text?)))))
            .chain(self.code.map(|code| ("THINMOVER_CODE", Cow::Borrowed(code.as_str()))))
            .chain(self.uid.map(|uid| ("THINMOVER_UID", Cow::Owned(uid.to_string()))))
    }
}

/// An event's id and fields as the `log` crate hands them to a logger.
pub(super) struct Entry<'a> {
    event: Event,
    fields: Vec<(&'static str, Cow<'a, str>)>,
}

impl<'a> Entry<'a> {
    pub(super) fn new(event: Event, fields: &Fields<'a>) -> Self {
        Self { event, fields: fields.entries().collect() }
    }
}

impl Source for Entry<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), Error> {
        visitor.visit_pair(Key::from_str(MESSAGE_ID), Value::from(self.event.message_id()))?;
        for (name, text) in &self.fields {
            visitor.visit_pair(Key::from_str(name), Value::from(text.as_ref()))?;
        }
        Ok(())
    }
}

/// The beginning of `text` that an entry takes.
pub(super) fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_LENGTH_MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Collected(Vec<(String, String)>);

    impl<'kvs> VisitSource<'kvs> for Collected {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
            self.0.push((key.to_string(), value.to_string()));
            Ok(())
        }
    }

    fn collect(fields: &Fields<'_>) -> Vec<(String, String)> {
        let mut collected = Collected::default();
        Entry::new(Event::JobFailed, fields).visit(&mut collected).unwrap();
        collected.0
    }

    #[test]
    fn an_entry_has_its_events_id_and_the_fields_that_are_known() {
        let fields = Fields {
            job: Some("42"),
            code: Some(Code::TargetTooSmall),
            uid: Some(0),
            ..Fields::default()
        };
        let expected = [
            ("MESSAGE_ID", Event::JobFailed.message_id()),
            ("THINMOVER_JOB", "42"),
            ("THINMOVER_CODE", "target-too-small"),
            ("THINMOVER_UID", "0"),
        ];
        assert_eq!(collect(&fields), expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn the_list_of_names_is_whole() {
        let some = Some("x");
        let all = Fields {
            job: some,
            kind: some,
            phase: some,
            volume: some,
            repository: some,
            backup: some,
            code: Some(Code::Failed),
            uid: Some(1),
        };
        let names: Vec<_> = all.entries().map(|(name, _)| name).collect();
        assert_eq!(names, Fields::NAMES);
        assert!(names.iter().all(|name| name.starts_with(PREFIX)));
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let long = format!("a{}", "ä".repeat(TEXT_LENGTH_MAX));
        let fields = Fields { volume: Some(&long), ..Fields::default() };
        let cut = &collect(&fields)[1].1;
        assert!(cut.len() <= TEXT_LENGTH_MAX && cut.len() + 2 > TEXT_LENGTH_MAX);
        assert!(long.starts_with(cut.as_str()));
    }
}
