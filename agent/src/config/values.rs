//! What single values may be. Each is checked while its file is read, and the error says what is
//! allowed; the reader adds file, line and key.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use super::size::Size;

/// The longest limit of time: a year. Later sums with the clock cannot overflow.
const TIMEOUT_MAX: SignedDuration = SignedDuration::from_hours(366 * 24);

/// An integer from `MIN` to `MAX`.
pub(super) fn between<'de, D, T, const MIN: i64, const MAX: i64>(
    deserializer: D,
) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64>,
{
    struct Between<const MIN: i64, const MAX: i64>;
    impl<const MIN: i64, const MAX: i64> Visitor<'_> for Between<MIN, MAX> {
        type Value = i64;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            write!(f, "an integer from {MIN} to {MAX}")
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<i64, E> {
            if (MIN..=MAX).contains(&value) {
                Ok(value)
            } else {
                Err(E::invalid_value(Unexpected::Signed(value), &self))
            }
        }
    }
    let value = deserializer.deserialize_i64(Between::<MIN, MAX>)?;
    T::try_from(value).map(Some).map_err(|_| {
        D::Error::invalid_value(Unexpected::Signed(value), &"an integer this machine can count to")
    })
}

/// An amount of memory in bytes, from 48 MiB to 16 GiB.
pub(super) fn memory<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<usize>, D::Error> {
    let size = Size::deserialize(deserializer)?;
    let allowed = (48 << 20)..=(16 << 30);
    usize::try_from(size.bytes)
        .ok()
        .filter(|bytes| allowed.contains(bytes))
        .map(Some)
        .ok_or_else(|| D::Error::custom(format!("{} bytes; allowed is 48MiB to 16GiB", size.bytes)))
}

/// An absolute path: the agent's working directory is nobody's business.
pub(super) fn absolute_path<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.is_absolute() {
        Ok(Some(path))
    } else {
        Err(D::Error::custom(format!(
            "{path:?} is not an absolute path such as /var/lib/thinmover"
        )))
    }
}

/// A limit of time. Zero stands for no limit, so that a file can lift the limit of one before it.
pub(super) fn timeout<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse::<SignedDuration>()
        .ok()
        .filter(|duration| *duration <= TIMEOUT_MAX)
        .and_then(|duration| Duration::try_from(duration).ok())
        .map(Some)
        .ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is not a duration such as \"4h\" or \"90m\"; allowed is \"0s\" (no \
                 limit) to \"8784h\""
            ))
        })
}

/// How long a request may take: from a second to an hour.
pub(super) fn request_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let allowed = Duration::from_secs(1)..=Duration::from_secs(3600);
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| allowed.contains(duration))
        .map(Some)
        .ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is not a duration such as \"30s\"; allowed is \"1s\" to \"1h\""
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Probe {
        #[serde(default, deserialize_with = "timeout")]
        timeout: Option<Duration>,
        #[serde(default, deserialize_with = "between::<_, _, 1, 8>")]
        number: Option<u8>,
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [("4h", 14_400), ("90m", 5400), ("1h 30m", 5400), ("0s", 0)] {
            let probe: Probe = toml::from_str(&format!("timeout = {text:?}")).unwrap();
            assert_eq!(probe.timeout, Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "4", "-4h", "4h ago", "8785h", "99999999999999999999h", "tomorrow"] {
            assert!(toml::from_str::<Probe>(&format!("timeout = {text:?}")).is_err(), "{text}");
        }
    }

    #[test]
    fn integers_outside_their_bounds_are_refused_with_the_bounds() {
        assert_eq!(toml::from_str::<Probe>("number = 8").unwrap().number, Some(8));
        for text in ["0", "9", "-1", "9223372036854775807", "\"1\"", "1.0"] {
            let error = toml::from_str::<Probe>(&format!("number = {text}")).unwrap_err();
            assert!(error.message().contains("an integer from 1 to 8"), "{text}: {error}");
        }
    }
}
