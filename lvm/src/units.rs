//! Sizes and shares as types, so that a mix-up does not compile.

use std::fmt;
use std::ops::{Add, Sub};

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// Bytes in a device-mapper sector, whatever the disk's own sector is (linux/device-mapper.h).
pub(crate) const SECTOR_BYTES: u64 = 512;

impl Bytes {
    /// From a number of 512-byte sectors; saturates.
    pub fn from_sectors(sectors: u64) -> Self {
        Self(sectors.saturating_mul(SECTOR_BYTES))
    }
}

impl Add for Bytes {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Bytes {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// For people: `1.2 GiB`, `512 B`.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let power = (self.0.ilog2() / 10) as usize;
        let unit = 1_u128 << (10 * power);
        let tenths = u128::from(self.0) * 10 / unit;
        let name = UNITS.get(power - 1).copied().unwrap_or_default();
        write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
    }
}

/// A share of a whole in hundredths of a percent, LVM's own precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent {
    hundredths: u32,
}

impl Percent {
    /// `whole` percent.
    pub const fn new(whole: u16) -> Self {
        Self { hundredths: whole as u32 * 100 }
    }

    /// `used` out of `total`, rounded up, so that a pool is never called emptier than it is.
    /// Nothing out of nothing is 100 %: such a pool has no room.
    pub fn of(used: u64, total: u64) -> Self {
        if total == 0 {
            return Self::new(100);
        }
        let hundredths = (u128::from(used) * 10_000).div_ceil(u128::from(total));
        Self { hundredths: u32::try_from(hundredths).unwrap_or(u32::MAX) }
    }

    /// Parses what LVM prints, `12.34`; digits past the second are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return None;
        }
        let whole: u32 = whole.parse().ok()?;
        let mut fraction = fraction.bytes().map(|digit| u32::from(digit - b'0'));
        let (tens, ones) = (fraction.next().unwrap_or(0), fraction.next().unwrap_or(0));
        let hundredths = whole.checked_mul(100)?.checked_add(tens * 10 + ones)?;
        Some(Self { hundredths })
    }

    /// As a floating-point number of percent, for reports.
    pub fn as_f64(self) -> f64 {
        f64::from(self.hundredths) / 100.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02} %", self.hundredths / 100, self.hundredths % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_are_shown_in_the_largest_unit_that_fits() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_288_490_188, "1.1 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), shown);
        }
    }

    #[test]
    fn percents_read_what_lvm_prints_and_nothing_else() {
        for (text, hundredths) in
            [("0.00", Some(0)), ("12.34", Some(1234)), ("100", Some(10_000)), ("5.678", Some(567))]
        {
            assert_eq!(Percent::parse(text).map(|p| p.hundredths), hundredths, "{text}");
        }
        for text in ["", ".", "-1.00", "+1", "1.x", "99999999999", "1,5", "١"] {
            assert_eq!(Percent::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_share_is_rounded_up_and_an_empty_whole_is_full() {
        assert_eq!(Percent::of(0, 10), Percent::new(0));
        assert_eq!(Percent::of(1, 3).hundredths, 3334);
        assert_eq!(Percent::of(3, 3), Percent::new(100));
        assert_eq!(Percent::of(0, 0), Percent::new(100));
        assert_eq!(Percent::of(u64::MAX, 1).hundredths, u32::MAX);
    }

    proptest! {
        #[test]
        fn parsing_a_percent_never_panics(text in ".{0,30}") {
            let _ = Percent::parse(&text);
        }
    }
}
