//! `[access]` turned into ids: who has which right.

use nix::errno::Errno;

use super::accounts::{Account, Accounts};
use super::fragment::{AccessFragment, GrantFragment};
use crate::access::{Access, Grant, Right};

/// The group that owns the socket, and that may read unless `[access.read]` says otherwise.
const GROUP: &str = "thinmover";

/// `[access]`, resolved.
pub(super) struct Resolved {
    pub(super) access: Access,
    /// The group the socket is to have.
    pub(super) socket_gid: Option<u32>,
    /// Names that the host does not know.
    pub(super) warnings: Vec<String>,
}

/// Looks every name up. One that is not found gives nobody a right, and a warning.
pub(super) fn resolve(fragment: AccessFragment, accounts: &dyn Accounts) -> Resolved {
    let mut warnings = Vec::new();
    let socket_gid = match accounts.gid(GROUP) {
        Ok(Some(gid)) => Some(gid),
        Ok(None) => {
            warnings.push(format!(
                "group `{GROUP}` does not exist: only root may use the socket; `systemd-sysusers` \
                 or `groupadd --system {GROUP}` makes it, then restart the agent"
            ));
            None
        }
        Err(errno) => {
            warnings.push(format!(
                "group `{GROUP}` cannot be looked up ({errno}): only root may use the socket"
            ));
            None
        }
    };
    let mut grants = Vec::new();
    match fragment.read {
        Some(read) => grants.push(grant(Right::Read, read, accounts, &mut warnings)),
        None => {
            let gids = socket_gid.into_iter().collect();
            grants.push((Right::Read, Grant { gids, ..Grant::default() }));
        }
    }
    for (right, configured) in [
        (Right::Backup, fragment.backup),
        (Right::Restore, fragment.restore),
        (Right::Admin, fragment.admin),
    ] {
        if let Some(configured) = configured {
            grants.push(grant(right, configured, accounts, &mut warnings));
        }
    }
    let access = Access::new(grants, fragment.volume_groups.unwrap_or_default());
    Resolved { access, socket_gid, warnings }
}

fn grant(
    right: Right,
    configured: GrantFragment,
    accounts: &dyn Accounts,
    warnings: &mut Vec<String>,
) -> (Right, Grant) {
    let mut ids = |configured: Option<Vec<Account>>,
                   what: &str,
                   find: &dyn Fn(&str) -> Result<Option<u32>, Errno>| {
        let id = |account| match account {
            Account::Id(id) => Some(id),
            Account::Name(name) => {
                let found = find(&name);
                let why = match found {
                    Ok(Some(id)) => return Some(id),
                    Ok(None) => "does not exist".to_owned(),
                    Err(errno) => format!("cannot be looked up ({errno})"),
                };
                warnings.push(format!(
                    "`access.{right}.{what}s`: {what} `{name}` {why}, and gets no right until the \
                     configuration is read again"
                ));
                None
            }
        };
        configured.unwrap_or_default().into_iter().filter_map(id).collect()
    };
    let uids = ids(configured.users, "user", &|name| accounts.uid(name));
    let gids = ids(configured.groups, "group", &|name| accounts.gid(name));
    (right, Grant { uids, gids })
}

#[cfg(test)]
mod tests {
    use super::super::accounts::tests::TestAccounts;
    use super::*;
    use crate::access::Rights;
    use crate::engine::Scope;
    use std::collections::BTreeSet;

    fn resolved(text: &str, has_thinmover: bool) -> Resolved {
        resolve(toml::from_str(text).unwrap(), &TestAccounts { has_thinmover })
    }

    #[test]
    fn without_configuration_root_may_do_all_and_the_group_may_read() {
        let found = resolved("", true);
        assert_eq!((found.socket_gid, found.warnings.len()), (Some(995), 0));
        assert_eq!(found.access.rights(0, 0, &[]), Rights::ALL);
        assert_eq!(found.access.rights(1, 1, &[995]), Rights::NONE.with(Right::Read));
        assert_eq!(found.access.rights(1, 1, &[990]), Rights::NONE);
        assert_eq!(
            found.access.scope(Rights::NONE.with(Right::Read)),
            Scope::Groups(BTreeSet::new())
        );
    }

    #[test]
    fn a_missing_group_is_a_warning_and_no_more() {
        let found = resolved("", false);
        let [warning] = found.warnings.as_slice() else { panic!("{:?}", found.warnings) };
        for part in ["group `thinmover` does not exist", "only root", "systemd-sysusers"] {
            assert!(warning.contains(part), "{warning}");
        }
        assert_eq!(found.access.rights(1, 995, &[]), Rights::NONE);
    }

    #[test]
    fn an_explicit_read_replaces_the_default_group() {
        for text in ["[read]\nusers = [\"velero\"]", "[read]"] {
            let found = resolved(text, true);
            assert_eq!(found.access.rights(1, 995, &[]), Rights::NONE, "{text}");
        }
        let found = resolved("[read]\nusers = [\"velero\"]", true);
        assert!(found.access.rights(997, 1, &[]).has(Right::Read));
        // Another right does not.
        let found = resolved("[backup]\nusers = [997]", true);
        assert!(found.access.rights(1, 995, &[]).has(Right::Read));
    }

    #[test]
    fn names_and_numbers_give_rights_and_unknown_names_a_warning_each() {
        let found = resolved(
            "volume_groups = [\"vg0\"]\n\
             [backup]\nusers = [\"velero\", \"nobody-here\", 1234]\ngroups = [\"ops\", \"77\"]\n\
             [admin]\nusers = [\"unreachable\"]",
            true,
        );
        for (uid, gid) in [(997, 1), (1234, 1), (1, 990), (1, 77)] {
            let rights = found.access.rights(uid, gid, &[]);
            assert!(rights.has(Right::Backup) && !rights.has(Right::Restore), "{uid} {gid}");
            assert_eq!(found.access.scope(rights), Scope::Groups(["vg0".to_owned()].into()));
        }
        assert_eq!(found.warnings.len(), 2, "{:?}", found.warnings);
        assert!(found.warnings[0].contains("`access.backup.users`: user `nobody-here`"));
        assert!(found.warnings[1].contains("`access.admin.users`: user `unreachable` cannot"));
    }
}
