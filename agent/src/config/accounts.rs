//! Users and groups: as the configuration writes them, and as the host knows them.

use std::fmt;

use nix::errno::Errno;
use nix::unistd::{Group, User};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// The largest id there can be: the one above it is what chown(2) takes for "leave as it is".
const ID_MAX: u32 = u32::MAX - 1;
/// Longer than any name useradd(8) takes, and short enough for every message.
const NAME_LENGTH_MAX: usize = 256;

/// A user or group: a number, or a name that the host may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Account {
    Id(u32),
    Name(String),
}

/// Where names become ids: the host's databases, or a table in a test.
pub(super) trait Accounts {
    /// The uid of the user `name`; `None` when there is no such user.
    fn uid(&self, name: &str) -> Result<Option<u32>, Errno>;
    /// The id of the group `name`; `None` when there is no such group.
    fn gid(&self, name: &str) -> Result<Option<u32>, Errno>;
}

/// What nsswitch.conf(5) of this host leads to.
pub(super) struct HostAccounts;

impl Accounts for HostAccounts {
    fn uid(&self, name: &str) -> Result<Option<u32>, Errno> {
        Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
    }

    fn gid(&self, name: &str) -> Result<Option<u32>, Errno> {
        Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
    }
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AccountVisitor;
        impl Visitor<'_> for AccountVisitor {
            type Value = Account;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "a name, or a number from 0 to {ID_MAX}")
            }

            fn visit_i64<E: Error>(self, id: i64) -> Result<Account, E> {
                u32::try_from(id)
                    .ok()
                    .filter(|id| *id <= ID_MAX)
                    .map(Account::Id)
                    .ok_or_else(|| E::invalid_value(Unexpected::Signed(id), &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Account, E> {
                let refused = || E::invalid_value(Unexpected::Str(text), &self);
                if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
                    let id = text.parse().ok().filter(|id| *id <= ID_MAX);
                    return id.map(Account::Id).ok_or_else(refused);
                }
                // passwd(5) and group(5) separate fields by colons and lines by newlines.
                let forbidden = |c: char| c == ':' || c.is_control();
                let is_name = !text.trim().is_empty()
                    && !text.starts_with('-')
                    && text.len() <= NAME_LENGTH_MAX
                    && !text.contains(forbidden);
                is_name.then(|| Account::Name(text.to_owned())).ok_or_else(refused)
            }
        }
        deserializer.deserialize_any(AccountVisitor)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A host with the user `velero` (997) and the group `ops` (990), and with what it is told.
    pub(in super::super) struct TestAccounts {
        pub(in super::super) has_thinmover: bool,
    }

    impl Accounts for TestAccounts {
        fn uid(&self, name: &str) -> Result<Option<u32>, Errno> {
            match name {
                "velero" => Ok(Some(997)),
                "unreachable" => Err(Errno::EIO),
                _ => Ok(None),
            }
        }

        fn gid(&self, name: &str) -> Result<Option<u32>, Errno> {
            match name {
                "ops" => Ok(Some(990)),
                "thinmover" if self.has_thinmover => Ok(Some(995)),
                _ => Ok(None),
            }
        }
    }

    #[test]
    fn accounts_are_names_or_numbers() {
        #[derive(serde::Deserialize)]
        struct Probe {
            account: Account,
        }
        let read = |text: &str| toml::from_str::<Probe>(&format!("account = {text}"));
        for (text, expected) in [
            ("0", Account::Id(0)),
            ("4294967294", Account::Id(ID_MAX)),
            ("\"1000\"", Account::Id(1000)),
            ("\"velero\"", Account::Name("velero".into())),
            ("'EXAMPLE\\backup operators'", Account::Name("EXAMPLE\\backup operators".into())),
        ] {
            assert_eq!(read(text).unwrap().account, expected, "{text}");
        }
        for text in [
            "-1",
            "4294967295",
            "\"4294967295\"",
            "\"\"",
            "\" \"",
            "\"-1\"",
            "\"a:b\"",
            "\"a\\nb\"",
            "\"a\\u0000\"",
            "1.5",
            "true",
            "[]",
        ] {
            let Err(error) = read(text) else { panic!("{text} was taken") };
            assert!(error.message().contains("a name, or a number from 0 to"), "{text}: {error}");
        }
    }

    #[test]
    fn the_hosts_own_root_is_found_by_name() {
        assert_eq!(HostAccounts.uid("root"), Ok(Some(0)));
        assert_eq!(HostAccounts.gid("root"), Ok(Some(0)));
        assert_eq!(HostAccounts.gid("no-such-group-here"), Ok(None));
    }
}
