//! Who may do what over the socket: rights, and who has them by uid or group id.
//!
//! Pure: it is handed ids, never asks the host for a name, and decides nothing but the question it
//! is asked. Who a caller is comes from the kernel (peer credentials), what it asks for from the API.

mod rights;

pub(crate) use rights::{Right, Rights};

use std::collections::BTreeSet;

use thinmover_lvm::VgName;

use crate::engine::Scope;

/// Users and groups by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) uids: BTreeSet<u32>,
    pub(crate) gids: BTreeSet<u32>,
}

/// Who has which right. The default gives everything to uid 0 and nothing to anybody else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    grants: Vec<(Right, Grant)>,
    volume_groups: Vec<VgName>,
}

impl Access {
    /// `volume_groups` are those that callers without [`Right::Admin`] may name.
    pub(crate) fn new(grants: Vec<(Right, Grant)>, volume_groups: Vec<VgName>) -> Self {
        Self { grants, volume_groups }
    }

    /// The rights of a process that runs as `uid`, with `gid` as its group and `groups` besides.
    /// uid 0 has them all, whatever is configured.
    pub(crate) fn rights(&self, uid: u32, gid: u32, groups: &[u32]) -> Rights {
        if uid == 0 {
            return Rights::ALL;
        }
        let granted = |grant: &Grant| {
            grant.uids.contains(&uid)
                || grant.gids.contains(&gid)
                || groups.iter().any(|group| grant.gids.contains(group))
        };
        self.grants
            .iter()
            .filter(|(_, grant)| granted(grant))
            .fold(Rights::NONE, |rights, (right, _)| rights.with(*right))
    }

    /// What a caller with `rights` may name as a source or target.
    pub(crate) fn scope(&self, rights: Rights) -> Scope {
        if rights.has(Right::Admin) {
            Scope::Everything
        } else {
            Scope::Groups(self.volume_groups.iter().map(ToString::to_string).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(uids: &[u32], gids: &[u32]) -> Grant {
        Grant { uids: uids.iter().copied().collect(), gids: gids.iter().copied().collect() }
    }

    fn access() -> Access {
        let grants = vec![
            (Right::Read, grant(&[], &[100])),
            (Right::Backup, grant(&[1001], &[200])),
            (Right::Restore, grant(&[1002], &[])),
            (Right::Admin, grant(&[], &[300])),
        ];
        Access::new(grants, vec![VgName::new("vg0").unwrap()])
    }

    #[test]
    fn rights_follow_uid_gid_and_every_supplementary_group() {
        let rights = |list: &[Right]| list.iter().fold(Rights::NONE, |all, one| all.with(*one));
        for (uid, gid, groups, expected) in [
            (0, 0, &[][..], Rights::ALL),
            (0, 5000, &[5001][..], Rights::ALL),
            (5000, 5000, &[], Rights::NONE),
            // A group's number is not a user's.
            (100, 1001, &[1002], Rights::NONE),
            (300, 0, &[], Rights::NONE),
            (5000, 100, &[], rights(&[Right::Read])),
            (5000, 5000, &[7, 100], rights(&[Right::Read])),
            (1001, 5000, &[], rights(&[Right::Backup])),
            (5000, 5000, &[200], rights(&[Right::Backup])),
            (1002, 200, &[], rights(&[Right::Backup, Right::Restore])),
            (5000, 5000, &[300], Rights::ALL),
        ] {
            let found = access().rights(uid, gid, groups);
            assert_eq!(found, expected, "uid {uid} gid {gid} groups {groups:?}");
        }
    }

    #[test]
    fn by_default_root_alone_may_do_anything() {
        assert_eq!(Access::default().rights(0, 0, &[]), Rights::ALL);
        assert_eq!(Access::default().rights(1, 0, &[0]), Rights::NONE);
    }

    #[test]
    fn only_admin_names_more_than_the_listed_volume_groups() {
        assert_eq!(access().scope(Rights::ALL), Scope::Everything);
        let restore = Rights::NONE.with(Right::Restore);
        assert_eq!(access().scope(restore), Scope::Groups(["vg0".to_owned()].into()));
        assert_eq!(Access::default().scope(restore), Scope::Groups(BTreeSet::new()));
    }
}
