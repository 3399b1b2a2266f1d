//! What a verification found.

use std::ops::Range;

use crate::error::Error;

/// More errors than these are counted, not kept.
const ERRORS_MAX: usize = 1000;

/// The result of reading everything a backup reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Bytes of objects that were read and checked.
    pub checked_bytes: u64,
    /// What is damaged; the first thousand.
    pub errors: Vec<VerifyError>,
    /// How many more there were.
    pub more_errors: u64,
}

/// One damaged place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyError {
    /// The key of the damaged object, or `backup ID` for what that means to the image.
    pub object: String,
    /// Which of the object's, or the image's, bytes.
    pub range: Option<Range<u64>>,
    /// What is wrong.
    pub message: String,
}

/// How far a verification has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Bytes of the image whose blocks have been checked.
    pub image_bytes: u64,
    /// Size of the image.
    pub total_bytes: u64,
    /// Bytes of objects that have been read.
    pub checked_bytes: u64,
}

impl VerifyReport {
    /// Whether all is as it was written.
    pub fn ok(&self) -> bool {
        self.errors.is_empty()
    }

    pub(super) fn add(&mut self, object: &str, range: Option<Range<u64>>, message: String) {
        // What breaks in a row is one place.
        if let Some(last) = self.errors.last_mut()
            && let (Some(so_far), Some(range)) = (&mut last.range, &range)
            && last.object == object
            && last.message == message
            && so_far.end == range.start
        {
            so_far.end = range.end;
            return;
        }
        let error = VerifyError { object: object.to_owned(), range, message };
        if self.errors.contains(&error) {
            return;
        }
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(error);
        } else {
            self.more_errors += 1;
        }
    }

    /// An error met while reading `object`.
    pub(super) fn add_error(&mut self, object: &str, error: &Error) {
        match error {
            Error::Damaged { object, range, reason } => {
                self.add(object, range.clone(), reason.clone());
            }
            _ => self.add(object, None, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_places_are_one_error_and_repeats_are_none() {
        let mut report = VerifyReport::default();
        for range in [0..5, 5..9, 12..13] {
            report.add("a", Some(range), "gone".into());
        }
        report.add("a", Some(12..13), "gone".into());
        let ranges: Vec<_> = report.errors.iter().filter_map(|e| e.range.clone()).collect();
        assert_eq!(ranges, [0..9, 12..13]);
    }

    #[test]
    fn errors_beyond_the_bound_are_counted() {
        let mut report = VerifyReport::default();
        (0..1500).for_each(|number| report.add(&number.to_string(), None, "gone".into()));
        assert_eq!((report.errors.len(), report.more_errors), (1000, 500));
    }
}
