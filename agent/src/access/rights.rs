//! The rights there are, and sets of them.

use std::fmt;

/// What a caller may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// See volumes, pools, jobs and backups.
    Read,
    /// Make snapshots and backups.
    Backup,
    /// Write backups back.
    Restore,
    /// Everything: also paths as source or target, repositories, keys, and every volume group.
    Admin,
}

impl Right {
    const ALL: [Self; 4] = [Self::Read, Self::Backup, Self::Restore, Self::Admin];

    /// The name it has in the configuration and in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }

    /// Itself and what comes with it: who may back up or restore may look, `admin` may do all.
    fn implied(self) -> u8 {
        match self {
            Self::Read => self.bit(),
            Self::Backup | Self::Restore => self.bit() | Self::Read.bit(),
            Self::Admin => Rights::ALL.0,
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of rights, closed under what each implies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rights(u8);

impl Rights {
    /// No right at all.
    pub(crate) const NONE: Self = Self(0);
    /// Every right.
    pub(crate) const ALL: Self = Self(0b1111);

    /// This set and `right`, with what it implies.
    pub(crate) fn with(self, right: Right) -> Self {
        Self(self.0 | right.implied())
    }

    /// Whether `right` is in the set.
    pub(crate) fn has(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = Right::ALL.into_iter().filter(|right| self.has(*right));
        f.debug_set().entries(held.map(Right::name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_right_brings_exactly_what_it_implies() {
        for (right, brings) in [
            (Right::Read, &[Right::Read][..]),
            (Right::Backup, &[Right::Read, Right::Backup]),
            (Right::Restore, &[Right::Read, Right::Restore]),
            (Right::Admin, &Right::ALL),
        ] {
            let rights = Rights::NONE.with(right);
            for other in Right::ALL {
                assert_eq!(rights.has(other), brings.contains(&other), "{right} and {other}");
            }
        }
        assert_eq!(Rights::NONE.with(Right::Admin), Rights::ALL);
    }
}
